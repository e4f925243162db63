"""Where prices come from: a user's file first, then the package ``genai-prices`` (as of the call's time, its version recorded).

What neither knows is unpriced, never a guess: a model, a tier or speed mode, a region that has a price of its own, a kind of token whose
price the list does not tell from another's. The reason is said.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

from tracewrap.prices.rates import FAR, ListPrice, Purchase, Rate, complete, in_turn, moment_ns
from tracewrap.prices.user_file import read_price_file
from tracewrap.vendors.providers import price_id, priced_as_asked, region_factor

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
"""Kinds whose rate is what the package makes of so many tokens: its own rules for what is not singled out included."""
_NAMED = {
    "cache_write_long": "cache_write_1h_mtok",
    "cached_audio": "cache_audio_read_mtok",
    "cached_image": "cache_image_read_mtok",
    "image_output": "output_image_mtok",
}
"""Kinds that have the rate which the list names, or their parent's (see ``rates.complete``)."""
_FEES = {"web_search": "web_searches_kcount", "file_search": "storage_searches_kcount"}
_AUDIO = {"audio_input": "input_audio_mtok", "audio_output": "output_audio_mtok"}
"""Audio costs many times what text does: a list that names no rate for it does not know its price."""


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

    def find(self, purchase: Purchase, since_ns: int, until_ns: int) -> ListPrice:
        """The price of the first of the models of *purchase* that one is known of: the user's, else the package's.

        Where another model answered than the one that was asked for, the package is asked for that one alone: its price is not the other's.
        """
        if not purchase.models:
            return ListPrice((), reason="the spans name no model")
        for name in purchase.models:
            own = self._from_user(purchase, name)
            if own is not None:
                return own
        if self._package is None:
            return ListPrice((), reason="no price source is installed")
        reason = ""
        first = purchase.models[0]
        others = [
            name for name in purchase.models[1:] if priced_as_asked(purchase.provider) or _is_release_of(first, name)
        ]
        for name in (first, *others):
            found = self._from_package(purchase, name, since_ns, until_ns)
            if found.rates:
                return found
            reason = reason or found.reason
        return ListPrice((), reason=reason)

    def _from_user(self, purchase: Purchase, name: str) -> ListPrice | None:
        """What the user's file says of model *name*; None when it does not name it."""
        source = f"user file {self.user_file}"
        for owner in (purchase.provider, None):
            own = [price for price in self._user if price.model == name and price.provider == owner]
            if not own:
                continue
            served = [price for price in own if price.terms == purchase.terms]
            if not served:
                return ListPrice((), reason=f"{source} has no price of it in {purchase.terms_text}")
            here = [price.rate for price in served if price.region is not None and price.region == purchase.region]
            if here:
                return ListPrice(in_turn(here), name, source)
            factor = region_factor(purchase.provider, purchase.region)
            plain = [price.rate for price in served if price.region is None]
            if factor is None or not plain:
                return ListPrice((), reason=f"{source} has no price of it in region {purchase.region!r}")
            return ListPrice(in_turn(rate.times(factor) for rate in plain), name, source)
        return None

    def _from_package(self, purchase: Purchase, model: str, since_ns: int, until_ns: int) -> ListPrice:
        assert self._package is not None
        source = f"genai-prices {self.version}"
        info = self._info(model, price_id(purchase.provider))
        if info is None:
            return ListPrice((), reason=f"{source} does not know it at {purchase.provider}")
        factor = region_factor(purchase.provider, purchase.region)
        if factor is None:
            return ListPrice((), reason=f"{source} does not know its price in region {purchase.region!r}")
        context, rates = _context(purchase.terms), []
        points = [*_change_points(info, since_ns, until_ns), until_ns]
        for start, end in itertools.pairwise(points):
            moment = dt.datetime.fromtimestamp(start / 1e9, dt.UTC)
            if not context or _has_variant(info, context, moment):
                rates += _rates(info.get_prices(moment, context or None), start, end)
        if not rates and context:
            return ListPrice((), reason=f"{source} does not know its price in {purchase.terms_text}")
        if not rates:
            return ListPrice((), reason=f"{source} has no price per token for it")
        return ListPrice(tuple(rate.times(factor) for rate in rates), info.id, source)

    def _info(self, model: str, provider: str) -> Any:
        """What the package knows of *model* at *provider*, with or without the provider's own name before it (``google/``, ``models/``)."""
        prefix, _, rest = model.partition("/")
        for name in (model, rest) if prefix in (provider, "models") else (model,):
            with contextlib.suppress(LookupError):
                return self._package.find_provider_model(name, None, provider, None)[1]
        return None


_RELEASE = re.compile(r"(?:[-@:]?(?:\d{3,}[\d-]*|\d\d-\d\d[\d-]*|v\d+:\d+|latest|preview[\w.-]*|exp[\w.-]*))?")
"""What a release has after the model's name: a date, a number of three digits and more, ``latest``; ``-9`` or ``.9`` is another model."""


def _is_release_of(answered: str, asked: str) -> bool:
    """Whether *answered* is a release of the model *asked* for, not another model: ``m-2026-11-01`` of ``m``, ``m-latest``, ``lab/m``."""
    answered, asked = (name.rpartition("/")[2].lower() for name in (answered, asked))
    stem = asked.removesuffix("-latest")
    return answered.startswith(stem) and _RELEASE.fullmatch(answered[len(stem) :]) is not None


def _package() -> tuple[str | None, Any]:
    try:
        import genai_prices
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        return None, None
    return genai_prices.__version__, get_snapshot()


def _context(terms: Mapping[str, str]) -> dict[str, str]:
    """*terms* in the package's words: a batch is no tier there."""
    context = dict(terms)
    if context.get("service_tier") == "batch":
        context["processing"] = context.pop("service_tier")
    return context


def _has_variant(info: Any, context: Mapping[str, str], moment: dt.datetime) -> bool:
    """Whether the list has, at *moment*, a price for just this *context*: for all of it, not for a part."""
    for variant in info.price_variants or ():
        active = variant.constraint is None or variant.constraint.active(moment)
        if active and dict(variant.when) == dict(context):
            return True
    return False


def _change_points(info: Any, since_ns: int, until_ns: int) -> list[int]:
    """Moments in the period at which the model's price can change, the period's start first."""
    conditions = info.prices if isinstance(info.prices, list) else []
    points = {since_ns}
    first = dt.datetime.fromtimestamp(since_ns / 1e9, dt.UTC).date()
    days = min(math.ceil((until_ns - since_ns) / 86_400e9) + 1, 4000)
    for constraint in (*(c.constraint for c in conditions), *(v.constraint for v in info.price_variants or ())):
        if (start := getattr(constraint, "start_date", None)) is not None:
            points.add(moment_ns(start, dt.time()))
        for name in ("start_time", "end_time"):
            if (moment := getattr(constraint, name, None)) is not None:
                points |= {moment_ns(first + dt.timedelta(days=i), moment) for i in range(-1, days)}
    return sorted(point for point in points if since_ns <= point < until_ns)


def _rates(price: Any, from_ns: int, until_ns: int) -> list[Rate]:
    """The rates of one of the package's ``ModelPrice``: one a prompt-length tier; none when it is not priced per token."""
    values = {key: value for key, value in vars(price).items() if value is not None and not key.startswith("_")}
    if not {"input_mtok", "output_mtok"} & set(values):
        return []
    starts = sorted({tier.start for value in values.values() for tier in getattr(value, "tiers", ())})
    edges = [-1, *starts, FAR]
    out = []
    for above, upto in itertools.pairwise(edges):
        named = {key: _in_tier(value, above) for key, value in values.items()}
        flat = type(price)(**named)
        base = _cost(flat, {})
        usd: dict[str, float | None] = {kind: (_cost(flat, probe) - base) / 10**6 for kind, probe in _PROBES.items()}
        usd |= {kind: float(named[key]) / 1e6 for kind, key in _NAMED.items() if key in named}
        usd |= {kind: float(named[key]) / 1e3 for kind, key in _FEES.items() if key in named}
        usd |= {kind: None for kind, key in _AUDIO.items() if key not in named}
        out.append(Rate(complete(usd), base, from_ns, until_ns, above, upto))
    return out


def _in_tier(value: Any, above: int) -> Any:
    if not hasattr(value, "tiers"):
        return value
    reached = [tier.price for tier in value.tiers if tier.start <= above]
    return reached[-1] if reached else value.base


def _cost(price: Any, usage: Mapping[str, int]) -> float:
    from genai_prices import Usage

    return float(price.calc_price(Usage(**({"input_tokens": 0, "output_tokens": 0} | dict(usage))))["total_price"])
