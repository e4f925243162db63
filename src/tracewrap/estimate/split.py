"""Us or the provider? The raw runtime of a call, split into what each party added.

    raw = retries + admission + contention + model

``retries_s``: before the last attempt began. ``admission_s``: the constant of network and admission, where the denoised
profile has set it apart (streams tell it). ``contention_s``: last attempt less denoised runtime; negative when faster than
on a quiet day. ``model_s``: the rest of the denoised runtime. ``consumer_s`` is what the program itself held the stream: it
is no part of raw and stands beside it.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Literal, NamedTuple

from tracewrap import semconv
from tracewrap.records import JoinedCall

Verdict = Literal["us", "provider", "model", "unknown"]

US_SHARE = 0.5
"""The program held the stream for longer than this share of everything: it is us."""
PROVIDER_SHARE = 1.0 / 3.0
"""Retries and contention made up more than this share of raw: it is the provider."""


class Split(NamedTuple):
    """Seconds of each part; None where nothing is known of it. A named tuple: one is made for every span joined."""

    raw_s: float
    retries_s: float
    consumer_s: float
    admission_s: float | None = None
    contention_s: float | None = None
    model_s: float | None = None

    @classmethod
    def of(
        cls, raw_s: float, retry_s: float, consumer_s: float, denoised_s: float | None, admission_s: float | None
    ) -> Split:
        """The parts of *raw_s*; *denoised_s*: the quiet-day runtime, *admission_s* the constant inside it, where known."""
        retries_s = min(retry_s, raw_s)
        if denoised_s is None:
            return cls(raw_s, retries_s, consumer_s)
        contention_s = raw_s - retries_s - denoised_s
        return cls(raw_s, retries_s, consumer_s, admission_s, contention_s, denoised_s - (admission_s or 0.0))

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


def split(joined: JoinedCall) -> Split | None:
    """The parts of *joined*'s raw runtime; None when it has none."""
    call, denoised = joined.call, joined.denoised_runtime
    if call.raw_runtime_s is None:
        return None
    quiet = None if denoised is None else denoised.value
    return Split.of(call.raw_runtime_s, call.retry_s, call.consumer_s or 0.0, quiet, joined.admission_s)


def put_split(attributes: MutableMapping[str, Any], parts: Split | None) -> None:
    """Write what span *attributes* do not say yet: admission and model seconds, and the verdict where there is one."""
    if parts is None:
        return
    if parts.model_s is not None:
        attributes[semconv.SPLIT_MODEL] = parts.model_s
        if parts.admission_s is not None:
            attributes[semconv.SPLIT_ADMISSION] = parts.admission_s
    verdict = parts.verdict
    if verdict != "unknown":
        attributes[semconv.SPLIT_VERDICT] = verdict
