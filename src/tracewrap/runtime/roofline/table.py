"""Estimates for a table of servers: one row a case, the columns of a table of measurements."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

from tracewrap.errors import ConfigurationError, TracewrapError
from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.estimating import prepare, server_times
from tracewrap.runtime.roofline.gpus import Gpu, get_gpu
from tracewrap.runtime.roofline.stacks import UNKNOWN, Stack, find_stack, load_stacks

NEEDED = ("model", "gpu", "input_tokens", "output_tokens")
OPTIONAL = ("n_gpus", "stack", "precision", "concurrency")
ADDED = (
    *("predicted_ttft_s", "ttft_low_s", "ttft_high_s"),
    *("predicted_time_per_output_token_s", "tpot_low_s", "tpot_high_s"),
    *("provenance", "note"),
)
UNKNOWN_NOTE = "no stack named: what the engines since 2025 have in common"


def estimate_row(row: Mapping[str, str], gpus: Mapping[str, Gpu]) -> dict[str, str]:
    """The added columns of one *row*; seconds empty and the reason in ``note`` when it cannot be estimated.

    An empty ``n_gpus`` is the fewest that fit, an empty ``precision`` the published one, an empty ``concurrency`` 1.
    """
    try:
        return _estimate(row, gpus)
    except TracewrapError as error:
        return {**dict.fromkeys(ADDED, ""), "note": str(error)}


def _estimate(row: Mapping[str, str], gpus: Mapping[str, Gpu]) -> dict[str, str]:
    cell = {name: (row.get(name) or "").strip() for name in (*NEEDED, *OPTIONAL)}
    for name in ("model", "gpu"):
        if not cell[name]:
            raise ConfigurationError(f"{name} is empty; name one")
    stack = _stack(cell["stack"])
    concurrency = _number("concurrency", cell["concurrency"] or "1")
    setup, found = prepare(
        get_model(cell["model"]),
        get_gpu(cell["gpu"], gpus),
        n_gpus=_whole("n_gpus", cell["n_gpus"], 1) if cell["n_gpus"] else None,
        stack=stack,
        precision=cell["precision"] or None,
        concurrency=max(1.0, concurrency),
    )
    prompt, output = _whole("input_tokens", cell["input_tokens"], 0), _whole("output_tokens", cell["output_tokens"], 0)
    times = server_times(setup, found, prompt, output, max(1.0, concurrency))
    notes = times.notes if cell["stack"] else (UNKNOWN_NOTE, *times.notes)
    values = [f"{x:.6g}" for each in (times.first_s, times.token_s) for x in (each.value, each.low, each.high)]
    return dict(zip(ADDED, (*values, times.provenance, "; ".join(notes)), strict=True))


@functools.lru_cache(maxsize=256)
def _stack(name: str) -> Stack:
    return find_stack(name) if name else load_stacks()[UNKNOWN]


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ConfigurationError(f"{name} is {text!r}, must be a number of at least 0")
    return value


def _whole(name: str, text: str, least: int) -> int:
    value = _number(name, text)
    if value < least or value % 1:
        raise ConfigurationError(f"{name} is {text!r}, must be a whole number of at least {least}")
    return int(value)
