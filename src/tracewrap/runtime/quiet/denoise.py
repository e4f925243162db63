"""denoise(observations) -> DenoiseResult: what an API takes on a quiet day, from calls it served on all days.

Contention only ever adds time, so the lower edge of the calls of like size is the API itself: a 10% quantile regression over all calls,
non-negative and non-decreasing, needs one call a configuration where a minimum per configuration needs five. Its bias is
corrected by what the residuals themselves show. Where their upper and lower halves are alike there was no contention,
only symmetric noise, and the median is the truth; where the upper half is much the longer, the lower edge is. In between, and
where few calls tell, the correction is discounted (``_correction``).

Rules: failed, cancelled and partial calls, and calls whose usage was not reported, are not observations (``Observation.of``). Of a
retried call only the last attempt counts. A call held by its consumer for over half its time, or with over 10% of the
prompt read from the provider's cache or over 10% of the answer taken from the caller's prediction, is left out: the first hides
generation, the others skip work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tracewrap.records import Call
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.quantiles import Z90
from tracewrap.runtime.quiet.basis import Array, quantile_fit

Verdict = Literal["ok", "too_few", "not_identifiable", "saturated"]

QUANTILE = 0.10
MIN_CALLS = 20
"""Fewer calls leave two at the quantile or less: no estimate."""
CALLS_PER_KNOT = 12
MAX_KNOTS = 6
MIN_SPREAD = 2.0
"""Largest over smallest prompt from which prompt time can be told from the constant; likewise of output tokens for decode time."""
MODEL_ERROR = 0.015
"""Half-width that no number of calls removes: the form T(p, o) itself, half of what fits of quiet servers show at the median (3%)."""
MAX_EDGE = 0.12
"""Widest step from the 2% to the 10% quantile of relative residuals that quiet calls make; APIs of 2022 show 0.04 to 0.09."""
_GENERATION = frozenset({"chat", "text_completion", "generate_content"})


@dataclass(frozen=True, slots=True)
class Observation:
    """One usable call: token counts, seconds of its last attempt less the consumer's, when it began (Unix seconds)."""

    input_tokens: int
    output_tokens: int
    runtime_s: float
    time_to_first_chunk_s: float | None = None
    cached_input_tokens: int | None = None
    start_time_s: float | None = None

    @classmethod
    def of(cls, call: Call) -> Observation | None:
        """The observation that *call* makes, or None when by rule it makes none."""
        usage, seconds = call.usage, call.last_attempt_s
        if call.operation not in _GENERATION or call.outcome != "complete" or not seconds:
            return None
        if usage is None or usage.source != "reported" or usage.input_tokens is None or not usage.output_tokens:
            return None
        if (call.consumer_s or 0.0) > seconds or (usage.cached_input_tokens or 0) > 0.1 * usage.input_tokens:
            return None
        if (usage.accepted_prediction_output_tokens or 0) > 0.1 * usage.output_tokens:
            return None
        first = call.time_to_first_chunk_s
        return cls(
            usage.input_tokens,
            usage.output_tokens,
            seconds,
            None if first is None else max(0.0, first - call.retry_s),
            usage.cached_input_tokens,
            call.start_time_ns / 1e9,
        )


@dataclass(frozen=True, slots=True)
class DenoiseResult:
    """``profile``: None when there is no estimate. ``messages``: what is missing or to beware of, a sentence each.

    ``effective_samples``: calls near the quantile that carry the estimate. ``quiet_share``: 0 (the lower edge was taken) to 1 (symmetric
    noise, the median was).
    """

    profile: RuntimeProfile | None
    verdict: Verdict
    effective_samples: float
    quiet_share: float = 0.0
    messages: tuple[str, ...] = ()

    def summary(self) -> str:
        """Verdict, coefficients and messages as a few lines."""
        lines = [f"verdict: {self.verdict}, {self.effective_samples:.0f} effective samples"]
        if self.profile is not None:
            p = self.profile
            ends = f"{p.prompt_knots[0][1]:.4g} s at {p.prompt_knots[0][0]:g} to {p.prompt_knots[-1][1]:.4g} s at {p.prompt_knots[-1][0]:g}"
            lines.append(f"constant {p.overhead_s:.4g} s, prompt time {ends} tokens, {p.d0:.4g} s per output token")
        return "\n".join([*lines, *self.messages])


def denoise(
    observations: Iterable[Observation], *, id: str, model: str, quantile: float | None = None
) -> DenoiseResult:
    """The denoised profile of one deployment.

    *id*: deployment key (``records.Deployment.key``); it becomes the profile's id and marks it as that deployment's. *quantile*: in place
    of 0.10. Observations that the rules of the module leave out are ignored.
    """
    tau = QUANTILE if quantile is None else quantile
    kept = [o for o in observations if o.output_tokens >= 1 and o.runtime_s > 0]
    if len(kept) < MIN_CALLS:
        message = f"{len(kept)} usable calls, at least {MIN_CALLS} are needed"
        return DenoiseResult(None, "too_few", float(len(kept)), messages=(message,))
    p = np.array([o.input_tokens for o in kept], dtype=np.float64)
    o = np.array([x.output_tokens for x in kept], dtype=np.float64)
    y = np.array([x.runtime_s for x in kept], dtype=np.float64)
    messages = _unidentifiable(p, o)
    knots = _knots(p)
    beta = quantile_fit(_design(p, o, knots), y, tau)
    fitted = np.maximum(_design(p, o, knots) @ beta, 1e-9)
    residual = y / fitted - 1.0
    share, shift = _correction(residual, tau)
    beta = beta * (1.0 + shift)
    saturated = _saturated(residual)
    if saturated:
        messages.append(
            "no quiet moments in these calls: what is known is an upper bound; wait for a quieter time or probe"
        )
    profile = _profile(id, model, p, o, knots, beta, _interval(residual, shift, tau, len(beta), saturated), kept)
    verdict: Verdict = "saturated" if saturated else "not_identifiable" if messages else "ok"
    return DenoiseResult(profile, verdict, max(1.0, tau * len(kept)), share, tuple(messages))


def _unidentifiable(p: Array, o: Array) -> list[str]:
    """One sentence for each part of T(p, o) that the token counts cannot tell apart."""
    messages = []
    low, high = float(np.quantile(p, 0.02)), float(np.quantile(p, 0.98))
    if high < MIN_SPREAD * max(low, 1.0):
        messages.append(
            f"prompt time is not identifiable: input_tokens only from {low:.0f} to {high:.0f}; "
            f"calls with {max(1.0, low / 4):.0f} and {4 * high:.0f} would tell"
        )
    low, high = float(np.quantile(o, 0.02)), float(np.quantile(o, 0.98))
    if high < MIN_SPREAD * max(low, 1.0):
        messages.append(
            f"time per output token is not identifiable: output_tokens only from {low:.0f} to {high:.0f}; "
            f"calls with {max(1.0, low / 4):.0f} and {4 * high:.0f} would tell"
        )
    return messages


def _knots(p: Array) -> Array:
    """Corners the prompt curve may have: quantiles of the prompt lengths seen, more with more calls; none when they hardly differ."""
    if float(np.quantile(p, 0.98)) < MIN_SPREAD * max(1.0, float(np.quantile(p, 0.02))):
        return np.array([])
    count = int(min(MAX_KNOTS, max(2, len(p) // CALLS_PER_KNOT)))
    distinct = np.unique(p)
    return np.unique(np.quantile(distinct if len(distinct) < 50 else p, np.linspace(0.0, 0.85, count)))


def _design(p: Array, o: Array, knots: Array) -> Array:
    return np.column_stack([np.ones_like(p), *(np.maximum(0.0, p - k) for k in knots), np.maximum(o - 1.0, 0.0)])


def _correction(residual: Array, tau: float) -> tuple[float, float]:
    """(share, shift): how far from the *tau* quantile towards the median the truth is taken to lie.

    Asymmetry S = (q90 - q50) / (q50 - q10): 1 for symmetric noise, 2 and more under contention. The share falls from 1 to 0 between
    them, less 2.5 standard errors of S (about 1/sqrt(n) each): the median is believed only where symmetry is evident.
    """
    low, middle, high = np.quantile(residual, [tau, 0.5, 1.0 - tau])
    spread = float(middle - low)
    if spread <= 0.0:
        return 1.0, 0.0
    asymmetry = float(high - middle) / spread
    share = float(np.clip(2.0 - asymmetry - 2.5 / np.sqrt(len(residual)), 0.0, 1.0))
    return share, share * spread


def _saturated(residual: Array) -> bool:
    """Whether the calls show no quiet edge.

    Calls that met no contention pile up at one level: timing noise of a few percent, and 12% even when it is 15%, is all that separates the
    2% from the 10% quantile. Where that step is wider, the fastest calls too were slowed, each by another amount.
    """
    lowest, low = np.quantile(residual, [0.02, QUANTILE])
    return bool(low - lowest > MAX_EDGE)


def _interval(residual: Array, shift: float, tau: float, parameters: int, saturated: bool) -> Interval:
    """Half-widths: sampling error of a low quantile, by its own density, and what the correction could be wrong by."""
    low, high = np.quantile(residual, [tau / 2, 2 * tau])
    density = 1.5 * tau / max(float(high - low), 1e-6)
    error = float(np.sqrt(tau * (1 - tau) / len(residual)) / density)
    base = float(np.hypot(Z90 * np.sqrt(parameters) * error / 2 + shift / 3, MODEL_ERROR))
    return Interval(base=1.0 if saturated else base, prompt=base / 2, decode=base / 2, extrapolation=0.3)


def _profile(
    id: str,
    model: str,
    p: Array,
    o: Array,
    knots: Array,
    beta: Array,
    interval: Interval,
    kept: list[Observation],
) -> RuntimeProfile:
    """The coefficients as a profile. The constant stays apart from prompt time where streams tell when the first chunk came."""
    at = np.unique(np.concatenate([knots, [p.min(), p.max()]]))
    constant, rise = float(beta[0]), np.zeros_like(at)
    for knot, slope in zip(knots, beta[1:-1], strict=True):
        rise += slope * np.maximum(0.0, at - knot)
    streamed = sum(1 for x in kept if x.time_to_first_chunk_s is not None)
    overhead = constant if streamed >= MIN_CALLS and len(knots) else 0.0
    values = rise + (constant - overhead)
    starts = [x.start_time_s for x in kept if x.start_time_s is not None]
    fit = {"samples": len(kept), "quantile": QUANTILE, "interval_level": 0.9}
    if starts:
        fit |= {"since_unix_s": min(starts), "until_unix_s": max(starts)}
    return RuntimeProfile(
        id=id,
        model=model,
        prompt_knots=tuple((float(x), float(v)) for x, v in zip(at, values, strict=True)),
        d0=float(beta[-1]),
        overhead_s=overhead,
        interval=interval,
        max_output_tokens=int(o.max()),
        provenance="measured",
        stack={"deployment": id},
        fit=fit,
    )
