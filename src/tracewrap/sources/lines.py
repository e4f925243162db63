"""Lines of OTLP-JSON files in batches of bounded size, and one function run over them by several threads."""

from __future__ import annotations

import concurrent.futures
import gzip
import importlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from tracewrap.errors import SourceError

BATCH_BYTES = 8 * 1024 * 1024
BATCH_LINES = 2048
_T = TypeVar("_T")
Batch = tuple[list[str], list[int]]
"""Lines, and beside each the number of the part of the source that it belongs to."""
_LONE_SURROGATE = re.compile(
    r"(\\\\)|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""Escaped backslashes and whole pairs, which stay; half a pair, which is no text, in its second group."""


def open_lines(path: Path) -> IO[bytes]:
    """*path* for reading bytes, decompressed by its suffix; SourceError when it cannot be opened."""
    try:
        if path.suffix == ".gz":
            return cast("IO[bytes]", gzip.open(path, "rb"))
        return _zstd(path) if path.suffix == ".zst" else open(path, "rb")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error})") from None


def _zstd(path: Path) -> IO[bytes]:
    for name in ("compression.zstd", "zstandard"):
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        return cast("IO[bytes]", module.open(path, "rb"))
    raise SourceError(
        f"{path}: reading zstd needs Python 3.14 or the package zstandard; install it, or unpack the file: zstd -d {path}"
    )


def batches(paths: Iterable[Path]) -> Iterator[Batch]:
    """Non-blank lines of all *paths*, in batches; SourceError when a file cannot be read."""
    return in_batches((0, line) for path in paths for line in lines_of(path))


def lines_of(path: Path, begin: int = 0) -> Iterator[bytes]:
    """The lines of *path* from byte *begin* on; SourceError when it cannot be read."""
    with open_lines(path) as file:
        try:
            if begin:
                file.seek(begin)
            yield from file
        except (OSError, EOFError, ValueError) as error:
            raise SourceError(f"{path}: cannot be read ({error})") from None


def in_batches(lines: Iterable[tuple[int, bytes]], batch_bytes: int = BATCH_BYTES) -> Iterator[Batch]:
    """Non-blank *lines*, each with the number of its part, in batches of up to ``BATCH_LINES`` lines or about *batch_bytes* bytes.

    Bytes that are no UTF-8 are replaced: such a line is no JSON, or its damage is inside a text; so is half of a surrogate pair.
    """
    held: list[str] = []
    parts: list[int] = []
    size = 0
    for part, line in lines:
        text = line.decode("utf-8", "replace").strip()
        if not text:
            continue
        if "\\ud" in text or "\\uD" in text:
            text = _LONE_SURROGATE.sub(_mended, text)
        held.append(text.replace("\0", "\ufffd"))
        parts.append(part)
        size += len(line)
        if size >= batch_bytes or len(held) >= BATCH_LINES:
            yield held, parts
            held, parts, size = [], [], 0
    if held:
        yield held, parts


def _mended(found: re.Match[str]) -> str:
    return "\\ufffd" if found[2] else found[0]


def in_threads(work: Callable[[Batch], _T], items: Iterator[Batch], threads: int) -> Iterator[_T]:
    """*work* on every batch by *threads* threads; at most twice as many batches are held at a time."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=threads) as pool:
        waiting = {pool.submit(work, item) for item in itertools.islice(items, 2 * threads)}
        while waiting:
            done, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                yield future.result()
            waiting |= {pool.submit(work, item) for item in itertools.islice(items, len(done))}
