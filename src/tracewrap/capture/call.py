"""One timed call: begin -> received | fail. Finishing is idempotent and nothing here raises into the caller.

The wrappers of ``wrap`` and the readers of ``streams`` call these functions for sync and async alike.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import replace
from time import time_ns
from typing import Any

from opentelemetry import context as otel_context

from tracewrap import semconv
from tracewrap.capture import tracing
from tracewrap.capture.answers import put_headers, put_reply
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.content import Said, content_of, copied
from tracewrap.capture.lag import LoopWatch, TrioWatch
from tracewrap.capture.phases import Phases, dismiss, put_phases
from tracewrap.capture.state import drop, state
from tracewrap.capture.tracing import Standing
from tracewrap.records import Outcome
from tracewrap.vendors.adapter import Adapter, Reply, Request
from tracewrap.vendors.providers import Endpoint, endpoint_of

CURRENT: ContextVar[OpenCall | None] = ContextVar("tracewrap_current_call", default=None)
"""The call whose SDK method is running, or was: tasks and timers that began in it keep it. ``running`` is who should be asked."""
_HELD_S = 0.001
"""What a plain answer's body waited for its consumer less than this was read at once."""
_endpoints: dict[int, tuple[weakref.ref[Any], object, Endpoint]] = {}


class OpenCall:
    """A call in flight. ``live`` holds one item until the span is ended; popping it is the atomic finish."""

    __slots__ = (
        "adapter",
        "asked",
        "attempt_started",
        "attempts",
        "attributes",
        "body",
        "client",
        "endpoint",
        "live",
        "loop",
        "name",
        "phases",
        "refused",
        "request",
        "response",
        "said",
        "sending_request",
        "sent",
        "standing",
        "started",
        "started_ns",
        "token",
        "tries",
    )

    def __init__(
        self,
        adapter: Adapter,
        client: object,
        endpoint: Endpoint,
        request: Request,
        body: Mapping[str, Any],
        name: str,
        attributes: dict[str, Any],
    ):
        self.adapter = adapter
        self.client = client
        self.endpoint = endpoint
        self.request = request
        self.body = body
        self.name = name
        self.attributes = attributes
        """What is known before the call, under wire names."""
        self.live = [True]
        self.attempts = 1
        self.sent = 0
        self.tries = 0
        self.sending_request: object = None
        self.response: Any = None
        self.said: Said = ()
        """The answer, or what gives all chunks of it, where message content is wanted."""
        self.asked: tuple[Any, Any] | None = None
        """The SDK's options to which a request for usage was added, and the body that they had: the usage chunk is hidden."""
        self.refused = False
        """The server refused the request for usage and was asked again without it."""
        self.standing: Standing | None = None
        self.token: Token[Any] | None = None
        self.phases: Phases | None = None
        self.loop: LoopWatch | TrioWatch | None = None
        self.started_ns = time_ns()
        self.started = self.attempt_started = perf_counter()

    @property
    def is_kept(self) -> bool:
        """Whether anybody gets to know what is measured."""
        standing = self.standing
        return state.record is not None or (standing is not None and (standing.lent or standing.span.is_recording()))

    def attempt(self) -> None:
        """Another HTTP attempt begins now; earlier time was lost to retries."""
        self.attempts += 1
        self.attempt_started = perf_counter()

    def trying(self) -> None:
        """The SDK makes another try, the first one included."""
        self.tries += 1
        if self.tries > self.attempts:
            self.attempt()

    def answered(self, response: Any) -> None:
        """The answer of this attempt, or the head of it, is here."""
        self.response = response
        if self.phases is not None:
            self.phases.received = perf_counter()

    def sending(self, request: object) -> None:
        """A wrapped HTTP client below the SDK sends *request*: an attempt, unless the SDK's own pause has announced it.

        A request passes here once a class of its client that is patched: it counts once.
        """
        if request is self.sending_request:
            return
        self.sending_request = request
        self.sent += 1
        if self.sent > self.attempts:
            self.attempt()


def running() -> OpenCall | None:
    """The call whose SDK method is running here: HTTP attempts below it are added to it instead of becoming calls of their own."""
    call = CURRENT.get()
    return None if call is None or call.token is None else call


def begin(adapter: Adapter, client: object, path: str, body: Any) -> OpenCall | None:
    """Start recording a call, or None: not an inference call, nobody to record it for, or already being recorded."""
    try:
        return start(adapter, client, path, body)
    except Exception:
        drop("begin")
        return None


def start(adapter: Adapter, client: object, path: str, body: Any, options: object = None) -> OpenCall | None:
    """``begin`` without its guard, for a caller that has one. ``options``: the SDK's own object for the request."""
    current = running()
    if current is not None and current.client is client:
        return None  # the class and the instance are both wrapped: the outer one records
    if not (type(body) is dict or isinstance(body, Mapping)):
        return None
    ours = tracing.tracer()
    if state.record is None and (ours is None or tracing.is_suppressed(otel_context.get_current())):
        return None
    request = adapter.read_request(path, body)
    if request is None:
        return None
    stands_aside = (
        adapter.owns_span is not None
        and options is not None
        and adapter.owns_span(client, options, getattr(ours, "resource", None))
    )
    if stands_aside and state.record is None:
        return None
    endpoint = endpoint_of_client(adapter, client)
    if request.provider is not None and endpoint.provider == adapter.provider != request.provider:
        endpoint = replace(endpoint, provider=request.provider)
    attributes = _known_before(adapter, request, endpoint)
    name = request.operation if request.model is None else f"{request.operation} {request.model}"
    call = OpenCall(adapter, client, endpoint, request, copied(body) if state.content else body, name, attributes)
    if not stands_aside:
        call.standing = tracing.stand(ours, request, name, attributes, call.started_ns)
    call.token = CURRENT.set(call)
    return call


def _known_before(adapter: Adapter, request: Request, endpoint: Endpoint) -> dict[str, Any]:
    attributes: dict[str, Any] = {semconv.OPERATION: request.operation, semconv.PROVIDER: endpoint.provider}
    if request.model is not None:
        attributes[semconv.REQUEST_MODEL] = request.model
    if endpoint.address is not None:
        attributes[semconv.SERVER_ADDRESS] = endpoint.address
        attributes[semconv.SERVER_PORT] = endpoint.port
    if request.stream:
        attributes[semconv.REQUEST_STREAM] = True
    if request.attributes:
        attributes.update(request.attributes)
        for name, providers in adapter.own_attributes.items():
            if endpoint.provider not in providers:
                attributes.pop(name, None)
    return attributes


def records_now() -> bool:
    """Whether what happens here is to be recorded by itself: it is no part of a call that is."""
    return running() is None


class Server:
    """Stands in for the client of a request without an SDK: nothing is known but the URL it goes to."""

    __slots__ = ("__weakref__", "url")

    def __init__(self, url: object):
        self.url = url


def endpoint_of_client(adapter: Adapter, client: object) -> Endpoint:
    """Provider, address and port of *client*, remembered for as long as its base URL is the same object."""
    if type(client) is Server:
        return endpoint_of(adapter.provider, str(client.url))
    if adapter.base_url_of is not None:
        mark = url = adapter.base_url_of(client)
    else:
        mark = getattr(client, "_base_url", None)  # identity is enough, and the public property is slow in openai 3
        if mark is None:
            mark = getattr(client, "base_url", None)
        url = None
    key = id(client)
    known = _endpoints.get(key)
    if known is not None and known[1] is mark and mark is not None and known[0]() is client:
        return known[2]
    url = getattr(client, "base_url", None) if url is None else url
    url = url() if callable(url) else url
    names = adapter.providers_by_class
    provider = next((names[c.__name__] for c in type(client).__mro__ if c.__name__ in names), None)
    if adapter.provider_of is not None:
        provider = adapter.provider_of(client)
    region = adapter.region_of(client) if adapter.region_of is not None else None
    endpoint = endpoint_of(adapter.provider, None if url is None else str(url), provider, region)
    _endpoints[key] = (weakref.ref(client, lambda _: _endpoints.pop(key, None)), mark, endpoint)
    return endpoint


def leave(call: OpenCall) -> None:
    """The SDK method has returned: the call is no longer the current one, nor its span."""
    token, call.token = call.token, None
    if token is None:
        return
    try:
        CURRENT.reset(token)
        if call.standing is not None:
            tracing.leave(call.standing)
    except Exception:
        drop("leave")


def fail(call: OpenCall, error: BaseException, reply: Reply | None = None) -> None:
    """The SDK method raised *error*: end the span; the error itself is the caller's. *reply*: what was answered before."""
    try:
        now = perf_counter()
        finish(call, reply or Reply(), ended=now, outcome=outcome_of(error), error=error)
    except Exception:
        drop("fail")


def outcome_of(error: BaseException) -> Outcome:
    """How a call that raised *error* ended."""
    cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit) or type(error).__name__ == "Cancelled"
    return "cancelled" if cancelled else "error"


def finish(
    call: OpenCall,
    reply: Reply,
    *,
    ended: float,
    outcome: Outcome = "complete",
    error: BaseException | None = None,
    first_chunk: float | None = None,
    consumer_s: float = 0.0,
    consumer_before_first_s: float = 0.0,
    described: tuple[str, str] | None = None,
    chunk_gaps_s: Sequence[float] = (),
) -> None:
    """End the span once, with everything that is known. Clock readings are ``perf_counter``'s, in seconds.

    ``described``: error type and status description, where there is no *error* to read them from.
    """
    try:
        call.live.pop()
    except IndexError:
        return
    dismiss(call)
    if outcome == "complete" and reply.outcome is not None:
        outcome = reply.outcome
        described = (reply.error_type or "_OTHER", reply.error_type or "") if outcome == "error" else None
    if not call.is_kept:
        tracing.end_unkept(call.standing)
        return
    attributes: dict[str, Any] = {
        semconv.ATTEMPTS: call.attempts,
        semconv.OUTCOME: outcome,
    }
    measured = ended > call.started  # a clock that stood still (a test's) measured nothing
    if measured:
        attributes[semconv.RUNTIME_RAW] = max(0.0, ended - call.started - consumer_s)
        if call.attempts > 1:
            attributes[semconv.RETRY] = call.attempt_started - call.started
    if measured and (call.request.stream or consumer_s > _HELD_S):
        attributes[semconv.CONSUMER] = consumer_s
        if first_chunk is not None and call.request.stream:
            attributes[semconv.TIME_TO_FIRST_CHUNK] = first_chunk - call.started - consumer_before_first_s
    put_reply(attributes, reply, call.request, call.endpoint, call.adapter, call.body)
    if call.response is not None:
        put_headers(attributes, call.response)
    failure: str | None = None
    if outcome == "error":
        attributes[semconv.ERROR_TYPE], failure = described or describe(error)
    if measured and call.phases is not None:
        put_phases(attributes, call, ended)
    times_ns = call.started_ns, call.started_ns + max(0, int((ended - call.started) * 1e9))
    content = _content(call)
    tracing.deliver(call.standing, call.name, times_ns, call.attributes, attributes, failure, chunk_gaps_s, content)
    _let_go(call)


def _content(call: OpenCall) -> Callable[[], dict[str, Any]] | None:
    """What gives the message content of *call*; None where it is not wanted or cannot be read."""
    if not state.content or call.request.operation not in semconv.GENERATION_OPERATIONS:
        return None
    try:
        return content_of(call.adapter, call.body, call.said)
    except Exception:
        drop("message content")
        return None


def _let_go(call: OpenCall) -> None:
    """Keep nothing of the program's: asyncio remembers a hundred timers that were cancelled, and each the context it was made in,
    so the call whose time-out it was."""
    call.client = call.sending_request = call.response = call.phases = None
    call.body, call.said = {}, ()


def describe(error: BaseException | None) -> tuple[str, str]:
    """``error.type`` (canonical exception name) and a status description free of message content."""
    if error is None:
        return "_OTHER", ""
    kind = type(error).__qualname__
    # one after the other: aiohttp warns of whoever looks at ``code``
    values = (getattr(error, name, None) for name in ("status_code", "status", "code"))
    status = next((value for value in values if isinstance(value, int)), None)
    return kind, kind if status is None else f"{kind} {status}"


def describe_status(adapter: Adapter, status: int) -> tuple[str, str]:
    """``error.type`` and description of an HTTP *status*: the exception's name where the vendor file knows it, else the number."""
    name = adapter.errors_by_status.get(status)
    return (str(status), f"HTTP {status}") if name is None else (name, f"{name} {status}")
