"""``tracewrap lake compact``: the calls of any source, appended to a lake once."""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracewrap import semconv, systems
from tracewrap.errors import SourceError, check_local, missing_extra
from tracewrap.records import DAY_NS
from tracewrap.sources.lake import MARK, VERSION, parquet_files, relation
from tracewrap.sources.losses import LAKE_FILE, Loss, lake_text, losses_of
from tracewrap.sources.opening import load_all, open_source
from tracewrap.sources.otlp_json import OtlpJsonSource, otlp_files
from tracewrap.sources.table import CALL_COLUMNS, EVER, ReadStatus, Source, connect, day_text, quoted, scalar

if TYPE_CHECKING:
    import duckdb


MAX_READ = 100_000
"""Files that a lake remembers to have read, the newest ones by name."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What ``compact`` did: calls found in the sources, calls added, days touched, and how the sources read."""

    calls: int
    added: int
    days: tuple[str, ...]
    statuses: tuple[ReadStatus, ...]


def compact(
    logs: Sequence[str],
    lake: str | os.PathLike[str],
    *,
    since_ns: int = EVER[0],
    until_ns: int = EVER[1],
    wait_s: float = 600.0,
) -> Compacted:
    """Append to *lake* the calls of *logs* (any sources) in [since_ns, until_ns) that it lacks, day by day. The logs are left as they are.

    Safe to kill at any moment, to run twice and to run at once with another writer, which waits for its turn up to *wait_s* seconds.
    Raises ConfigurationError when *lake* is a URL; SourceError when a source cannot be read, the lake cannot be written (disk full:
    nothing half written stays) or the turn does not come.
    """
    try:
        import duckdb
    except ImportError:
        raise missing_extra("the lake", "report") from None
    check_local(lake)
    root = Path(lake)
    sources = [open_source(log) for log in logs]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _turn(root, wait_s), connect() as connection:
            for leftover in root.glob("day=*/.part-*.tmp"):
                leftover.unlink(missing_ok=True)
            whole = _sizes(sources) if (since_ns, until_ns) == EVER else {}
            statuses = load_all(
                connection, sources, "log_calls", since_ns, until_ns, {name: name for name in CALL_COLUMNS}
            )
            connection.execute(
                "CREATE OR REPLACE TEMP TABLE log_ids AS"
                f" SELECT trace_id, span_id, start_time_ns // {DAY_NS} AS day_number FROM log_calls"
            )
            numbers = [
                row[0] for row in connection.execute("SELECT DISTINCT day_number FROM log_ids ORDER BY 1").fetchall()
            ]
            added = {day_text(number * DAY_NS): _append_day(connection, root, number) for number in numbers}
            calls = scalar(connection, "SELECT count(*) FROM log_ids")
            _keep_losses(root, [loss for status in statuses for loss in status.losses])
            _note_read(root, whole)
    except OSError as error:
        raise SourceError(f"{root}: cannot be written ({error.strerror}); nothing half written was left") from None
    except duckdb.Error as error:
        raise SourceError(
            f"{root}: cannot be written ({str(error).splitlines()[0]}); nothing half written was left"
        ) from None
    return Compacted(calls, sum(added.values()), tuple(day for day, count in added.items() if count), tuple(statuses))


def _append_day(connection: duckdb.DuckDBPyConnection, root: Path, number: int) -> int:
    """Write the day's calls that the lake lacks to one new file; the number written."""
    folder = root / f"day={day_text(number * DAY_NS)}"
    lacking = f"SELECT trace_id, span_id FROM log_ids AS l WHERE day_number = {number}"
    if files := parquet_files(folder) if folder.is_dir() else []:
        held = relation(connection, files)
        lacking += f" AND NOT EXISTS (SELECT 1 FROM {held} h WHERE h.trace_id = l.trace_id AND h.span_id = l.span_id)"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE new_ids AS {lacking}")
    rows = f"SELECT {', '.join(CALL_COLUMNS)} FROM log_calls SEMI JOIN new_ids USING (trace_id, span_id)"
    rows += f" WHERE start_time_ns // {DAY_NS} = {number}"
    count = scalar(connection, "SELECT count(*) FROM new_ids")
    if not count:
        return 0
    folder.mkdir(exist_ok=True)
    name = f"part-{uuid.uuid4().hex}"
    temporary = folder / f".{name}.tmp"
    try:
        connection.execute(
            f"COPY ({rows} ORDER BY start_time_ns) TO {quoted(str(temporary))}"
            f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 100000, KV_METADATA {{'{MARK}': '{VERSION}'}})"
        )
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        systems.replace(temporary, folder / f"{name}.parquet")
    except BaseException:
        temporary.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
    systems.sync_folder(folder)
    return count


def _keep_losses(root: Path, losses: Sequence[Loss]) -> None:
    """Add to the lake the records of lost calls that it lacks, each day's beside its calls."""
    for day in sorted({day_text(loss.start_ns) for loss in losses}):
        path = root / f"day={day}" / LAKE_FILE
        try:
            held = losses_of(path)
        except ValueError as error:
            raise SourceError(f"{path}: holds no losses ({error}); remove it and compact again") from None
        told = {loss.ids for loss in held}
        if new := [loss for loss in losses if day_text(loss.start_ns) == day and loss.ids not in told]:
            path.parent.mkdir(exist_ok=True)
            _put(path, lake_text([*held, *new]))


def _put(path: Path, text: str) -> None:
    """Write the file *path* whole, or leave it as it is."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    systems.replace(temporary, path)


def _sizes(sources: Sequence[Source]) -> dict[str, int]:
    """Bytes of the span-log files of *sources*, by name, before they are read. A name is never used twice."""
    files = [
        file for source in sources if isinstance(source, OtlpJsonSource) for file in otlp_files(Path(source.location))
    ]
    return {file.name: file.stat().st_size for file in files}


def _note_read(root: Path, read: Mapping[str, int]) -> None:
    """Leave word in the lake which span-log files it holds, for those who would remove them; of files that are gone it needs none."""
    path = root / semconv.LAKE_READ
    try:
        known = json.loads(path.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, LookupError, TypeError):
        known = {}
    files = dict(sorted({**known, **read}.items())[-MAX_READ:])
    if not read or files == known:
        return
    _put(path, json.dumps({"schema": "tracewrap.read/1", "files": files}))


@contextlib.contextmanager
def _turn(root: Path, wait_s: float) -> Iterator[None]:
    """Hold the lake's lock; the system frees it when a process dies."""
    give_up = time.monotonic() + wait_s
    while True:
        with systems.lock(root / ".lock") as ours:
            if ours:
                yield
                return
        if time.monotonic() > give_up:
            held = root / ".lock.held"
            rest = f", or remove {held} if none runs" if held.exists() else ""
            raise SourceError(
                f"{root}: another writer has held the lake for {wait_s:g} s; try again when it is done{rest}"
            )
        time.sleep(0.05)
