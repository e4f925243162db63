"""What a price list says: dollars by kind of token, in force in a stretch of time and of prompt length, for one way of being served."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tracewrap.semconv import DETAILS

KINDS = ("input", "output", *(field.price for field in DETAILS if field.price is not None))
"""Kinds with a rate of their own, US dollars a token; of ``web_search`` and ``file_search``, a search."""
PARENTS: Mapping[str, str | None] = {"input": "input", "output": "output"} | {
    field.price: field.part_of for field in DETAILS if field.price is not None
}
"""Kind -> the kind whose rate it has where the vendor does not single it out; None: it has no other."""
CACHED_MODALITIES: Mapping[str, str] = {"cached_audio": "audio_input", "cached_image": "image_input"}

FAR = 1 << 62
STANDARD_TIERS = frozenset({"", "default", "standard", "on_demand", "auto"})
STANDARD_SPEEDS = frozenset({"", "standard", "normal"})


@dataclass(frozen=True, slots=True)
class Purchase:
    """What of a call its price depends on, token counts and time aside. ``models``: names to look up, best first."""

    provider: str
    models: tuple[str, ...]
    tier: str | None = None
    speed: str | None = None
    region: str | None = None

    @property
    def terms(self) -> dict[str, str]:
        """What is not the plain way of being served: ``service_tier``, ``speed``."""
        out = {}
        if self.tier is not None and self.tier.lower() not in STANDARD_TIERS:
            out["service_tier"] = self.tier
        if self.speed is not None and self.speed.lower() not in STANDARD_SPEEDS:
            out["speed"] = self.speed
        return out

    @property
    def terms_text(self) -> str:
        """``terms`` in words, for a reason."""
        words = {"service_tier": "tier", "speed": "speed"}
        return " and ".join(f"{words[name]} {value!r}" for name, value in self.terms.items())


@dataclass(frozen=True, slots=True)
class Rate:
    """Dollars per token by kind, and per request, in one stretch of time (Unix ns) and of prompt length (tokens).

    It holds for start <= time < until and above < input tokens <= upto: vendors' long-prompt prices apply to the whole request. A kind
    that is None has no known price: calls with tokens of it are unpriced.
    """

    usd: Mapping[str, float | None]
    usd_request: float = 0.0
    from_ns: int = -FAR
    until_ns: int = FAR
    above: int = -1
    upto: int = FAR

    def times(self, factor: float) -> Rate:
        """The same rate, *factor* times as dear; fees a search and a request stay."""
        scaled = {kind: usd if usd is None or PARENTS[kind] is None else usd * factor for kind, usd in self.usd.items()}
        return replace(self, usd=scaled)


@dataclass(frozen=True, slots=True)
class ListPrice:
    """The rates of one model at one provider, under which name and from where; no rates: why not."""

    rates: tuple[Rate, ...]
    priced_as: str = ""
    source: str = ""
    reason: str = ""

    def rate_at(self, start_ns: int, input_tokens: int) -> Rate | None:
        """The rate of a call that began at *start_ns* with so many billed input tokens."""
        for rate in self.rates:
            if rate.from_ns <= start_ns < rate.until_ns and rate.above < input_tokens <= rate.upto:
                return rate
        return None

    def plain_usd(self, start_ns: int, input_tokens: int, output_tokens: int) -> float | None:
        """US dollars of a call with no tokens of a special kind; None: unknown."""
        rate = self.rate_at(start_ns, input_tokens)
        usd = None if rate is None else (rate.usd["input"], rate.usd["output"])
        if rate is None or usd is None or usd[0] is None or usd[1] is None:
            return None
        return rate.usd_request + usd[0] * input_tokens + usd[1] * output_tokens


def complete(given: Mapping[str, float | None]) -> dict[str, float | None]:
    """Rates of all kinds from those that were *given*: a token that is not singled out has its parent's, a search none."""
    usd: dict[str, float | None] = {}
    for kind in KINDS:
        parent = PARENTS[kind]
        usd[kind] = given.get(kind, None if parent is None else given.get(parent))
    for kind, modality in CACHED_MODALITIES.items():
        # Cached audio is cached first and audio second: never dearer than either.
        rates = [rate for rate in (given.get("cached"), usd[modality]) if rate is not None]
        usd[kind] = given.get(kind, min(rates, default=None))
    if (
        "cache_write_long" not in given
    ):  # twice the input at vendors that tell lifetimes apart: not the short one's rate
        usd["cache_write_long"] = None
    return usd


def in_turn(rates: Iterable[Rate]) -> tuple[Rate, ...]:
    """*rates* with no two in force at once: each ends where a later one of its prompt length starts."""
    ordered = sorted(rates, key=lambda rate: rate.from_ns)
    out = []
    for index, rate in enumerate(ordered):
        later = (
            other.from_ns for other in ordered[index + 1 :] if (other.above, other.upto) == (rate.above, rate.upto)
        )
        end = min((rate.until_ns, *later))
        if rate.from_ns < end:
            out.append(replace(rate, until_ns=end))
    return tuple(out)


def moment_ns(day: dt.date, moment: dt.time) -> int:
    """Unix time of a *moment* of a *day*; one without a zone is UTC's."""
    zone = moment.tzinfo or dt.UTC
    return int(dt.datetime.combine(day, moment.replace(tzinfo=zone)).timestamp()) * 10**9
