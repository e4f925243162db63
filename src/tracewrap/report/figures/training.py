"""Training beside inference: what a model's training took, and what these calls bear of it over a stated number of served tokens."""

from __future__ import annotations

from tracewrap.report.tables.loading import Joined
from tracewrap.report.used import TrainingShare, TrainingUsed
from tracewrap.runtime.training import Training, share, training_of


def training(joined: Joined, served_tokens: float) -> TrainingUsed:
    """Of each model of comparable calls, those with most tokens first; a stand-in's training where it stands for a closed model."""
    rows = joined.engine.rows(
        "SELECT dim, count(*) AS n, sum(input_tokens + output_tokens) AS t FROM joined WHERE comparable = 1 GROUP BY dim"
    )
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for dim, n, tokens in rows:
        kind = joined.dims[int(dim)]
        name = kind.deployment.model or ""
        profiled = next((found[1].model for found in kind.idealized if found is not None), name)
        calls, before = sums.get((name, profiled), (0, 0))
        sums[name, profiled] = (calls + int(n), before + int(tokens or 0))
    shares, unknown = [], set()
    for (name, profiled), (calls, tokens) in sums.items():
        found = training_of(profiled)
        if found is None:
            unknown.add(name)
        else:
            shares.append(_share(name, found, calls, tokens, served_tokens))
    shares.sort(key=lambda row: (-row["tokens"], row["model"]))
    return {"served_tokens": served_tokens, "models": shares, "unknown": sorted(unknown)}


def _share(name: str, found: Training, calls: int, tokens: int, served_tokens: float) -> TrainingShare:
    price, stands_in = found.price, training_of(name) is not found
    assumed = [f"that {name} is {found.model}"] if stands_in else []
    return {
        "model": name,
        "trained": found.model,
        "calls": calls,
        "tokens": tokens,
        "gpu": found.gpu,
        "gpu_hours": found.gpu_hours,
        "provenance": "assumed" if stands_in else found.provenance,
        "assumed": "; ".join([*assumed, *([found.assumed] if found.assumed else [])]),
        "source": found.source,
        "date": found.date,
        "usd_per_gpu_hour": None if price is None else price.usd_per_gpu_hour,
        "price_source": None if price is None else price.source,
        "price_date": None if price is None else price.date,
        "usd": found.usd,
        "total_energy_j": found.energy_j,
        "cost_usd": share(found.usd, tokens, served_tokens),
        "energy_j": share(found.energy_j, tokens, served_tokens),
    }
