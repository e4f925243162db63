"""Batches of OTLP-JSON lines to rows of a calls table, in DuckDB's threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tracewrap.sources.lines import Batch, in_threads
from tracewrap.sources.losses import MARK, Loss, losses_in_line
from tracewrap.sources.spans import IS_CALL, PAIRS_MAP, calls_select
from tracewrap.sources.table import CALL_COLUMNS, EVER, ReadStatus, quoted

if TYPE_CHECKING:
    import duckdb

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


@dataclass(slots=True)
class Tally:
    """What was met in one part of a source. Spans without identity are LLM spans without a trace id, a span id or a start time."""

    lines: int = 0
    torn_lines: int = 0
    foreign_lines: int = 0
    spans: int = 0
    foreign_spans: int = 0
    without_identity: int = 0
    losses: list[Loss] = field(default_factory=list)

    @classmethod
    def of(cls, counts: Iterable[int], losses: Iterable[Loss] = ()) -> Tally:
        """From *counts* in order, as ``counts`` gives them; those that are left out are 0."""
        return cls(**dict(zip(_COUNTS, counts, strict=False)), losses=list(losses))

    def counts(self) -> list[int]:
        """The counts, in order."""
        return [getattr(self, name) for name in _COUNTS]

    def add(self, other: Tally) -> None:
        """Count *other* too."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.losses += other.losses

    def tell(self, status: ReadStatus, since_ns: int, until_ns: int) -> None:
        """Say it in *status*; of losses those of the period."""
        status.lines, status.torn_lines, status.foreign_lines = self.lines, self.torn_lines, self.foreign_lines
        status.spans, status.foreign_spans = self.spans, self.foreign_spans + self.without_identity
        if self.without_identity:
            status.notes.append(
                f"{self.without_identity} LLM spans without a trace id, a span id or a start time were skipped"
            )
        status.losses = [loss for loss in self.losses if since_ns <= loss.start_ns < until_ns]


def total(tallies: Iterable[Tally]) -> Tally:
    """All *tallies* as one."""
    sum_ = Tally()
    for tally in tallies:
        sum_.add(tally)
    return sum_


_COUNTS = ("lines", "torn_lines", "foreign_lines", "spans", "foreign_spans", "without_identity")


def parse(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    lines_of: Iterator[Batch],
    since_ns: int,
    until_ns: int,
    columns: Mapping[str, str],
    most_threads: int | None = None,
) -> dict[int, Tally]:
    """Create *table* from batches of OTLP-JSON lines, taken as they come; what was met, by part.

    *columns*: name to SQL over ``CALL_COLUMNS`` and ``in_part``, the number of the part that a call is in.
    """
    for macro in _MACROS:
        connection.execute(macro)
    select, kept = _select(since_ns, until_ns, columns), ", ".join(columns)
    connection.execute("CREATE OR REPLACE TEMP TABLE otlp_lines (json JSON, part INTEGER)")
    connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT {kept} FROM ({select})")
    threads = int(connection.execute("SELECT current_setting('threads')").fetchall()[0][0])
    threads = min(threads, most_threads or threads)
    found: dict[int, Tally] = {}
    for tallies in in_threads(lambda batch: _insert(connection, table, select, kept, batch), lines_of, threads):
        for part, tally in tallies.items():
            found.setdefault(part, Tally()).add(tally)
    return found


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, select: str, kept: str, batch: Batch
) -> Mapping[int, Tally]:
    """Append the calls of *batch*; what was met, by part."""
    with connection.cursor() as own:
        own.execute(
            "CREATE OR REPLACE TEMP TABLE otlp_lines AS SELECT TRY_CAST(line AS JSON) AS json, part"
            " FROM (SELECT unnest(?) AS line, unnest(?::INTEGER[]) AS part)",
            list(batch),
        )
        ours = "starts_with(json::VARCHAR, '{\"resourceSpans\":[') OR json_type(json, '$.resourceSpans') = 'ARRAY'"
        lines = own.execute(
            "SELECT part, count(*), count(*) - count(json), count(*) FILTER (json IS NOT NULL AND"
            f" ({ours}) IS NOT TRUE) FROM otlp_lines GROUP BY part"
        ).fetchall()
        lossy = own.execute(
            f"SELECT part, json::VARCHAR FROM otlp_lines WHERE contains(json::VARCHAR, {quoted(MARK)})"
        ).fetchall()
        own.execute(f"CREATE OR REPLACE TEMP TABLE otlp_spans AS {select}")
        spans = own.execute(
            "SELECT in_part, count(*), count(*) FILTER (is_call IS NOT TRUE), count(*) FILTER (bad_span AND is_call)"
            " FROM otlp_spans GROUP BY in_part"
        ).fetchall()
        own.execute(f"INSERT INTO {table} SELECT {kept} FROM otlp_spans WHERE is_call AND in_period")
    return _tallies(lines, spans, lossy)


def _tallies(
    lines: Sequence[tuple[int, ...]], spans: Sequence[tuple[int, ...]], lossy: Sequence[tuple[int, str]]
) -> Mapping[int, Tally]:
    found = {part: Tally.of(counts) for part, *counts in lines}
    for part, *counts in spans:
        found[part].spans, found[part].foreign_spans, found[part].without_identity = counts
    for part, line in lossy:
        found[part].losses += losses_in_line(line)
    return found


def _select(since_ns: int, until_ns: int, columns: Mapping[str, str]) -> str:
    # JSON text is cut into spans before it is parsed, and what lies beside an unnest is computed below it: else DuckDB would copy or
    # parse a whole line of thousands of spans once a span.
    spans = f"""
        SELECT lower(s.traceId) AS trace_id, lower(s.spanId) AS span_id, nullif(lower(s.parentSpanId), '') AS parent_span_id,
            TRY_CAST(s.startTimeUnixNano AS BIGINT) AS start_ns, TRY_CAST(s.endTimeUnixNano AS BIGINT) AS end_ns,
            part, service_name, scope AS scope_name, nullif(s.traceState, '') AS trace_state,
            coalesce(s.status.code IN ('2', 'STATUS_CODE_ERROR'), false) AS failed,
            [e.key for e in pairs] AS keys, [e.value for e in pairs] AS vals, pairs,
            otlp_pairs(from_json(resource, '{_ATTRIBUTES}')) AS resource_pairs
        FROM (SELECT s, otlp_pairs(s.attributes) AS pairs, scope, resource, service_name, part
        FROM (SELECT from_json(span, '{_SPAN}') AS s, scope, resource, service_name, part
        FROM (SELECT unnest(spans) AS span, scope, resource, service_name, part
        FROM (SELECT ss->'$.spans[*]' AS spans, ss->>'$.scope.name' AS scope, resource, service_name, part
        FROM (SELECT unnest(scopes) AS ss, resource, service_name, part
        FROM (SELECT rs->'$.scopeSpans[*]' AS scopes, rs->'$.resource.attributes' AS resource,
            list_filter(otlp_pairs(from_json(rs->'$.resource.attributes', '{_ATTRIBUTES}')),
                lambda e: e.key = 'service.name')[1].value AS service_name, part
        FROM (SELECT unnest(json->'$.resourceSpans[*]') AS rs, part FROM otlp_lines WHERE json IS NOT NULL)))))))"""
    bad = "trace_id IS NULL OR trace_id = '' OR span_id IS NULL OR span_id = '' OR start_ns IS NULL"
    extra = {
        "in_part": "part",
        "is_call": IS_CALL,
        "bad_span": bad,
        "in_period": f"start_ns >= {since_ns} AND start_ns < {until_ns} AND NOT ({bad})",
    }
    return calls_select(spans, columns, extra)


def calls_sql() -> str:
    """How lines become calls, as text: what of it changes, changes what was parsed before."""
    return _select(*EVER, {name: name for name in CALL_COLUMNS})
