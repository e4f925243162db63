"""Answers that come later, recorded as the program reads them: results of a vendor's batches, background responses that are polled.

One span a result, of no duration, however often it is read.

What was asked for hours ago and answered at the vendor's leisure has tokens and a price but no runtime: such a span ends as it
starts, and nothing compares it with a model's runtime.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from tracewrap import semconv
from tracewrap.capture.bodies import parsed
from tracewrap.capture.call import endpoint_of_client, records_now
from tracewrap.capture.state import drop
from tracewrap.capture.tracing import deliver_at_once
from tracewrap.vendors.adapter import Adapter

_MAX_REMEMBERED = 65_536
_recorded: OrderedDict[tuple[str, str], None] = OrderedDict()
"""(provider, id) of the results recorded: one that is read again, as often as one likes, is still one."""


def record_later(
    adapter: Adapter, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any, is_async: bool
) -> None:
    """If *result*, of a request that was no inference call, brings what was asked for earlier, record that as it is read."""
    try:
        options = args[2] if len(args) > 2 else kwargs.get("options")
        if not _reads_later(options) or not records_now():
            return
        if type(result).__name__ in adapter.line_readers or hasattr(result, "__stream__"):
            if hasattr(result, "_iterator"):
                lines = _reading_async if is_async else _reading
                result._iterator = lines(adapter, args[0], result._iterator)
        else:
            _record(adapter, args[0], _whole(result))
    except Exception:
        drop("results read later")


def forget() -> None:
    """Nothing was recorded yet."""
    _recorded.clear()


def _reads_later(options: Any) -> bool:
    """Whether a request fetches what an earlier one asked for, or ends it."""
    method = str(getattr(options, "method", "")).lower()
    return method == "get" or (method == "post" and str(getattr(options, "url", "")).endswith("/cancel"))


def _whole(result: Any) -> Any:
    """The parsed answer; of a raw response, which the consumer parses, its JSON."""
    response = getattr(result, "http_response", None)
    content = getattr(response, "_content", None)
    return parsed(content) if isinstance(content, bytes) else result


def _reading(adapter: Adapter, client: object, lines: Iterator[Any]) -> Iterator[Any]:
    for line in lines:
        _record(adapter, client, line)
        yield line


async def _reading_async(adapter: Adapter, client: object, lines: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for line in lines:
        _record(adapter, client, line)
        yield line


def _is_new(provider: str, identifier: str | None) -> bool:
    """Whether this result was not recorded before; of one without an id nothing is known."""
    if identifier is None:
        return True
    key = (provider, identifier)
    if key in _recorded:
        return False
    _recorded[key] = None
    while len(_recorded) > _MAX_REMEMBERED:
        _recorded.popitem(last=False)
    return True


def _record(adapter: Adapter, client: object, line: Any) -> None:
    try:
        found = None if adapter.read_line is None else adapter.read_line(line)
        if found is None:
            return
        reply, outcome, error_type = found
        endpoint = endpoint_of_client(adapter, client)
        if not _is_new(endpoint.provider, reply.id):
            return
        attributes: dict[str, Any] = {semconv.OPERATION: "chat", semconv.PROVIDER: endpoint.provider}
        attributes |= {semconv.BATCH: True, semconv.OUTCOME: outcome}
        named = {
            semconv.SERVER_ADDRESS: endpoint.address,
            semconv.SERVER_PORT: None if endpoint.address is None else endpoint.port,
            semconv.REQUEST_MODEL: reply.model,
            semconv.RESPONSE_MODEL: reply.model,
            semconv.RESPONSE_ID: reply.id,
            semconv.SERVICE_TIER: reply.service_tier,
            semconv.SPEED: reply.speed,
            semconv.REGION: reply.region or endpoint.region,
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
