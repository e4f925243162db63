"""Seams of kind ``batched``: one call of the user's that the SDK splits into several requests.

The requests may be sent from an executor's threads, which inherit no context: a request is known to belong to an open batch of its client
by its first item, which is the very object the caller passed.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from tracewrap.capture.call import OpenCall, fail, finish, leave, start
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.seams.watch import VendorWatch
from tracewrap.capture.state import drop
from tracewrap.vendors.adapter import Adapter

_open: dict[int, list[_Batch]] = {}
"""id of a client -> the batches that are open on it."""


def batch_call(adapter: Adapter, client: object, body: Mapping[str, Any]) -> OpenCall | None:
    """The call of the batch open on *client* that the request with *body* is part of."""
    batches = _open.get(id(client))
    if not batches:
        return None
    first = next(
        (items[0] for name in adapter.batch_fields if isinstance(items := body.get(name), list | tuple) and items), None
    )
    return next((batch.call for batch in batches if id(first) in batch.items), None)


def is_part(sender: object) -> bool:
    """Whether an HTTP client sends for a batch that is open: its requests are no calls of their own."""
    if not _open:
        return False
    batches = [batch for open_here in list(_open.values()) for batch in open_here]
    return any(getattr(batch.client, batch.call.adapter.sender or "", None) is sender for batch in batches)


def note_part(adapter: Adapter, args: tuple[Any, ...], kwargs: Mapping[str, Any], response: Any) -> None:
    """A request that is not recorded by itself was answered: if it is part of a batch, its headers are the batch's latest."""
    if not _open or adapter.sdk_arguments is None:
        return
    found = adapter.sdk_arguments(args, kwargs)
    call = None if found is None else batch_call(adapter, args[0], found[1])
    if call is not None:
        call.response = response


class _Batch:
    """One open batch: its call, and the mark by which its requests are known."""

    __slots__ = ("call", "client", "items")

    def __init__(self, call: OpenCall, client: object, items: Any):
        self.call = call
        self.client = client
        self.items = frozenset(map(id, items))
        call.sent = -len(items)  # its requests are no attempts
        _open.setdefault(id(client), []).append(self)

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """The method returned *result* or raised *error*."""
        now = perf_counter()
        leave(self.call)
        batches = _open.get(id(self.client), [])
        if self in batches:
            batches.remove(self)
        if not batches:
            _open.pop(id(self.client), None)
        if error is not None:
            fail(self.call, error)
            return
        try:
            finish(self.call, self.call.adapter.read_response(result), ended=now)
        except Exception:
            drop("reading an answer")


class SplitWatch(VendorWatch):
    """Round a method of the user's client; ``via``: the attribute that holds the client which sends its requests."""

    def __init__(self, adapter: Adapter, is_async: bool, via: str | None) -> None:
        super().__init__(adapter, is_async)
        self._via = via

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Batch | None:
        """A call that may become several requests."""
        found = self.adapter.batch_of(kwargs) if self.adapter.batch_of is not None else None
        if found is None:
            return None
        client = operator.attrgetter(self._via)(args[0]) if self._via else args[0]
        call = start(self.adapter, client, found[0], found[1])
        return None if call is None else _Batch(call, client, found[2])

    def received(self, call: _Batch, result: Any) -> None:
        """All its requests were answered."""
        call.end(result)

    def failed(self, call: Any, error: BaseException) -> bool:
        """One of them was not."""
        call.end(error=error)
        return False
