"""Taking out the chunk that exists only because usage was asked for, where what does it with care has failed: by its shape alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from tracewrap.vendors.adapter import Adapter


def has_hidden_shape(adapter: Adapter, chunk: Any) -> bool:
    """Whether *chunk* looks like the one that exists only because usage was asked for, where the vendor's own test of it fails."""
    if adapter.hidden_shape is None:
        return False
    name, value = adapter.hidden_shape
    return bool(getattr(chunk, name, None) == value)


def without_usage(adapter: Adapter, iterator: Iterator[Any]) -> Iterator[Any]:
    """*iterator* without the usage chunk that was asked for, when no reader could be put round it."""
    return (chunk for chunk in iterator if not has_hidden_shape(adapter, chunk))


def without_usage_async(adapter: Adapter, iterator: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """*iterator* without the usage chunk that was asked for, when no reader could be put round it."""
    return (chunk async for chunk in iterator if not has_hidden_shape(adapter, chunk))


def stripped(adapter: Adapter, data: bytes) -> bytes:
    """*data* of a body without that chunk's event, likewise; of one that arrives in pieces it is left."""
    return data if adapter.hidden_bytes is None else adapter.hidden_bytes.sub(b"", data)


def stripping(adapter: Adapter, pieces: Any, is_async: bool) -> Any:
    """An iterator of the *pieces* of a body without that chunk's event, likewise."""
    if is_async:
        return (stripped(adapter, data) async for data in pieces)
    return (stripped(adapter, data) for data in pieces)


def strip_body(adapter: Adapter, response: Any, is_async: bool) -> None:
    """Take that chunk's event out of the body of *response*, likewise."""
    name = "aiter_bytes" if is_async else "iter_bytes"
    bytes_of = getattr(response, name)
    setattr(response, name, lambda *args, **kwargs: stripping(adapter, bytes_of(*args, **kwargs), is_async))
