"""The study's tables: plain lists of dictionaries, computed from the data and a reference stack."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from paper_data import SHAPES, Data, Measured, Scenario, short

from tracewrap.formats.helm import profile_from_helm, read_helm
from tracewrap.records import Estimate
from tracewrap.runtime.cost import idealized_cost, idealized_energy
from tracewrap.runtime.fit.fitting import Sample, fit
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.quiet.denoise import denoise
from tracewrap.runtime.quiet.usable import Observation
from tracewrap.runtime.stack import ReferenceStack

Row = dict[str, Any]
BENCHMARKS = {
    "boolq": ("BoolQ", ("boolq",)),
    "imdb": ("IMDB", ("imdb",)),
    "raft": ("RAFT, terms of service", ("raft:subset=terms_of_service",)),
    "mmlu": ("MMLU, college chemistry", ("mmlu:subject=college_chemistry",)),
}


def quantiles(values: Iterable[float]) -> tuple[float, float, float]:
    """Median, 90th and 99th percentile."""
    cuts = statistics.quantiles(sorted(values), n=100, method="inclusive")
    return cuts[49], cuts[89], cuts[98]


def by_model(measured: Iterable[Measured]) -> dict[str, list[Measured]]:
    """Measurements grouped by model, in order of appearance."""
    groups: dict[str, list[Measured]] = defaultdict(list)
    for m in measured:
        groups[m.model].append(m)
    return dict(groups)


def fit_quality(data: Data, stack: ReferenceStack) -> list[Row]:
    """Each model's logs against our refitted profile and against HELM's published table with HELM's own formula."""
    table = read_helm(data.idealized_json)
    names = {"EleutherAI/gpt-j-6b": "together/gpt-j-6b", "bigscience/bloom": "together/bloom"}
    names |= {"yandex/yalm-100b": "together/yalm"}
    out = []
    for model, points in by_model(data.logs).items():
        profile, entry = stack.profiles[model], table[names.get(model, model)]
        ours = [abs(profile.runtime(m.input_tokens, m.output_tokens) / m.runtime_s - 1) for m in points]
        helms = [abs(entry.runtime(m.input_tokens, m.output_tokens) / m.runtime_s - 1) for m in points]
        row: Row = {"model": short(model), "n_gpus": profile.n_gpus, "samples": len(points)}
        row |= {"ms_per_output_token": 1000 * slope(profile), "helm_ms": 1000 * entry.runtime_per_output_token}
        for name, errors in (("ours", ours), ("helm", helms)):
            row |= dict(zip((f"{name}_median", f"{name}_p90", f"{name}_p99"), quantiles(errors), strict=True))
        out.append(row)
    return out


def slope(profile: RuntimeProfile, p: float = 512, o: float = 32) -> float:
    """Seconds that one more output token takes at *p* input and *o* output tokens."""
    return profile.runtime(p, o + 1) - profile.runtime(p, o)


def linearity(data: Data) -> list[Row]:
    """How straight runtime is in output tokens: least R^2 over prompt sizes, and spread of the slope over them."""
    out = []
    for model, points in by_model(data.logs).items():
        slopes, squares = [], []
        for p in sorted({m.input_tokens for m in points}):
            at = [(m.output_tokens, m.runtime_s) for m in points if m.input_tokens == p]
            line = statistics.linear_regression(*zip(*at, strict=True))
            slopes.append(line.slope)
            squares.append(statistics.correlation(*zip(*at, strict=True)) ** 2)
        row = {"model": short(model), "least_r2": min(squares), "ms_per_token_at_p_1": 1000 * slopes[0]}
        out.append(row | {"ms_per_token_at_p_1920": 1000 * slopes[-1], "slope_growth": slopes[-1] / slopes[0] - 1})
    return out


def denoised_profiles(data: Data) -> dict[str, RuntimeProfile]:
    """By API model: a fit to the minimum over trials of synthetic queries, as the paper takes them."""
    out = {}
    for model, points in by_model(data.minima).items():
        samples = [
            Sample(input_tokens=m.input_tokens, output_tokens=m.output_tokens, runtime_s=m.runtime_s) for m in points
        ]
        out[model] = fit(samples, id=f"denoised/{model}", model=model).profile
    return out


def passive_profiles(data: Data) -> dict[str, RuntimeProfile]:
    """By API model: the low-quantile regression over all its calls, without taking minima."""
    found = {model: _denoised(model, calls) for model, calls in by_model(data.calls).items()}
    return {model: profile for model, profile in found.items() if profile is not None}


def denoiser(data: Data, minima: dict[str, RuntimeProfile]) -> list[Row]:
    """How far the passive estimate is from the curve through the minima of ten trials: from one call a configuration
    (median over the ten trials), and from all calls.
    """
    out = []
    for model, calls in by_model(data.calls).items():
        points = list(dict.fromkeys((c.input_tokens, c.output_tokens) for c in calls))
        trials: dict[int, list[Measured]] = defaultdict(list)
        for point in points:
            for k, call in enumerate(c for c in calls if (c.input_tokens, c.output_tokens) == point):
                trials[k].append(call)
        single = [_distance(_denoised(model, trial), minima[model], points) for trial in trials.values()]
        row: Row = {"model": short(model), "configurations": len(points), "calls": len(calls)}
        row["one_call"] = _median(error for error in single if error is not None)
        out.append(row | {"all_calls": _distance(_denoised(model, calls), minima[model], points)})
    return out


def _denoised(model: str, calls: Sequence[Measured]) -> RuntimeProfile | None:
    seen = [Observation(c.input_tokens, c.output_tokens, c.runtime_s) for c in calls]
    return denoise(seen, id=f"denoised/{model}", model=model).profile


def _distance(a: RuntimeProfile | None, b: RuntimeProfile, points: Sequence[tuple[int, int]]) -> float | None:
    return None if a is None else statistics.median(abs(a.runtime(p, o) / b.runtime(p, o) - 1) for p, o in points)


def published_denoised(data: Data) -> dict[str, RuntimeProfile]:
    """HELM's published denoised profiles."""
    return {model: profile_from_helm(model, entry) for model, entry in read_helm(data.denoised_json).items()}


def three_runtimes(data: Data, stack: ReferenceStack, denoised: dict[str, RuntimeProfile]) -> list[Row]:
    """Every scenario mean: raw as measured, denoised and idealized as estimated at the scenario's mean token counts.

    T is linear in output tokens and close to linear in input tokens, so the mean of T is close to T of the means.
    """
    out = []
    for s in data.scenarios:
        shape, assumed = SHAPES.get(s.model, (None, False))
        if shape is None:
            continue
        ideal = stack.profiles[shape].estimate(s.input_tokens, s.output_tokens)
        quiet = denoised[s.model].estimate(s.input_tokens, s.output_tokens) if s.model in denoised else None
        row: Row = {"scenario": s.name, "model": s.model, "assumed": assumed, "input_tokens": s.input_tokens}
        row |= {"output_tokens": s.output_tokens, "raw_s": s.raw_s, "denoised_s": quiet.value if quiet else None}
        row |= {"idealized_s": ideal.value, "idealized_low_s": ideal.low, "idealized_high_s": ideal.high}
        out.append(row | {"published_idealized_s": s.published_idealized_s, "accuracy": s.accuracy})
    return out


def runtime_summary(rows: Sequence[Row]) -> list[Row]:
    """By model: medians of the three runtimes, contention share, serving ratio, shares below the estimates."""
    out = []
    for model in dict.fromkeys(r["model"] for r in rows):
        mine = [r for r in rows if r["model"] == model]
        quiet = [r for r in mine if r["denoised_s"]]
        row: Row = {"model": short(model), "assumed": mine[0]["assumed"], "scenarios": len(mine)}
        row["raw_s"] = statistics.median(r["raw_s"] for r in mine)
        row["denoised_s"] = _median(r["denoised_s"] for r in quiet)
        row["idealized_s"] = statistics.median(r["idealized_s"] for r in mine)
        row["contention_share"] = _median(1 - r["denoised_s"] / r["raw_s"] for r in quiet)
        row["serving_ratio"] = _median(r["denoised_s"] / r["idealized_s"] for r in quiet)
        row["below_denoised"] = _share(quiet, lambda r: r["raw_s"] < r["denoised_s"])
        row["below_idealized"] = _share(mine, lambda r: r["raw_s"] < r["idealized_s"])
        out.append(row)
    return out


def against_published(rows: Sequence[Row]) -> list[Row]:
    """By model: our idealized scenario mean over the one HELM published, quantiles over scenarios."""
    out = []
    for model in dict.fromkeys(r["model"] for r in rows):
        ratios = [
            r["idealized_s"] / r["published_idealized_s"]
            for r in rows
            if r["model"] == model and r["published_idealized_s"]
        ]
        assumed = any(r["assumed"] for r in rows if r["model"] == model)
        if len(ratios) >= 2:
            cuts = statistics.quantiles(ratios, n=20, method="inclusive")
            row: Row = {"model": short(model), "assumed": assumed, "scenarios": len(ratios)}
            out.append(row | {"p05": cuts[0] - 1, "median": cuts[9] - 1, "p95": cuts[18] - 1})
    return out


def tradeoffs(data: Data, stack: ReferenceStack, usd_per_gpu_hour: float, watts: float) -> dict[str, list[Row]]:
    """By benchmark: idealized runtime, cost and energy against accuracy; the Pareto frontiers of models that are not assumed."""
    out = {}
    for key, (_, names) in BENCHMARKS.items():
        found = [
            _point(s, stack, usd_per_gpu_hour, watts) for s in data.scenarios if s.name in names and s.model in SHAPES
        ]
        known = [r for r in found if r["accuracy"] is not None and not r["assumed"]]
        for metric in ("idealized_s", "idealized_cents", "raw_s"):
            front = {id(r) for r in pareto(known, metric)}
            for r in found:
                r[f"pareto_{metric}"] = id(r) in front
        out[key] = sorted(found, key=lambda r: r["idealized_s"])
    return out


def _point(s: Scenario, stack: ReferenceStack, usd_per_gpu_hour: float, watts: float) -> Row:
    shape, assumed = SHAPES[s.model]
    profile = stack.profiles[shape]
    estimate: Estimate = profile.estimate(s.input_tokens, s.output_tokens)
    cost = idealized_cost(estimate, profile.n_gpus or 1, usd_per_gpu_hour)
    row: Row = {"model": s.model, "assumed": assumed, "accuracy": s.accuracy, "raw_s": s.raw_s}
    row |= {"input_tokens": s.input_tokens, "output_tokens": s.output_tokens, "n_gpus": profile.n_gpus}
    row |= {"idealized_s": estimate.value, "idealized_usd": cost.value, "idealized_cents": 100 * cost.value}
    return row | {"idealized_j": idealized_energy(estimate, profile.n_gpus or 1, watts).value}


def pareto(rows: Sequence[Row], metric: str) -> list[Row]:
    """Rows that no other row beats on both accuracy and *metric* (smaller is better), cheapest first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda r: (r[metric], -r["accuracy"])):
        if not front or row["accuracy"] > front[-1]["accuracy"]:
            front.append(row)
    return front


def _median(values: Iterable[float]) -> float | None:
    kept = list(values)
    return statistics.median(kept) if kept else None


def _share(rows: Sequence[Row], holds: Callable[[Row], bool]) -> float | None:
    return sum(map(holds, rows)) / len(rows) if rows else None
