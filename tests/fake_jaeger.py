"""A server that keeps the rules of Jaeger's /api/v3: required times, 404 for nothing, a depth cap, whole traces, numbers as text."""

from __future__ import annotations

import datetime as dt
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from made_days import attributes, span
from tracewrap.records import Call


class FakeJaeger(ThreadingHTTPServer):
    """Traces in memory behind /api/v3."""

    def __init__(self, calls: list[Call], max_depth: int = 10_000) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls, self.max_depth, self.searches = calls, max_depth, 0
        self.other_names: list[str] = []
        """Span names, beside those of the calls, of every service."""
        self.searched: list[str | None] = []
        """The operation of each search."""
        self.token: str | None = None
        """What every request must carry, if anything."""
        self.page: bytes | None = None
        """Sent in place of the interface's answers, if anything."""
        self.answer: bytes | None = None
        """Sent in place of the traces found, if anything."""
        self.busy = 0
        """Requests that are refused before one is answered."""

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
        self.searched.append(query.get("query.operation_name"))
        if "query.start_time_min" not in query or "query.start_time_max" not in query:
            return 400, _error(400, "start_time_min and start_time_max are required")
        start, end = (_ns(query[f"query.start_time_{name}"]) for name in ("min", "max"))
        depth = int(query.get("query.search_depth", "100"))
        if depth > self.max_depth:
            return 500, _error(500, "search depth must be greater than 0 and less than max traces")
        mine = [one for one in self.calls if one.service_name == query["query.service_name"]]
        name = query.get("query.operation_name")
        mine = [one for one in mine if name is None or name == f"chat {one.model}"]
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
        if server.busy:
            server.busy -= 1
            status, body = 503, _error(503, "not yet")
        elif server.token is not None and self.headers["Authorization"] != f"Bearer {server.token}":
            status, body = 401, _error(401, "who are you")
        elif parts.path == "/api/v3/services":
            status, body = 200, {"services": server.services()}
        elif parts.path == "/api/v3/operations":
            named = sorted({f"chat {one.model}" for one in server.calls if one.service_name == query["service"]})
            listed = [{"name": name, "spanKind": "client"} for name in named + server.other_names]
            status, body = 200, {"operations": listed}
        elif parts.path == "/api/v3/traces":
            status, body = server.find(query)
        else:
            status, body = 404, _error(404, "not found")
        searched = parts.path == "/api/v3/traces" and status == 200
        data = server.page or (server.answer if searched else None) or json.dumps(body).encode()
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
