"""Whether a stream is asked to report its usage, and hides the chunk that brings it: only where the program sees what it would see anyway.

Some servers report usage only when asked, some always, some refuse a request with a field that they do not know. Of a known provider
it is known that it reports when asked and only then. Of any other server it is learned, a model at a time: its first stream passes as it
is; if it brought no usage, later ones are asked and the extra chunk is hidden; if it did, they never are, as nobody could tell
their chunk from the program's own. A server that refuses the field is asked again without it, and never after that.
"""

from __future__ import annotations

from typing import Literal

from tracewrap.capture.call import OpenCall
from tracewrap.capture.state import state
from tracewrap.vendors.providers import reports_usage_when_asked

Manner = Literal["when_asked", "always", "refuses"]
_manners: dict[tuple[str | None, int | None, str | None], Manner] = {}
"""(address, port, model) -> what was learned of its streams."""
_MAX_KNOWN = 4096
_REFUSALS = frozenset({400, 415, 422})
"""HTTP statuses by which servers refuse what they do not know; by others only if they name the field."""


def is_asked(call: OpenCall) -> bool:
    """Whether the stream of *call* is to be asked for its usage."""
    if state.stream_usage == "never":
        return False
    manner = _manners.get(_key(call))
    if manner is None and (state.stream_usage == "always" or reports_usage_when_asked(call.endpoint)):
        manner = "when_asked"
    return manner == "when_asked"


def seen(call: OpenCall, reported: bool) -> None:
    """A stream that was not asked ended; *reported*: it brought its usage all the same."""
    _learn(call, "always" if reported else "when_asked")


def is_refusal(error: BaseException) -> bool:
    """Whether *error* can be a server's answer to the field that was added."""
    status = getattr(error, "status_code", None)
    return status in _REFUSALS or (isinstance(status, int) and "stream_options" in str(error))


def refused(call: OpenCall) -> None:
    """Asked again without the field, the server of *call* answered: never ask it again."""
    _learn(call, "refuses")


def _key(call: OpenCall) -> tuple[str | None, int | None, str | None]:
    return call.endpoint.address, call.endpoint.port, call.request.model


def _learn(call: OpenCall, manner: Manner) -> None:
    key = _key(call)
    if _manners.get(key) != "refuses" and (key in _manners or len(_manners) < _MAX_KNOWN):
        _manners[key] = manner
