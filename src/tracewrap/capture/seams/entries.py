"""A call's request on its way to the HTTP library: listened to, and where the program stands in between, seen when it gets there.

Hooks, authentication, a client or transport of the program's own, a handler of the log line of each request: what they take is the
program's, neither a wait for a connection nor the provider's. Where there are any, the library's pool tells when a request reaches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracewrap.capture import phases
from tracewrap.capture.call import OpenCall
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.patches import patch
from tracewrap.capture.seams.steps import before


def attend(call: OpenCall, request: Any, is_async: bool, sender: Any) -> None:
    """The next attempt of *call* is about to be sent as *request* by *sender*, an httpx or httpx2 client or transport."""
    straight = phases.goes_straight(sender, is_async)
    phases.attend(call, request, is_async, sender, straight)
    if not straight and call.phases is not None:
        pool = getattr(getattr(sender, "_transport", sender), "_pool", None)
        if pool is not None:
            method = "handle_async_request" if is_async else "handle_request"
            patch(type(pool), method, _ENTER[is_async], call.adapter.name, everyone=True, purpose="entry")


def _entered(call: OpenCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """The library's pool is asked for a connection; of several requests of one attempt (to log in, say) the last one is the call's."""
    if call.phases is not None:
        call.phases.entered = perf_counter()


_ENTER = {is_async: before(_entered, is_async) for is_async in (False, True)}
