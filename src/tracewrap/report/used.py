"""The part of the report that says what its estimates were made from: reference stacks, profiles, prices, electricity."""

from __future__ import annotations

from typing import Any, TypedDict


class ReferenceUsed(TypedDict):
    """A reference stack as used: what the idealized figures stand for."""

    id: str
    gpu: str
    precision: str
    software: dict[str, str]
    batch_size: int
    usd_per_gpu_hour: float | None
    price_source: str | None
    price_date: str | None
    watts: float | None
    models: list[dict[str, Any]]
    """Used profiles: {"model", "profile_model", "profile_id", "n_gpus", "provenance", "calls"}."""


class ProfileUsed(TypedDict):
    """A denoised profile as used: provenance of the quiet-day figures."""

    deployment: str
    profile_id: str
    provenance: str
    verdict: str | None
    """How far it can be believed: ok, few_hours, ...; None: an older profile, which does not say."""
    calls: int


class Prices(TypedDict):
    """Where list prices came from. ``as_of``: always ``call time``: the price in force when the call was made."""

    source: str
    version: str | None
    user_file: str | None
    as_of: str
    models: list[dict[str, Any]]
    """Prices used: {"provider", "model", "priced_as", "source", "usd_per_million_input_tokens", "usd_per_million_output_tokens"}."""


class GridUsed(TypedDict):
    """The electricity whose emissions are reported: grams of CO2 equivalent a kilowatt hour, and who says so."""

    name: str
    g_per_kwh: float
    source: str


class TrainingShare(TypedDict):
    """One model's training and what the calls bear of it. ``trained``: the model that was trained, where calls name it otherwise.

    ``cost_usd`` and ``energy_j``: of these calls' ``tokens``; ``usd`` and ``total_energy_j``: of the whole training. None: unknown.
    """

    model: str
    trained: str
    calls: int
    tokens: int
    gpu: str
    gpu_hours: float | None
    provenance: str
    assumed: str
    source: str
    date: str
    usd_per_gpu_hour: float | None
    price_source: str | None
    price_date: str | None
    usd: float | None
    total_energy_j: float | None
    cost_usd: float | None
    energy_j: float | None


class TrainingUsed(TypedDict):
    """Training beside inference. ``served_tokens``: over how many tokens that a model ever serves, to all, its training is shared.

    ``unknown``: models of comparable calls without a published training that is known.
    """

    served_tokens: float
    models: list[TrainingShare]
    unknown: list[str]
