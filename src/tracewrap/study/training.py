"""Training beside inference: each model whose training was published, and after how many tokens its inference has taken as much.

A token of inference is the mean over the chat mix, input tokens counted too, of calls served one after another: the most that a token
takes, so the fewest tokens. Both sides are at the wall: times the same PUE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracewrap.errors import TracewrapError
from tracewrap.runtime.cost import idealized_cost, idealized_energy, wall_watts
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.roofline.estimating import estimate_by_name
from tracewrap.runtime.roofline.gpus import Gpu, get_gpu
from tracewrap.runtime.stack import ReferenceStack
from tracewrap.runtime.training import JOULES_PER_MWH, PUE, Training, load_training
from tracewrap.study.mixes import MIXES
from tracewrap.study.suite import over_mix

STACK = "h100-sxm:vllm"
MIX = MIXES["chat"]
COLUMNS = (
    "model=model;gpu=trained on;gpu_hours=GPU hours|#;utilisation=utilisation|%0;provenance=provenance;mwh=MWh|#;usd=million $|3;"
    "on=inference on;j_per_token=J a token|3;usd_per_million=$ a million|3;even_energy=10⁹ tokens to as much energy|3;"
    "even_usd=to as many $|3"
)
"""Of ``training_rows``, as ``page.table`` takes them."""


def training_rows(paper: ReferenceStack, served_tokens: float) -> list[dict[str, Any]]:
    """A row a published training: what it took, a token's share of it over *served_tokens*, and when inference has taken as much.

    Inference is on *paper*'s stack where that has the model, else computed on ``STACK``, at the first price of its GPU. None: unknown.
    Dollars of a training in millions, ``even_`` tokens in 10^9.
    """
    return [_row(found, paper, served_tokens) for found in load_training().values()]


def _row(found: Training, paper: ReferenceStack, served_tokens: float) -> dict[str, Any]:
    on, joules, usd = _token(found.model, paper)
    row: dict[str, Any] = {"model": found.model, "gpu": found.gpu, "gpu_hours": found.gpu_hours}
    row |= {
        "utilisation": found.utilisation,
        "provenance": found.provenance,
        "source": found.source,
        "date": found.date,
    }
    row |= {"mwh": None if found.energy_j is None else found.energy_j / JOULES_PER_MWH}
    row |= {"usd": None if found.usd is None else found.usd / 1e6, "on": on, "j_per_token": joules}
    row |= {"share_j_per_token": None if found.energy_j is None else found.energy_j / served_tokens}
    row |= {"usd_per_million": None if usd is None else 1e6 * usd}
    row |= {"share_usd_per_million": None if found.usd is None else 1e6 * found.usd / served_tokens}
    return row | {"even_energy": _even(found.energy_j, joules), "even_usd": _even(found.usd, usd)}


def _even(whole: float | None, a_token: float | None) -> float | None:
    return None if whole is None or a_token is None else whole / a_token / 1e9


def _token(model: str, paper: ReferenceStack) -> tuple[str | None, float | None, float | None]:
    """Where, and joules and dollars of a token there."""
    if (profile := paper.profiles.get(model)) is not None:
        return (paper.id, *_taken(profile, get_gpu(paper.gpu)))
    try:
        return (STACK, *_taken(estimate_by_name(model, STACK), get_gpu(STACK.partition(":")[0])))
    except TracewrapError:
        return None, None, None


def _taken(profile: RuntimeProfile, gpu: Gpu) -> tuple[float, float | None]:
    runtime, n = (
        over_mix(MIX, lambda shape: profile.estimate(shape.input_tokens, shape.output_tokens)),
        profile.n_gpus or 1,
    )
    tokens = MIX.mean("input_tokens") + MIX.mean("output_tokens")
    usd = None if gpu.price is None else idealized_cost(runtime, n, gpu.price.usd_per_gpu_hour).value / tokens
    return idealized_energy(runtime, n, wall_watts(gpu.batch_1_watts, pue=PUE)).value / tokens, usd


def between(rows: Sequence[dict[str, Any]], key: str) -> tuple[float, float, float]:
    """Least, median and most of *key* over the *rows* that have it."""
    values = sorted(float(row[key]) for row in rows if row[key] is not None)
    return values[0], values[len(values) // 2], values[-1]
