"""The join in a warehouse of one's own: a script of tables and views, written by the generator of the report's queries.

Three small tables hold what Python decides once for each distinct kind of call (its profiles' coefficients, its prices, its names); a view
puts denoised and idealized runtime, contention, list and idealized cost beside every row. The rows are the calls of a lake
(``LAKE``) or the spans of the OpenTelemetry Collector's table ``otel_traces`` (``COLLECTOR``). Kinds of calls that came up since have
no estimates before the tables are written again; as in reports, estimates are of calls that were read to their end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from tracewrap.errors import ConfigurationError, missing_extra
from tracewrap.report.tables import kinds, queries, split_sql
from tracewrap.report.tables.engines import transpile, typed_columns
from tracewrap.semconv import GENERATION_OPERATIONS
from tracewrap.sources.spans import IS_CALL, calls_select
from tracewrap.sources.table import quoted

Dialect = Literal["duckdb", "clickhouse", "spark", "bigquery", "snowflake"]
DIALECTS: tuple[Dialect, ...] = ("duckdb", "clickhouse", "spark", "bigquery", "snowflake")
RUN: frozenset[Dialect] = frozenset({"duckdb", "clickhouse"})
"""Dialects whose scripts the tests run and compare with ``tracewrap.join``; those of the others are transpiled and only parsed."""
COLLECTOR, LAKE = "otel_traces", "calls"
"""Default names of the two tables."""
_ROWS_AT_ONCE = 200
_SEGMENTS = 8
"""Segments of prompt curves that every script has room for, so that tables can be written again below views that stay."""
_NOT_IN_SPANS = {"sampled": "CAST(NULL AS BOOLEAN)", "sampling_probability": "CAST(NULL AS DOUBLE)"}
_SPANS: Mapping[str, str] = {
    "clickhouse": "SELECT lower(TraceId) AS trace_id, lower(SpanId) AS span_id, nullIf(lower(ParentSpanId), '') AS parent_span_id,"
    " toUnixTimestamp64Nano(Timestamp) AS start_ns, toUnixTimestamp64Nano(Timestamp) + toInt64(Duration) AS end_ns,"
    " nullIf(ServiceName, '') AS service_name, nullIf(ScopeName, '') AS scope_name,"
    " StatusCode IN ('Error', 'STATUS_CODE_ERROR') AS failed, SpanAttributes AS attrs FROM {table}"
    " WHERE mapContains(SpanAttributes, 'gen_ai.operation.name')",
    "duckdb": "SELECT lower(TraceId) AS trace_id, lower(SpanId) AS span_id, nullif(lower(ParentSpanId), '') AS parent_span_id,"
    " epoch_ns(Timestamp) AS start_ns, epoch_ns(Timestamp) + CAST(Duration AS BIGINT) AS end_ns,"
    " nullif(ServiceName, '') AS service_name, nullif(ScopeName, '') AS scope_name,"
    " StatusCode IN ('Error', 'STATUS_CODE_ERROR') AS failed, SpanAttributes AS attrs FROM {table}"
    " WHERE SpanAttributes['gen_ai.operation.name'] IS NOT NULL",
}
"""The Collector's table as the relation that ``calls_select`` takes, in the engine's own words."""


@dataclass(frozen=True, slots=True)
class Warehouse:
    """Where the script is to run. ``rows``: the table of calls or spans there; ``collector``: it is the Collector's.

    ``prefix``: how the names of all that is made begin. ``materialized``: ClickHouse joins each span as it arrives, into a table.
    Raises ConfigurationError for what the engine does not have.
    """

    dialect: Dialect
    rows: str = LAKE
    collector: bool = False
    prefix: str = "tracewrap"
    materialized: bool = False

    def __post_init__(self) -> None:
        for name in (*self.rows.split("."), self.prefix):
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise ConfigurationError(f"{name!r} is no name of a table; write letters, digits and _")
        if self.collector and self.dialect not in _SPANS:
            raise ConfigurationError(
                f"the Collector has no table for {self.dialect}; give the calls of a lake there: --rows lake --table NAME"
            )
        if self.materialized and self.dialect != "clickhouse":
            raise ConfigurationError(
                f"--materialized is ClickHouse's; the view of {self.dialect} is computed when it is read"
            )


def script(
    to: Warehouse, dims: Sequence[kinds.Dim], stacks: Sequence[str], *, tables_only: bool = False
) -> Iterator[str]:
    """The statements, in order: the three tables with their rows, then the views. *stacks*: labels of the references of *dims*.

    Raises ConfigurationError where *tables_only* would leave views behind that know fewer segments of prompt curves than the tables.
    """
    prefixes = (queries.DENOISED, *(f"idealized_{i}" for i in range(len(stacks))))
    writer = _Writer(to)
    n_segments = kinds.write_tables(writer, dims, prefixes, _SEGMENTS)
    if tables_only and n_segments > _SEGMENTS:
        raise ConfigurationError(
            f"a profile has {n_segments} segments, the views may know {_SEGMENTS}; write the whole script, without --tables-only"
        )
    yield from writer.statements
    if tables_only:
        return
    calls = _calls(to)
    joined = _final(queries.joined_query(prefixes, n_segments, 0, 0, 2**62, ids=True, unknown_kinds=True), stacks)
    if to.materialized:
        select = writer.sql(joined, "made_here").replace(f"{to.prefix}_calls", f"({calls})")
        yield f"DROP TABLE IF EXISTS {to.prefix}_joined"
        yield f"CREATE MATERIALIZED VIEW {to.prefix}_joined ENGINE = MergeTree ORDER BY (start_time_ns) AS {select}{writer.settings}"
        return
    yield f"CREATE OR REPLACE VIEW {to.prefix}_calls AS {_once(to, calls)}{writer.settings}"
    yield f"CREATE OR REPLACE VIEW {to.prefix}_joined AS {writer.sql(joined)}{writer.settings}"


class _Writer:
    """An ``Engine`` that writes down what it is told to make."""

    def __init__(self, to: Warehouse) -> None:
        self._to = to
        self.statements: list[str] = []
        self.settings = (
            " SETTINGS join_use_nulls = 1, prefer_column_name_to_alias = 1" if to.dialect == "clickhouse" else ""
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Nothing is asked of a script."""
        raise NotImplementedError

    def materialize(self, name: str, sql: str) -> None:
        """Nothing is computed by a script."""
        raise NotImplementedError

    def table(self, name: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """See ``Engine``."""
        named = f"{self._to.prefix}_{name}"
        engine = " ENGINE = MergeTree ORDER BY tuple()" if self._to.dialect == "clickhouse" else ""
        self.statements.append(f"CREATE OR REPLACE TABLE {named} ({typed_columns(columns, self._to.dialect)}){engine}")
        for at in range(0, len(rows), _ROWS_AT_ONCE):
            values = ", ".join(f"({', '.join(map(self._literal, row))})" for row in rows[at : at + _ROWS_AT_ONCE])
            self.statements.append(f"INSERT INTO {named} VALUES {values}")

    def _literal(self, value: Any) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float):
            return f"{value!r}" if "e" in repr(value) else f"{value!r}e0"  # a bare 0.1 is a DECIMAL in most dialects
        if isinstance(value, int):
            return str(value)
        return transpile(f"SELECT {quoted(str(value))}", self._to.dialect).removeprefix("SELECT ")

    def sql(self, query: str, calls: str | None = None) -> str:
        """*query* of the report's generator over the tables of this script, in its dialect."""
        names = {name: f"{self._to.prefix}_{name}" for name in ("calls", "dims", "prices", "labels")}
        return transpile(query, self._to.dialect, tables=names)


def _calls(to: Warehouse) -> str:
    """SELECT of what the join reads of a call, over the rows as they are, in the script's dialect."""
    columns = queries.loaded_columns(())
    if not to.collector:
        return transpile(f"SELECT {_listed(columns)} FROM given_rows", to.dialect, tables={"given_rows": to.rows})
    columns |= _NOT_IN_SPANS
    read = calls_select(
        "span_rows", columns, {"is_call": IS_CALL}, lookup=lambda name: f"nullif(attrs[{quoted(name)}], '')"
    )
    sql = transpile(f"SELECT {', '.join(columns)} FROM ({read}) AS s WHERE is_call", to.dialect)
    return re.sub(r"\bspan_rows\b", lambda _: _SPANS[to.dialect].format(table=to.rows), sql)


def _listed(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{sql} AS {name}" for name, sql in columns.items())


def _once(to: Warehouse, calls: str) -> str:
    """*calls* without a framework's spans round an SDK's: the inner one is the call. Lakes have been told them apart."""
    if not to.collector:
        return calls
    generations = ", ".join(map(quoted, sorted(GENERATION_OPERATIONS)))
    kind = f"CASE WHEN dim_operation IN ({generations}) THEN 'generation' ELSE dim_operation END"
    inner = f"SELECT trace_id, parent_span_id, {kind} FROM ({calls}) AS i WHERE parent_span_id IS NOT NULL"
    return f"SELECT * FROM ({calls}) AS c WHERE (trace_id, span_id, {kind}) NOT IN ({inner})"


def _final(joined: str, stacks: Sequence[str]) -> str:
    """The columns of the view, over ``queries.joined_query`` beside the names of its kinds of calls."""
    columns = {
        "trace_id": "trace_id",
        "span_id": "span_id",
        "start_time_ns": "start_time_ns",
        "service": "service",
        **{name: f"l.{name}" for name in ("provider", "model", "deployment", "operation")},
        "outcome": "outcome_text",
        **{name: name for name in ("input_tokens", "output_tokens", "cached_input_tokens")},
        "raw_runtime_s": "any_raw_s",
        "denoised_runtime_s": "denoised_s",
        "denoised_runtime_low_s": "denoised_low_s",
        "denoised_runtime_high_s": "denoised_high_s",
        "denoised_provenance": "CASE WHEN denoised_s IS NOT NULL THEN l.denoised_provenance END",
        "contention_s": "last_attempt_s - denoised_s",
        "slow_by": _named("verdict", split_sql.VERDICTS),
        "list_cost_usd": "list_cost_usd",
    }
    for i in range(len(stacks)):
        columns |= _reference(f"idealized_{i}", "idealized" if i == 0 else f"idealized_{i + 1}")
    return f"SELECT {_listed(columns)} FROM ({joined}) AS j LEFT JOIN labels AS l ON j.dim = l.label_dim"


def _reference(prefix: str, name: str) -> dict[str, str]:
    """Columns of one reference stack."""
    out = {f"{name}_runtime{part}_s": f"{prefix}{part}_s" for part in ("", "_low", "_high")}
    out[f"{name}_provenance"] = f"CASE WHEN {prefix}_s IS NOT NULL THEN l.{prefix}_provenance END"
    out[f"{name}_cost_usd"] = f"{prefix}_s * l.{prefix}_usd_per_s"
    out[f"{name}_energy_j"] = f"{prefix}_s * l.{prefix}_j_per_s"
    return out


def _named(column: str, words: Sequence[str]) -> str:
    """*column*, which numbers *words*, as one of them."""
    return "CASE " + " ".join(f"WHEN {column} = {i} THEN {quoted(word)}" for i, word in enumerate(words)) + " END"


def known(dims: Sequence[kinds.Dim]) -> list[str]:
    """How many of the kinds of calls have what, in words."""
    have = {
        "a denoised profile": sum(dim.denoised is not None for dim in dims),
        "an idealized one": sum(any(dim.idealized) for dim in dims),
        "a list price": sum(bool(dim.price.rates) for dim in dims),
    }
    return [f"{count} with {what}" for what, count in have.items()]


def written(to: Warehouse, dims: Sequence[kinds.Dim], statements: Sequence[str]) -> str:
    """*statements* as a script with a heading."""
    ran = "" if to.dialect in RUN else f" Transpiled to {to.dialect} and parsed, not run there."
    views = f"{to.prefix}_joined puts estimates beside the rows of {to.rows}."
    heading = [
        f"-- tracewrap {version('tracewrap')}: {views}{ran}",
        f"-- {len(dims)} kinds of calls, {', '.join(known(dims))}; write the tables again when models, profiles or prices change.",
    ]
    return "\n".join(heading) + "\n" + "".join(f"{statement};\n" for statement in statements)


def parse(statements: Sequence[str], dialect: Dialect) -> None:
    """Raise ConfigurationError if a statement is none in *dialect*, as far as sqlglot knows it."""
    try:
        import sqlglot
    except ImportError:
        raise missing_extra("another query engine", "report") from None
    for statement in statements:
        try:
            sqlglot.parse_one(statement, read=dialect)
        except sqlglot.errors.ParseError as error:
            raise ConfigurationError(f"what was written for {dialect} does not parse: {error}") from None
