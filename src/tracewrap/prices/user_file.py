"""A user's own price file.

TOML or JSON: ``[[prices]]`` entries ``model``, ``input_usd_per_million``, ``output_usd_per_million`` and, if wanted:
    ``provider``, ``from``, ``until`` (dates), ``above_input_tokens`` (a long-prompt price), ``service_tier``, ``speed``, ``region``;
    the other kinds: ``cached_input_usd_per_million``, ``cache_write_...``, ``cache_write_long_...``, ``reasoning_...``,
    ``audio_input_...`` and so on; ``web_search_usd_per_thousand``, ``file_search_usd_per_thousand``,
    ``search_unit_usd_per_thousand`` (reranking).
An entry without a tier is the plain price and says nothing of other tiers.

Or a JSON map of model to ``{"input_cost_per_token": ..., "output_cost_per_token": ..., ...}``, as LiteLLM keeps it, with its spellings for
cached, written, audio, image and reasoning tokens, ``_above_200k_tokens``, ``_batches``, ``_flex``, ``_priority`` and search fees.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tracewrap.errors import ConfigurationError
from tracewrap.prices.rates import FAR, KINDS, PARENTS, Rate, complete, moment_ns

_OWN_NAMES = {kind: {"cached": "cached_input"}.get(kind, kind) for kind in KINDS if PARENTS[kind] is not None}
_FEES = tuple(kind for kind in KINDS if PARENTS[kind] is None)
_LITELLM = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_long": "cache_creation_input_token_cost_above_1hr",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_input": "input_cost_per_audio_token",
    "cached_audio": "cache_read_input_audio_token_cost",
    "audio_output": "output_cost_per_audio_token",
    "image_input": "input_cost_per_image_token",
    "cached_image": "cache_read_input_image_token_cost",
    "image_output": "output_cost_per_image_token",
    "search_unit": "input_cost_per_query",
}
_LITELLM_TIERS = {None: "", "batch": "_batches", "flex": "_flex", "priority": "_priority"}
_ABOVE = re.compile(r"_above_(\d+)k_tokens")


@dataclass(frozen=True, slots=True)
class OwnPrice:
    """One entry: for whom, for which model, for which way of being served, and the rate."""

    provider: str | None
    model: str
    rate: Rate
    tier: str | None = None
    speed: str | None = None
    region: str | None = None

    @property
    def terms(self) -> dict[str, str]:
        """As ``Purchase.terms``."""
        named = {"service_tier": self.tier, "speed": self.speed}
        return {name: value for name, value in named.items() if value is not None}


def read_price_file(path: str) -> list[OwnPrice]:
    """Each entry of a user's price file; ConfigurationError in one line otherwise."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        data = tomllib.loads(text) if path.endswith(".toml") else json.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{path}: not valid {'TOML' if path.endswith('.toml') else 'JSON'} ({error})"
        ) from None
    entries = data.get("prices") if isinstance(data, dict) else None
    if isinstance(entries, list):
        return _ranges([_own_price(entry, f"{path}: prices[{i}]") for i, entry in enumerate(entries)])
    if isinstance(data, dict) and all(isinstance(entry, dict) for entry in data.values()):
        named = ((name, entry) for name, entry in data.items() if "input_cost_per_token" in entry)
        return [price for name, entry in named for price in _litellm_prices(name, entry, f"{path}: {name}")]
    raise ConfigurationError(
        f"{path}: holds no list 'prices'; write [[prices]] entries with model and input_usd_per_million"
    )


def _own_price(entry: Any, where: str) -> OwnPrice:
    if not isinstance(entry, dict) or not isinstance(entry.get("model"), str):
        raise ConfigurationError(f"{where}: has no 'model'")
    given = {kind: _number(entry, f"{name}_usd_per_million", where, 1e6) for kind, name in _OWN_NAMES.items()}
    given |= {kind: _number(entry, f"{kind}_usd_per_thousand", where, 1e3) for kind in _FEES}
    known = {kind: usd for kind, usd in given.items() if usd is not None}
    if "input" not in known or "output" not in known:
        raise ConfigurationError(f"{where}: needs input_usd_per_million and output_usd_per_million")
    since, until = _date(entry, "from", where), _date(entry, "until", where)
    above = _number(entry, "above_input_tokens", where, 1.0)
    rate = Rate(
        complete(known),
        0.0,
        -FAR if since is None else since,
        FAR if until is None else until,
        -1 if above is None else int(above),
    )
    named = {name: _name(entry, name, where) for name in ("provider", "service_tier", "speed", "region")}
    tier, speed = ((named[name] or "").lower() or None for name in ("service_tier", "speed"))
    return OwnPrice(named["provider"], entry["model"], rate, tier, speed, named["region"])


def _ranges(prices: list[OwnPrice]) -> list[OwnPrice]:
    """*prices*, each up to the prompt length at which another one of the same model and terms begins."""
    out = []
    for price in prices:
        key = (price.provider, price.model, price.tier, price.speed, price.region)
        alike = [p for p in prices if (p.provider, p.model, p.tier, p.speed, p.region) == key]
        upto = min((p.rate.above for p in alike if p.rate.above > price.rate.above), default=FAR)
        out.append(replace(price, rate=replace(price.rate, upto=upto)))
    return out


def _litellm_prices(name: str, entry: Mapping[str, Any], where: str) -> Iterator[OwnPrice]:
    """The plain price of a LiteLLM entry and those of its tiers, each by prompt length."""
    found = {int(match.group(1)) for key in entry if (match := _ABOVE.search(key))}
    edges = [-1, *(1000 * thousands for thousands in sorted(found)), FAR]
    for tier, suffix in _LITELLM_TIERS.items():
        if tier is not None and not any(key.endswith(suffix) for key in entry):
            continue
        for above, upto in itertools.pairwise(edges):
            known = {}
            for kind, key in _LITELLM.items():
                usd = _litellm_number(entry, key, above, suffix, where)
                if usd is not None:
                    known[kind] = usd
            known |= _litellm_fees(entry, where)
            usd_by_kind = complete(known)
            if tier is not None:  # a kind of the tier that is not named is unknown, not the plain one
                usd_by_kind = {
                    kind: usd_by_kind[kind] if (PARENTS[kind] or kind) in known or kind in known else None
                    for kind in KINDS
                }
                usd_by_kind |= {"cached": known.get("cached"), "cache_write": known.get("cache_write")}
            yield OwnPrice(None, name, Rate(usd_by_kind, above=above, upto=upto), tier)


def _litellm_number(entry: Mapping[str, Any], key: str, above: int, suffix: str, where: str) -> float | None:
    """The value of *key* for prompts above *above* tokens in the tier of *suffix*; the shorter prompts' where it names none."""
    if above > 0:
        long = f"{key}_above_{above // 1000}k_tokens{suffix}"
        if long in entry:
            return _number(entry, long, where, 1.0)
    return _number(entry, f"{key}{suffix}", where, 1.0)


def _litellm_fees(entry: Mapping[str, Any], where: str) -> dict[str, float]:
    """The fee of a web search, where it is the same for every amount of context."""
    fees = entry.get("search_context_cost_per_query")
    if not isinstance(fees, Mapping) or not fees:
        return {}
    costs = {_number(fees, size, where, 1.0) for size in fees}
    only = costs.pop() if len(costs) == 1 else None
    return {} if only is None else {"web_search": only}


def _number(entry: Mapping[str, Any], key: str, where: str, per: float) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
        raise ConfigurationError(f"{where}: {key} is {value!r}, must be a number of at least 0")
    return float(value) / per


def _name(entry: Mapping[str, Any], key: str, where: str) -> str | None:
    value = entry.get(key)
    if value is None or isinstance(value, str):
        return value
    raise ConfigurationError(f"{where}: {key} is {value!r}, must be text")


def _date(entry: Mapping[str, Any], key: str, where: str) -> int | None:
    value = entry.get(key)
    try:
        day = dt.date.fromisoformat(value) if isinstance(value, str) else value
        return None if day is None else moment_ns(day, dt.time())
    except (ValueError, TypeError):
        raise ConfigurationError(f"{where}: {key} is {value!r}, must be a date such as 2026-11-01") from None
