"""The part of the report that sets the user's own scores beside efficiency."""

from __future__ import annotations

from typing import TypedDict


class ScoredModel(TypedDict):
    """A model of the user's score file: figures are means per call over the period's token counts; None: no comparable call."""

    model: str
    score: float
    stack: str
    profile_id: str
    provenance: str
    idealized_runtime_s: float | None
    idealized_runtime_low_s: float | None
    idealized_runtime_high_s: float | None
    idealized_cost_usd: float | None
    idealized_energy_j: float | None
    frontier: list[str]
    """The measures by which no other row has a higher score without taking more."""


class Capability(TypedDict):
    """The user's scores against efficiency. ``score``: the column's name; ``calls``: the calls whose token counts were used."""

    file: str
    score: str
    stack: str
    calls: int
    rows: list[ScoredModel]
    unknown_models: list[str]
    """Models of the file without an idealized profile."""
