"""Training beside inference, in words."""

from __future__ import annotations

from tracewrap.report.used import TrainingShare, TrainingUsed
from tracewrap.words import ABSENT, joules, printable, tokens, usd


def training_rows(found: TrainingUsed | None) -> list[tuple[str, str]]:
    """A row a model: what the calls bear, and the training it is a share of; nothing where none was asked for."""
    if found is None:
        return []
    rows = [("training", _bears(row, found["served_tokens"])) for row in found["models"]]
    if found["unknown"]:
        names = ", ".join(printable(name or ABSENT) for name in found["unknown"])
        rows.append(("training", f"{names}: {ABSENT} (no published training is known here)"))
    return rows


def _bears(row: TrainingShare, served_tokens: float) -> str:
    """What the calls bear first, then what it is a share of, with price, source and what is assumed."""
    of = "" if row["trained"] == row["model"] else f" of {row['trained']}"
    hours = "" if row["gpu_hours"] is None else f"{tokens(row['gpu_hours'])} hours of {row['gpu']}, "
    price = "" if row["usd_per_gpu_hour"] is None else f" at {usd(row['usd_per_gpu_hour'])} ({row['price_source']})"
    assumed = f"; assumed: {row['assumed']}" if row["assumed"] else ""
    return (
        f"{printable(row['model'])}: {usd(row['cost_usd'])}, {joules(row['energy_j'])} for {tokens(row['tokens'])} of"
        f" {tokens(served_tokens)} served tokens; all{of}: {hours}{usd(row['usd'])}{price}, {joules(row['total_energy_j'])}"
        f" ({row['provenance']}: {row['source']}, {row['date']}{assumed})"
    )
