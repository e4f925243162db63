"""denoise(observations) -> DenoiseResult: what an API takes on a quiet day, from calls it served on all days.

Contention only ever adds time and noise goes both ways: a stochastic frontier (``frontier``) tells them apart, with a term for each thing
that a call is made of (``columns``). What the calls cannot tell is said: the verdict, and an interval that includes what the method
itself could be wrong about. Which calls count: ``usable``.

What no method can know from calls alone: if every call was slowed by the same share, at all hours, that is the API's speed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from tracewrap.records import Verdict
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.quantiles import Z90
from tracewrap.runtime.quiet import signs
from tracewrap.runtime.quiet.basis import Array, quantile_fit
from tracewrap.runtime.quiet.columns import Calls, Columns, ends, spread
from tracewrap.runtime.quiet.edge import edge_fit, edge_weight
from tracewrap.runtime.quiet.frontier import Frontier, covariance, fit_frontier, information
from tracewrap.runtime.quiet.usable import Observation
from tracewrap.runtime.region import Region

MIN_CALLS = 20
"""Fewer calls leave two at the lower edge or less: no estimate."""
MOST_CALLS = 4000
"""Of more calls as many, drawn at random, are fitted: what is left of chance is far below ``MODEL_ERROR``."""
START_QUANTILE = 0.2
APART = 1.3
"""Half-width for what the lower edge moved the level, in units of that."""
MODEL_ERROR = 0.007
"""Half-width that no number of calls removes: the form of T itself, and noise of a percent that only ever adds."""
TOUCHED_ERROR, ALL_TOUCHED = 1.5, 0.8
"""Half-width by what noise hides, in its deviations: contention smaller than it. Of few calls; or, so much, where all were touched."""
CAUTION, CAUTIOUS_CALLS = 0.5, 150.0
"""How far below the likeliest level few calls put it, in deviations of the noise where every call met contention; less beyond so many."""
FEW_CALLS = 40.0
"""Calls at which the interval from the likelihood's curvature is too narrow by half."""
MOST_TOUCHED = 0.2
"""Share of touched calls from which contention and much noise are not told apart."""
MOSTLY_TOUCHED = 0.5
"""Share of touched calls from which those that were spared must be plain to see."""
MOST_SLOWED = 0.75
"""Share of calls that are all slowed by about as much from which the few fast ones are no level."""
MIN_HOURS = 12
LONGEST_CALLS, LONGEST_SHARE, HOURS_SHARE = 30, 0.1, 0.5
"""How many calls, at least and of all, have the longest prompts, and over which share of the others' hours they must be spread."""
DAY_S, HOUR_S = 86_400.0, 3_600.0
EXTRAPOLATION = 0.3
SATURATED_HALF_WIDTH = 1.0


@dataclass(frozen=True, slots=True)
class DenoiseResult:
    """``profile``: None when there is no estimate. ``messages``: what is missing or to beware of, a sentence each.

    ``effective_samples``: calls that were likely untouched, which carry the estimate. ``quiet_share``: their share. ``noise``: relative
    deviation of an untouched call.
    """

    profile: RuntimeProfile | None
    verdict: Verdict
    effective_samples: float
    quiet_share: float = 0.0
    messages: tuple[str, ...] = ()
    noise: float | None = None

    def summary(self) -> str:
        """Verdict, coefficients and messages as a few lines."""
        lines = [f"verdict: {self.verdict}, {self.effective_samples:.0f} calls likely untouched"]
        if self.profile is not None:
            p = self.profile
            ends = f"{p.prompt_knots[0][1]:.4g} s at {p.prompt_knots[0][0]:g} to {p.prompt_knots[-1][1]:.4g} s at {p.prompt_knots[-1][0]:g}"
            lines.append(f"constant {p.overhead_s:.4g} s, prompt time {ends} tokens, {p.d0:.4g} s per output token")
            if p.cached_time is not None:
                lines.append(f"{p.cached_time:.3g} s per cached token")
        return "\n".join([*lines, *self.messages])


def denoise(observations: Iterable[Observation], *, id: str, model: str) -> DenoiseResult:
    """The denoised profile of one deployment.

    *id*: deployment key (``records.Deployment.key``); it becomes the profile's id and marks it as that deployment's.
    """
    kept = [o for o in observations if o.output_tokens >= 1 and o.runtime_s > 0]
    if len(kept) < MIN_CALLS:
        message = f"{len(kept)} usable calls, at least {MIN_CALLS} are needed"
        return DenoiseResult(None, "too_few", float(len(kept)), messages=(message,))
    there = len(kept)
    if there > MOST_CALLS:
        drawn = np.sort(np.random.default_rng(0).choice(there, MOST_CALLS, replace=False))
        kept = [kept[i] for i in drawn]
    calls = Calls.of(kept)
    columns = Columns.of(calls)
    design = columns.design(calls)
    largest = np.maximum(design.max(axis=0), 1e-12)
    scaled = design / largest
    fit = fit_frontier(scaled, calls.y, quantile_fit(scaled, calls.y, START_QUANTILE, rounds=12))
    found = _Found(calls, columns, fit, scaled, there)
    verdict, messages = found.verdict()
    profile = _profile(id, model, found, found.beta() / largest, found.interval(verdict), verdict, messages)
    share = float(np.mean(fit.seen.parts[:, 0]))
    return DenoiseResult(profile, verdict, share * there, share, tuple(messages), fit.state.sigma)


class _Found:
    """A fit, and what can be said of it."""

    def __init__(self, calls: Calls, columns: Columns, fit: Frontier, scaled: Array, there: int) -> None:
        """*there*: how many calls there were, of which *calls* were fitted."""
        self.calls, self.columns, self.fit, self.scaled, self.there = calls, columns, fit, scaled, there
        self.quiet = fit.seen.parts[:, 0]
        self.explained = signs.Explained(fit)
        self.speeds: signs.Speeds | None = None
        self.parts: dict[str, signs.Speeds] = {}
        self.weight = edge_weight(len(self.quiet), 1.0 - float(self.quiet.mean()))
        self.edge = edge_fit(scaled, calls.y) if self.weight else np.zeros_like(fit.beta)

    def verdict(self) -> tuple[Verdict, list[str]]:
        """The verdict, and a sentence for each thing to know."""
        messages = _unidentifiable(self.calls, self.columns)
        self.speeds = self._speeds()
        if self._saturated():
            messages.append(
                "no quiet moments in these calls: what is known is an upper bound; wait for a quieter time or probe"
            )
            return "saturated", messages
        if self.speeds is not None:
            messages.append(f"{self.speeds}; replicas, hidden thinking, hidden caching or tiers that are not said")
        messages += self._slower_parts()
        if messages:
            return "not_identifiable", messages
        hours = self.hours()
        if hours is not None and len(hours) < min(MIN_HOURS, 0.4 * float(self.quiet.sum())):
            messages.append(
                f"quiet calls only in {len(hours)} of 24 hours of the day (UTC {_listed(hours)}); other hours may be quieter"
            )
            return "few_hours", messages
        if self._long_at_few_hours():
            messages.append("long prompts come in few hours of the day only: in other hours they may be faster")
            return "few_hours", messages
        heavy = signs.heavy(self.fit)
        if heavy is not None:
            messages.append(
                f"{heavy[0]:.0%} of the calls took over {heavy[1]:g} times the quiet level: "
                "long queues, or work that token counts do not show"
            )
        return ("not_identifiable" if messages else "ok"), messages

    def caution(self) -> float:
        """The factor below one by which few calls put the level lower than most likely.

        Contention of a size with the noise moves the likeliest level up, and few calls do not show that it does.
        """
        touched = 1.0 - float(self.quiet.mean())
        return float(np.exp(-CAUTION * self.fit.state.sigma * touched * min(1.0, CAUTIOUS_CALLS / len(self.quiet))))

    def beta(self) -> Array:
        """The coefficients: the likelihood's with caution, and the lower edge's as far as that counts."""
        return (1.0 - self.weight) * self.caution() * self.fit.beta + self.weight * self.edge

    def _speeds(self) -> signs.Speeds | None:
        fit = self.fit
        found = signs.two_speeds(self.explained)
        if found is not None or len(fit.fitted) < 90:
            return found
        part = self.columns.prompt_part
        prompt = (self.scaled[:, 1:part] @ fit.beta[1:part]) / fit.fitted
        some = prompt >= np.quantile(prompt, 2 / 3)
        return signs.two_speeds(signs.Explained(fit, some))

    def _slower_parts(self) -> list[str]:
        """A sentence for the prompt, and one for the output, where it takes much longer in some calls than in others."""
        prompt = self.scaled[:, 1 : self.columns.prompt_part] @ self.fit.beta[1 : self.columns.prompt_part]
        output = self.scaled[:, self.columns.prompt_part :] @ self.fit.beta[self.columns.prompt_part :]
        found = []
        for seconds, what, why in (
            (prompt, "the prompt", "caching or other work that is not reported"),
            (output, "the output", "pacing, speculation or thinking that is not reported"),
        ):
            slower = signs.slower_part(self.fit, self.explained, seconds / self.fit.fitted)
            if slower is not None:
                self.parts[what] = slower
                found.append(f"{what} of {slower.share:.0%} of the calls takes {slower.ratio:.1f} times as long: {why}")
        return found

    def _saturated(self) -> bool:
        """Whether the calls show no quiet level: noise beyond all noise, or noise and contention that cannot be told apart."""
        sigma, touched = self.fit.state.sigma, 1.0 - float(self.quiet.mean())
        if signs.slowed_share(self.fit) > MOST_SLOWED or signs.hump(self.fit):
            return True
        if sigma > signs.MOST_NOISE:
            return True
        gain = signs.gain_over_noise(self.fit)
        return (sigma > signs.NOISY and touched > MOST_TOUCHED and gain > signs.MIN_GAIN) or (
            touched > MOSTLY_TOUCHED and gain < signs.LEAST_GAIN * len(self.quiet)
        )

    def hours(self) -> list[int] | None:
        """Hours of the day (UTC) in which quiet calls were seen; None where calls do not say when they began."""
        if np.isnan(self.calls.start_s).any():
            return None
        hour = (self.calls.start_s // HOUR_S % 24).astype(int)
        return [int(h) for h in np.flatnonzero(np.bincount(hour, self.quiet, 24) >= 0.5)]

    def _long_at_few_hours(self) -> bool:
        """Whether the longest prompts are crowded into few hours of the day, where all calls are not."""
        starts, fresh = self.calls.start_s, self.calls.fresh
        count = max(LONGEST_CALLS, int(LONGEST_SHARE * len(starts)))
        if np.isnan(starts).any() or len(starts) < 3 * count or not spread(fresh):
            return False

        def hours_used(seconds: Array) -> float:
            """The exponential of the entropy: 24 where calls are spread evenly over the day."""
            share = np.bincount((seconds // HOUR_S % 24).astype(int), minlength=24) / len(seconds)
            share = share[share > 0]
            return float(np.exp(-np.sum(share * np.log(share))))

        longest = starts[np.argsort(fresh)[-count:]]
        return hours_used(longest) < HOURS_SHARE * hours_used(starts)

    def interval(self, verdict: Verdict) -> Interval:
        """Half-widths: of the coefficients by the likelihood, of the level by its profile, of what noise hides, of the form itself."""
        fit, n = self.fit, len(self.calls.y)
        matrix = covariance(self.scaled, fit)
        variance = np.einsum("ij,jk,ik->i", self.scaled, matrix, self.scaled) / fit.fitted**2
        level = 1.0 / max(float(np.sum(information(fit))), 1e-12)
        decode = 1.0 - self._prompt_share()
        parts, _ = nnls(np.column_stack([np.ones_like(decode), (1.0 - decode) ** 2, decode**2]), variance)
        small = (1.0 + FEW_CALLS / n) ** 2 * Z90**2
        met = 1.0 - float(self.quiet.mean())
        touched = TOUCHED_ERROR * fit.state.sigma * met * max(ALL_TOUCHED * met * met, min(1.0, CAUTIOUS_CALLS / n))
        base = small * parts[0] + max(0.0, fit.level_error**2 - Z90**2 * level) + touched**2 + MODEL_ERROR**2
        if self.weight:
            base += (
                APART * self.weight * float(np.median(np.log(np.maximum(self.scaled @ self.edge, 1e-9) / fit.fitted)))
            ) ** 2
        if self.speeds is not None:
            base += float(np.log(self.speeds.ratio)) ** 2
        if verdict == "saturated":
            base = max(base, SATURATED_HALF_WIDTH**2)
        more = {what: float(np.log(slower.ratio)) for what, slower in self.parts.items()}
        return Interval(
            base=float(np.sqrt(base)),
            prompt=float(np.hypot(np.sqrt(small * parts[1]), more.get("the prompt", 0.0))),
            decode=float(np.hypot(np.sqrt(small * parts[2]), more.get("the output", 0.0))),
            extrapolation=EXTRAPOLATION,
        )

    def _prompt_share(self) -> Array:
        part = self.columns.prompt_part
        return np.asarray((self.scaled[:, :part] @ self.fit.beta[:part]) / self.fit.fitted, dtype=np.float64)


def _listed(hours: Sequence[int]) -> str:
    return ", ".join(str(hour) for hour in hours)


def _unidentifiable(calls: Calls, columns: Columns) -> list[str]:
    """One sentence for each part of T that the token counts cannot tell apart."""
    messages = []
    for name, values, known in (
        ("input_tokens", calls.fresh, spread(calls.fresh)),
        ("output_tokens", calls.o, columns.decode),
    ):
        if known:
            continue
        what = "prompt time" if name == "input_tokens" else "time per output token"
        low, high = ends(values)
        messages.append(
            f"{what} is not identifiable: {name} only from {low:.0f} to {high:.0f}; "
            f"calls with {max(1.0, low / 4):.0f} and {4 * high:.0f} would tell"
        )
    return messages


def _region(calls: Calls) -> Region:
    """The token counts that were learned on: all but the three calls at either end; where nothing differs, only what there was."""

    def of(values: Array) -> tuple[float, float]:
        if not spread(values):
            return ends(values)
        share = min(0.02, 3.0 / len(values))
        low, high = np.quantile(values, [share, 1.0 - share])
        return float(low), float(high)

    return Region(
        input_tokens=of(calls.p),
        output_tokens=of(calls.o),
        cached_input_tokens=float(np.quantile(calls.cached, 1.0 - min(0.02, 3.0 / len(calls.p)))),
    )


def _profile(
    id: str, model: str, found: _Found, beta: Array, interval: Interval, verdict: Verdict, messages: Sequence[str]
) -> RuntimeProfile:
    """The coefficients as a profile. The constant stays apart from prompt time where streams tell when the first chunk came."""
    calls, columns = found.calls, found.columns
    n_knots = len(columns.knots)
    constant, slopes, rest = float(beta[0]), beta[1 : 1 + n_knots], iter(beta[1 + n_knots :])
    cached = float(next(rest)) if columns.cached else None
    image = float(next(rest)) if columns.images else 0.0
    d0 = float(next(rest)) if columns.decode else 0.0
    d1 = float(next(rest)) if columns.context else 0.0
    at = np.unique(np.concatenate([columns.knots, [calls.fresh.min(), calls.fresh.max()]]))
    rise = np.sum(np.maximum(0.0, at[:, None] - columns.knots) * slopes, axis=1) if n_knots else np.zeros_like(at)
    streamed = int(np.count_nonzero(~np.isnan(calls.first_s)))
    overhead = constant if streamed >= MIN_CALLS and n_knots else 0.0
    return RuntimeProfile(
        id=id,
        model=model,
        prompt_knots=tuple((float(x), float(v)) for x, v in zip(at, rise + (constant - overhead), strict=True)),
        d0=d0,
        d1=d1,
        overhead_s=overhead,
        interval=interval,
        max_output_tokens=int(calls.o.max()),
        provenance="measured",
        stack={"deployment": id},
        fit=_facts(found, messages),
        cached_time=cached,
        image_time=image,
        region=_region(calls),
        verdict=verdict,
    )


def _facts(found: _Found, messages: Sequence[str]) -> dict[str, object]:
    """What the profile's file says of its calls."""
    starts, quiet = found.calls.start_s, found.quiet
    facts: dict[str, object] = {
        "samples": found.there,
        "quiet_share": round(float(quiet.mean()), 4),
        "noise": round(found.fit.state.sigma, 5),
        "interval_level": 0.9,
    }
    if messages:
        facts["messages"] = list(messages)
    known = ~np.isnan(starts)
    if known.any():
        facts |= {"since_unix_s": float(starts[known].min()), "until_unix_s": float(starts[known].max())}
        days = np.unique((starts[known] // DAY_S)[quiet[known] > 0.5])
        facts["quiet_days"] = len(days)
        hours = found.hours()
        if hours is not None:
            facts["quiet_hours"] = hours
    return facts
