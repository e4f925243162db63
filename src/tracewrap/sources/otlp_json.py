"""OTLP-JSON lines: tracewrap's span log and the OpenTelemetry Collector's ``file`` exporter, plain or compressed as whole files.

One line is one ``TracesData``. Torn lines (a killed process) and foreign lines are skipped and counted; numbers may be text or
numbers, ids any case. Everything happens in DuckDB, so a day of a million spans takes seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tracewrap.errors import SourceError
from tracewrap.records import DAY_NS
from tracewrap.sources import otlp_sql, parsed
from tracewrap.sources.lines import Batch
from tracewrap.sources.table import EVER, ReadStatus, drop_duplicates

if TYPE_CHECKING:
    import duckdb

SUFFIXES = (
    ".jsonl",
    ".ndjson",
    ".json",
    ".jsonl.gz",
    ".ndjson.gz",
    ".json.gz",
    ".jsonl.zst",
    ".ndjson.zst",
    ".json.zst",
)


def otlp_files(path: Path) -> list[Path]:
    """The OTLP-JSON files of a folder (its sub-folders too), or the file itself; sorted, temporary ones left out."""
    if path.is_file():
        return [path]
    found = (p for p in path.rglob("*") if p.name.endswith(SUFFIXES) and not p.name.startswith(".") and p.is_file())
    return sorted(found)


class OtlpJsonSource:
    """A span-log folder or OTLP-JSON files."""

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
        """See ``Source.load``; what was parsed before is not parsed again (``parsed``).

        Files last written a day or more before the period are not opened: they cannot hold its calls.
        """
        import duckdb

        path = Path(self.location)
        files = otlp_files(path)
        if not files:
            raise SourceError(f"{path}: holds no OTLP-JSON file ({', '.join(SUFFIXES[:3])}); is it a span-log folder?")
        status = ReadStatus("span_log", self.location)
        past = EVER[0] < since_ns < time.time_ns()
        recent = [file for file in files if not past or file.stat().st_mtime_ns >= since_ns - DAY_NS]
        if len(recent) < len(files):
            status.notes.append(
                f"{len(files) - len(recent)} of {len(files)} files were last written before the period: not read"
            )
        readable = [file for file in recent if file.stat().st_size > 0]
        status.files = len(readable)
        root = path if path.is_dir() else path.parent
        try:
            parsed.load(connection, table, root, readable, since_ns, until_ns, columns, status)
        except duckdb.Error as error:
            raise SourceError(f"{self.location}: cannot be read ({str(error).splitlines()[0]})") from None
        return status


def load_batches(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    lines_of: Iterator[Batch],
    since_ns: int,
    until_ns: int,
    columns: Mapping[str, str],
    status: ReadStatus,
    most_threads: int | None = None,
) -> None:
    """Create *table* from batches of OTLP-JSON lines, taken as they come, and fill *status*; SourceError when they cannot be read."""
    import duckdb

    keyed = {"trace_id": "trace_id", "span_id": "span_id"} | dict(columns)
    try:
        found = otlp_sql.parse(connection, table, lines_of, since_ns, until_ns, keyed, most_threads)
    except duckdb.Error as error:
        raise SourceError(f"{status.location}: cannot be read ({str(error).splitlines()[0]})") from None
    otlp_sql.total(found.values()).tell(status, since_ns, until_ns)
    status.duplicates = drop_duplicates(connection, table)
