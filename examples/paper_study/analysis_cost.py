"""The study's tables of prices: the same model on other hardware, and what estimating costs instead of measuring."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis import Row, by_model, quantiles, slope
from paper_data import Data, short

from tracewrap.runtime.fit.design import Point, design
from tracewrap.runtime.fit.fitting import Sample, fit
from tracewrap.runtime.stack import ReferenceStack


def v100_against_a100(published: Mapping[str, Any], stack: ReferenceStack) -> list[Row]:
    """V100 (published fit) over A100 (refitted) for one more output token: seconds, GPU-seconds and dollars.

    GPU-seconds are seconds times the GPUs that the model ran on, which are often twice as many on V100; dollars are
    those times the list price of a GPU-hour. A ratio above 1: V100 takes, or costs, more.
    """
    said, usd = published["v100"], published["prices_usd_per_gpu_hour"]
    out = []
    for model, (decode, p512, p1024) in said["seconds"].items():
        profile = stack.profiles[model]
        n_a100, n_v100 = profile.n_gpus or 1, said["n_gpus"][model]
        row: Row = {"model": short(model), "a100_gpus": n_a100, "v100_gpus": n_v100}
        row |= {"a100_ms_per_token": 1000 * slope(profile), "v100_ms_per_token": 1000 * decode}
        row["decode_ratio"] = decode / slope(profile)
        row["gpu_seconds_ratio"] = row["decode_ratio"] * n_v100 / n_a100
        row["usd_ratio"] = row["gpu_seconds_ratio"] * usd["v100"] / usd["a100"]
        row["prompt_512_ratio"] = p512 / profile.prompt_time(512)
        row["prompt_1024_ratio"] = p1024 / profile.prompt_time(1024)
        row["prompt_1024_usd_ratio"] = row["prompt_1024_ratio"] * n_v100 * usd["v100"] / (n_a100 * usd["a100"])
        out.append(row)
    return out


def h100_against_a100(batch1: Sequence[dict[str, str]]) -> list[Row]:
    """A100 against H100 on the same software and as many GPUs: end to end, batch 1."""
    cells: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for r in batch1:
        if r["e2e_s"] and r["gpu"] in ("Nvidia A100 GPU", "Nvidia H100 GPU"):
            key = (r["model"], r["framework"], r["n_gpus"], r["precision"], r["input_tokens"], r["output_tokens"])
            cells[key][r["gpu"]] = float(r["e2e_s"])
    out = []
    for key, both in cells.items():
        if len(both) == 2:
            row: Row = dict(
                zip(("model", "framework", "n_gpus", "precision", "input_tokens", "output_tokens"), key, strict=True)
            )
            row |= {"a100_s": both["Nvidia A100 GPU"], "h100_s": both["Nvidia H100 GPU"]}
            out.append(row | {"ratio": row["a100_s"] / row["h100_s"]})
    return out


Seconds = Mapping[tuple[int, int], float]


def davinci(data: Data | None, published: Mapping[str, Any], stack: ReferenceStack) -> Seconds:
    """Seconds of davinci by (input, output tokens) on the paper's grid: measured, or, without the data, the fitted T(p, o)."""
    if data is not None:
        return {(m.input_tokens, m.output_tokens): m.runtime_s for m in data.logs if m.model == "openai/davinci"}
    grid, profile = published["estimation_cost"]["grid"], stack.profiles["openai/davinci"]
    return {(p, o): profile.runtime(p, o) for p in grid["input_tokens"] for o in grid["output_tokens"]}


def designed(grid: Iterable[tuple[int, int]], n: int = 10) -> list[tuple[int, int]]:
    """The *n* configurations that tracewrap would measure, of those of *grid*, chosen without looking at any runtime."""
    chosen = design(n, max_input_tokens=1920, max_output_tokens=64, candidates=[Point(p, o) for p, o in sorted(grid)])
    return [(point.input_tokens, point.output_tokens) for point in chosen]


def cost_of_estimating(
    said: Mapping[str, Any], logs: Seconds, chosen: Sequence[tuple[int, int]], probed_points: Iterable[tuple[int, int]]
) -> list[Row]:
    """What it costs to know davinci's runtimes for one run of the benchmark, measured against estimated.

    A way costs its calibration and one pass of the benchmark over the API. Calibrations are computed here: GPU time is
    trials x seconds (*logs*) x dollars an hour, probing an API is trials x tokens x price. What needs every query of the
    benchmark, which was not published, is the authors' sum: the pass, and measuring every query on the GPUs. *probed_points*:
    the configurations of the API calls in the data; none without the data.
    """
    once, once_all, all_local = said["api_pass_usd"], said["api_pass_all_queries_usd"], said["all_queries_local_usd"]
    measured, ten = _gpu_usd(said, logs.values()), _gpu_usd(said, [logs[point] for point in chosen])
    probed = _api_usd(said, logs)
    some = set(probed_points)
    every_trial = (said["api_trials"] - 1) * once_all
    printed = said["printed"]
    n = len(chosen)
    seen = [(f"denoised: the {len(some)} in the data 10 times", "data, API", _api_usd(said, some), once_all, None)]
    return [
        *_ways(
            ("idealized: every query 50 times on 8 A100", "baseline", all_local, once, None),
            (f"idealized: {len(logs)} configurations 50 times", "paper", measured, once, printed["idealized_factor"]),
            (f"idealized: {n} designed configurations 50 times", "tracewrap", ten, once, None),
        ),
        *_ways(
            ("GPU time alone: every query", "baseline, GPU", all_local, 0.0, None),
            (f"GPU time alone: {len(logs)} configurations", "paper, GPU", measured, 0.0, None),
            (f"GPU time alone: {n} designed", "tracewrap, GPU", ten, 0.0, None),
        ),
        *_ways(
            ("denoised: every query 10 times", "API baseline", every_trial, once_all, None),
            (
                f"denoised: {len(logs)} configurations 10 times",
                "paper, API",
                probed,
                once_all,
                printed["denoised_factor"],
            ),
            *(seen if some else []),
            ("denoised: the traffic itself, no probing", "tracewrap, API", 0.0, once_all, None),
        ),
    ]


def _ways(*ways: tuple[str, str, float, float, float | None]) -> list[Row]:
    base = ways[0][2] + ways[0][3]
    out = []
    for what, who, calibration, once, printed in ways:
        row: Row = {"what": what, "who": who, "calibration_usd": calibration, "pass_usd": once}
        out.append(row | {"usd": calibration + once, "times_cheaper": base / (calibration + once), "paper": printed})
    return out


def _gpu_usd(said: Mapping[str, Any], seconds: Iterable[float]) -> float:
    return float(said["local_trials"] * sum(seconds) * said["usd_per_hour_8_a100"] / 3600)


def _api_usd(said: Mapping[str, Any], configurations: Iterable[tuple[int, int]]) -> float:
    per_1000 = (said["usd_per_1000_input"], said["usd_per_1000_output"])
    return float(said["api_trials"] * sum(p * per_1000[0] + o * per_1000[1] for p, o in configurations) / 1000)


def few_queries(data: Data, chosen: Sequence[tuple[int, int]]) -> list[Row]:
    """What the designed configurations alone predict: errors over the configurations that were not used."""
    out = []
    for model, points in by_model(data.logs).items():
        used = [m for m in points if (m.input_tokens, m.output_tokens) in chosen]
        samples = [Sample(m.input_tokens, m.output_tokens, m.runtime_s) for m in used]
        profile = fit(samples, id=f"few/{model}", model=model).profile
        rest = [m for m in points if (m.input_tokens, m.output_tokens) not in chosen]
        errors = [abs(profile.runtime(m.input_tokens, m.output_tokens) / m.runtime_s - 1) for m in rest]
        row: Row = {"model": short(model), "queries": len(used), "predicted": len(rest)}
        out.append(row | dict(zip(("median", "p90", "p99"), quantiles(errors), strict=True)))
    return out
