"""ClickHouse's otel_traces: the query runs on ClickHouse's engine (chdb) over the Collector's table."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from test_otlp_json import every_field

from made_days import DAY_NS
from tracewrap.errors import SourceError
from tracewrap.records import Call
from tracewrap.semconv import call_attributes
from tracewrap.sources import ReadStatus, clickhouse, read_calls

DDL = """CREATE TABLE default.otel_traces (
    Timestamp DateTime64(9), TraceId String, SpanId String, ParentSpanId String, TraceState String, SpanName LowCardinality(String),
    SpanKind LowCardinality(String), ServiceName LowCardinality(String), ResourceAttributes Map(LowCardinality(String), String),
    ScopeName String, ScopeVersion String, SpanAttributes Map(LowCardinality(String), String), Duration UInt64,
    StatusCode LowCardinality(String), StatusMessage String
) ENGINE = MergeTree PARTITION BY toDate(Timestamp) ORDER BY (ServiceName, SpanName, toDateTime(Timestamp))"""


def text(value: Any) -> str:
    """An attribute as the Collector stores it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ",".join(f'"{one}"' for one in value) + "]"
    return str(value)


def literal(value: str) -> str:
    """A ClickHouse string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def row(one: Call) -> str:
    """An INSERT row of otel_traces."""
    pairs = ", ".join(f"{literal(key)}, {literal(text(value))}" for key, value in call_attributes(one).items())
    status = "Error" if one.outcome == "error" else "Unset"
    seconds, rest = divmod(one.start_time_ns, 10**9)
    return (
        f"(toDateTime64('{seconds}.{rest:09d}', 9), '{one.trace_id}', '{one.span_id}', '{one.parent_span_id or ''}', '', 'chat', 'Client',"
        f" 'app', map('service.name', 'app'), 'tracewrap', '', map({pairs}), {int((one.raw_runtime_s or 0) * 1e9)}, '{status}', '')"
    )


class FakeServer(HTTPServer):
    """ClickHouse's HTTP port over an in-process engine."""

    engine: Any = None


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, FakeServer)
        query = self.rfile.read(int(self.headers["Content-Length"])).decode()
        try:
            status, data = 200, server.engine.query(query, "Parquet").bytes()
        except RuntimeError as error:
            status, data = 404, f"Code: 60. {error}".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server with an empty otel_traces."""
    session = pytest.importorskip("chdb.session")
    fake = FakeServer(("127.0.0.1", 0), _Handler)
    fake.engine = session.Session()
    fake.engine.query(DDL)
    thread = threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield fake
    fake.shutdown()
    fake.server_close()
    thread.join()
    fake.engine.close()


def test_the_same_calls_as_the_span_log(server: FakeServer) -> None:
    """Calls out of otel_traces, some delivered twice, equal those of the span log; other spans and days stay out."""
    rng = random.Random(9)
    calls = [every_field(i, rng) for i in range(1, 120)]
    outside = every_field(500, rng)
    rows = [row(one) for one in [*calls, *calls[:7]]]
    rows.append(row(outside).replace(str(outside.start_time_ns // 10**9), str(DAY_NS // 10**9 - 100)))
    rows.append(row(every_field(501, rng)).replace("gen_ai.operation.name", "other.operation"))
    server.engine.query(f"INSERT INTO default.otel_traces VALUES {', '.join(rows)}")
    statuses: list[ReadStatus] = []
    source = f"clickhouse://127.0.0.1:{server.server_address[1]}/default.otel_traces"
    found = list(read_calls(source, since_ns=DAY_NS, until_ns=DAY_NS + 86_400 * 10**9, statuses=statuses))
    assert found == sorted(calls, key=lambda one: (one.start_time_ns, one.trace_id))
    assert statuses[0].duplicates == 7


def test_errors_name_the_server(server: FakeServer) -> None:
    """An unknown table, an unreachable server and a malformed table name: one line each; a password is never shown."""
    host = f"127.0.0.1:{server.server_address[1]}"
    with pytest.raises(SourceError, match="answered 404"):
        list(read_calls(f"clickhouse://{host}/default.nothing"))
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        list(read_calls("clickhouse://me:secret@127.0.0.1:9/default"))
    assert "secret" not in str(caught.value)
    with pytest.raises(SourceError, match="is no table name"):
        clickhouse.ClickHouseSource("clickhouse://h/a.b;DROP")
