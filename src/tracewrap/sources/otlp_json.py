"""OTLP-JSON lines: tracewrap's span log and the OpenTelemetry Collector's ``file`` exporter, plain or compressed as whole files.

One line is one ``TracesData``. Torn lines (a killed process) and foreign lines are skipped and counted; numbers may be text or
numbers, ids any case. Everything happens in DuckDB, so a day of a million spans takes seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tracewrap.errors import SourceError
from tracewrap.sources.spans import IS_CALL, calls_select
from tracewrap.sources.table import EVER, ReadStatus, drop_duplicates, quoted

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
MAX_LINE_BYTES = 256 * 1024 * 1024
_DAY_NS = 86_400 * 10**9
_VALUE = '{"stringValue":"VARCHAR","intValue":"VARCHAR","doubleValue":"VARCHAR","boolValue":"VARCHAR","arrayValue":"JSON","kvlistValue":"JSON"}'
_ATTRIBUTES = f'[{{"key":"VARCHAR","value":{_VALUE}}}]'
_SHAPE = (
    f'{{"resourceSpans":[{{"resource":{{"attributes":{_ATTRIBUTES}}},"scopeSpans":[{{"scope":{{"name":"VARCHAR"}},"spans":[{{'
    '"traceId":"VARCHAR","spanId":"VARCHAR","parentSpanId":"VARCHAR","startTimeUnixNano":"VARCHAR","endTimeUnixNano":"VARCHAR",'
    f'"attributes":{_ATTRIBUTES},"status":{{"code":"VARCHAR"}}}}]}}]}}]}}'
)
_MACROS = (
    # One value as text: arrays of strings become a JSON list of strings, as every store of text attributes keeps them.
    """CREATE OR REPLACE TEMP MACRO otlp_text(v) AS CASE
        WHEN v.arrayValue IS NOT NULL THEN to_json(json_extract_string(v.arrayValue, '$.values[*].*'))::VARCHAR
        ELSE coalesce(v.stringValue, v.intValue, v.doubleValue, v.boolValue, v.kvlistValue::VARCHAR) END""",
    # A map of the present attributes; the slow path is for the rare span that names a key twice (the first one counts).
    """CREATE OR REPLACE TEMP MACRO otlp_pairs(a) AS
        list_filter([{'key': x.key, 'value': otlp_text(x.value)} for x in coalesce(a, [])], lambda e: e.key IS NOT NULL AND e.value IS NOT NULL)""",
    """CREATE OR REPLACE TEMP MACRO pairs_map(e) AS coalesce(TRY(map_from_entries(e)), map_from_entries(
        [list_filter(e, lambda x: x.key = k)[1] for k in list_distinct([y.key for y in e])]))""",
    "CREATE OR REPLACE TEMP MACRO otlp_map(a) AS pairs_map(otlp_pairs(a))",
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
        """See ``Source.load``. Files last written a day or more before the period are not opened: they cannot hold its calls."""
        path = Path(self.location)
        files = otlp_files(path)
        if not files:
            raise SourceError(f"{path}: holds no OTLP-JSON file ({', '.join(SUFFIXES[:3])}); is it a span-log folder?")
        status = ReadStatus("span_log", self.location)
        recent = [file for file in files if since_ns == EVER[0] or file.stat().st_mtime_ns >= since_ns - _DAY_NS]
        if len(recent) < len(files):
            status.notes.append(
                f"{len(files) - len(recent)} of {len(files)} files were last written before the period: not read"
            )
        load_files(connection, table, recent, since_ns, until_ns, columns, status)
        return status


def load_files(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    files: Iterable[Path],
    since_ns: int,
    until_ns: int,
    columns: Mapping[str, str],
    status: ReadStatus,
) -> None:
    """Create *table* from OTLP-JSON *files* and fill *status*; SourceError when a file cannot be read."""
    import duckdb

    readable = [file for file in files if file.stat().st_size > 0]
    for file in readable:
        if not os.access(file, os.R_OK):
            raise SourceError(f"{file}: cannot be read (permission denied)")
    status.files = len(readable)
    for macro in _MACROS:
        connection.execute(macro)
    keyed = {"trace_id": "trace_id", "span_id": "span_id"} | dict(columns)
    try:
        connection.execute(f"CREATE OR REPLACE TABLE {table} AS {_select(readable, since_ns, until_ns, keyed)}")
        _count(connection, table, readable, status)
    except duckdb.Error as error:
        raise SourceError(f"{status.location}: cannot be read ({str(error).splitlines()[0]})") from None
    connection.execute(f"DELETE FROM {table} WHERE is_call IS NOT TRUE OR in_period IS NOT TRUE")
    for helper in ("is_call", "in_period", "bad_span"):
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {helper}")
    status.duplicates = drop_duplicates(connection, table)


def _count(connection: duckdb.DuckDBPyConnection, table: str, files: list[Path], status: ReadStatus) -> None:
    row = connection.execute(
        f"SELECT count(*), count(*) FILTER (is_call IS NOT TRUE), count(*) FILTER (bad_span AND is_call) FROM {table}"
    ).fetchone()
    assert row is not None
    status.spans, status.foreign_spans, bad = row
    status.lines = status.torn_lines = status.foreign_lines = 0
    if files:
        ours = "starts_with(json::VARCHAR, '{\"resourceSpans\":[') OR json_type(json, '$.resourceSpans') = 'ARRAY'"
        lines = connection.execute(
            f"SELECT count(*), count(*) - count(json), count(*) FILTER (json IS NOT NULL AND ({ours}) IS NOT TRUE) FROM {_lines(files)}"
        ).fetchone()
        assert lines is not None
        status.lines, status.torn_lines, status.foreign_lines = lines
    if bad:
        status.notes.append(f"{bad} LLM spans without a trace id, a span id or a start time were skipped")
        status.foreign_spans = (status.foreign_spans or 0) + bad


def _lines(files: list[Path]) -> str:
    paths = ", ".join(quoted(str(file)) for file in files)
    return f"read_json_objects([{paths}], format='newline_delimited', ignore_errors=true, maximum_object_size={MAX_LINE_BYTES})"


def _select(files: list[Path], since_ns: int, until_ns: int, columns: Mapping[str, str]) -> str:
    source = _lines(files) if files else "(SELECT NULL::JSON AS json WHERE false)"
    spans = f"""
        SELECT lower(s.traceId) AS trace_id, lower(s.spanId) AS span_id, nullif(lower(s.parentSpanId), '') AS parent_span_id,
            TRY_CAST(s.startTimeUnixNano AS BIGINT) AS start_ns, TRY_CAST(s.endTimeUnixNano AS BIGINT) AS end_ns, resource['service.name'] AS service_name,
            scope AS scope_name, coalesce(s.status.code IN ('2', 'STATUS_CODE_ERROR'), false) AS failed,
            otlp_map(s.attributes) AS attrs, resource
        FROM (SELECT resource, ss.scope.name AS scope, unnest(ss.spans) AS s
        FROM (SELECT otlp_map(rs.resource.attributes) AS resource, unnest(rs.scopeSpans) AS ss
        FROM (SELECT unnest(from_json(json, '{_SHAPE}').resourceSpans) AS rs FROM {source} WHERE json IS NOT NULL)))"""
    bad = "trace_id IS NULL OR trace_id = '' OR span_id IS NULL OR span_id = '' OR start_ns IS NULL"
    extra = {
        "is_call": IS_CALL,
        "bad_span": bad,
        "in_period": f"start_ns >= {since_ns} AND start_ns < {until_ns} AND NOT ({bad})",
    }
    return calls_select(spans, columns, extra)
