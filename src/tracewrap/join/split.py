"""Us or the provider? The raw runtime of a call, split into what each party added.

    raw = retries + admission + contention + model

``retries_s``: before the last attempt began. ``admission_s``: the constant of network and admission, where the denoised
profile has set it apart (streams tell it). ``contention_s``: last attempt less denoised runtime; negative when faster than
on a quiet day. ``model_s``: the rest of the denoised runtime. ``consumer_s`` is what the program itself held the stream: it
is no part of raw and stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tracewrap.join.catalog import Catalog
from tracewrap.records import JoinedCall

Verdict = Literal["us", "provider", "model", "unknown"]

US_SHARE = 0.5
"""The program held the stream for longer than this share of everything: it is us."""
PROVIDER_SHARE = 1.0 / 3.0
"""Retries and contention made up more than this share of raw: it is the provider."""


@dataclass(frozen=True, slots=True)
class Split:
    """Seconds of each part; None where nothing is known of it."""

    raw_s: float
    retries_s: float
    consumer_s: float
    admission_s: float | None = None
    contention_s: float | None = None
    model_s: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Who made the call slow: us (the stream was held), the provider (retries, contention), or the model itself.

        ``unknown`` without a denoised profile, unless the consumer or the retries decide it already.
        """
        if self.consumer_s > US_SHARE * (self.raw_s + self.consumer_s):
            return "us"
        lost = self.retries_s + max(0.0, self.contention_s or 0.0)
        if self.raw_s > 0 and lost > PROVIDER_SHARE * self.raw_s:
            return "provider"
        return "unknown" if self.contention_s is None else "model"


def split(joined: JoinedCall, catalog: Catalog) -> Split | None:
    """The parts of *joined*'s raw runtime; None when it has none. *catalog*: the snapshot it was joined with."""
    call = joined.call
    if call.raw_runtime_s is None:
        return None
    retries, consumer = min(call.retry_s, call.raw_runtime_s), call.consumer_s or 0.0
    denoised = joined.denoised_runtime
    if denoised is None:
        return Split(call.raw_runtime_s, retries, consumer)
    profile = catalog.denoised_for(call.deployment)
    constant = profile.overhead_s if profile is not None and profile.overhead_s > 0 else None
    model = denoised.value - (constant or 0.0)
    return Split(call.raw_runtime_s, retries, consumer, constant, joined.contention_s, model)
