"""LiveJoin: the join of one call at a time as it happens, with the newest profiles: for the background, exporters and inline joining."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tracewrap import semconv
from tracewrap.estimate.catalog import Catalog, load_catalog
from tracewrap.estimate.joiner import join_attributes, join_call
from tracewrap.estimate.split import put_split, split
from tracewrap.prices.list_cost import Pricer, load_pricer, put_list_cost
from tracewrap.records import Call
from tracewrap.runtime.profile import RuntimeProfile

logger = logging.getLogger("tracewrap")

_PRICED = semconv.GENERATION_OPERATIONS | {"embeddings"}
"""Operations of other instrumentors' spans that are model calls; an agent's span, which sums its calls' tokens, is none."""


class Learner(Protocol):
    """What the join needs of a denoiser."""

    def observe(self, call: Call) -> None:
        """Take note of a call."""

    def observe_attributes(self, attributes: Mapping[str, Any], start_time_ns: int) -> None:
        """Take note of a call by the attributes that tracewrap writes on its span."""

    def snapshot(self) -> Mapping[str, RuntimeProfile]:
        """Denoised profiles by deployment key; the same object until there are newer ones."""


class LiveJoin:
    """Attributes of a call beside its estimates.

    ``catalog``: a snapshot, or a function that loads one when the first call arrives. ``prices``: likewise, what list costs are computed
    with. ``learner``: sees every call, and its newest denoised profiles are used. Nothing here raises.
    """

    def __init__(
        self,
        catalog: Catalog | Callable[[], Catalog] = load_catalog,
        prices: Callable[[], Pricer | None] = load_pricer,
        learner: Learner | None = None,
    ) -> None:
        self._source = catalog
        self._catalog: Catalog | None = catalog if isinstance(catalog, Catalog) else None
        self._price_source: Callable[[], Pricer | None] | None = prices
        self._pricer: Pricer | None = None
        self._learner = learner
        self._learned: Mapping[str, RuntimeProfile] = {}
        self.failures = 0
        """Calls left without estimates because joining them failed."""

    def joined(
        self, attributes: dict[str, Any], start_time_ns: int, call: Callable[[], Call | None]
    ) -> dict[str, Any] | None:
        """*attributes*, which may be changed, with estimates added; None: there is nothing to add.

        *call*: makes the record of the call, where it is needed: for spans of other instrumentors.
        """
        try:
            ours = semconv.RUNTIME_RAW in attributes
            if not ours and attributes.get(semconv.OPERATION) not in _PRICED:
                return None
            made = None if ours else call()
            if self._learner is not None:
                if ours:  # no need to build the record
                    self._learner.observe_attributes(attributes, start_time_ns)
                elif made is not None:
                    self._learner.observe(made)
            if semconv.JOIN_STATUS in attributes:
                return None  # joined before its span ended
            return self._with_estimates(attributes, start_time_ns, made, ours)
        except Exception:  # noqa: BLE001 - telemetry never changes the program
            self._failed()
            return None

    def _with_estimates(
        self, attributes: dict[str, Any], start_time_ns: int, made: Call | None, ours: bool
    ) -> dict[str, Any] | None:
        catalog = self._current()
        if catalog is None or (made is None and not ours):
            return None
        if ours:  # no need to build the records between
            attributes.update(join_attributes(attributes, catalog))
        elif made is not None:
            joined = join_call(made, catalog)
            attributes.update(semconv.joined_attributes(joined))
            put_split(attributes, split(joined))
        if self._pricer is not None:
            put_list_cost(attributes, self._pricer, start_time_ns)
        return attributes

    def _current(self) -> Catalog | None:
        """The newest snapshot; None when it cannot be loaded, which is logged once."""
        try:
            if self._price_source is not None:
                source, self._price_source = self._price_source, None
                self._pricer = source()
            if self._catalog is None:
                self._catalog = self._source() if callable(self._source) else self._source
            if self._learner is not None:
                learned = self._learner.snapshot()
                if learned is not self._learned:
                    self._learned, self._catalog = learned, self._catalog.with_denoised(learned)
            return self._catalog
        except Exception:  # noqa: BLE001
            self._failed()
            return self._catalog

    def _failed(self) -> None:
        self.failures += 1
        if self.failures == 1:
            logger.warning("joining failed; calls are recorded without estimates", exc_info=True)
