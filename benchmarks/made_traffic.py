"""(no script) Made-up traffic of services whose quiet-day runtime is known: what ``quiet_day.py`` and tests of the estimator judge by.

Each family is one kind of service, noise and contention. ``FAMILIES`` names them; ``made(family, count, seed)`` makes the calls. A seed
draws the service's own parameters too (speed, token counts, noise), so no estimator can be tuned to one set of numbers; ``OTHER`` are
ranges that nothing was tuned on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
DAY_S, HOUR_S = 86_400.0, 3_600.0


@dataclass(frozen=True)
class Ranges:
    """What a seed draws from: constant, seconds a prompt and an output token (on the log scale), median tokens, noise, contention.

    ``quiet``: share of untouched calls. ``excess``, ``excess_spread``: of the other calls, median and deviation of its logarithm.
    """

    constant: tuple[float, float] = (0.1, 0.5)
    prompt: tuple[float, float] = (3e-5, 2e-4)
    token: tuple[float, float] = (0.006, 0.03)
    input_tokens: tuple[float, float] = (300, 1500)
    output_tokens: tuple[float, float] = (60, 250)
    noise: tuple[float, float] = (0.005, 0.03)
    quiet: float = 0.3
    excess: float = 0.14
    excess_spread: float = 1.65


USUAL = Ranges()
OTHER = Ranges((0.3, 1.2), (1e-5, 1e-4), (0.002, 0.012), (800, 4000), (150, 600), (0.01, 0.04), 0.45, 0.25, 1.2)


class Dice(np.random.Generator):
    """Random numbers, and the ranges that a seed draws from."""

    ranges: Ranges = USUAL


@dataclass
class Traffic:
    """Calls as arrays of one length. ``truth_s``: what each would have taken on a quiet day. ``tier``: service tier, empty for none."""

    p: Array
    o: Array
    cached: Array
    images: Array
    start_s: Array
    truth_s: Array
    runtime_s: Array
    first_s: Array | None = None
    tier: NDArray[np.str_] | None = None
    cached_reported: bool = True
    images_reported: bool = False
    retry_s: Array | None = None


@dataclass
class Service:
    """Parameters of the service that a seed draws."""

    constant: float
    prompt: float
    token: float
    context: float = 0.0
    square: float = 0.0
    cached: float = 0.1
    image: float = 0.0

    def runtime(self, p: Array, o: Array, cached: Array, images: Array) -> Array:
        """Quiet seconds."""
        fresh = p - cached
        return (
            self.constant
            + self.prompt * fresh
            + self.square * fresh**2
            + self.cached * self.prompt * cached
            + self.token * (o - 1)
            + self.context * (o - 1) * (p + o / 2)
            + self.image * images
        )


def _service(dice: Dice) -> Service:
    return Service(
        constant=float(dice.uniform(*dice.ranges.constant)),
        prompt=float(np.exp(dice.uniform(*np.log(dice.ranges.prompt)))),
        token=float(np.exp(dice.uniform(*np.log(dice.ranges.token)))),
    )


def _tokens(dice: Dice, count: int, middle: float, spread: float, most: int) -> Array:
    return np.asarray(np.exp(dice.normal(np.log(middle), spread, count)).clip(1, most).round())


def old_apis(dice: Dice, count: int) -> Array:
    """Factors of contention; usually of the APIs of 2022: 30% untouched calls, excess of the rest 14% (median), 116% (90th percentile)."""
    excess = np.exp(dice.normal(np.log(dice.ranges.excess), dice.ranges.excess_spread, count))
    return 1.0 + np.where(dice.random(count) < dice.ranges.quiet, 0.0, excess)


def _base(dice: Dice, count: int, service: Service | None = None) -> Traffic:
    """Traffic without noise or contention: natural token counts over five days."""
    service = service or _service(dice)
    p = _tokens(dice, count, float(dice.uniform(*dice.ranges.input_tokens)), 1.0, 32_000)
    o = _tokens(dice, count, float(dice.uniform(*dice.ranges.output_tokens)), 0.8, 4_000)
    none = np.zeros(count)
    start = np.sort(dice.uniform(0, 5 * DAY_S, count)) + 1.79e9
    truth = service.runtime(p, o, none, none)
    return Traffic(p, o, none, none, start, truth, truth)


def _noisy(traffic: Traffic, dice: Dice, sd: float | None = None) -> Traffic:
    """*traffic* with timing noise and the contention of old APIs."""
    n = len(traffic.p)
    sd = float(dice.uniform(*dice.ranges.noise)) if sd is None else sd
    traffic.runtime_s = traffic.truth_s * np.exp(dice.normal(0, sd, n)) * old_apis(dice, n)
    return traffic


def base(dice: Dice, count: int) -> Traffic:
    """Natural traffic on an API of 2022."""
    return _noisy(_base(dice, count), dice)


def short_outputs(dice: Dice, count: int) -> Traffic:
    """Classification: one to thirty tokens out."""
    t, service = _base(dice, count), _service(dice)
    t.o = dice.integers(1, 30, count).astype(float)
    t.truth_s = service.runtime(t.p, t.o, t.cached, t.images)
    return _noisy(t, dice)


def translation(dice: Dice, count: int) -> Traffic:
    """Output about as long as the prompt."""
    t, service = _base(dice, count), _service(dice)
    t.p = t.p.clip(1, 4000)
    t.o = (t.p * dice.uniform(0.8, 1.3, count)).clip(1).round()
    t.truth_s = service.runtime(t.p, t.o, t.cached, t.images)
    return _noisy(t, dice)


def retries(dice: Dice, count: int) -> Traffic:
    """A tenth of the calls was retried, once, and says what the lost attempt took: only the last attempt counts."""
    t = _noisy(_base(dice, count), dice)
    t.retry_s = np.where(dice.random(count) < 0.1, dice.exponential(2.0, count), 0.0)
    t.runtime_s = t.runtime_s + t.retry_s
    return t


def counted_thinking(dice: Dice, count: int) -> Traffic:
    """Half the calls think first, and the tokens are counted as output."""
    t, service = _base(dice, count), _service(dice)
    t.o = t.o + np.where(dice.random(count) < 0.5, _tokens(dice, count, 300, 0.9, 8000), 0)
    t.truth_s = service.runtime(t.p, t.o, t.cached, t.images)
    return _noisy(t, dice)


def streamed(dice: Dice, count: int) -> Traffic:
    """Streams that say when the first chunk came; contention before and after it."""
    t, service = _base(dice, count), _service(dice)
    none = np.ones(count)
    first = service.runtime(t.p, none, t.cached, t.images)
    t.truth_s = service.runtime(t.p, t.o, t.cached, t.images)
    noise = np.exp(dice.normal(0, 0.015, count))
    slow = old_apis(dice, count)
    t.first_s = first * noise * slow
    t.runtime_s = t.first_s + (t.truth_s - first) * slow * noise
    return t


def symmetric_3(dice: Dice, count: int) -> Traffic:
    """No contention, 3% timing noise."""
    t = _base(dice, count)
    t.runtime_s = t.truth_s * (1 + dice.normal(0, 0.03, count))
    return t


def symmetric_15(dice: Dice, count: int) -> Traffic:
    """No contention, 15% timing noise."""
    t = _base(dice, count)
    t.runtime_s = t.truth_s * np.maximum(0.2, 1 + dice.normal(0, 0.15, count))
    return t


def symmetric_15_log(dice: Dice, count: int) -> Traffic:
    """No contention, 15% timing noise, symmetric on the log scale."""
    t = _base(dice, count)
    t.runtime_s = t.truth_s * np.exp(dice.normal(0, 0.15, count))
    return t


def half_slowed(dice: Dice, count: int) -> Traffic:
    """5% noise, half the calls slowed by 30%."""
    t = _base(dice, count)
    slow = np.where(dice.random(count) < 0.5, 1.3, 1.0)
    t.runtime_s = t.truth_s * (1 + dice.normal(0, 0.05, count)) * slow
    return t


def half_waiting(dice: Dice, count: int) -> Traffic:
    """6% noise, half the calls slowed by a random share, 30% at the mean."""
    t = _base(dice, count)
    slow = np.where(dice.random(count) < 0.5, 1 + dice.exponential(0.3, count), 1.0)
    t.runtime_s = t.truth_s * np.exp(dice.normal(0, 0.06, count)) * slow
    return t


def queue(dice: Dice, count: int) -> Traffic:
    """Every call waits in a queue, exponentially, in seconds."""
    t = _base(dice, count)
    wait = dice.exponential(float(dice.uniform(0.3, 0.6)), count)
    t.runtime_s = t.truth_s * np.exp(dice.normal(0, 0.02, count)) + wait
    return t


def _cached(dice: Dice, count: int, share: Array, middle: float) -> Traffic:
    t, service = _base(dice, count), _service(dice)
    t.p = _tokens(dice, count, middle, 0.9, 120_000)
    t.cached = np.floor(t.p * share / 64) * 64
    t.truth_s = service.runtime(t.p, t.o, t.cached, t.images)
    return _noisy(t, dice)


def agent_turns(dice: Dice, count: int) -> Traffic:
    """Growing conversations: nineteen of twenty calls read most of their prompt from the cache, and say so."""
    share = np.where(dice.random(count) < 0.95, dice.uniform(0.6, 0.98, count), 0.0)
    return _cached(dice, count, share, 8000)


def half_cached(dice: Dice, count: int) -> Traffic:
    """Half the calls 90% cached, and reported."""
    return _cached(dice, count, np.where(dice.random(count) < 0.5, 0.9, 0.0), 3000)


def hidden_cache(dice: Dice, count: int) -> Traffic:
    """Half the calls 90% cached, and not reported."""
    t = _cached(dice, count, np.where(dice.random(count) < 0.5, 0.9, 0.0), 6000)
    t.cached_reported = False
    return t


def long_contexts(dice: Dice, count: int) -> Traffic:
    """Prompts to 120,000 tokens, each output token slower with the context before it."""
    t, service = _base(dice, count), _service(dice)
    service.context = service.token / float(dice.uniform(30_000, 80_000))
    t.p = _tokens(dice, count, 10_000, 1.1, 120_000)
    t.truth_s = service.runtime(t.p, t.o, t.cached, t.images)
    return _noisy(t, dice)


def quadratic_prompts(dice: Dice, count: int) -> Traffic:
    """Prompt time with a square term, doubled at 15,000 to 40,000 tokens."""
    t, service = _base(dice, count), _service(dice)
    service.square = service.prompt / float(dice.uniform(15_000, 40_000))
    t.p = _tokens(dice, count, 4_000, 1.0, 60_000)
    t.truth_s = service.runtime(t.p, t.o, t.cached, t.images)
    return _noisy(t, dice)


def tiers(dice: Dice, count: int) -> Traffic:
    """30% flex calls, two to three times as slow, and a tenth priority, twice as fast; the tier is said."""
    t = _base(dice, count)
    drawn = dice.random(count)
    t.tier = np.where(drawn < 0.3, "flex", np.where(drawn < 0.4, "priority", "default"))
    factor = np.where(drawn < 0.3, float(dice.uniform(2, 3)), np.where(drawn < 0.4, 0.5, 1.0))
    t.truth_s = t.truth_s * factor
    return _noisy(t, dice)


def images(dice: Dice, count: int) -> Traffic:
    """One or two images in every fourth call, counted."""
    t, service = _base(dice, count), _service(dice)
    service.image = float(dice.uniform(0.3, 1.0))
    t.images = np.where(dice.random(count) < 0.25, dice.integers(1, 3, count), 0).astype(float)
    t.truth_s = service.runtime(t.p, t.o, t.cached, t.images)
    t.images_reported = True
    return _noisy(t, dice)


def never_quiet(dice: Dice, count: int) -> Traffic:
    """Every call is slowed, each by another amount: a gamma of shape three."""
    t = _base(dice, count)
    t.runtime_s = t.truth_s * np.exp(dice.normal(0, 0.01, count)) * (1 + dice.gamma(3, 0.2, count))
    return t


def _by_hour(t: Traffic, dice: Dice) -> Traffic:
    """*t* slowed by day: up to 80% at 14 h."""
    hour = t.start_s / HOUR_S % 24
    t.runtime_s = _noisy(t, dice).runtime_s * (1 + 0.8 * np.exp(-(((hour - 14) / 5) ** 2)))
    return t


def office_hours(dice: Dice, count: int) -> Traffic:
    """Speed follows the hour, and calls are only made from 9 to 17 h."""
    t = _base(dice, count)
    t.start_s = np.sort(dice.integers(0, 5, count) * DAY_S + dice.uniform(9, 17, count) * HOUR_S + 1_789_948_800)
    return _by_hour(t, dice)


def by_hour(dice: Dice, count: int) -> Traffic:
    """Speed follows the hour, calls all day; the truth is that of the quiet hours."""
    return _by_hour(_base(dice, count), dice)


def peak_prompts(dice: Dice, count: int) -> Traffic:
    """Speed follows the hour, and long prompts only come at the peak."""
    t, service = _base(dice, count), _service(dice)
    peak = np.abs(t.start_s / HOUR_S % 24 - 14) < 2
    t.p = np.where(peak, t.p * 8, t.p)
    t.truth_s = service.runtime(t.p, t.o, t.cached, t.images)
    return _by_hour(t, dice)


def hidden_thinking(dice: Dice, count: int) -> Traffic:
    """Every call thinks first, and does not say how long."""
    t, service = _base(dice, count), _service(dice)
    thought = _tokens(dice, count, 300, 0.9, 8000)
    t.truth_s = service.runtime(t.p, t.o + thought, t.cached, t.images)
    return _noisy(t, dice)


def half_thinking(dice: Dice, count: int) -> Traffic:
    """Half the calls think first, and do not say how long."""
    t, service = _base(dice, count), _service(dice)
    thought = np.where(dice.random(count) < 0.5, _tokens(dice, count, 300, 0.9, 8000), 0)
    t.truth_s = service.runtime(t.p, t.o + thought, t.cached, t.images)
    return _noisy(t, dice)


def replicas(dice: Dice, count: int) -> Traffic:
    """A third of the calls on replicas half as slow again."""
    t = _base(dice, count)
    t.truth_s = t.truth_s * np.where(dice.random(count) < 1 / 3, 1.5, 1.0)
    return _noisy(t, dice)


def fast_replicas(dice: Dice, count: int) -> Traffic:
    """A fifth of the calls on replicas twice as fast."""
    t = _base(dice, count)
    t.truth_s = t.truth_s * np.where(dice.random(count) < 0.2, 0.5, 1.0)
    return _noisy(t, dice)


def paced(dice: Dice, count: int) -> Traffic:
    """The server hands out 40% of the outputs at half speed."""
    t, service = _base(dice, count), _service(dice)
    t.truth_s = service.runtime(t.p, t.o, t.cached, t.images)
    slow = np.where(dice.random(count) < 0.4, 1.0, 0.0) * service.token * (t.o - 1)
    t.runtime_s = (_noisy(t, dice).runtime_s / t.truth_s) * (t.truth_s + slow)
    return t


def speculative(dice: Dice, count: int) -> Traffic:
    """Speculative decoding: a token takes from a third of the time to all of it, by how many guesses of the call are accepted."""
    t, service = _base(dice, count), _service(dice)
    first = service.runtime(t.p, np.ones(count), t.cached, t.images)
    t.truth_s = first + service.token * (t.o - 1) * dice.uniform(0.33, 1.0, count)
    return _noisy(t, dice)


def _named(names: str) -> dict[str, Callable[[Dice, int], Traffic]]:
    return {name: globals()[name] for name in names.split()}


IDENTIFIABLE = _named(
    "base short_outputs retries counted_thinking streamed translation symmetric_3 symmetric_15 symmetric_15_log half_slowed "
    "half_waiting queue agent_turns half_cached long_contexts quadratic_prompts tiers images"
)
"""Families whose quiet day the calls tell."""
NOT_IDENTIFIABLE = _named(
    "never_quiet office_hours by_hour peak_prompts hidden_thinking half_thinking hidden_cache replicas fast_replicas paced "
    "speculative"
)
FAMILIES = IDENTIFIABLE | NOT_IDENTIFIABLE


def made(family: str, count: int, seed: int, ranges: Ranges = USUAL) -> Traffic:
    """*count* calls of *family*."""
    dice = Dice(np.random.PCG64([seed, count, *family.encode()]))
    dice.ranges = ranges
    return FAMILIES[family](dice, count)
