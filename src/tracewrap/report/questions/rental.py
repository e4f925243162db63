"""A replica rented around the clock: its cost, capacity and break-even, what vendors ask for it, and what moves its cost most."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

HOURS_A_MONTH = 730.0


class Rental(TypedDict):
    """A replica rented around the clock, in one kind of use. None: unknown."""

    cost_usd: float | None
    """What the calls of the period cost in this kind of use."""
    cost_low_usd: float | None
    """The same at the price of the cheapest vendor, and of the dearest."""
    cost_high_usd: float | None
    energy_j: float | None
    """Joules that the calls take; what idle hardware draws is not in it."""
    capacity_tokens_month: float | None
    """Tokens of this mix, input and output, that one replica can take in a month."""
    break_even_tokens_month: float | None
    """Tokens a month at which a replica costs what their list price is; None also where one replica cannot take that many."""
    replicas: int | None
    """Replicas that the period's traffic, kept up for a month, needs."""
    usd_month: float | None


class Swing(TypedDict):
    """The cost with one input at one end of its range and at the other; ``range`` says which."""

    input: str
    range: str
    low_usd: float
    high_usd: float


@dataclass(frozen=True, slots=True)
class Use:
    """What a kind of use is computed from. Dollars an hour are of the whole replica, at the chosen price and at vendors'."""

    tokens: int
    runtime_s: float
    usd_hour: float | None
    vendors_usd_hour: tuple[float, float] | None
    list_usd_per_token: float | None
    tokens_month: float

    @property
    def list_usd_month(self) -> float | None:
        """List cost of the traffic, kept up for a month."""
        return None if self.list_usd_per_token is None else self.list_usd_per_token * self.tokens_month

    def rental(self, factor: float, watts: float | None, energy_factor: float) -> Rental:
        """A use in which a call occupies a replica for *factor* times its idealized runtime, and draws *watts* for *energy_factor*."""
        # The factor holds the idle time: a replica gives tokens / (runtime x factor) a second around the clock.
        capacity = self.tokens / (self.runtime_s * factor) * 3600.0 * HOURS_A_MONTH if self.runtime_s > 0 else None
        month = None if self.usd_hour is None else self.usd_hour * HOURS_A_MONTH
        even = month / self.list_usd_per_token if month is not None and self.list_usd_per_token else None
        replicas = None if not capacity else max(1, math.ceil(self.tokens_month / capacity - 1e-9))
        low, high = self.vendors_usd_hour or (None, None)
        hours = self.runtime_s * factor / 3600.0
        return {
            "cost_usd": None if self.usd_hour is None else hours * self.usd_hour,
            "cost_low_usd": None if low is None else hours * low,
            "cost_high_usd": None if high is None else hours * high,
            "energy_j": None if watts is None else self.runtime_s * energy_factor * watts,
            "capacity_tokens_month": capacity,
            "break_even_tokens_month": even if even is not None and capacity is not None and even <= capacity else None,
            "replicas": replicas,
            "usd_month": None if month is None or replicas is None else replicas * month,
        }


def tornado(cost_usd: float | None, factors: Mapping[tuple[str, str], tuple[float, float]]) -> list[Swing]:
    """*cost_usd* with each input at the ends of its range, the input that moves it most first.

    *factors*: by input and range, what the cost is multiplied by at one end and the other.
    """
    if cost_usd is None:
        return []
    found: list[Swing] = [
        {"input": name, "range": text, "low_usd": cost_usd * min(pair), "high_usd": cost_usd * max(pair)}
        for (name, text), pair in factors.items()
    ]
    return sorted(found, key=lambda swing: swing["low_usd"] - swing["high_usd"])
