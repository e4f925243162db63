"""Cohere's wire format: v1 and v2 chat, generate, embed, rerank.

Counts come twice, as floats: ``tokens`` is what the model processed, ``billed_units`` what is paid for. Both are kept: runtime goes by the
processed, cost by the billed ones. ``generate`` and ``embed`` report billed units only, ``rerank`` search units only. Streams: v2 sends
events whose last, ``message-end``, carries usage; v1 sends JSON lines whose last, ``stream-end``, carries the whole answer.
Every call of the SDK, streamed or not, retried or not, goes through its HttpClient, which is handed path and body. ``Client.embed`` alone
makes several of them, 96 texts each, on threads of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.records import TokenUsage
from tracewrap.vendors.adapter import NOTHING, Adapter, Reply, Request, Seam, get
from tracewrap.vendors.checks import count, text
from tracewrap.vendors.cohere_content import read_asked, read_said

_OPERATIONS = {
    "v1/chat": "chat",
    "v2/chat": "chat",
    "v1/generate": "text_completion",
    "v1/embed": "embeddings",
    "v2/embed": "embeddings",
    "v1/rerank": "rerank",
    "v2/rerank": "rerank",
}
_REQUEST_ATTRIBUTES = (
    ("temperature", "gen_ai.request.temperature", float),
    ("p", "gen_ai.request.top_p", float),
    ("k", "gen_ai.request.top_k", int),
    ("max_tokens", "gen_ai.request.max_tokens", int),
    ("seed", "gen_ai.request.seed", int),
    ("frequency_penalty", "gen_ai.request.frequency_penalty", float),
    ("presence_penalty", "gen_ai.request.presence_penalty", float),
)
_ENDS = frozenset({"message-end", "stream-end"})
_FAILED = frozenset({"ERROR", "ERROR_TOXIC", "ERROR_LIMIT", "TIMEOUT"})
_OPENINGS = frozenset({"message-start", "stream-start"})
_MARKS = re.compile(
    rb'"(?:type|event_type)"\s*:\s*"(?:message-start|message-end|stream-start|stream-end)"|"error"\s*:|is_finished"\s*:\s*true'
)


def read_request(path: str, body: Mapping[str, Any]) -> Request | None:
    """The inference call that *path* and *body* ask for, or None."""
    version, _, endpoint = path.partition("?")[0].strip("/").rpartition("/")
    operation = _OPERATIONS.get(f"{version.rpartition('/')[2]}/{endpoint}")
    if operation is None:
        return None
    attributes: dict[str, Any] = {}
    for field, name, kind in _REQUEST_ATTRIBUTES:
        value = body.get(field)
        if type(value) is kind or (kind is float and type(value) is int):
            attributes[name] = kind(value)
    stops = body.get("stop_sequences")
    if isinstance(stops, list | tuple) and stops:
        attributes["gen_ai.request.stop_sequences"] = tuple(map(str, stops))
    form = get(body.get("response_format"), "type")
    if isinstance(form, str):
        attributes["gen_ai.output.type"] = "json" if form.startswith("json") else "text"
    model = body.get("model")
    return Request(
        operation, model if isinstance(model, str) else None, body.get("stream") is True, attributes or NOTHING
    )


def read_usage(counts: Any) -> TokenUsage | None:
    """``usage`` of v2, ``meta`` of v1. Without ``tokens`` the billed counts are the only ones known."""
    tokens, billed = get(counts, "tokens"), get(counts, "billed_units")
    billed_input, billed_output = _count(billed, "input_tokens"), _count(billed, "output_tokens")
    cached, units = _count(counts, "cached_tokens"), _count(billed, "search_units")
    if tokens is None:
        if billed_input is None and billed_output is None and units is None:
            return _of_reranking(counts)
        return TokenUsage(
            input_tokens=billed_input,
            output_tokens=billed_output,
            cached_input_tokens=cached,
            image_input_tokens=_count(billed, "image_tokens"),
            search_units=units,
        )
    return TokenUsage(
        input_tokens=_count(tokens, "input_tokens"),
        output_tokens=_count(tokens, "output_tokens"),
        cached_input_tokens=cached,
        search_units=units,
        billed_input_tokens=billed_input,
        billed_output_tokens=billed_output,
    )


def _of_reranking(counts: Any) -> TokenUsage | None:
    """Usage of the rerankers that answer at Cohere's path and count tokens (Jina, Voyage, vLLM): no output, so the total is the input."""
    total = _count(counts, "total_tokens")
    return None if total is None else TokenUsage(input_tokens=total)


def _count(counts: Any, name: str) -> int | None:
    """A whole number, which comes as a float."""
    return count(get(counts, name))


def read_response(response: Any) -> Reply:
    """A whole answer of any endpoint."""
    generations = get(response, "generations") or ()
    reasons = [get(response, "finish_reason")] + [get(generation, "finish_reason") for generation in generations]
    ends = tuple(end for reason in reasons if (end := text(reason)))
    identifier = get(response, "id") or get(response, "response_id") or get(response, "generation_id")
    usage = get(response, "usage")
    return Reply(
        model=text(get(response, "model")),
        id=text(identifier),
        usage=read_usage(get(response, "meta") if usage is None else usage),
        finish_reasons=ends,
        outcome="error" if _FAILED & set(ends) else None,
        error_type=next((end for end in ends if end in _FAILED), None),
    )


def is_notable(event: Any) -> bool:
    """Whether *event* says more than generated text."""
    return _kind(event) in _ENDS or _kind(event) in _OPENINGS or get(event, "error") is not None


def read_stream(first: Any, last: Sequence[Any], seen: int) -> Reply:
    """A stream that ended in any way; without its last event the output count is estimated from its chunks."""
    identifier = text(get(first, "id") or get(first, "generation_id"))
    error = next((get(event, "error") for event in last if get(event, "error") is not None), None)
    for event in reversed(last):
        if _kind(event) in _ENDS:
            return _read_end(event, identifier, _estimated(first, last, seen))
    usage = _estimated(first, last, seen) if seen else None
    return Reply(
        id=identifier,
        usage=usage,
        outcome="partial" if error is None else "error",
        error_type=None if error is None else text(get(error, "type")) or "_OTHER",
    )


def _estimated(first: Any, last: Sequence[Any], seen: int) -> TokenUsage:
    """A chunk a token, less those that carry no text: v2 opens with message-start and content-start, v1 chat with stream-start."""
    opening = {"message-start": 2, "stream-start": 1}.get(_kind(first), 0)
    silent = sum(1 for event in last if _kind(event) in _ENDS or _kind(event) == "content-end")
    return TokenUsage(output_tokens=max(0, seen - opening - silent), source="estimated")


def _read_end(event: Any, identifier: str | None, estimated: TokenUsage) -> Reply:
    response, delta = get(event, "response"), get(event, "delta")
    whole = read_response(delta if response is None else response)
    reason = text(get(event, "finish_reason"))
    usage = whole.usage or estimated  # generate's stream reports none
    failed = whole.error_type or (reason if reason in _FAILED else None)
    return Reply(
        id=whole.id or identifier,
        usage=usage,
        finish_reasons=whole.finish_reasons or ((reason,) if reason else ()),
        outcome=None if failed is None else "error",
        error_type=failed,
    )


def _kind(event: Any) -> str:
    return str(get(event, "type") or get(event, "event_type") or "")


def sdk_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Path and body of ``HttpClient.request(path, *, method, json, ...)`` and of ``stream``."""
    path = args[1] if len(args) > 1 else kwargs.get("path")
    body = kwargs.get("json")
    if not isinstance(path, str) or not isinstance(body, Mapping) or kwargs.get("method") != "POST":
        return None
    return f"/{path}", body


def probe_request(model: str, prompt: str, output_tokens: int, stream: bool) -> dict[str, Any]:
    """Arguments of v2 ``chat`` or, when streaming, ``chat_stream`` that stop at *output_tokens*."""
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "messages": messages, "max_tokens": output_tokens, "temperature": 0.0}


def batch_of(kwargs: Mapping[str, Any]) -> tuple[str, Any, Sequence[Any]] | None:
    """Path, body and items of ``Client.embed(texts=...)``, which sends 96 texts a request; None: it sends just one."""
    texts = kwargs.get("texts")
    if not isinstance(texts, list | tuple) or kwargs.get("batching") is False:
        return None
    names = ("model", "input_type", "truncate")
    return "/v1/embed", {"texts": texts, **{name: kwargs[name] for name in names if name in kwargs}}, texts


_HTTP = "cohere.core.http_client"
_VIA = "_client_wrapper.httpx_client"

ADAPTER = Adapter(
    provider="cohere",
    seams=(
        Seam("cohere.client:Client", "embed", kind="batched", via=_VIA),
        Seam("cohere.client:AsyncClient", "embed", is_async=True, kind="batched", via=_VIA),
        Seam(f"{_HTTP}:HttpClient", "request", kind="http", client="cohere.base_client:BaseCohere", via=_VIA),
        Seam(f"{_HTTP}:HttpClient", "stream", kind="managed", client="cohere.base_client:BaseCohere", via=_VIA),
        Seam(
            f"{_HTTP}:AsyncHttpClient",
            "request",
            is_async=True,
            kind="http",
            client="cohere.base_client:AsyncBaseCohere",
            via=_VIA,
        ),
        Seam(
            f"{_HTTP}:AsyncHttpClient",
            "stream",
            is_async=True,
            kind="managed",
            client="cohere.base_client:AsyncBaseCohere",
            via=_VIA,
        ),
    ),
    read_request=read_request,
    read_response=read_response,
    read_stream=read_stream,
    probe_request=probe_request,
    read_asked=read_asked,
    read_said=read_said,
    sdk_arguments=sdk_arguments,
    sender="httpx_client",
    batch_of=batch_of,
    endpoints=("/v1/chat", "/v2/chat", "/v1/generate", "/v1/embed", "/v2/embed", "/v1/rerank", "/v2/rerank"),
    is_notable=is_notable,
    marks=_MARKS,
    headers={"x-debug-trace-id": "request_id", "x-envoy-upstream-service-time": "processing_ms"},
    prompt_fields=("messages", "prompt", "message", "chat_history", "texts"),
    marker_fields=("messages", "message", "prompt", "texts", "query", "images", "inputs"),
    batch_fields=("texts", "images", "inputs"),
    modelless_endpoints=("/v1/chat", "/v1/generate", "/v1/embed", "/v1/rerank"),
    hosts={"api.cohere.com": "cohere", "api.cohere.ai": "cohere"},
    oldest=(5,),
    probe_client="cohere:ClientV2",
    probe_methods=("chat", "chat_stream"),
    probe_arguments={"request_options": {"max_retries": 0}},
    errors_by_status={
        400: "BadRequestError",
        401: "UnauthorizedError",
        403: "ForbiddenError",
        404: "NotFoundError",
        422: "UnprocessableEntityError",
        429: "TooManyRequestsError",
        498: "InvalidTokenError",
        499: "ClientClosedRequestError",
        500: "InternalServerError",
        501: "NotImplementedError",
        503: "ServiceUnavailableError",
        504: "GatewayTimeoutError",
    },
)
