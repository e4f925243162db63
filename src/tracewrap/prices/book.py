"""List prices as rows that SQL can join: US dollars per token of each kind, in force in a stretch of time and of prompt length.

Prices come from a user's file first, then from the package ``genai-prices`` (as of the call's time, its version recorded). What neither
knows is unpriced, never a guess. Vendors' long-prompt prices apply to the whole request once the prompt exceeds a threshold, so a row
holds for start <= time < until and above < input tokens <= upto.

User file, TOML or JSON: ``[[prices]]`` entries ``model``, ``input_usd_per_million``, ``output_usd_per_million`` and, if wanted,
``provider``, ``cached_input_usd_per_million``, ``cache_write_usd_per_million``, ``from``, ``until`` (dates); or a JSON map of model to
``{"input_cost_per_token": ..., "output_cost_per_token": ..., "cache_read_input_token_cost": ...}``, as LiteLLM keeps it.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tracewrap.errors import ConfigurationError

KINDS = ("input", "cached", "cache_write", "audio_input", "image_input", "output", "reasoning", "audio_output")
"""Kinds of token with a rate of their own; a kind that the vendor does not single out has the rate of its parent."""

_UPTO = 1 << 62
_PROVIDERS = {
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "aws.bedrock": "aws",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
}
_DISCOUNTED = ("batch",)
"""Service tiers that cost less everywhere: the plain price would be wrong for them."""
_PROBES: Mapping[str, Mapping[str, int]] = {
    "input": {"input_tokens": 10**6},
    "cached": {"input_tokens": 10**6, "cache_read_tokens": 10**6},
    "cache_write": {"input_tokens": 10**6, "cache_write_tokens": 10**6},
    "audio_input": {"input_tokens": 10**6, "input_audio_tokens": 10**6},
    "image_input": {"input_tokens": 10**6, "input_image_tokens": 10**6},
    "output": {"output_tokens": 10**6},
    "reasoning": {"output_tokens": 10**6, "output_reasoning_tokens": 10**6},
    "audio_output": {"output_tokens": 10**6, "output_audio_tokens": 10**6},
}


@dataclass(frozen=True, slots=True)
class Rate:
    """Dollars per token by kind, and per request, in one stretch of time (Unix ns) and of prompt length (tokens)."""

    usd: Mapping[str, float]
    usd_request: float = 0.0
    from_ns: int = -_UPTO
    until_ns: int = _UPTO
    above: int = -1
    upto: int = _UPTO


@dataclass(frozen=True, slots=True)
class ListPrice:
    """The rates of one model at one provider, under which name and from where; no rates: why not."""

    rates: tuple[Rate, ...]
    priced_as: str = ""
    source: str = ""
    reason: str = ""


class PriceBook:
    """List prices of models in a period; looks every model up once."""

    def __init__(self, user_file: str | None = None) -> None:
        self.user_file = user_file
        self._user = [] if user_file is None else read_price_file(user_file)
        self.version, self._package = _package()

    @property
    def source(self) -> str:
        """What prices come from, in words."""
        names = ([f"user file {self.user_file}"] if self.user_file else []) + (
            [f"genai-prices {self.version}"] if self.version else []
        )
        return ", then ".join(names) or "none: install tracewrap[report]"

    def find(self, provider: str, models: Iterable[str], tier: str | None, since_ns: int, until_ns: int) -> ListPrice:
        """The price of the first of *models* that one is known of: the user's, else the package's."""
        names = [name for name in dict.fromkeys(models) if name]
        if not names:
            return ListPrice((), reason="the spans name no model")
        for name in names:
            for owner in (provider, None):
                own = [rate for who, model, rate in self._user if model == name and who == owner]
                if own:
                    return ListPrice(_in_turn(own), name, f"user file {self.user_file}")
        if self._package is None:
            return ListPrice((), reason="no price source is installed")
        reason = ""
        for name in names:
            found = self._from_package(provider, name, tier, since_ns, until_ns)
            if found.rates:
                return found
            reason = reason or found.reason
        return ListPrice((), reason=reason)

    def _from_package(self, provider: str, model: str, tier: str | None, since_ns: int, until_ns: int) -> ListPrice:
        assert self._package is not None
        try:
            _, info = self._package.find_provider_model(model, None, _PROVIDERS.get(provider, provider), None)
        except LookupError:
            return ListPrice((), reason=f"genai-prices {self.version} does not know it at {provider}")
        context = {"service_tier": tier} if tier else None
        rates = []
        points = [*_change_points(info, since_ns, until_ns), until_ns]
        for start, end in itertools.pairwise(points):
            moment = dt.datetime.fromtimestamp(start / 1e9, dt.UTC)
            rates += _rates(info.get_prices(moment, context), start, end)
        if not rates:
            return ListPrice((), reason=f"genai-prices {self.version} has no price per token for it")
        if (
            tier in _DISCOUNTED
            and rates[0].usd == self._from_package(provider, model, None, since_ns, until_ns).rates[0].usd
        ):
            return ListPrice((), reason=f"genai-prices {self.version} does not know its price in tier {tier!r}")
        return ListPrice(tuple(rates), info.id, f"genai-prices {self.version}")


def _in_turn(rates: list[Rate]) -> tuple[Rate, ...]:
    """*rates* with no two in force at once: each ends where a later one starts."""
    ordered = sorted(rates, key=lambda rate: rate.from_ns)
    ends = [*(rate.from_ns for rate in ordered[1:]), _UPTO]
    return tuple(
        replace(rate, until_ns=min(rate.until_ns, end))
        for rate, end in zip(ordered, ends, strict=True)
        if rate.from_ns < end
    )


def _package() -> tuple[str | None, Any]:
    try:
        import genai_prices
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        return None, None
    return genai_prices.__version__, get_snapshot()


def _change_points(info: Any, since_ns: int, until_ns: int) -> list[int]:
    """Moments in the period at which the model's price can change, the period's start first."""
    conditions = info.prices if isinstance(info.prices, list) else []
    points = {since_ns}
    first = dt.datetime.fromtimestamp(since_ns / 1e9, dt.UTC).date()
    days = min(math.ceil((until_ns - since_ns) / 86_400e9) + 1, 4000)
    for constraint in (*(c.constraint for c in conditions), *(v.constraint for v in info.price_variants or ())):
        if (start := getattr(constraint, "start_date", None)) is not None:
            points.add(_ns(start, dt.time()))
        for name in ("start_time", "end_time"):
            if (moment := getattr(constraint, name, None)) is not None:
                points |= {_ns(first + dt.timedelta(days=i), moment) for i in range(-1, days)}
    return sorted(point for point in points if since_ns <= point < until_ns)


def _ns(day: dt.date, moment: dt.time) -> int:
    zone = moment.tzinfo or dt.UTC
    return int(dt.datetime.combine(day, moment.replace(tzinfo=zone)).timestamp()) * 10**9


def _rates(price: Any, from_ns: int, until_ns: int) -> list[Rate]:
    """The rates of one of the package's ``ModelPrice``: one a prompt-length tier; none when it is not priced per token."""
    values = {key: value for key, value in vars(price).items() if value is not None and not key.startswith("_")}
    if not {"input_mtok", "output_mtok"} & set(values):
        return []
    starts = sorted({tier.start for value in values.values() for tier in getattr(value, "tiers", ())})
    edges = [-1, *starts, _UPTO]
    out = []
    for above, upto in itertools.pairwise(edges):
        flat = type(price)(**{key: _in_tier(value, above) for key, value in values.items()})
        base = _cost(flat, {})
        usd = {kind: (_cost(flat, probe) - base) / 10**6 for kind, probe in _PROBES.items()}
        out.append(Rate(usd, base, from_ns, until_ns, above, upto))
    return out


def _in_tier(value: Any, above: int) -> Any:
    if not hasattr(value, "tiers"):
        return value
    reached = [tier.price for tier in value.tiers if tier.start <= above]
    return reached[-1] if reached else value.base


def _cost(price: Any, usage: Mapping[str, int]) -> float:
    from genai_prices import Usage

    return float(price.calc_price(Usage(**({"input_tokens": 0, "output_tokens": 0} | dict(usage))))["total_price"])


def read_price_file(path: str) -> list[tuple[str | None, str, Rate]]:
    """(provider or None, model, rate) of each entry of a user's price file; ConfigurationError in one line otherwise."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        data = tomllib.loads(text) if path.endswith(".toml") else json.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigurationError(
            f"{path}: not valid {'TOML' if path.endswith('.toml') else 'JSON'} ({error})"
        ) from None
    entries = data.get("prices") if isinstance(data, dict) else None
    if isinstance(entries, list):
        return [_own_rate(entry, f"{path}: prices[{i}]") for i, entry in enumerate(entries)]
    if isinstance(data, dict) and all(isinstance(entry, dict) for entry in data.values()):
        named = ((name, entry) for name, entry in data.items() if "input_cost_per_token" in entry)
        return [_litellm_rate(name, entry, f"{path}: {name}") for name, entry in named]
    raise ConfigurationError(
        f"{path}: holds no list 'prices'; write [[prices]] entries with model and input_usd_per_million"
    )


def _own_rate(entry: Any, where: str) -> tuple[str | None, str, Rate]:
    if not isinstance(entry, dict) or not isinstance(entry.get("model"), str):
        raise ConfigurationError(f"{where}: has no 'model'")
    first = _number(entry, "input_usd_per_million", where)
    second = _number(entry, "output_usd_per_million", where)
    if first is None or second is None:
        raise ConfigurationError(f"{where}: needs input_usd_per_million and output_usd_per_million")
    cached = _number(entry, "cached_input_usd_per_million", where)
    write = _number(entry, "cache_write_usd_per_million", where)
    usd = _kinds(
        first / 1e6, second / 1e6, None if cached is None else cached / 1e6, None if write is None else write / 1e6
    )
    since, until = _date(entry, "from", where), _date(entry, "until", where)
    rate = Rate(usd, 0.0, -_UPTO if since is None else since, _UPTO if until is None else until)
    return entry.get("provider"), entry["model"], rate


def _litellm_rate(name: str, entry: Mapping[str, Any], where: str) -> tuple[str | None, str, Rate]:
    first = _number(entry, "input_cost_per_token", where)
    cached, write = (
        _number(entry, "cache_read_input_token_cost", where),
        _number(entry, "cache_creation_input_token_cost", where),
    )
    return None, name, Rate(_kinds(first or 0.0, _number(entry, "output_cost_per_token", where) or 0.0, cached, write))


def _kinds(first: float, second: float, cached: float | None, write: float | None) -> dict[str, float]:
    usd = {kind: second if kind in ("output", "reasoning", "audio_output") else first for kind in KINDS}
    return usd | {k: v for k, v in (("cached", cached), ("cache_write", write)) if v is not None}


def _number(entry: Mapping[str, Any], key: str, where: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
        raise ConfigurationError(f"{where}: {key} is {value!r}, must be a number of at least 0")
    return float(value)


def _date(entry: Mapping[str, Any], key: str, where: str) -> int | None:
    value = entry.get(key)
    try:
        day = dt.date.fromisoformat(value) if isinstance(value, str) else value
        return None if day is None else _ns(day, dt.time())
    except (ValueError, TypeError):
        raise ConfigurationError(f"{where}: {key} is {value!r}, must be a date such as 2026-11-01") from None
