"""What an answer says, as span attributes: the vendor's Reply, and the headers of the response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tracewrap import semconv
from tracewrap.capture.counting import with_counted_input
from tracewrap.vendors import merged
from tracewrap.vendors.adapter import Adapter, Reply, Request
from tracewrap.vendors.checks import milliseconds, server_timing, text, whole_number
from tracewrap.vendors.providers import Endpoint

_Read = Callable[[str], Any]
_HEADER_ATTRIBUTES: Mapping[str, tuple[str, _Read]] = {
    "request_id": (semconv.REQUEST_ID, text),
    "processing_ms": (semconv.SERVER_PROCESSING, milliseconds),
    "server_timing": (semconv.SERVER_PROCESSING, server_timing),
    "input_tokens": (semconv.INPUT_TOKENS, whole_number),
    "output_tokens": (semconv.OUTPUT_TOKENS, whole_number),
}
_headers: dict[bytes | str, tuple[str, _Read] | None] = {}
"""Header as it was spelled -> the attribute it fills and how it is read, None for none; learned as they are seen."""
_MAX_KNOWN_HEADERS = 1024


def put_reply(
    attributes: dict[str, Any],
    reply: Reply,
    request: Request,
    endpoint: Endpoint,
    adapter: Adapter,
    body: Mapping[str, Any],
) -> None:
    """Write what *reply* says; tokens of the prompt that nobody reported are counted from the request's *body*."""
    if reply.model is not None:
        attributes[semconv.RESPONSE_MODEL] = reply.model
    if reply.id is not None:
        attributes[semconv.RESPONSE_ID] = reply.id
    if reply.finish_reasons:
        attributes[semconv.FINISH_REASONS] = reply.finish_reasons
    if reply.service_tier is not None:
        attributes[semconv.SERVICE_TIER] = reply.service_tier
    if reply.speed is not None:
        attributes[semconv.SPEED] = reply.speed
    region = reply.region or request.region or endpoint.region
    if region is not None:
        attributes[semconv.REGION] = region
    if reply.attributes:
        attributes.update(reply.attributes)
    if reply.background:
        attributes[semconv.OUTCOME] = "background"
    usage = reply.usage
    if usage is not None:
        if usage.input_tokens is None and usage.source == "estimated":
            usage = with_counted_input(usage, body, adapter.prompt_fields)
        semconv.put_usage(attributes, usage)


def put_headers(attributes: dict[str, Any], response: Any) -> None:
    """Request id, provider timing and remaining rate limits from the headers of *response*: an httpx or httpx2 one, or any with a
    mapping of headers."""
    headers = response.headers
    raw = getattr(headers, "raw", None)
    for key, value in headers.items() if raw is None else raw:
        known = _headers[key] if key in _headers else _learn_header(key)
        if known is not None:
            name, read = known
            found = read(value.decode("latin-1") if isinstance(value, bytes) else value)
            if found is None:
                continue
            if read is not whole_number:
                attributes[name] = found
            elif name not in attributes:  # the answer itself tells more: cached tokens
                attributes[name] = found
                attributes[semconv.USAGE_SOURCE] = "reported"


def _learn_header(key: bytes | str) -> tuple[str, _Read] | None:
    """What a header spelled *key* fills, remembered so that the next call only looks it up."""
    lower = (key.decode("latin-1") if isinstance(key, bytes) else key).lower()
    known = _HEADER_ATTRIBUTES.get(merged("headers").get(lower, ""))
    if known is None and "ratelimit-" in lower and "remaining" in lower:
        name = text("tracewrap." + lower.removeprefix("x-").replace("-", "_"))
        known = None if name is None else (name, text)
    if len(_headers) < _MAX_KNOWN_HEADERS:
        _headers[key] = known
    return known
