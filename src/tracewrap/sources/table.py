"""The calls table: its columns, what a source is, and how reading went."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tracewrap.errors import ConfigurationError, missing_extra
from tracewrap.records import Call, TokenUsage
from tracewrap.semconv import GENERATION_OPERATIONS, USAGE_COLUMNS
from tracewrap.sources.losses import Loss, by_place

if TYPE_CHECKING:
    import duckdb

CALL_COLUMNS: Mapping[str, str] = {
    "trace_id": "VARCHAR",
    "span_id": "VARCHAR",
    "parent_span_id": "VARCHAR",
    "start_time_ns": "BIGINT",
    "provider": "VARCHAR",
    "operation": "VARCHAR",
    "service_name": "VARCHAR",
    "scope_name": "VARCHAR",
    "request_model": "VARCHAR",
    "response_model": "VARCHAR",
    "server_address": "VARCHAR",
    "server_port": "INTEGER",
    "stream": "BOOLEAN",
    **dict.fromkeys(USAGE_COLUMNS, "BIGINT"),
    "usage_source": "VARCHAR",
    "raw_runtime_s": "DOUBLE",
    "time_to_first_chunk_s": "DOUBLE",
    "consumer_s": "DOUBLE",
    "attempts": "INTEGER",
    "retry_s": "DOUBLE",
    "outcome": "VARCHAR",
    "error_type": "VARCHAR",
    "response_id": "VARCHAR",
    "request_id": "VARCHAR",
    "service_tier": "VARCHAR",
    "speed": "VARCHAR",
    "region": "VARCHAR",
    "finish_reasons": "VARCHAR[]",
    "server_processing_s": "DOUBLE",
    "client_pool_s": "DOUBLE",
    "client_sdk_s": "DOUBLE",
    "client_lag_s": "DOUBLE",
    "client_lag_kind": "VARCHAR",
    "network_s": "DOUBLE",
    "network_transit_s": "DOUBLE",
    "sampled": "BOOLEAN",
    "sampling_probability": "DOUBLE",
    "tags": "MAP(VARCHAR, VARCHAR)",
}
"""The calls table: ``Call``'s fields, ``usage`` flattened (all NULL, ``usage_source`` too, when there is none)."""

EVER = (-(2**62), 2**62)
"""The period (start, end) in nanoseconds that holds every call."""


@dataclass(slots=True)
class ReadStatus:
    """What reading a source found; the same facts as ``report.model.SourceStatus``."""

    kind: str
    location: str
    complete: bool = True
    files: int | None = None
    lines: int | None = None
    torn_lines: int | None = None
    foreign_lines: int | None = None
    spans: int | None = None
    foreign_spans: int | None = None
    duplicates: int = 0
    losses: list[Loss] = field(default_factory=list)
    """Calls of the period that did not reach a place, as the records of the source say."""
    notes: list[str] = field(default_factory=list)
    trace_url: str | None = None
    """Where a trace can be looked at: a URL with ``{trace_id}`` in it, of sources that have such pages."""

    @property
    def lost(self) -> dict[str, dict[str, int]]:
        """``losses`` as numbers of calls, by place and reason."""
        return by_place(self.losses)

    def facts(self) -> dict[str, Any]:
        """As plain values, for reports: ``lost`` in the place of its records."""
        values = asdict(self) | {"lost": self.lost}
        del values["losses"]
        return values

    @property
    def dropped(self) -> int:
        """Lines and copies that were skipped."""
        return (self.torn_lines or 0) + (self.foreign_lines or 0) + self.duplicates


class Source(Protocol):
    """One origin of calls."""

    @property
    def location(self) -> str:
        """The source as the user named it."""
        ...

    def load(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        since_ns: int,
        until_ns: int,
        columns: Mapping[str, str],
    ) -> ReadStatus:
        """Create *table* (a table or a view) of the calls that start in [since_ns, until_ns), unique by (trace id, span id).

        *columns*: name to SQL expression over ``CALL_COLUMNS``: only these are read. Raises SourceError.
        """
        ...


def connect(memory_limit: str | None = None, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that never goes to the network.

    Raises MissingExtraError without the extra ``report``, ConfigurationError for a *memory_limit* that DuckDB does not take.
    """
    try:
        import duckdb
    except ImportError:
        raise missing_extra("reading calls", "report") from None
    config: dict[str, Any] = {"autoinstall_known_extensions": False, "preserve_insertion_order": False}
    if memory_limit:
        config["memory_limit"] = memory_limit
    if threads:
        config["threads"] = threads
    try:
        connection = duckdb.connect(":memory:", config=config)
    except duckdb.Error:
        if not memory_limit:
            raise
        raise ConfigurationError(
            f"--memory {memory_limit!r} is no size; write a number and a unit, such as 4GB"
        ) from None
    connection.execute("SET enable_progress_bar = false")  # it would print into the report
    return connection


def drop_duplicates(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """Delete what tells of a call a second time from *table*; the number deleted.

    That are later copies of one (trace id, span id), and a framework's span round an SDK's span of the same operation: the inner one
    is the call.
    """
    return _drop_copies(connection, table) + _drop_outer(connection, table)


def _drop_outer(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """Delete spans that are the parent of a call of their own operation, if *table* has the columns that tell.

    Frameworks call every generation a chat, whatever the SDK below calls it: all generations are one operation here.
    """
    columns = {row[0] for row in connection.execute(f"DESCRIBE {table}").fetchall()}
    operation = next((name for name in ("operation", "dim_operation") if name in columns), None)
    if operation is None or "parent_span_id" not in columns:
        return 0
    generations = ", ".join(map(quoted, sorted(GENERATION_OPERATIONS)))
    kind = f"CASE WHEN {operation} IN ({generations}) THEN 'generation' ELSE {operation} END"
    inner = f"SELECT trace_id, parent_span_id, {kind} FROM {table} WHERE parent_span_id IS NOT NULL"
    outer = f"(trace_id, span_id, {kind}) IN ({inner})"
    found = scalar(connection, f"SELECT count(*) FROM {table} WHERE {outer}")
    if found:
        connection.execute(f"DELETE FROM {table} WHERE {outer}")
    return found


def _drop_copies(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    repeated = f"SELECT trace_id, span_id FROM {table} GROUP BY ALL HAVING count(*) > 1"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE repeated_ids AS {repeated}")
    if not scalar(connection, "SELECT count(*) FROM repeated_ids"):
        return 0
    before = scalar(connection, f"SELECT count(*) FROM {table}")
    connection.execute(
        f"DELETE FROM {table} WHERE rowid IN (SELECT t.rowid FROM {table} t JOIN repeated_ids USING (trace_id, span_id)"
        " QUALIFY row_number() OVER (PARTITION BY t.trace_id, t.span_id ORDER BY t.rowid) > 1)"
    )
    return before - scalar(connection, f"SELECT count(*) FROM {table}")


def scalar(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    """The one whole number that *sql* gives; 0 for NULL."""
    row = connection.execute(sql).fetchone()
    return int(row[0] or 0) if row else 0


def quoted(text: str) -> str:
    """*text* as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def call_from_row(row: Sequence[Any]) -> Call:
    """The Call of one row of the calls table, columns in the order of ``CALL_COLUMNS``."""
    values = dict(zip(CALL_COLUMNS, row, strict=True))
    counts = {name: values.pop(name) for name in USAGE_COLUMNS}
    source = values.pop("usage_source")
    values["usage"] = None if source is None else TokenUsage(**counts, source=source)
    values["finish_reasons"] = tuple(values["finish_reasons"] or ())
    values["tags"] = dict(values["tags"] or {})
    return Call(**values)


def day_text(start_time_ns: int) -> str:
    """The UTC day of a start time, ``YYYY-MM-DD``."""
    return (dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=start_time_ns // 1000)).strftime("%Y-%m-%d")
