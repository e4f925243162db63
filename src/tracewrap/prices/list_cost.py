"""What the vendor's price list says of one call: the live form of the report's list cost, which is SQL; a test holds them equal.

Billed tokens at the price in force when the call was made. A kind of token without a rate of its own has its parent's. Unknown
tokens, or an unknown price: no cost, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple

from tracewrap import semconv
from tracewrap.prices.book import ListPrice, PriceBook
from tracewrap.records import DAY_NS

_MAX_KNOWN = 4096


class ListCost(NamedTuple):
    """US dollars, and whose price that is."""

    usd: float
    source: str


class Pricer:
    """List cost of spans, one by one; each kind of call is looked up once a day. Used by one thread."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._known: dict[tuple[Any, ...], ListPrice] = {}

    def cost(self, attributes: Mapping[str, Any], start_ns: int) -> ListCost | None:
        """The list cost of a call whose span began at *start_ns* (Unix time) with these *attributes*; None: unknown.

        ``gen_ai.usage.*`` hold the billed counts, also where the model processed others.
        """
        read = attributes.get
        first, second = read(semconv.INPUT_TOKENS), read(semconv.OUTPUT_TOKENS)
        if first is None or (second is None and read(semconv.OPERATION) in semconv.GENERATION_OPERATIONS):
            return None
        tier = read(semconv.SERVICE_TIER) or read(semconv.OPENAI_SERVICE_TIER)
        models = (read(semconv.RESPONSE_MODEL), read(semconv.REQUEST_MODEL))
        price = self._price(read(semconv.PROVIDER, ""), models, tier, start_ns)
        for rate in price.rates:
            if rate.from_ns <= start_ns < rate.until_ns and rate.above < first <= rate.upto:
                return ListCost(rate.usd_request + _tokens_usd(rate.usd, first, second or 0, attributes), price.source)
        return None

    def _price(self, provider: str, models: tuple[str | None, ...], tier: str | None, start_ns: int) -> ListPrice:
        day = start_ns // DAY_NS
        key = (provider, models, tier, day)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            names = [name for name in models if name]
            found = self._book.find(provider, names, tier, day * DAY_NS, (day + 1) * DAY_NS)
            self._known[key] = found
        return found


_PARTS = (
    ("cached", semconv.CACHE_READ),
    ("cache_write", semconv.CACHE_WRITE),
    ("audio_input", semconv.AUDIO_INPUT),
    ("image_input", semconv.IMAGE_INPUT),
    ("reasoning", semconv.REASONING),
    ("audio_output", semconv.AUDIO_OUTPUT),
)
_INPUT_PARTS = 4


def _tokens_usd(usd: Mapping[str, float], first: int, second: int, attributes: Mapping[str, Any]) -> float:
    """Dollars of *first* input and *second* output tokens, of which some are of a special kind."""
    total, special = 0.0, [0, 0]
    for index, (kind, name) in enumerate(_PARTS):
        count = attributes.get(name)
        if count:
            total += usd[kind] * count
            special[index >= _INPUT_PARTS] += count
    return total + usd["input"] * max(0, first - special[0]) + usd["output"] * max(0, second - special[1])


def put_list_cost(attributes: MutableMapping[str, Any], pricer: Pricer, start_ns: int) -> None:
    """Write the list cost into span *attributes*, where it is known."""
    found = pricer.cost(attributes, start_ns)
    if found is not None:
        attributes[semconv.COST_LIST], attributes[semconv.COST_LIST_SOURCE] = found


def load_pricer(user_file: str | None = None) -> Pricer | None:
    """A pricer of the user's file and of the package ``genai-prices``; None where there is neither.

    Raises ConfigurationError naming what is wrong with the file.
    """
    book = PriceBook(user_file)
    return Pricer(book) if user_file is not None or book.version is not None else None
