"""What the vendor's price list says of one call: the live form of the report's list cost, which is SQL; a test holds them equal.

Billed tokens at the price in force when the call was made. A kind of token without a rate of its own has its parent's. Unknown
tokens, or an unknown price: no cost, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

from tracewrap import semconv
from tracewrap.prices.book import PriceBook
from tracewrap.prices.rates import ListPrice, Purchase
from tracewrap.prices.terms import tokens_usd
from tracewrap.records import DAY_NS
from tracewrap.vendors.providers import priced_as_asked

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
        inputs, outputs = _count(read(semconv.INPUT_TOKENS)), _count(read(semconv.OUTPUT_TOKENS))
        operation = read(semconv.OPERATION)
        if inputs is None and not _count(read(semconv.SEARCH_UNITS)):
            return None
        if outputs is None and operation in semconv.GENERATION_OPERATIONS:
            return None
        inputs = inputs or 0
        price = self._price(
            start_ns,
            semconv.provider_of(attributes) or "",
            read(semconv.REQUEST_MODEL),
            read(semconv.RESPONSE_MODEL),
            semconv.tier_of(attributes),
            read(semconv.SPEED),
            read(semconv.REGION),
        )
        rate = price.rate_at(start_ns, inputs)
        if rate is None:
            return None
        usd = tokens_usd(rate.usd, lambda name: _detail(read, name), inputs, outputs or 0)
        return None if usd is None else ListCost(rate.usd_request + usd, price.source)

    def _price(self, start_ns: int, *kind: Any) -> ListPrice:
        """The price on the day of *start_ns* of a *kind* of call, the arguments of ``purchase_of``."""
        day = start_ns // DAY_NS
        key = (day, *kind)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            found = self._book.find(purchase_of(*kind), day * DAY_NS, (day + 1) * DAY_NS)
            self._known[key] = found
        return found


def purchase_of(
    provider: str,
    request_model: str | None,
    response_model: str | None,
    tier: str | None,
    speed: str | None,
    region: str | None,
) -> Purchase:
    """What the price of a call depends on: of its two names of the model, the one that prices go by at *provider* first."""
    names = (request_model, response_model) if priced_as_asked(provider) else (response_model, request_model)
    models = tuple(dict.fromkeys(name for name in names if name))
    return Purchase(provider, models, (tier or "").lower() or None, (speed or "").lower() or None, region or None)


_FIELDS = {field.name: field for field in semconv.DETAILS}


def _detail(read: Callable[[str], Any], name: str) -> int | None:
    """The count of ``TokenUsage``'s field *name* in a span's attributes, older names included."""
    field = _FIELDS[name]
    return next((n for key in (field.attribute, *field.older) if (n := _count(read(key))) is not None), None)


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


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
