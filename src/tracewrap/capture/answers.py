"""What an answer says, as span attributes: the vendor's Reply, and the headers of the response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracewrap import semconv
from tracewrap.capture.counting import with_counted_input
from tracewrap.vendors import merged
from tracewrap.vendors.adapter import Adapter, Reply, Request
from tracewrap.vendors.checks import milliseconds, text
from tracewrap.vendors.providers import Endpoint

_HEADER_ATTRIBUTES = {"request_id": semconv.REQUEST_ID, "processing_ms": semconv.SERVER_PROCESSING}
_headers: dict[bytes, str | None] = {}
"""Header as it was spelled -> the attribute it fills, None for none; learned as they are seen."""
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
    """Request id, provider timing and remaining rate limits from the headers of an httpx or httpx2 *response*."""
    for key, value in response.headers.raw:
        name = _headers[key] if key in _headers else _learn_header(key)
        if name is not None:
            _put_header(attributes, name, value.decode("latin-1"))


def _learn_header(key: bytes) -> str | None:
    """The attribute that a header spelled *key* fills, remembered so that the next call only looks it up."""
    lower = key.decode("latin-1").lower()
    name = _HEADER_ATTRIBUTES.get(merged("headers").get(lower, ""))
    if name is None and "ratelimit-" in lower and "remaining" in lower:
        name = text("tracewrap." + lower.removeprefix("x-").replace("-", "_"))
    if len(_headers) < _MAX_KNOWN_HEADERS:
        _headers[key] = name
    return name


def _put_header(attributes: dict[str, Any], name: str, value: str) -> None:
    found = milliseconds(value) if name is semconv.SERVER_PROCESSING else text(value)
    if found is not None:
        attributes[name] = found
