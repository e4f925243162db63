"""The seam of kind ``options``: ``request(cast_to, options, ...)`` of the openai and anthropic SDKs, through which all their calls go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracewrap.capture import stream_usage
from tracewrap.capture.bodies import kind_of, parsed, read_json_body, read_paid, tee
from tracewrap.capture.call import OpenCall, fail, finish, leave, start
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.hidden import strip_body, without_usage, without_usage_async
from tracewrap.capture.relays import WithoutUsage, watch_relay
from tracewrap.capture.seams.vendor_batches import record_later
from tracewrap.capture.seams.watch import VendorWatch
from tracewrap.capture.state import drop, state
from tracewrap.capture.streams import AsyncStreamReader, StreamReader, hook_close


class RequestWatch(VendorWatch):
    """Round ``request(client, cast_to, options, ...)``."""

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCall | None:
        """Begin recording; None: pass it through."""
        try:
            options = args[2] if len(args) > 2 else kwargs.get("options")
            if options is None or (options.method != "post" and options.method.lower() != "post"):
                return None
            call = start(self.adapter, args[0], options.url, _body(options), options)
            if call is not None and call.request.asks_usage is not None and call.is_kept:
                _ask_usage(call, options)
        except Exception:
            drop("request")
            return None
        return call

    def failed(self, call: OpenCall, error: BaseException) -> bool:
        """A server that may have refused the field we added is asked once more without it. Others may leave an answer that was paid."""
        if call.asked is not None and stream_usage.is_refusal(error):
            options, body = call.asked
            options.json_data, call.asked, call.refused = body, None, True
            call.attempt()
            return True
        leave(call)
        fail(call, error, None if call.response is None else read_paid(call.adapter, call.response))
        return False

    def received(self, call: OpenCall, result: Any) -> None:
        """Read *result* by its kind: an SDK stream, a raw response, or the parsed answer."""
        now = perf_counter()
        leave(call)
        if call.refused:
            stream_usage.refused(call)
        fields = getattr(result, "__dict__", None) or {}
        if "response" in fields and hasattr(result, "__stream__"):
            hides = call.adapter.hides_chunk if call.asked is not None else None
            reader = (AsyncStreamReader if self.is_async else StreamReader)(call, result._iterator, hides)
            hook_close(result.response, reader)
            watch_relay(reader, result.response, is_async=self.is_async)
            result._iterator = reader
        elif "http_response" in fields or "_raw_response" in fields:
            _received_raw(call, result.http_response, now, self.is_async)
        else:
            if state.content:
                call.said = (result,)
            finish(call, call.adapter.read_response(result), ended=now)

    def unread(self, call: OpenCall, result: Any) -> None:
        """Reading *result* failed. If we asked its stream for a usage chunk, the consumer must still not see that chunk."""
        if call.asked is not None:
            if hasattr(result, "_iterator"):
                strip = without_usage_async if self.is_async else without_usage
                result._iterator = strip(call.adapter, result._iterator)
            else:
                strip_body(call.adapter, result.http_response, self.is_async)
        drop("response")

    def passed(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """What was asked for earlier and is answered now (results of batches, background responses) is recorded as it is read."""
        if self.adapter.read_line is not None:
            record_later(self.adapter, args, kwargs, result, self.is_async)


def _body(options: Any) -> Any:
    """What is sent: the SDK puts ``extra_body`` over what it was given."""
    body, extra = options.json_data, getattr(options, "extra_json", None)
    return {**body, **extra} if extra and isinstance(body, dict) else body


def _ask_usage(call: OpenCall, options: Any) -> None:
    """Make the stream report its usage, where that changes nothing for the program."""
    if not stream_usage.is_asked(call):
        return
    call.asked = options, options.json_data
    options.json_data = {**options.json_data, **(call.request.asks_usage or {})}
    call.started = call.attempt_started = perf_counter()


def _received_raw(call: OpenCall, response: Any, now: float, is_async: bool) -> None:
    """A raw response: read already (``with_raw_response``) or yet to be read by the consumer, who does not see what was only asked for."""
    if hasattr(response, "_content") and kind_of(response) == "json":
        if state.content:
            call.said = (parsed(response.content),)
        finish(call, read_json_body(call.adapter, response.content), ended=now)
        return
    tee(call, response, is_async=is_async, without=WithoutUsage(call.adapter) if call.asked is not None else None)
