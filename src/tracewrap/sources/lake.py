"""The lake: Parquet, one folder a UTC day, one row a call, columns as ``CALL_COLUMNS``.

    LAKE/day=2026-11-22/part-<id>.parquet
    LAKE/day=2026-11-22/.losses.json        where calls were lost that day: how many, where and why

``compact`` appends the calls of span logs that the lake does not hold yet. A file appears whole or not at all (written beside, synced,
renamed); one lock makes writers take turns; running it again adds nothing. So rows are unique by (trace id, span id) by construction,
and readers of such files (they are marked) need not check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracewrap.errors import SourceError
from tracewrap.sources.losses import LAKE_FILE, Loss, losses_of
from tracewrap.sources.table import CALL_COLUMNS, EVER, ReadStatus, day_text, drop_duplicates, quoted, scalar

if TYPE_CHECKING:
    import duckdb

MARK = "tracewrap.lake"
VERSION = "1"


def is_lake(path: Path) -> bool:
    """Whether *path* is a Parquet file or a folder with one below it, or with losses of a day that left no call."""
    if path.is_file():
        return path.suffix == ".parquet"
    return any(path.rglob("*.parquet")) or any(path.rglob(LAKE_FILE))


def parquet_files(path: Path, since_ns: int = EVER[0], until_ns: int = EVER[1]) -> list[Path]:
    """Files of *path* that can hold calls of the period, by their ``day=`` folder where they have one."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*.parquet") if not p.name.startswith("."))
    return _of_period(files, since_ns, until_ns)


def lake_losses(path: Path, since_ns: int, until_ns: int, notes: list[str]) -> list[Loss]:
    """Losses of the lake *path* that began in the period; a file that cannot be read is named in *notes*."""
    found: list[Loss] = []
    for file in [] if path.is_file() else _of_period(sorted(path.rglob(LAKE_FILE)), since_ns, until_ns):
        try:
            found += [loss for loss in losses_of(file) if since_ns <= loss.start_ns < until_ns]
        except (OSError, ValueError) as error:
            notes.append(f"{file}: cannot be read ({error}): what calls were lost that day is not known")
    return found


def _of_period(files: list[Path], since_ns: int, until_ns: int) -> list[Path]:
    if since_ns == EVER[0] and until_ns == EVER[1]:
        return files
    first, last = day_text(since_ns), day_text(until_ns - 1)
    return [file for file in files if not (day := _day_of(file)) or first <= day <= last]


def _day_of(file: Path) -> str | None:
    return next((part[4:] for part in reversed(file.parts[:-1]) if part.startswith("day=")), None)


class LakeSource:
    """A Parquet folder written by ``compact`` or by anyone with the same columns."""

    def __init__(self, text: str) -> None:
        self.location = text

    def load(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        since_ns: int,
        until_ns: int,
        columns: Mapping[str, str],
    ) -> ReadStatus:
        """See ``Source.load``: a view over the files, so only the columns that a query needs are read."""
        import duckdb

        files = parquet_files(Path(self.location), since_ns, until_ns)
        status = ReadStatus("lake", self.location, files=len(files))
        status.losses = lake_losses(Path(self.location), since_ns, until_ns, status.notes)
        if not files:
            typed = ", ".join(f"NULL::{kind} AS {name}" for name, kind in CALL_COLUMNS.items())
            connection.execute(
                f"CREATE OR REPLACE VIEW {table} AS SELECT {_list(columns)} FROM (SELECT {typed} WHERE false)"
            )
            return status
        try:
            inside = (
                f"FROM {relation(connection, files)} WHERE start_time_ns >= {since_ns} AND start_time_ns < {until_ns}"
            )
            if _unique_by_construction(connection, files):
                connection.execute(f"CREATE OR REPLACE VIEW {table} AS SELECT {_list(columns)} {inside}")
            else:
                keyed = {"trace_id": "trace_id", "span_id": "span_id"} | dict(columns)
                connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT {_list(keyed)} {inside}")
                status.duplicates = drop_duplicates(connection, table)
        except duckdb.Error as error:
            raise SourceError(f"{self.location}: cannot be read ({str(error).splitlines()[0]})") from None
        return status


def _list(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{sql} AS {name}" for name, sql in columns.items())


def relation(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> str:
    """A relation over *files* with every call column; a column that the files lack (an older lake) is NULL."""
    paths = ", ".join(quoted(str(file)) for file in files)
    scan = f"read_parquet([{paths}], union_by_name=true, hive_partitioning=false)"
    present = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()}
    if missing := {"trace_id", "span_id", "start_time_ns", "provider", "operation"} - present:
        raise SourceError(f"{files[0]}: has no column {sorted(missing)[0]}; it is not a lake of calls")
    lacking = [f"NULL::{kind} AS {name}" for name, kind in CALL_COLUMNS.items() if name not in present]
    return f"(SELECT {', '.join(['*', *lacking])} FROM {scan})" if lacking else scan


def _unique_by_construction(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> bool:
    """Whether every file is one of ``compact``'s, all in one lake."""
    roots = {file.parent.parent for file in files}
    paths = ", ".join(quoted(str(file)) for file in files)
    marked = scalar(
        connection,
        f"SELECT count(DISTINCT file_name) FROM parquet_kv_metadata([{paths}]) WHERE decode(key) = '{MARK}'",
    )
    return len(roots) == 1 and marked == len(files)
