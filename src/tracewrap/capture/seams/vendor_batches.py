"""Results of a vendor's batches, recorded as the program reads them: one span a result, of no duration.

What was asked for hours ago and answered at the vendor's leisure has tokens and a price but no runtime: such a span ends as it
starts, and nothing compares it with a model's runtime.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from tracewrap import semconv
from tracewrap.capture.call import endpoint_of_client
from tracewrap.capture.state import drop
from tracewrap.capture.tracing import deliver_at_once
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
        name = f"chat {reply.model}" if reply.model else "chat"
        deliver_at_once(name, attributes, "" if outcome == "error" else None)
    except Exception:
        drop("batch result")
