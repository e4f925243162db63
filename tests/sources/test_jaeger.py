"""Jaeger's /api/v3, against a server that keeps its rules: required times, 404 for nothing, a depth cap, whole traces, numbers as text."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from made_days import DAY_NS, attributes, call, span
from tracewrap import report
from tracewrap.errors import SourceError
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import Call, TokenUsage
from tracewrap.sources import ReadStatus, read_calls

DAY_END_NS = DAY_NS + 86_400 * 10**9


class FakeJaeger(ThreadingHTTPServer):
    """Traces in memory behind /api/v3."""

    def __init__(self, calls: list[Call], max_depth: int = 1000) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls, self.max_depth, self.searches = calls, max_depth, 0

    @property
    def source(self) -> str:
        """How a user names it."""
        return f"jaeger://127.0.0.1:{self.server_address[1]}"

    def services(self) -> list[str]:
        """Names of services."""
        return sorted({one.service_name or "" for one in self.calls})

    def find(self, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and body of one search."""
        self.searches += 1
        if "query.start_time_min" not in query or "query.start_time_max" not in query:
            return 400, _error(400, "start_time_min and start_time_max are required")
        start, end = (_ns(query[f"query.start_time_{name}"]) for name in ("min", "max"))
        depth = int(query.get("query.search_depth", "100"))
        if depth > self.max_depth:
            return 500, _error(500, f"search depth must be at most {self.max_depth}")
        mine = [one for one in self.calls if one.service_name == query["query.service_name"]]
        # Both ends belong to Jaeger's window; the newest traces come first; a trace comes whole.
        traces = list(
            dict.fromkeys(
                one.trace_id
                for one in sorted(mine, key=lambda one: -one.start_time_ns)
                if start <= one.start_time_ns <= end
            )
        )
        chosen = set(traces[:depth])
        if not chosen:
            return 404, _error(404, "No traces found")
        resource = {"attributes": attributes({"service.name": query["query.service_name"]})}
        spans = [
            span(one)
            for one in self.calls
            if one.trace_id in chosen and one.service_name == query["query.service_name"]
        ]
        return 200, {
            "result": {
                "resourceSpans": [
                    {"resource": resource, "scopeSpans": [{"scope": {"name": "tracewrap"}, "spans": spans}]}
                ]
            }
        }


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, FakeJaeger)
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/api/v3/services":
            status, body = 200, {"services": server.services()}
        elif parts.path == "/api/v3/traces":
            status, body = server.find(query)
        else:
            status, body = 404, _error(404, "not found")
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"httpCode": code, "message": message}}


def _ns(text: str) -> int:
    whole, _, rest = text.rstrip("Z").partition(".")
    return int(dt.datetime.fromisoformat(whole).replace(tzinfo=dt.UTC).timestamp()) * 10**9 + int(rest.ljust(9, "0"))


@pytest.fixture
def jaeger() -> Iterator[FakeJaeger]:
    """A running server without traces."""
    server = FakeJaeger([])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def read(source: str) -> tuple[list[Call], ReadStatus]:
    """The day's calls and how reading went."""
    statuses: list[ReadStatus] = []
    return list(read_calls(source, since_ns=DAY_NS, until_ns=DAY_END_NS, statuses=statuses)), statuses[0]


def test_a_full_window_is_halved_until_everything_is_seen(jaeger: FakeJaeger) -> None:
    """500 traces of two services through a depth of 7: every call once, the day's only, none missing."""
    usage = TokenUsage(input_tokens=10, output_tokens=5)
    inside = [call(i, 23.99 * i / 500, service_name=("a", "b")[i % 2], usage=usage) for i in range(1, 501)]
    outside = [call(600, -0.5), call(601, 24.0)]
    jaeger.calls = inside + outside
    found, status = read(jaeger.source + "?depth=7")
    assert sorted(int(one.trace_id, 16) for one in found) == list(range(1, 501))
    assert (status.complete, status.notes) == (True, [])
    assert found[0].usage == usage
    assert jaeger.searches > 100


def test_a_trace_over_several_windows_is_counted_once(jaeger: FakeJaeger) -> None:
    """Spans of one trace hours apart come whole with every window; each call is there once."""
    jaeger.calls = [
        call(i, hour, trace_id="f" * 32, span_id=f"{i:016x}") for i, hour in ((1, 1.0), (2, 12.0), (3, 23.0))
    ]
    jaeger.calls += [call(10 + i, i / 10) for i in range(30)]
    found, status = read(jaeger.source + "?depth=4")
    assert len(found) == 33
    assert status.duplicates == 0


def test_a_full_millisecond_is_said_to_be_incomplete(jaeger: FakeJaeger) -> None:
    """More traces in one millisecond than a search returns: read what there is, and say so in the report."""
    jaeger.calls = [call(i, start_time_ns=DAY_NS + 5_000_000_000 + i) for i in range(1, 10)]
    found, status = read(jaeger.source + "?depth=5")
    assert len(found) >= 5
    assert not status.complete
    built = report.build(jaeger.source + "?depth=5", day="2026-11-20", catalog=Catalog())
    assert "incomplete" in "\n".join(built["notes"])
    assert built["sources"][0]["complete"] is False


def test_nothing_found_is_an_empty_day(jaeger: FakeJaeger) -> None:
    """404 means no traces: a report without calls, not an error."""
    jaeger.calls = [call(1, 30.0)]
    built = report.build(jaeger.source, day="2026-11-20", catalog=Catalog())
    assert built["totals"]["calls"] == 0
    assert "no calls" in built["notes"][0]


def test_errors_name_jaeger_and_the_next_step(jaeger: FakeJaeger) -> None:
    """A refused depth, a missing period, an unreachable server, a malformed address: one line each."""
    jaeger.calls, jaeger.max_depth = [call(1)], 10
    with pytest.raises(SourceError, match=r"500 to /api/v3/traces .search depth must be at most 10"):
        read(jaeger.source)
    with pytest.raises(SourceError, match="give a period"):
        list(read_calls(jaeger.source))
    with pytest.raises(SourceError, match="cannot be reached"):
        read("jaeger://127.0.0.1:9")
    with pytest.raises(SourceError, match="names no host"):
        read("jaeger://")
    with pytest.raises(SourceError, match="depth"):
        read("jaeger://127.0.0.1?depth=0")
