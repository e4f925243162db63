"""Jaeger's stable HTTP interface ``/api/v3``: a day of LLM calls by bisecting windows.

There is no paging: a search returns at most ``depth`` traces, so a window that comes back full is halved and asked again, down to one
millisecond; what is still full then is named as incomplete, never passed over. ``404`` means no trace. Spans come as OTLP-JSON and take the
same way as span logs.
"""

from __future__ import annotations

import datetime as dt
import json
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tracewrap.errors import SourceError
from tracewrap.sources.otlp_json import load_files
from tracewrap.sources.table import EVER, ReadStatus

if TYPE_CHECKING:
    import duckdb

DEPTH = 1000
SMALLEST_WINDOW_NS = 10**6
TIMEOUT_S = 60.0


class JaegerSource:
    """``jaeger://host[:port][/base/path][?service=NAME&depth=N]`` (port 16686; ``jaegers://``: HTTPS)."""

    def __init__(self, text: str) -> None:
        parts = urlsplit(text)
        self.location = text
        if not parts.hostname:
            raise SourceError(f"{text}: names no host; write jaeger://host:16686")
        scheme, port = ("https", parts.port or 443) if parts.scheme == "jaegers" else ("http", parts.port or 16686)
        self._base = f"{scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"
        options = parse_qs(parts.query)
        self._services = options.get("service", [])
        try:
            self._depth = int(options.get("depth", [str(DEPTH)])[0])
        except ValueError:
            raise SourceError(f"{text}: depth must be a whole number") from None
        if self._depth < 1:
            raise SourceError(f"{text}: depth is {self._depth}, must be at least 1")

    def load(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        since_ns: int,
        until_ns: int,
        columns: Mapping[str, str],
    ) -> ReadStatus:
        """See ``Source.load``. Needs a bounded period: Jaeger searches by time."""
        if (since_ns, until_ns) == EVER:
            raise SourceError(
                f"{self.location}: give a period (--day, or --since and --until); Jaeger searches by time"
            )
        status = ReadStatus("jaeger", self.location)
        with tempfile.TemporaryDirectory(prefix="tracewrap-") as folder:
            file = Path(folder) / "traces.jsonl"
            with open(file, "w", encoding="utf-8") as out:
                for service in self._services or self.services():
                    for body in self._windows(service, since_ns, until_ns, status):
                        out.write(json.dumps(body, separators=(",", ":")) + "\n")
            load_files(connection, table, [file], since_ns, until_ns, columns, status)
        # A trace is returned whole by every window that it touches: copies are the interface's way, not a finding.
        status.files, status.lines, status.duplicates = None, None, 0
        return status

    def services(self) -> list[str]:
        """The services Jaeger knows."""
        found = self._get("services", {})
        return [str(name) for name in (found or {}).get("services") or []]

    def _windows(self, service: str, since_ns: int, until_ns: int, status: ReadStatus) -> Iterator[Mapping[str, Any]]:
        """Bodies (``TracesData``) that cover [since_ns, until_ns), each from a window that was not full where that is possible."""
        waiting = [(since_ns, until_ns)]
        while waiting:
            start, end = waiting.pop()
            body = self._search(service, start, end)
            if body is None:
                continue
            if len(_trace_ids(body)) >= self._depth:
                if end - start > SMALLEST_WINDOW_NS:
                    middle = start + max((end - start) // 2, 1)
                    waiting += [(middle, end), (start, middle)]
                    continue
                status.complete = False
                status.notes.append(
                    f"{self.location}: incomplete: service {service} has {self._depth} traces or more in the millisecond"
                    f" from {_rfc3339(start)};"
                    " raise ?depth= or read the storage behind Jaeger"
                )
            yield body

    def _search(self, service: str, start: int, end: int) -> dict[str, Any] | None:
        query = {
            "query.service_name": service,
            "query.start_time_min": _rfc3339(start),
            "query.start_time_max": _rfc3339(end),
            "query.search_depth": str(self._depth),
            "query.num_traces": str(self._depth),
            "query.raw_traces": "true",
            # The same in the spelling of 2.19 and later.
            "query.serviceName": service,
            "query.startTimeMin": _rfc3339(start),
            "query.startTimeMax": _rfc3339(end),
            "query.searchDepth": str(self._depth),
            "query.rawTraces": "true",
        }
        found = self._get("traces", query)
        if found is None:
            return None
        result = found.get("result", found)
        return result if isinstance(result, dict) and result.get("resourceSpans") else None

    def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        """The JSON object of one request; None for 404 (no match); SourceError in one line otherwise."""
        url = f"{self._base}/api/v3/{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
                data = json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 404 and path == "traces":
                return None
            raise SourceError(
                f"{self.location}: Jaeger answered {error.code} to /api/v3/{path} ({_message(error)})"
            ) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise SourceError(
                f"{self.location}: cannot be reached ({reason}); is Jaeger's query port (16686) open?"
            ) from None
        if not isinstance(data, dict):
            raise SourceError(f"{self.location}: /api/v3/{path} sent no JSON object; is this Jaeger 2?")
        return data


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])[:200]
    except (ValueError, KeyError, TypeError, OSError):
        return str(error.reason)


def _trace_ids(body: Mapping[str, Any]) -> set[str]:
    return {
        span.get("traceId", "")
        for resource in body.get("resourceSpans") or []
        for scope in resource.get("scopeSpans") or []
        for span in scope.get("spans") or []
    }


def _rfc3339(ns: int) -> str:
    seconds, rest = divmod(ns, 10**9)
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
