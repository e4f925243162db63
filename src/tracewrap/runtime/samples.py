"""Measured samples (input tokens, output tokens, seconds) and their CSV form.

Columns ``input_tokens``, ``output_tokens``, ``runtime_s``; optional ``repeats`` and ``std_s`` (or ``deviation_s``); others are ignored.
``model`` selects rows when it is given.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from tracewrap.errors import ConfigurationError, SourceError

REQUIRED = ("input_tokens", "output_tokens", "runtime_s")


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured point. ``repeats``: runs behind ``runtime_s``; ``deviation_s``: their standard deviation, seconds."""

    input_tokens: int
    output_tokens: int
    runtime_s: float
    repeats: int = 1
    deviation_s: float | None = None


def checked_noise(noise: float | None, otherwise: float) -> float:
    """*noise*, the relative deviation of one measurement, or *otherwise* where it is None; ConfigurationError where it is impossible."""
    if noise is None:
        return otherwise
    if not 0.0 < noise < 1.0:
        raise ConfigurationError(f"noise is {noise}, must be greater than 0 and less than 1 (0.03: three percent)")
    return noise


def read_samples(path: str | os.PathLike[str], model: str | None = None) -> list[Sample]:
    """The samples in a CSV file, all of them or those of *model*.

    Raises SourceError naming file, row (1 is the header) and column for the first thing that is wrong, and when nothing is left.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            found = list(_rows(file, str(path), model))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not UTF-8 text (byte {error.start})") from None
    if not found:
        which = "" if model is None else f" of model {model!r}"
        raise SourceError(f"{path}: holds no sample{which}; expected rows under {','.join(REQUIRED)}")
    return found


def _rows(file: IO[str], path: str, model: str | None) -> Iterator[Sample]:
    reader = csv.reader(file)
    try:
        header = [name.strip() for name in next(reader, [])]
        if not header:
            raise SourceError(f"{path}: is empty; expected a header with {','.join(REQUIRED)}")
        at = {name: header.index(name) for name in header}
        _check_header(at, path, model)
        for number, row in enumerate(reader, start=2):
            if not row or (model is not None and _cell(row, at, "model", path, number) != model):
                continue
            yield _sample(row, at, path, number)
    except csv.Error as error:
        raise SourceError(f"{path}: row {reader.line_num} is not CSV ({error})") from None


def _check_header(at: Mapping[str, int], path: str, model: str | None) -> None:
    wanted = [*REQUIRED, *([] if model is None else ["model"])]
    missing = [name for name in wanted if name not in at]
    if missing:
        raise SourceError(f"{path}: column {missing[0]!r} is missing; the header has {', '.join(at)}")


def _cell(row: list[str], at: Mapping[str, int], name: str, path: str, number: int) -> str:
    try:
        return row[at[name]].strip()
    except IndexError:
        raise SourceError(f"{path}: row {number}: column {name!r} is missing, the row has {len(row)} cells") from None


def _sample(row: list[str], at: Mapping[str, int], path: str, number: int) -> Sample:
    deviation = None
    for name in ("deviation_s", "std_s"):
        if name in at and (text := _cell(row, at, name, path, number)):
            deviation = _number(text, name, path, number, least=0.0)
    repeats = 1
    if "repeats" in at and (text := _cell(row, at, "repeats", path, number)):
        repeats = _count(text, "repeats", path, number, least=1)
    return Sample(
        _count(_cell(row, at, "input_tokens", path, number), "input_tokens", path, number, least=0),
        _count(_cell(row, at, "output_tokens", path, number), "output_tokens", path, number, least=0),
        _number(_cell(row, at, "runtime_s", path, number), "runtime_s", path, number, least=None),
        repeats,
        deviation,
    )


def _number(text: str, name: str, path: str, number: int, least: float | None) -> float:
    try:
        value = float(text)
    except ValueError:
        raise SourceError(f"{path}: row {number}, column {name!r}: {text!r} is not a number") from None
    if not math.isfinite(value) or (value <= 0.0 if least is None else value < least):
        bound = "greater than 0" if least is None else f"at least {least:g}"
        raise SourceError(f"{path}: row {number}, column {name!r}: {text} must be {bound}")
    return value


def _count(text: str, name: str, path: str, number: int, least: int) -> int:
    value = _number(text, name, path, number, least=float(least))
    if value != int(value):
        raise SourceError(f"{path}: row {number}, column {name!r}: {text} is not a whole number of tokens")
    return int(value)
