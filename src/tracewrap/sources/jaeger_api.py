"""Requests to Jaeger's stable HTTP interface ``/api/v3``: what it answers, in the spellings of 2.13 and later.

Up to 2.18 query parameters are in snake case only; both spellings are sent. 404 on a search means no match. A ``depth`` above the
server's maximum is an error with no number in it; less is asked for until the server is content.
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tracewrap.errors import SourceError
from tracewrap.sources.addresses import Address, open_url, quoted_path

TIMEOUT_S = 60.0
TRIES = 3
LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of one search; a window with more is split."""
USUAL_DEPTH = 1000
"""Traces of one search however long they are."""
HEADERS = "TRACEWRAP_JAEGER_HEADERS"
"""The environment variable with request headers, as OTEL_EXPORTER_OTLP_HEADERS."""
_BUSY = (429, 502, 503, 504)
_PREFIX, _SUFFIX = b'{"result":{"resourceSpans":[', b"]}}"
_START = re.compile(rb'"startTimeUnixNano":\s*"?(\d+)')
_TRACE_ID = re.compile(rb'"traceId":\s*"([^"]+)"')


@dataclass(frozen=True, slots=True)
class Found:
    """What one search gave: one line of OTLP-JSON, and whether there may be more."""

    line: bytes
    full: bool
    traces: int
    newest_ns: int | None = None
    """Start of the newest span found; with ``oldest_ns``, for full answers only: their distance tells how dense traces are."""
    oldest_ns: int | None = None


class Api:
    """One Jaeger server. Safe to use from several threads; raises SourceError in one line that holds no header."""

    def __init__(self, address: Address, depth: int) -> None:
        self.depth = depth
        """Traces asked for in one search; made smaller when the server refuses it."""
        secure = address.scheme == "jaegers"
        port = address.port or (443 if secure else 16686)
        self.base = f"http{'s' if secure else ''}://{address.host}:{port}{quoted_path(address.path.rstrip('/'))}"
        self._shown = address.shown
        self._headers = address.headers(HEADERS)
        self._lock = threading.Lock()

    def services(self) -> list[str]:
        """The services Jaeger knows."""
        return [str(name) for name in self._object("services", {}).get("services") or []]

    def operations(self, service: str) -> list[tuple[str, str]]:
        """Span names of *service* with their kind in lower case ("" where the storage does not keep it)."""
        found = self._object("operations", {"service": service}).get("operations") or []
        return [(str(one.get("name", "")), str(one.get("spanKind") or "").lower()) for one in found]

    def search(self, service: str, operation: str | None, start: int, end: int, *, whole: bool = False) -> Found | None:
        """Traces of *service* that have a span called *operation* (None: any) in [start, end] ns; None when there is none.

        An answer of more than ``LARGEST_ANSWER`` bytes counts as full and comes without its line, unless it is asked for *whole*.
        """
        limit = None if whole else LARGEST_ANSWER
        while True:
            depth = self.depth
            try:
                data = self._get("traces", _query(service, operation, start, end, depth), limit)
            except _RefusedError as refused:
                if refused.code == 404:
                    return None
                if refused.code not in (400, 500) or not re.search(r"depth|num.?traces|limit", refused.message, re.I):
                    raise self._error(refused) from None
                if depth == 1:
                    raise self._error(refused) from None
                self._ask_less(depth, 1)
                continue
            if limit is not None and len(data) > limit:
                self._ask_less(depth, USUAL_DEPTH)
                return Found(b"", True, depth)
            return self._found(data, depth)

    def _ask_less(self, depth: int, least: int) -> None:
        """A search of *depth* was too much: halve it for those to come, but not below *least*."""
        with self._lock:
            self.depth = min(self.depth, max(least, depth // 2))

    def _found(self, data: bytes, depth: int) -> Found | None:
        data = data.strip()
        if data.startswith(_PREFIX) and data.endswith(_SUFFIX) and b"\n" not in data:
            line = data[len(b'{"result":') : -len(b"}")]  # as it came: parsing costs ten times the memory
        else:
            body = self._parsed("traces", data)
            line = json.dumps(body.get("result", body), separators=(",", ":")).encode()
        if b'"traceId"' not in line:
            return None
        ids = len(set(_TRACE_ID.findall(line)))
        if ids < depth:
            return Found(line, False, ids)
        traces, starts = ids, [int(text) for text in _START.findall(line)]
        if b'"links"' in line:  # their ids were counted too
            traces, starts = _traces(self._parsed("traces", line))
        return Found(line, traces >= depth, traces, max(starts, default=None), min(starts, default=None))

    def _object(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        try:
            return self._parsed(path, self._get(path, query))
        except _RefusedError as refused:
            raise self._error(refused) from None

    def _parsed(self, path: str, data: bytes) -> dict[str, Any]:
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        kind = "a web page" if data.lstrip()[:1] == b"<" else "what is no JSON object"
        raise SourceError(
            f"{self._shown}: /api/v3/{path} sent {kind}, not Jaeger's interface;"
            " is the base path right (jaeger://host:port/base), is this Jaeger 2's query port (16686)?"
        )

    def _get(self, path: str, query: Mapping[str, str], limit: int | None = None) -> bytes:
        """The body of one answer, at most *limit* + 1 bytes of it; asked again while the server is busy."""
        url = f"{self.base}/api/v3/{path}" + (f"?{urlencode(query)}" if query else "")
        request = urllib.request.Request(url, headers=self._headers)
        for left in reversed(range(TRIES)):
            try:
                with open_url(request, timeout=TIMEOUT_S) as response:
                    data: bytes = response.read() if limit is None else response.read(limit + 1)
                    return data
            except urllib.error.HTTPError as error:
                with error:
                    refused = _RefusedError(path, error.code, _message(error))
                if refused.code not in _BUSY or not left:
                    raise refused from None
            except http.client.HTTPException as error:
                raise SourceError(f"{self._shown}: broke off an answer to /api/v3/{path} ({error!r})") from None
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", None) or error
                raise SourceError(
                    f"{self._shown}: cannot be reached ({reason}); is Jaeger's query port (16686) open?"
                ) from None
            time.sleep(0.5 * 2.0 ** (TRIES - 1 - left))
        raise AssertionError("every try returns or raises")

    def _error(self, refused: _RefusedError) -> SourceError:
        step = ""
        if refused.code in (301, 302, 303, 307, 308):
            step = "; a redirect is not followed: write the address it leads to, jaegers:// for HTTPS"
        elif refused.code in (401, 403):
            step = f"; set {HEADERS}, such as Authorization=Bearer%20TOKEN"
        elif refused.code == 404:
            step = "; is the base path right (jaeger://host:port/base), is this Jaeger 2?"
        return SourceError(
            f"{self._shown}: Jaeger answered {refused.code} to /api/v3/{refused.path} ({refused.message}){step}"
        )


class _RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, path: str, code: int, message: str) -> None:
        super().__init__(message)
        self.path, self.code, self.message = path, code, message


def _query(service: str, operation: str | None, start: int, end: int, depth: int) -> dict[str, str]:
    first, last, number = rfc3339(start), rfc3339(end), str(depth)
    query = {
        "query.service_name": service,
        "query.start_time_min": first,
        "query.start_time_max": last,
        "query.search_depth": number,
        "query.num_traces": number,
        "query.raw_traces": "true",
        # The same in the spelling of 2.19 and later.
        "query.serviceName": service,
        "query.startTimeMin": first,
        "query.startTimeMax": last,
        "query.searchDepth": number,
        "query.rawTraces": "true",
    }
    if operation is not None:
        query |= {"query.operation_name": operation, "query.operationName": operation}
    return query


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])[:200]
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return str(error.reason)


def _traces(body: Mapping[str, Any]) -> tuple[int, list[int]]:
    """The number of traces in *body*, and the starts of its spans in ns."""
    spans = [
        span
        for resource in body.get("resourceSpans") or []
        for scope in resource.get("scopeSpans") or []
        for span in scope.get("spans") or []
    ]
    starts = [int(text) for span in spans if (text := str(span.get("startTimeUnixNano", ""))).isdigit()]
    return len({span.get("traceId", "") for span in spans}), starts


def rfc3339(ns: int) -> str:
    """A moment in ns as RFC 3339 text in UTC, to the nanosecond."""
    seconds, rest = divmod(ns, 10**9)
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
