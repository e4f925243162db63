"""All ten models of the paper on four benchmarks, from published numbers alone: trade-offs, objectives, ranks and how they change."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from analysis import BENCHMARKS, Row, pareto
from paper_data import short

from tracewrap.runtime.cost import idealized_cost, idealized_energy
from tracewrap.runtime.stack import ReferenceStack

AXES = {
    "raw_s": ("raw runtime", "raw seconds"),
    "denoised_s": ("denoised runtime", "denoised seconds"),
    "idealized_s": ("idealized runtime", "idealized seconds"),
    "idealized_cents": ("idealized cost", "idealized cents"),
    "idealized_j": ("idealized energy", "idealized joules"),
    "parameters_b": ("model size", "billion parameters"),
    "flops": ("arithmetic", "FLOPs"),
}
"""What accuracy is paid in: key of a row, what it is, label of its axis."""

LIMIT_S = 0.25
OBJECTIVES: dict[str, tuple[str, Callable[[Row], float | None]]] = {
    "second": ("accuracy per idealized second", lambda r: _per(r, "idealized_s")),
    "log_ms": ("per log10 of idealized milliseconds", lambda r: r["accuracy"] / math.log10(1000 * r["idealized_s"])),
    "usd": ("per idealized dollar (and per joule)", lambda r: _per(r, "idealized_usd")),
    "denoised": ("per denoised second", lambda r: _per(r, "denoised_s")),
    "raw": ("per raw second", lambda r: _per(r, "raw_s")),
    "limit": (
        f"accuracy within {LIMIT_S:g} idealized seconds",
        lambda r: r["accuracy"] if r["idealized_s"] <= LIMIT_S else None,
    ),
    "accuracy": ("accuracy alone", lambda r: r["accuracy"]),
}
"""What a buyer may want; a greater value is better, None: the model does not qualify."""


def _per(row: Row, key: str) -> float | None:
    return None if row[key] is None else float(row["accuracy"] / row[key])


def ten(
    published: dict[str, Any], stack: ReferenceStack, usd_per_gpu_hour: float, watts: float
) -> dict[str, list[Row]]:
    """By benchmark, the ten models: accuracy and what it is paid in.

    Accuracy, raw and denoised seconds and FLOPs are the paper's. Idealized seconds, dollars and joules are T(p, o) of *stack* at the
    mean token counts, the published seconds beside them. ``pareto_KEY`` says which models are on the frontier of that axis.
    """
    said = published["tradeoffs"]
    out = {}
    for key in BENCHMARKS:
        found = [
            _point(
                dict(zip(said["columns"], row, strict=True)), published["parameters_b"], stack, usd_per_gpu_hour, watts
            )
            for row in said[key]
        ]
        for axis in AXES:
            front = {r["model"] for r in pareto([r for r in found if r[axis] is not None], axis)}
            for r in found:
                r[f"pareto_{axis}"] = r["model"] in front
        out[key] = sorted(found, key=lambda r: float(r["idealized_s"]))
    return out


def _point(said: Row, sizes: dict[str, float], stack: ReferenceStack, usd_per_gpu_hour: float, watts: float) -> Row:
    profile = stack.profiles[said["model"]]
    n = profile.n_gpus or 1
    estimate = profile.estimate(said["input_tokens"], said["output_tokens"])
    cost = idealized_cost(estimate, n, usd_per_gpu_hour)
    row: Row = {"model": said["model"], "provenance": profile.provenance, "accuracy": said["accuracy"]}
    row |= {"input_tokens": said["input_tokens"], "output_tokens": said["output_tokens"], "n_gpus": n}
    row |= {"raw_s": said["raw_s"], "denoised_s": said["denoised_s"], "published_idealized_s": said["idealized_s"]}
    row |= {"idealized_s": estimate.value, "idealized_low_s": estimate.low, "idealized_high_s": estimate.high}
    row |= {"difference": estimate.value / said["idealized_s"] - 1, "idealized_usd": cost.value}
    row |= {"idealized_cents": 100 * cost.value, "idealized_j": idealized_energy(estimate, n, watts).value}
    row |= {"parameters_b": sizes[said["model"]], "flops": said["flops"]}
    return row | {"printed_per_second": said["per_second"], "printed_per_log_second": said["per_log_second"]}


def frontiers(points: dict[str, list[Row]]) -> list[Row]:
    """By benchmark and axis: the models that no other beats in both, the cheapest first."""
    out = []
    for key, rows in points.items():
        for axis, (what, _) in AXES.items():
            front = sorted((r for r in rows if r[f"pareto_{axis}"]), key=lambda r: float(r[axis]))
            row: Row = {"benchmark": BENCHMARKS[key][0], "axis": what, "models": len(front)}
            out.append(row | {"frontier": ", ".join(short(r["model"]) for r in front)})
    return out


def objectives(points: dict[str, list[Row]]) -> list[Row]:
    """Rank of each model under each objective, 1 the best; None where it does not qualify. Ours and, per second and per log second,
    as the authors print them.
    """
    out = []
    for key, rows in points.items():
        scored = {name: {r["model"]: score(r) for r in rows} for name, (_, score) in OBJECTIVES.items()}
        scored["printed_second"] = {r["model"]: r["printed_per_second"] for r in rows}
        scored["printed_log_second"] = {r["model"]: r["printed_per_log_second"] for r in rows}
        for r in rows:
            row: Row = {"benchmark": BENCHMARKS[key][0], "model": short(r["model"])}
            ranked = {name: _rank(scores, r["model"]) for name, scores in scored.items()}
            own = [ranked[name] for name in OBJECTIVES if ranked[name] is not None]
            row |= {"accuracy": r["accuracy"], "per_second": scored["second"][r["model"]]}
            row |= {
                "printed_per_second": r["printed_per_second"],
                **{f"rank_{name}": at for name, at in ranked.items()},
            }
            out.append(row | {"best": min(x for x in own if x), "worst": max(x for x in own if x)})
    return out


def _rank(scores: dict[str, float | None], model: str) -> int | None:
    mine = scores[model]
    return None if mine is None else 1 + sum(s is not None and s > mine for s in scores.values())


def rank_changes(rows: Sequence[Row]) -> list[Row]:
    """By objective, how ranks differ from those per idealized second: Kendall's tau, models that move, the farthest move."""
    out = []
    for name, (what, _) in OBJECTIVES.items():
        taus, moves = [], []
        for benchmark in dict.fromkeys(r["benchmark"] for r in rows):
            both = [r for r in rows if r["benchmark"] == benchmark and r[f"rank_{name}"] is not None]
            a, b = _places([r["rank_second"] for r in both]), _places([r[f"rank_{name}"] for r in both])
            taus.append(kendall(a, b))
            moves += [(abs(x - y), r["model"], benchmark) for x, y, r in zip(a, b, both, strict=True)]
        farthest = max(moves)
        row: Row = {"objective": what, "tau": sum(taus) / len(taus), "compared": len(moves)}
        row |= {"moved": sum(m[0] > 0 for m in moves), "farthest": farthest[0]}
        out.append(row | {"who": f"{farthest[1]}, {farthest[2].split(',')[0]}" if farthest[0] else None})
    return out


def _places(ranks: Sequence[int]) -> list[int]:
    """Ranks among themselves: 1, 2, ... where some models are left out."""
    return [1 + sum(other < rank for other in ranks) for rank in ranks]


def kendall(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's tau-a of two rankings: share of pairs in the same order less share in the other; 1 alike, -1 reversed."""
    pairs = [(i, j) for i in range(len(a)) for j in range(i)]
    signs = [math.copysign(1, (a[i] - a[j]) * (b[i] - b[j])) if (a[i] - a[j]) * (b[i] - b[j]) else 0 for i, j in pairs]
    return sum(signs) / len(pairs) if pairs else 1.0
