"""The standard suite: models x stacks over named token mixes; with recorded calls, what their deployments take on a quiet day beside.

Of a mix the mean over its shapes is given, seconds, dollars or joules a call. The intervals of the shapes are one profile's, so they
are added and not averaged away. Where a mix has cached tokens, ``idealized_s`` is with that cache (``RuntimeProfile.cached_estimate``)
and ``idealized_uncached_s`` without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from tracewrap.estimate.catalog import Catalog
from tracewrap.records import Estimate
from tracewrap.report.tables.loading import load
from tracewrap.report.tables.options import Options, load_options, period
from tracewrap.runtime.cost import idealized_cost, idealized_energy
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.roofline.architectures import get_model, resolve_model
from tracewrap.runtime.stack import ReferenceStack
from tracewrap.study.mixes import Mix, Shape, chosen

SCHEMA = "tracewrap.suite/1"
MODELS = (
    "meta-llama/Llama-3.1-8B-Instruct",
    "Qwen/Qwen3-30B-A3B",
    "meta-llama/Llama-3.3-70B-Instruct",
    "openai/gpt-oss-120b",
    "deepseek-ai/DeepSeek-V3",
)
"""Models when none is named: small and large, dense and mixtures."""
STACKS = ("a100-sxm-80gb:vllm", "h100-sxm:vllm", "h200-sxm:vllm", "b200:vllm")
"""Reference stacks when none is named."""


class MixFacts(TypedDict):
    """One mix, its means and its source."""

    name: str
    title: str
    shapes: int
    input_tokens: float
    output_tokens: float
    cached_tokens: float
    source: str
    assumed: str | None


class Row(TypedDict):
    """One model on one stack over one mix: means a call, each with its 90% interval."""

    mix: str
    model: str
    stack: str
    n_gpus: int
    provenance: str
    profile: str
    extrapolated: bool
    """Whether a shape lies beyond what the profile was measured or computed for."""
    idealized_s: float
    idealized_low_s: float
    idealized_high_s: float
    idealized_uncached_s: float
    cost_usd: float | None
    cost_low_usd: float | None
    cost_high_usd: float | None
    usd_per_gpu_hour: float | None
    price_source: str | None
    price_date: str | None
    energy_j: float | None
    energy_low_j: float | None
    energy_high_j: float | None


class Quiet(TypedDict):
    """One deployment of the recorded calls over one mix, on a quiet day."""

    mix: str
    deployment: str
    model: str | None
    calls: int
    verdict: str | None
    extrapolated: bool
    denoised_s: float
    denoised_low_s: float
    denoised_high_s: float


class Gap(TypedDict):
    """A model without a profile on a stack, or a deployment without a quiet-day profile, and why."""

    model: str | None
    where: str
    why: str


class Suite(TypedDict):
    """``tracewrap.suite/1``."""

    schema: str
    mixes: list[MixFacts]
    rows: list[Row]
    quiet: list[Quiet]
    missing: list[Gap]
    notes: list[str]


def suite(
    models: Sequence[str] = (),
    *,
    mixes: Sequence[str] = (),
    references: Sequence[str] = (),
    source: str | Sequence[str] = (),
    day: str | None = None,
    since: str | None = None,
    until: str | None = None,
    catalog: Catalog | None = None,
    stand_ins: Mapping[str, str] | None = None,
    **options: Any,
) -> Suite:
    """*models* (none: ``MODELS``) on *references* (none: ``STACKS``) over *mixes* (none: all); of *source* the deployments beside.

    Other arguments as ``report.build``. Raises ConfigurationError for an unknown mix, ProfileNotFoundError for a model or stack of
    which nothing is known, and what ``report.build`` raises.
    """
    over = chosen(mixes)
    wanted = tuple(references) or (STACKS if catalog is None else ())
    found = load_options(references=wanted, catalog=catalog, stand_ins=stand_ins, **options)
    named = list(models) or list(MODELS)
    for model in named:
        if resolve_model((stand_ins or {}).get(model, model)) is None and not _known(found.catalogs, model):
            get_model(model)  # raises, naming the nearest
    rows, missing = _idealized(named, found.catalogs, over)
    sources = [source] if isinstance(source, str) else list(source)
    quiet, gaps, notes = _quiet(sources, over, found, (day, since, until)) if sources else ([], [], [])
    return {
        "schema": SCHEMA,
        "mixes": [_facts(mix) for mix in over],
        "rows": rows,
        "quiet": quiet,
        "missing": [*missing, *gaps],
        "notes": notes,
    }


def _known(catalogs: Mapping[str, Catalog], model: str) -> bool:
    return any(catalog.idealized(model) for catalog in catalogs.values())


def _facts(mix: Mix) -> MixFacts:
    return {
        "name": mix.name,
        "title": mix.title,
        "shapes": len(mix.shapes),
        "input_tokens": mix.mean("input_tokens"),
        "output_tokens": mix.mean("output_tokens"),
        "cached_tokens": mix.mean("cached_tokens"),
        "source": mix.source,
        "assumed": mix.assumed or None,
    }


def _idealized(
    models: Sequence[str], catalogs: Mapping[str, Catalog], mixes: Sequence[Mix]
) -> tuple[list[Row], list[Gap]]:
    rows: list[Row] = []
    missing: list[Gap] = []
    for model in models:
        for name, catalog in catalogs.items():
            found = catalog.idealized(model)
            if found is None:
                missing.append(
                    {"model": model, "where": name, "why": "no profile: too large for it, or not measured there"}
                )
                continue
            rows += [_row(mix, model, *found) for mix in mixes]
    return rows, missing


def over_mix(mix: Mix, estimate: Callable[[Shape], Estimate]) -> Estimate:
    """The mean of *estimate* over the shapes; its bounds are the means of theirs, as errors of one profile go together."""
    total = sum(shape.weight for shape in mix.shapes)
    each = [(shape.weight / total, estimate(shape)) for shape in mix.shapes]
    first = each[0][1]
    return Estimate(
        sum(share * e.value for share, e in each),
        sum(share * e.low for share, e in each),
        sum(share * e.high for share, e in each),
        first.provenance,
        first.profile_id,
        any(e.extrapolated for _, e in each),
        first.verdict,
    )


def _row(mix: Mix, model: str, stack: ReferenceStack, profile: RuntimeProfile) -> Row:
    runtime = over_mix(mix, lambda s: profile.cached_estimate(s.input_tokens, s.output_tokens, s.cached_tokens))
    uncached = over_mix(mix, lambda s: profile.estimate(s.input_tokens, s.output_tokens))
    n, price, watts = profile.n_gpus or 1, stack.price, stack.watts_for(profile)
    cost = None if price is None else idealized_cost(runtime, n, price.usd_per_gpu_hour)
    energy = None if watts is None else idealized_energy(runtime, n, watts)
    return {
        "mix": mix.name,
        "model": model,
        "stack": stack.id,
        "n_gpus": n,
        "provenance": profile.provenance,
        "profile": profile.id,
        "extrapolated": runtime.extrapolated,
        "idealized_s": runtime.value,
        "idealized_low_s": runtime.low,
        "idealized_high_s": runtime.high,
        "idealized_uncached_s": uncached.value,
        "cost_usd": None if cost is None else cost.value,
        "cost_low_usd": None if cost is None else cost.low,
        "cost_high_usd": None if cost is None else cost.high,
        "usd_per_gpu_hour": None if price is None else price.usd_per_gpu_hour,
        "price_source": None if price is None else price.source,
        "price_date": None if price is None else price.date,
        "energy_j": None if energy is None else energy.value,
        "energy_low_j": None if energy is None else energy.low,
        "energy_high_j": None if energy is None else energy.high,
    }


def _quiet(
    sources: Sequence[str], mixes: Sequence[Mix], options: Options, when: tuple[str | None, str | None, str | None]
) -> tuple[list[Quiet], list[Gap], list[str]]:
    """Deployments of the calls over each mix; those without a quiet-day profile; what reading noticed."""
    joined = load(sources, period(*when, options.timezone), options)
    calls: dict[str, int] = {}
    known = {dim.deployment.key: dim for dim in joined.dims if dim.generation}
    for dim in joined.dims:
        if dim.generation:
            calls[dim.deployment.key] = calls.get(dim.deployment.key, 0) + dim.calls
    rows: list[Quiet] = []
    gaps: list[Gap] = []
    for key, dim in known.items():
        if dim.denoised is None:
            lesson = joined.lessons.get(key)
            why = lesson.why if lesson else "no quiet-day profile"
            gaps.append({"model": dim.deployment.model, "where": key, "why": why or "no quiet-day profile"})
            continue
        rows += [_quiet_row(mix, key, dim.deployment.model, calls[key], dim.denoised) for mix in mixes]
    return rows, gaps, [note for status in joined.statuses for note in status.notes]


def _quiet_row(mix: Mix, key: str, model: str | None, calls: int, profile: RuntimeProfile) -> Quiet:
    found = over_mix(mix, lambda s: profile.estimate(s.input_tokens, s.output_tokens, s.cached_tokens))
    return {
        "mix": mix.name,
        "deployment": key,
        "model": model,
        "calls": calls,
        "verdict": found.verdict,
        "extrapolated": found.extrapolated,
        "denoised_s": found.value,
        "denoised_low_s": found.low,
        "denoised_high_s": found.high,
    }
