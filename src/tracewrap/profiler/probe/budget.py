"""What a probe may cost, and what it will: dollars, tokens, minutes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from tracewrap.errors import ConfigurationError
from tracewrap.prices.book import PriceBook
from tracewrap.prices.rates import ListPrice, Purchase

Point = tuple[int, int]


class CallPrice(Protocol):
    """What one call costs."""

    @property
    def source(self) -> str:
        """Where the price comes from."""
        ...

    def usd(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars of one call."""
        ...


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """US dollars per million tokens and where they come from."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    source: str

    def usd(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars of one call."""
        return (input_tokens * self.input_usd_per_mtok + output_tokens * self.output_usd_per_mtok) / 1e6


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """The list price of a model, which can depend on the prompt's length, at one moment (Unix ns)."""

    price: ListPrice
    at_ns: int

    @property
    def source(self) -> str:
        """Whose list it is."""
        return f"{self.price.source} list price"

    def usd(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars of one call."""
        return self.price.plain_usd(self.at_ns, input_tokens, output_tokens) or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Upper limits; None: no limit. Checked before each call with what the call is expected to use."""

    usd: float | None = None
    tokens: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name in ("usd", "tokens", "minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigurationError(f"budget: {name} is {value!r}, must be above 0")


@dataclass(slots=True)
class Spending:
    """The calls made so far: (input, output) tokens of each."""

    calls: list[Point] = field(default_factory=list)

    @property
    def input_tokens(self) -> int:
        """Input tokens of all calls."""
        return sum(inputs for inputs, _ in self.calls)

    @property
    def output_tokens(self) -> int:
        """Output tokens of all calls."""
        return sum(outputs for _, outputs in self.calls)

    def add(self, input_tokens: int, output_tokens: int) -> None:
        """Count one call."""
        self.calls.append((input_tokens, output_tokens))

    def usd(self, price: CallPrice | None) -> float | None:
        """Dollars so far; None when no price is known."""
        return None if price is None else usd_of(self.calls, price)

    def allows(self, point: Point, budget: Budget, price: CallPrice | None) -> str | None:
        """Why one more call of *point* would break the budget; None when it would not."""
        inputs, outputs = self.input_tokens + point[0], self.output_tokens + point[1]
        if budget.tokens is not None and inputs + outputs > budget.tokens:
            return f"{budget.tokens} tokens"
        if budget.usd is not None and price is not None and usd_of([*self.calls, point], price) > budget.usd:
            return f"{budget.usd:g} dollars"
        return None


def usd_of(points: Iterable[Point], price: CallPrice) -> float:
    """US dollars of one call at each of *points*."""
    return sum(price.usd(*point) for point in points)


def tokens_of(points: Iterable[Point]) -> tuple[int, int]:
    """(input, output) tokens of one call at each of *points*."""
    listed = list(points)
    return sum(p for p, _ in listed), sum(o for _, o in listed)


def list_price(model: str, provider: str) -> ListedPrice | None:
    """The list price of *model* today; None when no list knows it."""
    now = time.time_ns()
    found = PriceBook().find(Purchase(provider, (model,)), now, now + 1)
    return ListedPrice(found, now) if found.plain_usd(now, 1, 1) is not None else None
