"""Results of a vendor's batches, recorded as the program reads them: one span a result, of no duration.

What was asked for hours ago and answered at the vendor's leisure has tokens and a price but no runtime: such a span ends as it
starts, and nothing compares it with a model's runtime.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from time import time_ns
from typing import Any

from opentelemetry.trace import SpanKind, Status, StatusCode

from tracewrap import semconv
from tracewrap.capture.attributes import put_attributes
from tracewrap.capture.call import endpoint_of_client
from tracewrap.capture.state import drop, state, tracer
from tracewrap.vendors.adapter import Adapter


def record_lines(adapter: Adapter, client: object, result: Any, is_async: bool) -> None:
    """If *result* is the SDK's reader of result lines, record each line that passes."""
    try:
        if adapter.read_line is not None and type(result).__name__ in ("JSONLDecoder", "AsyncJSONLDecoder"):
            lines = _reading_async if is_async else _reading
            result._iterator = lines(adapter, client, result._iterator)
    except Exception:
        drop("batch results")


def _reading(adapter: Adapter, client: object, lines: Iterator[Any]) -> Iterator[Any]:
    for line in lines:
        _record(adapter, client, line)
        yield line


async def _reading_async(adapter: Adapter, client: object, lines: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for line in lines:
        _record(adapter, client, line)
        yield line


def _record(adapter: Adapter, client: object, line: Any) -> None:
    try:
        found = None if adapter.read_line is None else adapter.read_line(line)
        if found is None:
            return
        reply, outcome, error_type = found
        endpoint = endpoint_of_client(adapter, client)
        attributes: dict[str, Any] = {semconv.OPERATION: "chat", semconv.PROVIDER: endpoint.provider}
        attributes |= {semconv.BATCH: True, semconv.OUTCOME: outcome}
        named = {
            semconv.SERVER_ADDRESS: endpoint.address,
            semconv.SERVER_PORT: None if endpoint.address is None else endpoint.port,
            semconv.REQUEST_MODEL: reply.model,
            semconv.RESPONSE_MODEL: reply.model,
            semconv.RESPONSE_ID: reply.id,
            semconv.SERVICE_TIER: reply.service_tier,
            semconv.FINISH_REASONS: reply.finish_reasons or None,
            semconv.ERROR_TYPE: error_type,
        }
        attributes |= {name: value for name, value in named.items() if value is not None}
        if reply.usage is not None:
            semconv.put_usage(attributes, reply.usage)
        now = time_ns()
        name = f"chat {reply.model}" if reply.model else "chat"
        span = (state.tracer or tracer()).start_span(name, kind=SpanKind.CLIENT, start_time=now)
        put_attributes(span, attributes)
        if outcome == "error":
            span.set_status(Status(StatusCode.ERROR))
        span.end(now)
    except Exception:
        drop("batch result")
