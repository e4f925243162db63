"""The section of the page about training: HELM's table of it from the formula, and training beside inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis import Row
from paper_data import short

from tracewrap.runtime.training import JOULES_PER_MWH, Training, training_of
from tracewrap.study.page import difference, section, table
from tracewrap.study.training import COLUMNS, between, training_rows

SERVED_TOKENS = 1e12
"""Over how many served tokens the page shares a training: a round number, to be replaced by one's own."""
TOLERANCE = 0.05001
"""Half of HELM's last printed digit."""


def helm(said: Mapping[str, Any]) -> list[Row]:
    """HELM's energies and emissions of training, as printed and from the formula, and why they differ where they do."""
    rows = []
    for name, mwh, tons in said["rows"]:
        found = training_of(name)
        if found is None or found.energy_j is None:
            raise ValueError(f"training.toml has no energy of {name}")
        energy = found.energy_j / JOULES_PER_MWH
        row: Row = {"model": name, "gpu": found.gpu, "gpu_hours": found.gpu_hours, "mwh": energy, "printed_mwh": mwh}
        carbon = None if found.g_per_kwh is None else round(energy, 1) * found.g_per_kwh / 1000  # of the printed energy
        row |= {"t": carbon, "printed_t": tons, "why": _why(found, energy, mwh, carbon, tons)}
        rows.append(row)
    return rows


def _why(found: Training, energy: float, mwh: float, carbon: float | None, tons: float) -> str:
    """The reason of a difference; "" where there is none to the digits printed."""
    if found.gpu_hours is None or found.g_per_kwh is None:
        return "stated by the authors, not from the formula"
    if abs(energy - mwh) > TOLERANCE:
        return "energy differs"
    if carbon is None or abs(carbon - tons) <= TOLERANCE:
        return ""
    # The text of the table tells grams a kWh in whole ones: up to the next whole one, do they give the printed tons?
    highest = round(energy, 1) * (found.g_per_kwh + 1) / 1000
    return "its text cuts grams a kWh to whole ones" if carbon < tons <= highest + TOLERANCE else "tons differ"


def training(rows: list[Row], beside: Sequence[Row]) -> str:
    """*rows*: HELM's table; *beside*: ``study.training.training_rows``."""
    named = [{**r, "model": short(r["model"]) + ("*" if r["provenance"] == "assumed" else "")} for r in beside]
    return section(
        "training",
        "Training beside inference",
        "<p>HELM's table of training: GPU hours times the power limit of the GPU times a PUE of 1.1, times the grid of the place. Of "
        "GPT-3 the hours are its operations at the rate that was published for the largest.</p>",
        table(
            rows,
            "model=model;gpu=trained on;gpu_hours=GPU hours|#;mwh=MWh|1f;printed_mwh=HELM prints|1f;t=t CO2e|1f;printed_t=HELM prints|1f;"
            "why=difference",
        ),
        "<h3>Of every published training</h3>"
        "<p>Hours as published, or six operations a parameter and token at the utilisation that stands there. Dollars at the "
        "GPU's price on demand today; of models marked * something is assumed that nobody published. Inference: one chat call "
        "after another, both sides at the same PUE.</p>",
        table(named, COLUMNS),
        difference(_found(rows, beside)),
    )


def _found(rows: Sequence[Row], beside: Sequence[Row]) -> str:
    computed = [r for r in rows if r["t"] is not None]
    same = sum(abs(r["mwh"] - r["printed_mwh"]) <= TOLERANCE for r in computed)
    tons = sum(abs(r["t"] - r["printed_t"]) <= TOLERANCE for r in computed)
    least, middle, most = between(beside, "even_energy")
    published = [r for r in beside if r["provenance"] == "published" and r["utilisation"] is not None]
    low, median, high = between(published, "utilisation")
    share = between(beside, "share_usd_per_million")
    return (
        f"{same} of {len(computed)} energies are as printed and {tons} of {len(computed)} emissions; the others differ by less than a gram "
        "a kWh, which the table's own text cuts off; GPT-NeoX is what its authors stated. Where hours and tokens were published, "
        f"training used {low:.0%} to {high:.0%} of the GPUs' peak, {median:.0%} at the median. Inference takes as much energy as "
        f"training after {least:,.0f} to {most:,.0f} times 10⁹ tokens, {middle:,.0f} at the median, and later where calls share a GPU. "
        f"Over 10¹² served tokens a million of them bears {share[0]:.2f} to {share[2]:.0f} $ of training, {share[1]:.2f} at the median: "
        "state how many tokens a model serves in its life before adding its training to a call."
    )


def beside(stack: Any) -> list[Row]:
    """Training beside inference of every model whose training was published; *stack*: the paper's."""
    return training_rows(stack, SERVED_TOKENS)
