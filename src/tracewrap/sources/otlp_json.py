"""OTLP-JSON lines: tracewrap's span log and the OpenTelemetry Collector's ``file`` exporter, plain or compressed as whole files.

One line is one ``TracesData``. Torn lines (a killed process) and foreign lines are skipped and counted; numbers may be text or
numbers, ids any case. Everything happens in DuckDB, so a day of a million spans takes seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tracewrap.errors import SourceError
from tracewrap.records import DAY_NS
from tracewrap.sources.lines import batches, in_threads
from tracewrap.sources.losses import MARK, by_place, losses_in_line
from tracewrap.sources.spans import IS_CALL, PAIRS_MAP, calls_select
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
_VALUE = (
    '{"stringValue":"VARCHAR","intValue":"VARCHAR","doubleValue":"VARCHAR","boolValue":"VARCHAR",'
    '"arrayValue":"JSON","kvlistValue":"JSON"}'
)
_ATTRIBUTES = f'[{{"key":"VARCHAR","value":{_VALUE}}}]'
_SPAN = (
    '{"traceId":"VARCHAR","spanId":"VARCHAR","parentSpanId":"VARCHAR","startTimeUnixNano":"VARCHAR","endTimeUnixNano":"VARCHAR",'
    f'"traceState":"VARCHAR","attributes":{_ATTRIBUTES},"status":{{"code":"VARCHAR"}}}}'
)
_MACROS = (
    # One value as text: arrays of strings become a JSON list of strings, as every store of text attributes keeps them.
    """CREATE OR REPLACE MACRO otlp_text(v) AS CASE
        WHEN v.arrayValue IS NOT NULL THEN to_json(json_extract_string(v.arrayValue, '$.values[*].*'))::VARCHAR
        ELSE coalesce(v.stringValue, v.intValue, v.doubleValue, v.boolValue, v.kvlistValue::VARCHAR) END""",
    """CREATE OR REPLACE MACRO otlp_pairs(a) AS list_filter(
        [{'key': x.key, 'value': otlp_text(x.value)} for x in coalesce(a, [])],
        lambda e: e.key IS NOT NULL AND e.value IS NOT NULL)""",
    PAIRS_MAP,
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
        past = EVER[0] < since_ns < time.time_ns()
        recent = [file for file in files if not past or file.stat().st_mtime_ns >= since_ns - DAY_NS]
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
    readable = [file for file in files if file.stat().st_size > 0]
    status.files = len(readable)
    load_batches(connection, table, batches(readable), since_ns, until_ns, columns, status)


def load_batches(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    lines_of: Iterator[list[str]],
    since_ns: int,
    until_ns: int,
    columns: Mapping[str, str],
    status: ReadStatus,
    most_threads: int | None = None,
) -> None:
    """Create *table* from batches of OTLP-JSON lines, taken as they come, and fill *status*; SourceError when they cannot be read."""
    import duckdb

    for macro in _MACROS:
        connection.execute(macro)
    keyed = {"trace_id": "trace_id", "span_id": "span_id"} | dict(columns)
    select, kept = _select(since_ns, until_ns, keyed), ", ".join(keyed)
    try:
        connection.execute("CREATE OR REPLACE TEMP TABLE otlp_lines (json JSON)")
        connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT {kept} FROM ({select})")
        threads = int(connection.execute("SELECT current_setting('threads')").fetchall()[0][0])
        threads = min(threads, most_threads or threads)
        found = list(in_threads(lambda batch: _insert(connection, table, select, kept, batch), lines_of, threads))
        counts = zip((0,) * 6, *(row for row, _ in found), strict=True)
        lines, torn, foreign, spans, foreign_spans, bad = (sum(column) for column in counts)
    except duckdb.Error as error:
        raise SourceError(f"{status.location}: cannot be read ({str(error).splitlines()[0]})") from None
    status.lines, status.torn_lines, status.foreign_lines, status.spans, status.foreign_spans = (
        lines,
        torn,
        foreign,
        spans,
        foreign_spans + bad,
    )
    if bad:
        status.notes.append(f"{bad} LLM spans without a trace id, a span id or a start time were skipped")
    losses = [loss for _, held in found for line in held for loss in losses_in_line(line)]
    status.lost = by_place(loss for loss in losses if since_ns <= loss.start_ns < until_ns)
    status.duplicates = drop_duplicates(connection, table)


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, select: str, kept: str, batch: list[str]
) -> tuple[tuple[int, ...], list[str]]:
    """Append the calls of *batch*; (lines, torn lines, foreign lines, spans, spans that are no call, calls without identity).

    Beside them the lines that hold records of losses.
    """
    with connection.cursor() as own:
        own.execute(
            "CREATE OR REPLACE TEMP TABLE otlp_lines AS SELECT TRY_CAST(line AS JSON) AS json FROM (SELECT unnest(?) AS line)",
            [batch],
        )
        ours = "starts_with(json::VARCHAR, '{\"resourceSpans\":[') OR json_type(json, '$.resourceSpans') = 'ARRAY'"
        lines = own.execute(
            f"SELECT count(*), count(*) - count(json), count(*) FILTER (json IS NOT NULL AND ({ours}) IS NOT TRUE) FROM otlp_lines"
        ).fetchall()[0]
        lossy = own.execute(
            f"SELECT json::VARCHAR FROM otlp_lines WHERE contains(json::VARCHAR, {quoted(MARK)})"
        ).fetchall()
        own.execute(f"CREATE OR REPLACE TEMP TABLE otlp_spans AS {select}")
        spans = own.execute(
            "SELECT count(*), count(*) FILTER (is_call IS NOT TRUE), count(*) FILTER (bad_span AND is_call) FROM otlp_spans"
        ).fetchall()[0]
        own.execute(f"INSERT INTO {table} SELECT {kept} FROM otlp_spans WHERE is_call AND in_period")
    return (*lines, *spans), [line for (line,) in lossy]


def _select(since_ns: int, until_ns: int, columns: Mapping[str, str]) -> str:
    # JSON text is cut into spans before it is parsed, and what lies beside an unnest is computed below it: else DuckDB would copy or
    # parse a whole line of thousands of spans once a span.
    spans = f"""
        SELECT lower(s.traceId) AS trace_id, lower(s.spanId) AS span_id, nullif(lower(s.parentSpanId), '') AS parent_span_id,
            TRY_CAST(s.startTimeUnixNano AS BIGINT) AS start_ns, TRY_CAST(s.endTimeUnixNano AS BIGINT) AS end_ns,
            service_name, scope AS scope_name, nullif(s.traceState, '') AS trace_state,
            coalesce(s.status.code IN ('2', 'STATUS_CODE_ERROR'), false) AS failed,
            [e.key for e in pairs] AS keys, [e.value for e in pairs] AS vals, pairs,
            otlp_pairs(from_json(resource, '{_ATTRIBUTES}')) AS resource_pairs
        FROM (SELECT s, otlp_pairs(s.attributes) AS pairs, scope, resource, service_name
        FROM (SELECT from_json(span, '{_SPAN}') AS s, scope, resource, service_name
        FROM (SELECT unnest(spans) AS span, scope, resource, service_name
        FROM (SELECT ss->'$.spans[*]' AS spans, ss->>'$.scope.name' AS scope, resource, service_name
        FROM (SELECT unnest(scopes) AS ss, resource, service_name
        FROM (SELECT rs->'$.scopeSpans[*]' AS scopes, rs->'$.resource.attributes' AS resource,
            list_filter(otlp_pairs(from_json(rs->'$.resource.attributes', '{_ATTRIBUTES}')),
                lambda e: e.key = 'service.name')[1].value AS service_name
        FROM (SELECT unnest(json->'$.resourceSpans[*]') AS rs FROM otlp_lines WHERE json IS NOT NULL)))))))"""
    bad = "trace_id IS NULL OR trace_id = '' OR span_id IS NULL OR span_id = '' OR start_ns IS NULL"
    extra = {
        "is_call": IS_CALL,
        "bad_span": bad,
        "in_period": f"start_ns >= {since_ns} AND start_ns < {until_ns} AND NOT ({bad})",
    }
    return calls_select(spans, columns, extra)
