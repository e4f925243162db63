"""ClickHouse: the Collector's ``otel_traces`` table, read over HTTP as Parquet.

``clickhouse://[user[:password]@]host[:port][/database[.table]]`` (HTTP, port 8123; ``clickhouses://``: HTTPS, port 8443). A password may
also come from the environment variable ``CLICKHOUSE_PASSWORD``. Rows carry attributes as text and may be delivered twice, so ClickHouse
sends the LLM spans of the period and DuckDB maps and deduplicates them, as for every source.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tracewrap.errors import SourceError
from tracewrap.sources.addresses import Address, basic, open_url
from tracewrap.sources.spans import IS_CALL, PAIRS_MAP, calls_select
from tracewrap.sources.table import ReadStatus, drop_duplicates, quoted

if TYPE_CHECKING:
    import duckdb

TIMEOUT_S = 300.0
_EXAMPLE = "clickhouse://host:8123/database.otel_traces"


def traces_query(table: str, since_ns: int, until_ns: int) -> str:
    """ClickHouse SQL: the LLM spans of *table* that start in the period, attributes as text maps (old and new enum spellings)."""
    start = "toUnixTimestamp64Nano(Timestamp)"
    return f"""SELECT lower(TraceId) AS trace_id, lower(SpanId) AS span_id, lower(ParentSpanId) AS parent_span_id,
    {start} AS start_ns, {start} + toInt64(Duration) AS end_ns, ServiceName AS service_name, ScopeName AS scope_name,
    TraceState AS trace_state,
    StatusCode IN ('Error', 'STATUS_CODE_ERROR') AS failed, CAST(SpanAttributes, 'Map(String, String)') AS attrs,
    CAST(ResourceAttributes, 'Map(String, String)') AS resource
FROM {table}
WHERE Timestamp >= fromUnixTimestamp64Nano(toInt64({since_ns})) AND Timestamp < fromUnixTimestamp64Nano(toInt64({until_ns}))
    AND (mapContains(SpanAttributes, 'gen_ai.operation.name') OR mapContains(SpanAttributes, 'gen_ai.system')
        OR mapContains(SpanAttributes, 'openinference.span.kind'))"""


class ClickHouseSource:
    """An ``otel_traces`` table behind ClickHouse's HTTP port."""

    def __init__(self, text: str) -> None:
        address = Address.parse(text, _EXAMPLE)
        self.location = address.shown
        secure = address.scheme == "clickhouses"
        self._url = f"http{'s' if secure else ''}://{address.host}:{address.port or (8443 if secure else 8123)}/"
        self._user = address.user
        self._password = address.password or os.environ.get("CLICKHOUSE_PASSWORD", "")
        database, _, table = (address.path.strip("/") or "default").partition(".")
        self.table = f"{database}.{table or 'otel_traces'}"
        if not re.fullmatch(r"\w+\.\w+", self.table):
            raise SourceError(f"{self.location}: {self.table!r} is no table name; write {_EXAMPLE}")

    def load(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        since_ns: int,
        until_ns: int,
        columns: Mapping[str, str],
    ) -> ReadStatus:
        """See ``Source.load``."""
        handle, name = tempfile.mkstemp(prefix="tracewrap-", suffix=".parquet")
        os.close(handle)
        try:
            self._fetch(traces_query(self.table, since_ns, until_ns), Path(name))
            status = ReadStatus("clickhouse", self.location)
            load_span_file(connection, table, Path(name), columns, status)
        finally:
            os.unlink(name)
        return status

    def _fetch(self, query: str, target: Path) -> None:
        options = urlencode({"default_format": "Parquet", "output_format_parquet_string_as_string": 1})
        headers = basic(self._user or "default", self._password) if self._user or self._password else {}
        request = urllib.request.Request(f"{self._url}?{options}", data=query.encode(), headers=headers, method="POST")
        try:
            with open_url(request, timeout=TIMEOUT_S) as response, open(target, "wb") as file:
                shutil.copyfileobj(response, file)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace").strip().splitlines()
            raise SourceError(
                f"{self.location}: ClickHouse answered {error.code} ({text[0][:200] if text else error.reason})"
            ) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise SourceError(
                f"{self.location}: cannot be reached ({reason}); is ClickHouse's HTTP port open?"
            ) from None


def load_span_file(
    connection: duckdb.DuckDBPyConnection, table: str, file: Path, columns: Mapping[str, str], status: ReadStatus
) -> None:
    """Create *table* from a Parquet *file* that ``traces_query`` gave."""
    import duckdb

    keyed = {"trace_id": "trace_id", "span_id": "span_id"} | dict(columns)
    spans = (
        "SELECT trace_id, span_id, nullif(parent_span_id, '') AS parent_span_id, start_ns, end_ns,"
        " nullif(service_name, '') AS service_name, nullif(scope_name, '') AS scope_name, nullif(trace_state, '') AS trace_state,"
        " CAST(failed AS BOOLEAN) AS failed, map_keys(attrs) AS keys, map_values(attrs) AS vals,"
        f" map_entries(attrs) AS pairs, map_entries(resource) AS resource_pairs FROM read_parquet({quoted(str(file))})"
    )
    connection.execute(PAIRS_MAP)
    try:
        connection.execute(f"CREATE OR REPLACE TABLE {table} AS {calls_select(spans, keyed, {'is_call': IS_CALL})}")
        connection.execute(f"DELETE FROM {table} WHERE is_call IS NOT TRUE")
        connection.execute(f"ALTER TABLE {table} DROP COLUMN is_call")
    except duckdb.Error as error:
        raise SourceError(f"{status.location}: sent what cannot be read ({str(error).splitlines()[0]})") from None
    status.duplicates = drop_duplicates(connection, table)
