"""Where the time of a request by aiohttp passed on this side of the wire, whoever sends by it: an SDK, httpx over it, the program.

A connector gives each request its connection and gets what traces the request. While a call is recorded, one more trace of aiohttp's
own kind goes with its request and notes clock readings, under the names that httpcore's steps have.
"""

from __future__ import annotations

import sys
from typing import Any

from tracewrap.capture.call import running
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.patches import Switch, patch
from tracewrap.capture.phases import Phases, listening, watch_lag
from tracewrap.capture.seams.watch import Watch, watched

_STEPS = {
    "on_connection_create_start": "connection.connect_tcp.started",  # name look-up and TLS within
    "on_connection_create_end": "connection.connect_tcp.complete",
    "on_request_headers_sent": "http11.send_request_body.complete",
    "on_request_chunk_sent": "http11.send_request_body.complete",  # the last one counts
    "on_request_end": "http11.receive_response_headers.complete",
    "on_response_chunk_received": "http11.receive_response_body.complete",  # of a body that is read as a whole
}
_configs: list[Any] = []
"""How requests are traced; made once, by the aiohttp that is imported."""


def listen_to_connectors() -> None:
    """Requests that recorded calls send by aiohttp are listened to from now on; nothing happens where it is not imported."""
    connector = sys.modules.get("aiohttp.connector")
    if connector is not None:
        patch(connector.BaseConnector, "connect", _listening, "aiohttp", everyone=True, purpose="attend")


def _listening(original: Any, switch: Switch) -> Any:
    return watched(original, _ConnectWatch(True))


class _ConnectWatch(Watch):
    """Round ``BaseConnector.connect(request, traces, timeout)``."""

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Phases | None:
        """A request asks for a connection: listen to it if a recorded call sends it; None: it asks again, or nobody does."""
        call = running()
        if call is None:
            return None
        traces = args[2] if len(args) > 2 else kwargs["traces"]
        config = _config()
        if any(trace._trace_config is config for trace in traces):
            return None
        phases = call.phases
        if phases is None or phases.events or phases.idle is not None:  # not one that httpx has begun for this attempt
            phases = call.phases = listening()
            watch_lag(call, phases, is_async=True)
        traces.append(sys.modules["aiohttp.tracing"].Trace(None, config, phases.events))
        return phases

    def received(self, phases: Phases, result: Any) -> None:
        """It has one."""
        phases.events["http11.send_request_headers.started"] = perf_counter()

    def failed(self, call: Any, error: BaseException) -> bool:
        """It got none; the request fails by itself."""
        return False


def _config() -> Any:
    if not _configs:
        config = sys.modules["aiohttp.tracing"].TraceConfig()
        for signal, step in _STEPS.items():
            getattr(config, signal).append(_note(step))
        config.freeze()
        _configs.append(config)
    return _configs[0]


def _note(step: str) -> Any:
    async def note(session: object, events: dict[str, float], params: object) -> None:
        events[step] = perf_counter()

    return note
