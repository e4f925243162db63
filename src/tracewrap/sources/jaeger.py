"""A Jaeger as a source: the LLM calls of a period through its stable HTTP interface.

What cannot be a model call is never fetched: Jaeger is asked for its operations (span names) first, and those that no instrumentation
of model calls uses are left out (``?operations=all`` reads them too). There is no paging: a search returns at most ``depth``
traces, so a window that comes back full is cut into as many as its density asks for, down to one millisecond; what is still full
then is named as incomplete, never passed over. Spans come as OTLP-JSON and take the same way as span logs.
"""

from __future__ import annotations

import concurrent.futures
import difflib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracewrap.errors import SourceError
from tracewrap.sources.addresses import Address
from tracewrap.sources.jaeger_api import Api, Found, rfc3339
from tracewrap.sources.lines import in_batches
from tracewrap.sources.otlp_json import load_batches
from tracewrap.sources.progress import Progress
from tracewrap.sources.table import EVER, ReadStatus

if TYPE_CHECKING:
    import duckdb

DEPTH = 4000
"""Traces asked for in one search where the address names no ``depth``: a memory store looks at all that it holds at each search."""
IN_FLIGHT = 4
BATCH_BYTES = 2 * 1024 * 1024
"""Answers parsed at a time: a few megabytes of JSON take a hundred while they are taken apart."""
SMALLEST_WINDOW_NS = 10**6
_EXAMPLE = "jaeger://host:16686"
_OPTIONS = ("service", "depth", "operations", "header")
_FILL = 0.6
"""Part of ``depth`` that a window of the expected density would fill: traffic is never even."""
_MOST_PIECES = 64
_NO_CALL_KINDS = ("server", "producer", "consumer")
_HTTP_NAME = re.compile(r"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE|HTTP)\b")
_CALL_NAME = re.compile(
    "chat|complet|generat|embed|respon|messag|convers|invo[kc]|infer|predict|llm|gen.?ai|(^|[^a-z])ai([^a-z]|$)|model|prompt|token"
    "|rerank|speech|audio|transcri|translat|image|video|moderat|classif|batch|background|retriev|fetch_response"
    "|openai|anthropic|claude|gpt|cohere|command|bedrock|gemini|vertex|mistral|llama|qwen|deepseek|groq|grok|together|fireworks"
    "|replicate|hugging|watson|sagemaker|perplexity|sonar|(^|[^a-z])o[1-9]([^0-9]|$)",
    re.IGNORECASE,
)


def may_be_call(name: str, kind: str) -> bool:
    """Whether spans called *name* can be model calls: by GenAI conventions ("chat gpt-4o") or a word of other instrumentations' names.

    Never of kind server, producer or consumer, nor named by an HTTP method.
    """
    return kind not in _NO_CALL_KINDS and not _HTTP_NAME.match(name) and _CALL_NAME.search(name) is not None


@dataclass(frozen=True, slots=True)
class _Window:
    """One search to do: [start, end) ns of one operation (None: any) of one service."""

    service: str
    operation: str | None
    start: int
    end: int
    pieces: int = 4
    """Into how many it is cut when it is full and its answer does not tell how dense it is."""

    def cut(self, found: Found, depth: int) -> list[_Window]:
        """Windows that should not be full, after this one was: by the density of what came, else twice as many as the last time."""
        width, pieces = self.end - self.start, self.pieces
        if found.newest_ns is not None and found.oldest_ns is not None:
            spread = max(found.newest_ns - found.oldest_ns, 1)
            expected = (
                found.traces * width / spread
            )  # newest come first where the storage keeps an order: then they lie close together
            pieces = max(pieces, math.ceil(expected / (_FILL * depth)))
        pieces = min(pieces, _MOST_PIECES, max(2, width // SMALLEST_WINDOW_NS))
        edges = [self.start + width * i // pieces for i in range(pieces + 1)]
        deeper = min(2 * self.pieces, _MOST_PIECES)
        return [_Window(self.service, self.operation, *pair, deeper) for pair in itertools.pairwise(edges)]


class JaegerSource:
    """``jaeger://[user:password@]host[:port][/base/path][?service=NAME&depth=N&operations=all&header=NAME:VALUE]``.

    Port 16686; ``jaegers://``: HTTPS, port 443. Headers for every request: the environment variable TRACEWRAP_JAEGER_HEADERS.
    """

    def __init__(self, text: str) -> None:
        address = Address.parse(text, _EXAMPLE, _OPTIONS)
        self.location = address.shown
        options = address.options
        self._services = options.get("service", [])
        try:
            depth = int(options.get("depth", [str(DEPTH)])[0])
        except ValueError:
            raise SourceError(f"{self.location}: depth must be a whole number") from None
        if depth < 1:
            raise SourceError(f"{self.location}: depth is {depth}, must be at least 1")
        operations = options.get("operations", ["calls"])[0]
        if operations not in ("calls", "all"):
            raise SourceError(f"{self.location}: operations is {operations!r}; there is calls (the default) and all")
        self._all = operations == "all"
        self._api = Api(address, depth)

    def load(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        since_ns: int,
        until_ns: int,
        columns: Mapping[str, str],
    ) -> ReadStatus:
        """See ``Source.load``. Needs a bounded period: Jaeger searches by time."""
        if since_ns == EVER[0] or until_ns == EVER[1]:
            raise SourceError(
                f"{self.location}: give a period (--day, or --since and --until); Jaeger searches by time"
            )
        status = ReadStatus("jaeger", self.location, trace_url=f"{self._api.base}/trace/{{trace_id}}")
        windows = [_Window(service, operation, since_ns, until_ns) for service, operation in self._targets(status)]
        found = in_batches(((0, line) for line in self._lines(windows, status)), BATCH_BYTES)
        load_batches(connection, table, found, since_ns, until_ns, columns, status, IN_FLIGHT)
        # A trace is returned whole by every window that it touches: copies are the interface's way, not a finding.
        status.files, status.lines, status.duplicates = None, None, 0
        return status

    def services(self) -> list[str]:
        """The services to read: those that the address names, else all that Jaeger knows. SourceError for one that it does not know."""
        known = self._api.services()
        for name in self._services:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or sorted(known)[:10]
                there = f"there is {', '.join(near)}" if near else "it knows none yet"
                raise SourceError(f"{self.location}: no service {name!r} in this Jaeger; {there}")
        return self._services or known

    def _targets(self, status: ReadStatus) -> list[tuple[str, str | None]]:
        """(service, operation) to search for; operation None: a service all of whose operations can be calls, or all are wanted."""
        services = self.services()
        if self._all:
            return [(service, None) for service in services]
        with concurrent.futures.ThreadPoolExecutor(IN_FLIGHT) as pool:
            listed = list(pool.map(self._api.operations, services))
        targets: list[tuple[str, str | None]] = []
        known, read = 0, 0
        for service, operations in zip(services, listed, strict=True):
            names = sorted({name for name, kind in operations if may_be_call(name, kind)})
            known, read = known + len({name for name, _ in operations}), read + len(names)
            whole = len(names) == len({name for name, _ in operations})
            targets += [(service, None)] if whole and (names or not operations) else [(service, one) for one in names]
        if read < known:
            status.notes.append(
                f"read {read:,} of {known:,} span names, those that model calls have; ?operations=all reads every trace"
            )
        return targets

    def _lines(self, windows: Sequence[_Window], status: ReadStatus) -> Iterator[bytes]:
        """Lines of OTLP-JSON that cover *windows*, each from a search that was not full where that is possible."""
        waiting = list(reversed(windows))
        whole = sum(window.end - window.start for window in windows)
        traces = covered = 0
        running: dict[concurrent.futures.Future[Found | None], _Window] = {}
        with concurrent.futures.ThreadPoolExecutor(IN_FLIGHT) as pool, Progress() as progress:
            try:
                while waiting or running:
                    while waiting and len(running) < IN_FLIGHT:
                        window = waiting.pop()
                        running[pool.submit(self._search, window)] = window
                    done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                    for future in done:
                        window, found = running.pop(future), future.result()
                        if found is not None and found.full and window.end - window.start > SMALLEST_WINDOW_NS:
                            waiting += reversed(window.cut(found, self._api.depth))
                            continue
                        covered += window.end - window.start
                        if found is not None:
                            traces += found.traces
                            self._judge(found, window, status)
                            yield found.line
                        progress.show(f"{self.location}: {covered / whole:.0%} read, {traces:,} traces")
            finally:
                for future in running:
                    future.cancel()

    def _search(self, window: _Window) -> Found | None:
        smallest = window.end - window.start <= SMALLEST_WINDOW_NS
        return self._api.search(window.service, window.operation, window.start, window.end, whole=smallest)

    def _judge(self, found: Found, window: _Window, status: ReadStatus) -> None:
        """Say so when a window that cannot be cut further is full."""
        if not found.full:
            return
        status.complete = False
        status.notes.append(
            f"service {window.service} has {found.traces} traces or more in the millisecond"
            f" from {rfc3339(window.start)}; raise ?depth= or read the storage behind Jaeger"
        )
