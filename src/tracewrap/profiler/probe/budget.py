"""What a probe may cost, and what it will: dollars, tokens, minutes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tracewrap.errors import ConfigurationError

Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """US dollars per million tokens and where they come from."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    source: str

    def usd(self, input_tokens: float, output_tokens: float) -> float:
        """Price of so many tokens."""
        return (input_tokens * self.input_usd_per_mtok + output_tokens * self.output_usd_per_mtok) / 1e6


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
    """Tokens used so far."""

    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, input_tokens: int, output_tokens: int) -> None:
        """Count one call."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens

    def usd(self, price: TokenPrice | None) -> float | None:
        """Dollars so far; None when no price is known."""
        return None if price is None else price.usd(self.input_tokens, self.output_tokens)

    def allows(self, point: Point, budget: Budget, price: TokenPrice | None) -> str | None:
        """Why one more call of *point* would break the budget; None when it would not."""
        inputs, outputs = self.input_tokens + point[0], self.output_tokens + point[1]
        if budget.tokens is not None and inputs + outputs > budget.tokens:
            return f"{budget.tokens} tokens"
        if budget.usd is not None and price is not None and price.usd(inputs, outputs) > budget.usd:
            return f"{budget.usd:g} dollars"
        return None


def tokens_of(points: Iterable[Point]) -> tuple[int, int]:
    """(input, output) tokens of one call at each of *points*."""
    listed = list(points)
    return sum(p for p, _ in listed), sum(o for _, o in listed)


def list_price(model: str, provider: str | None) -> TokenPrice | None:
    """The list price that genai-prices knows; None when it is not installed or does not know the model."""
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    million = 1_000_000
    try:
        found = calc_price(Usage(input_tokens=million, output_tokens=million), model_ref=model, provider_id=provider)
    except LookupError:
        return None
    return TokenPrice(float(found.input_price), float(found.output_price), "genai-prices list price")
