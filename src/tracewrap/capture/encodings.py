"""Content encodings of HTTP bodies that pass undecoded: gzip and deflate by the standard library, br and zstd by what is installed."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from functools import reduce
from typing import Any

from tracewrap.capture.state import logger

Decode = Callable[[bytes], bytes]
_LIBRARIES = {
    "br": (("brotli", "Decompressor", "process"), ("brotlicffi", "Decompressor", "decompress")),
    "zstd": (
        ("compression.zstd", "ZstdDecompressor", "decompress"),
        ("zstandard", "ZstdDecompressor", "decompress"),
        ("backports.zstd", "ZstdDecompressor", "decompress"),
    ),
}
"""Encoding -> module, class and method of what decodes it piece by piece, best first."""
_missed: set[str] = set()


def decoder(encodings: str) -> Decode | None:
    """What undoes the *encodings* of a content-encoding header, piece by piece; None: there are none.

    ``unreadable`` where one is unknown or its library is not installed: said once an encoding.
    """
    named = [name.strip().lower() for name in encodings.split(",")]
    steps: list[Decode] = []
    for name in reversed([name for name in named if name not in ("", "identity")]):
        step = _step(name)
        if step is None:
            _say(name)
            return unreadable
        steps.append(step)
    if len(steps) < 2:
        return steps[0] if steps else None
    return lambda data: reduce(lambda piece, step: step(piece), steps, data)


def unreadable(data: bytes) -> bytes:
    """Nothing: the body passes as it is, and what it says is not known."""
    return b""


def _step(name: str) -> Decode | None:
    if name in ("gzip", "x-gzip"):
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress
    if name == "deflate":
        return _Deflate().decompress
    for module, cls, method in _LIBRARIES.get(name, ()):
        try:
            made = getattr(importlib.import_module(module), cls)()
        except Exception:  # not installed, or broken
            continue
        if module == "zstandard":
            made = made.decompressobj()
        step: Decode = getattr(made, method)
        return step
    return None


class _Deflate:
    """Deflate as servers mean it: with zlib's header by the standard, without it by custom."""

    def __init__(self) -> None:
        self._inner: Any = None

    def decompress(self, data: bytes) -> bytes:
        """The content of the next piece."""
        if self._inner is None and data:
            with_header = data[0] & 0x0F == 8 and (len(data) < 2 or int.from_bytes(data[:2], "big") % 31 == 0)
            self._inner = zlib.decompressobj(zlib.MAX_WBITS if with_header else -zlib.MAX_WBITS)
        return self._inner.decompress(data) if data else b""


def _say(name: str) -> None:
    if name in _missed:
        return
    _missed.add(name)
    libraries = {"br": "brotli", "zstd": "zstandard"}
    step = f"; install {libraries[name]}" if name in libraries else ""
    logger.warning("answers that pass compressed as %r cannot be read: their calls have no tokens%s", name, step)
