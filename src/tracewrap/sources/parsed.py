"""What was parsed of span-log files, kept in ``FOLDER/.tracewrap/`` as Parquet, so that every later command reads that instead.

    FOLDER/.tracewrap/index          what of which file is in which pack, as JSON
    FOLDER/.tracewrap/<id>.pack      Parquet: columns as ``CALL_COLUMNS``, and ``part``: a stretch of one file

The logs are left as they are. A file that grew is read from where reading stopped. The index is replaced last, so that a process killed
at any moment leaves what was kept before or after, and packs that nobody names are removed by a later writer. One writer at a time;
who finds the folder locked or read-only parses what is not kept and keeps nothing. A file is what it was while size, times and inode are
the same; one that grew must have its old bytes at the places that are looked at (``_sample``). Small logs are parsed each time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracewrap import systems
from tracewrap.errors import SourceError
from tracewrap.settings import settings
from tracewrap.sources import otlp_sql
from tracewrap.sources.lines import in_batches, lines_of
from tracewrap.sources.parsed_index import FOLDER, File, Index, Part, read_index, sample_of, stamp_of, write_index
from tracewrap.sources.table import CALL_COLUMNS, EVER, ReadStatus, drop_duplicates, quoted, scalar

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger("tracewrap")

LEAST_BYTES = 8 * 2**20
"""Less than this is not worth a folder of its own: it is parsed in a moment."""
CHUNK_BYTES = 256 * 2**20
"""Bytes of log that are parsed and then kept at once."""
SMALL_ROWS = 200_000
MANY_PACKS = 8
"""Packs of fewer rows than ``SMALL_ROWS`` become one when there are more than ``MANY_PACKS``."""
_SETTLED_NS = 60 * 10**9
"""A file that was not written for so long has no line under way: its last one is a line, ended or not."""
_ORPHAN_NS = 3600 * 10**9
"""A pack that no index names may be in use by a reader of the index before."""
_COPY = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 100000"


@dataclasses.dataclass(slots=True)
class _Piece:
    """The rest of one file, from ``end`` on, which moves as it is read."""

    file: Path
    name: str
    stamp: list[int]
    end: int
    settled: bool
    unended: bool = False
    """Whether its last line had no end."""

    @property
    def rest(self) -> int:
        """Bytes that are left."""
        return self.stamp[0] - self.end

    @property
    def plain(self) -> bool:
        """Whether its bytes are its lines."""
        return self.file.suffix not in (".gz", ".zst")

    def whole_lines(self) -> Iterator[bytes]:
        """Its lines as far as they are whole."""
        size = self.stamp[0]
        for line in lines_of(self.file, self.end):
            if self.plain:
                if self.end + len(line) > size or not (line.endswith(b"\n") or self.settled):
                    return
                self.end += len(line)
                self.unended = not line.endswith(b"\n")
            yield line
        self.end = size if not self.plain else self.end


def load(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    root: Path,
    files: Sequence[Path],
    since_ns: int,
    until_ns: int,
    columns: Mapping[str, str],
    status: ReadStatus,
) -> None:
    """Create *table* of the calls in *files* below *root* and fill *status*, as ``Source.load``. Raises SourceError, duckdb.Error."""
    folder = root / FOLDER
    keeps = settings().read_cache
    index = read_index(folder) if keeps else Index()
    names, pieces = _plan(index, root, files)
    if (
        keeps
        and (pieces or index.unchecked)
        and (folder.is_dir() or sum(piece.rest for piece in pieces) >= LEAST_BYTES)
    ):
        with _writer(folder) as ours:
            if ours:
                index = read_index(folder)
                names, pieces = _plan(index, root, files)
                _keep(connection, folder, root, index, pieces)
                names += [piece.name for piece in pieces]
                pieces = [piece for piece in pieces if piece.rest]
    chosen = {number for name in names if name in index.files for number in index.files[name].parts}
    tally = otlp_sql.total(index.parts[number].tally for number in sorted(chosen))
    keyed = {"trace_id": "trace_id", "span_id": "span_id"} | dict(columns)
    kept = _relation(folder, index, chosen, since_ns, until_ns)
    more = bool(pieces) or not kept
    rest = "parsed_rest" if kept else table
    if more:
        lines = ((0, line) for piece in pieces for line in lines_of(piece.file, piece.end))
        found = otlp_sql.parse(connection, rest, in_batches(lines), since_ns, until_ns, keyed)
        tally.add(otlp_sql.total(found.values()))
    tally.tell(status, since_ns, until_ns)
    if kept:
        select = f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in keyed.items())} FROM {kept}"
        more = more and scalar(connection, f"SELECT count(*) FROM {rest}") > 0
        if index.unique and not index.unchecked and not more:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.execute(f"CREATE OR REPLACE VIEW {table} AS {select}")
            return
        select += f" UNION ALL BY NAME SELECT * FROM {rest}" if more else ""
        connection.execute(f"CREATE OR REPLACE TABLE {table} AS {select}")
    status.duplicates = drop_duplicates(connection, table)


def _plan(index: Index, root: Path, files: Sequence[Path]) -> tuple[list[str], list[_Piece]]:
    """Names of the *files* of which what is kept is still true, and what of them is to be parsed."""
    names, pieces = [], []
    now_ns = time.time_ns()
    for file in files:
        name = file.relative_to(root).as_posix()
        try:
            stamp = stamp_of(file)
            piece = _Piece(file, name, stamp, 0, now_ns - stamp[1] > _SETTLED_NS)
            good = index.valid(name, file, stamp) and (piece.plain or index.files[name].end == stamp[0])
        except OSError as error:
            raise SourceError(f"{file}: cannot be read ({error.strerror or error})") from None
        if good:
            names.append(name)
            piece.end = index.files[name].end
        if piece.rest:
            pieces.append(piece)
    return names, pieces


def _relation(folder: Path, index: Index, chosen: set[int], since_ns: int, until_ns: int) -> str:
    """The kept calls of the parts *chosen* in the period, as a relation; empty where there are none."""
    packs = {index.parts[number].pack for number in chosen if index.parts[number].rows}
    if not packs:
        return ""
    paths = ", ".join(quoted(str(folder / pack)) for pack in sorted(packs))
    others = sorted(n for n, part in index.parts.items() if part.rows and part.pack in packs and n not in chosen)
    conditions = [f"part NOT IN ({', '.join(map(str, others))})"] if others else []
    if (since_ns, until_ns) != EVER:
        conditions.append(f"start_time_ns >= {since_ns} AND start_time_ns < {until_ns}")
    return f"(SELECT * FROM read_parquet([{paths}]) WHERE {' AND '.join(conditions) or 'true'})"


@contextlib.contextmanager
def _writer(folder: Path) -> Iterator[bool]:
    """Be the one who writes in *folder*; False where somebody else is, or the folder cannot be written to."""
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            ours = os.access(folder, os.W_OK) and stack.enter_context(systems.lock(folder / "lock"))
        except OSError:
            ours = False
        yield ours


def _keep(
    connection: duckdb.DuckDBPyConnection, folder: Path, root: Path, index: Index, pieces: Sequence[_Piece]
) -> None:
    """Parse *pieces* and keep them, chunk by chunk; what cannot be kept (a full disk) is left for the caller to parse."""
    import duckdb

    try:
        _clear(folder, index)
        for name in [name for name in index.files if not (root / name).exists()]:
            del index.files[name]
        for piece in pieces:
            if not piece.end:
                index.files.pop(piece.name, None)
        reader = _Reader(pieces, index)
        while reader.waiting:
            _keep_chunk(connection, folder, index, reader)
        _check(connection, folder, index)
        _merge(connection, folder, index)
        write_index(folder, index)
    except (OSError, duckdb.Error) as error:
        logger.info("%s: what was parsed is not kept there (%s)", folder, error)
        for piece in pieces:
            known = index.files.get(piece.name)
            piece.end = 0 if known is None else known.end


class _Reader:
    """Lines of pieces in chunks, each line with the number of its part; ``parts``: what of which piece the last chunk held."""

    def __init__(self, pieces: Sequence[_Piece], index: Index) -> None:
        self.waiting = [(piece, piece.whole_lines()) for piece in pieces]
        self.parts: dict[int, _Piece] = {}
        self._index = index

    def chunk(self) -> Iterator[tuple[int, bytes]]:
        """About ``CHUNK_BYTES`` of lines."""
        self.parts, taken = {}, 0
        while self.waiting and taken < CHUNK_BYTES:
            piece, lines = self.waiting[0]
            number, self._index.next_part = self._index.next_part, self._index.next_part + 1
            self.parts[number] = piece
            for line in lines:
                yield number, line
                taken += len(line)
                if taken >= CHUNK_BYTES:
                    break
            else:
                self.waiting.pop(0)


def _keep_chunk(connection: duckdb.DuckDBPyConnection, folder: Path, index: Index, reader: _Reader) -> None:
    columns = {name: name for name in CALL_COLUMNS} | {"part": "in_part"}
    seen_ns = time.time_ns()
    found = otlp_sql.parse(connection, "parsed_fresh", in_batches(reader.chunk()), *EVER, columns)
    counts = connection.execute("SELECT part, count(*) FROM parsed_fresh GROUP BY part").fetchall()
    rows = {int(part): int(n) for part, n in counts}
    pack = _write_pack(connection, folder, index, "SELECT * FROM parsed_fresh") if rows else ""
    connection.execute("DROP TABLE parsed_fresh")
    for number, piece in reader.parts.items():
        if number in found:
            index.parts[number] = Part(pack if number in rows else "", rows.get(number, 0), found[number])
            index.unchecked.append(number)
        held = [number] if number in found else []
        before = index.files.get(piece.name)
        sample = sample_of(piece.file, piece.end)
        parts = [*(before.parts if before else ()), *held]
        index.files[piece.name] = File(piece.stamp, seen_ns, piece.end, piece.unended, sample, parts)
    write_index(folder, index)


def _write_pack(connection: duckdb.DuckDBPyConnection, folder: Path, index: Index, rows: str) -> str:
    """A new pack of *rows*, which *index* names from now on."""
    pack = f"{uuid.uuid4().hex}.pack"
    temporary = folder / f"{pack}.tmp"
    connection.execute(f"COPY ({rows}) TO {quoted(str(temporary))} ({_COPY})")
    with open(temporary, "rb+") as written:
        os.fsync(written.fileno())
        index.packs[pack] = os.fstat(written.fileno()).st_size
    systems.replace(temporary, folder / pack)
    return pack


def _clear(folder: Path, index: Index) -> None:
    """Remove what writers that were killed left behind, and packs that nobody can be reading any more."""
    old_ns = time.time_ns() - _ORPHAN_NS
    for file in folder.iterdir():
        stale = file.suffix == ".pack" and file.name not in index.packs and file.stat().st_mtime_ns < old_ns
        if stale or file.name.endswith(".pack.tmp"):
            file.unlink(missing_ok=True)


def _rows(folder: Path, packs: Iterable[str], parts: Iterable[int]) -> str:
    """The kept calls of *parts*, which are in *packs*."""
    paths = ", ".join(quoted(str(folder / pack)) for pack in sorted(packs))
    return f"(SELECT * FROM read_parquet([{paths}]) WHERE part IN ({', '.join(map(str, sorted(parts)))}))"


def _check(connection: duckdb.DuckDBPyConnection, folder: Path, index: Index) -> None:
    """Look whether a call that came in is told twice: a copy, or the span of a framework round the call itself."""
    live = {number for number in index.live() if index.parts[number].rows}
    fresh = live & set(index.unchecked)
    if fresh and index.unique:
        every = _rows(folder, {index.parts[number].pack for number in live}, live)
        new = _rows(folder, {index.parts[number].pack for number in fresh}, fresh)
        copies = f"SELECT 1 FROM {every} AS a SEMI JOIN {new} AS b USING (trace_id, span_id) GROUP BY trace_id, span_id HAVING count(*) > 1"
        same = "a.trace_id = b.trace_id AND a.span_id = b.parent_span_id AND a.operation = b.operation"
        outer = [f"SELECT 1 FROM {a} AS a JOIN {b} AS b ON {same}" for a, b in ((every, new), (new, every))]
        index.unique = not any(scalar(connection, f"SELECT count(*) FROM ({sql})") for sql in (copies, *outer))
    index.unchecked = []


def _merge(connection: duckdb.DuckDBPyConnection, folder: Path, index: Index) -> None:
    """Make one pack of many small ones, and leave rows out that no file has any more where they are half of a pack."""
    live = index.live()
    rows: Counter[str] = Counter()
    dead: Counter[str] = Counter()
    for number, part in index.parts.items():
        (rows if number in live else dead)[part.pack] += part.rows
    small = {pack for pack in index.packs if rows[pack] < SMALL_ROWS}
    chosen = {pack for pack in index.packs if dead[pack] > rows[pack]} | (small if len(small) > MANY_PACKS else set())
    if not chosen:
        return
    moved = {number for number in live if index.parts[number].pack in chosen}
    pack = _write_pack(connection, folder, index, _rows(folder, chosen, moved)) if moved else ""
    for number in moved:
        index.parts[number].pack = pack
    index.parts = {number: part for number, part in index.parts.items() if part.pack not in chosen}
    for old in chosen:
        del index.packs[old]
        os.utime(folder / old)  # from now on nobody begins to read it
