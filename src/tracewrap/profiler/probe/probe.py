"""Measuring an API from outside: calls of chosen (input, output) tokens, spread over time, every sample kept.

Calls go in rounds over all points, in an order shuffled anew each round, so that a busy minute of the provider does not fall on one
point. Each call is one attempt; a refused one is waited for and made again, and does not become a sample. Token counts
are the vendor's own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tracewrap.errors import ConfigurationError
from tracewrap.profiler.probe.budget import Budget, CallPrice, Point, Spending, tokens_of, usd_of
from tracewrap.profiler.probe.prompt_text import PromptWriter
from tracewrap.profiler.probe.rate_limits import headers_of, passes, status_of, wait_for
from tracewrap.profiler.sample_file import SampleFile, setup_key
from tracewrap.records import Call

COLUMNS = (
    "input_tokens",
    "output_tokens",
    "runtime_s",
    "time_to_first_chunk_s",
    "cached_input_tokens",
    "wanted_input_tokens",
    "wanted_output_tokens",
    "round",
    "server_processing_s",
    "deployment",
    "measured_at",
)
WARM_UP: tuple[Point, ...] = ((32, 1), (128, 2), (160, 1))
"""Calls made first and thrown away: connection, route and the length of a word."""
_ATTEMPTS = 8

Send = Callable[[str, int], Call]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePlan:
    """What to ask: *points* times *repeats* calls of *model*, spread evenly over *over_s* seconds (0: one after another)."""

    model: str
    provider: str
    server: str | None
    stream: bool
    points: Sequence[Point]
    repeats: int = 5
    over_s: float = 0.0
    seed: int = 0

    def calls(self) -> Iterator[tuple[int, Point]]:
        """(round, point) of every call, in order; the same each time."""
        for number in range(self.repeats):
            order = list(self.points)
            random.Random(f"{self.seed} {number}").shuffle(order)
            yield from ((number, point) for point in order)

    def open_calls(self, file: SampleFile) -> list[tuple[int, Point]]:
        """The calls that *file* has no sample of yet."""
        done = {
            (int(row["round"]), (int(row["wanted_input_tokens"]), int(row["wanted_output_tokens"])))
            for row in file.rows
        }
        return [call for call in self.calls() if call not in done]


@dataclass(frozen=True, slots=True)
class Expected:
    """What is still to be used: calls, tokens, and dollars where a price is known."""

    calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None


@dataclass(frozen=True, slots=True)
class Probed:
    """How a probe ended. ``stopped``: None when every call was made, else which budget ran out."""

    calls: int
    spending: Spending
    stopped: str | None


def open_samples(plan: ProbePlan, path: str) -> SampleFile:
    """The samples file of *plan* at *path*, with what a former run left in it."""
    identity = {"model": plan.model, "provider": plan.provider, "server": plan.server, "stream": plan.stream}
    return SampleFile(path, COLUMNS, setup_key(identity))


def expect(plan: ProbePlan, file: SampleFile, price: CallPrice | None) -> Expected:
    """What the rest of *plan* will use, warm-up included; shown before it starts."""
    points = [point for _, point in plan.open_calls(file)]
    calls = [*WARM_UP, *points] if points else []
    inputs, outputs = tokens_of(calls)
    usd = None if price is None else usd_of(calls, price)
    return Expected(len(points), inputs, outputs, usd)


class Prober:
    """One probe in progress. *send* makes one call; *sleep* and *now* (seconds, monotonic) are there for tests."""

    def __init__(
        self,
        plan: ProbePlan,
        send: Send,
        file: SampleFile,
        *,
        budget: Budget,
        price: CallPrice | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        if budget.usd is not None and price is None:
            raise ConfigurationError(
                "a budget in dollars needs a price; give the prices per million tokens, or a token budget"
            )
        self.plan = plan
        self.send = send
        self.file = file
        self.budget = budget
        self.price = price
        self.sleep = sleep
        self.now = now
        self.progress = progress
        self.spending = Spending()
        self.writer = PromptWriter(random.Random(f"{plan.seed} {len(file.rows)}"))

    def run(self) -> Probed:
        """Make the calls that are still missing. An interrupt leaves every sample taken so far in the file."""
        began, made = self.now(), 0
        waiting = self.plan.open_calls(self.file)
        for point in WARM_UP if waiting else ():
            stop = self._refused(point, began)
            if stop:
                return Probed(made, self.spending, stop)
            self._call(point)
        for i, (number, point) in enumerate(waiting):
            stop = self._refused(point, began) or self._wait_turn(i, len(waiting), began)
            if stop:
                return Probed(made, self.spending, stop)
            if self.progress is not None:
                self.progress(f"call {i + 1} of {len(waiting)}: {point[0]} input, {point[1]} output tokens")
            call = self._call(point)
            made += self._keep(number, point, call)
        return Probed(made, self.spending, None)

    def _refused(self, point: Point, began: float) -> str | None:
        minutes = self.budget.minutes
        if minutes is not None and self.now() - began > minutes * 60.0:
            return f"{minutes:g} minutes"
        return self.spending.allows(point, self.budget, self.price)

    def _wait_turn(self, i: int, count: int, began: float) -> str | None:
        """Wait for the moment of call *i*: evenly spread, each shifted at random within its slot."""
        slot = self.plan.over_s / count
        shift = random.Random(f"{self.plan.seed} turn {i}").random() if slot else 0.0
        left = began + (i + shift) * slot - self.now()
        if left > 0:
            minutes = self.budget.minutes
            if minutes is not None and self.now() + left - began > minutes * 60.0:
                return f"{minutes:g} minutes"
            self.sleep(left)
        return None

    def _call(self, point: Point) -> Call:
        """One answered call; refusals are waited for."""
        for attempt in range(1, _ATTEMPTS + 1):
            prompt, words = self.writer.write(*point)
            try:
                call = self.send(prompt, point[1])
            except Exception as error:
                if attempt == _ATTEMPTS or not passes(error):
                    raise ConfigurationError(self._failure(error)) from error
                self.sleep(wait_for(headers_of(error), attempt))
                continue
            usage = call.usage
            if usage is None or usage.input_tokens is None or usage.output_tokens is None or usage.source != "reported":
                raise ConfigurationError(
                    f"{self.plan.provider}: {self.plan.model} reports no token usage, so nothing can be learned from its "
                    "calls; try without --stream, or another endpoint"
                )
            self.spending.add(usage.input_tokens, usage.output_tokens)
            self.writer.learn(words, point[1], usage.input_tokens)
            return call
        raise AssertionError("unreachable")

    def _failure(self, error: Exception) -> str:
        status = status_of(error)
        reason = " ".join(str(error).split())[:200]
        return f"{self.plan.provider}: {self.plan.model}: {type(error).__name__} {status or ''} {reason}; samples so far are kept"

    def _keep(self, number: int, point: Point, call: Call) -> int:
        """Write the sample of *call*; 0 when it is none (nothing generated, or not complete)."""
        usage = call.usage
        if usage is None or not usage.output_tokens or call.outcome != "complete" or call.last_attempt_s is None:
            return 0
        row: dict[str, Any] = {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "runtime_s": call.last_attempt_s,
            "time_to_first_chunk_s": call.time_to_first_chunk_s,
            "cached_input_tokens": usage.cached_input_tokens,
            "wanted_input_tokens": point[0],
            "wanted_output_tokens": point[1],
            "round": number,
            "server_processing_s": call.server_processing_s,
            "deployment": call.deployment.key,
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.file.append(row)
        return 1
