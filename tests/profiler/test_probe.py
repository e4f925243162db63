"""Probing: plan, budget, resuming, refusals and token counts, against a vendor on loopback."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import anthropic
import cohere
import openai
import pytest

import fake_vendor
from tracewrap.errors import ConfigurationError, UnsupportedClientError
from tracewrap.profiler.probe.budget import Budget, TokenPrice
from tracewrap.profiler.probe.calling import open_probe
from tracewrap.profiler.probe.probe import WARM_UP, Probed, ProbePlan, Prober, expect, open_samples
from tracewrap.profiler.probe.prompt_text import PromptWriter
from tracewrap.profiler.probe.rate_limits import headers_of, passes, wait_for
from tracewrap.records import Call, TokenUsage

POINTS = ((40, 1), (40, 8), (200, 1), (200, 8))
PRICE = TokenPrice(1.0, 10.0, "test")


def plan(**changes: object) -> ProbePlan:
    values: dict[str, object] = {"model": "m", "provider": "openai", "server": None, "stream": False, "points": POINTS}
    return ProbePlan(**(values | {"repeats": 2} | changes))  # type: ignore[arg-type]


class Vendor:
    """A vendor in memory whose template adds *template* tokens to *per_word* tokens a word."""

    def __init__(self, template: int = 11, per_word: float = 1.0) -> None:
        self.template, self.per_word, self.calls = template, per_word, 0
        self.prompts: list[str] = []

    def send(self, prompt: str, output_tokens: int) -> Call:
        self.calls += 1
        self.prompts.append(prompt)
        count = self.template + round(self.per_word * len(prompt.split()))
        usage = TokenUsage(input_tokens=count, output_tokens=output_tokens)
        at = {"trace_id": "0" * 32, "span_id": "0" * 16, "start_time_ns": 1}
        return Call(**at, provider="openai", operation="chat", usage=usage, raw_runtime_s=0.5)  # type: ignore[arg-type]


class Clock:
    """Seconds that pass only by sleeping."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.naps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.seconds += seconds

    def now(self) -> float:
        return self.seconds


def probe(
    path: Path, vendor: Vendor, asked: ProbePlan, budget: Budget | None = None, clock: Clock | None = None
) -> Probed:
    file, clock = open_samples(asked, str(path)), clock or Clock()
    prober = Prober(asked, vendor.send, file, budget=budget or Budget(), price=PRICE, sleep=clock.sleep, now=clock.now)
    return prober.run()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("template", "per_word"), [(3, 1.0), (11, 1.0), (60, 1.0), (9, 1.3)])
def test_prompts_have_the_wanted_length_by_the_vendors_count(tmp_path: Path, template: int, per_word: float) -> None:
    """After the warm-up a prompt counts exactly as wanted where a word is a token, and to a word's tokens elsewhere."""
    asked = plan(points=((100, 1), (400, 1), (1000, 1)))
    probe(tmp_path / "s.csv", Vendor(template, per_word), asked)
    for row in rows(tmp_path / "s.csv"):
        off = abs(int(row["input_tokens"]) - int(row["wanted_input_tokens"]))
        assert off == 0 if per_word == 1.0 else off <= max(1, 0.03 * int(row["input_tokens"]))


def test_no_two_prompts_begin_alike(tmp_path: Path) -> None:
    """The first twelve words of long prompts differ, also after resuming, so that no prompt cache can answer."""
    vendor = Vendor()
    probe(tmp_path / "s.csv", vendor, plan(repeats=3))
    probe(tmp_path / "s.csv", vendor, plan(repeats=6))
    heads = [tuple(prompt.split()[:12]) for prompt in vendor.prompts if len(prompt.split()) > 20]
    assert len(heads) > 10
    assert len(set(heads)) == len(heads)


def test_warm_up_is_no_sample(tmp_path: Path) -> None:
    """The calls made are the plan's and the warm-up's; the samples are the plan's alone."""
    vendor = Vendor()
    assert probe(tmp_path / "s.csv", vendor, plan()).calls == 8
    assert vendor.calls == 8 + len(WARM_UP)
    wanted = [(int(r["wanted_input_tokens"]), int(r["wanted_output_tokens"])) for r in rows(tmp_path / "s.csv")]
    assert sorted(wanted) == sorted(POINTS * 2)


def test_an_interrupt_keeps_samples_and_a_second_run_makes_the_rest(tmp_path: Path) -> None:
    """Ctrl-C after five calls leaves those samples; running again makes exactly the missing ones."""

    class Interrupted(Vendor):
        def send(self, prompt: str, output_tokens: int) -> Call:
            if self.calls == len(WARM_UP) + 5:
                raise KeyboardInterrupt
            return Vendor.send(self, prompt, output_tokens)

    path = tmp_path / "s.csv"
    with pytest.raises(KeyboardInterrupt):
        probe(path, Interrupted(), plan())
    assert len(rows(path)) == 5
    with path.open("a") as file:
        file.write("40,8,0.")  # and a torn line
    asked = plan()
    assert expect(asked, open_samples(asked, str(path)), PRICE).calls == 3
    assert probe(path, Vendor(), asked).calls == 3
    wanted = [(r["wanted_input_tokens"], r["wanted_output_tokens"], r["round"]) for r in rows(path)]
    assert len(wanted) == len(set(wanted)) == 8


def test_samples_of_another_setup_are_not_continued(tmp_path: Path) -> None:
    """A samples file of another model is refused, not mixed."""
    probe(tmp_path / "s.csv", Vendor(), plan())
    with pytest.raises(ConfigurationError, match="another setup"):
        open_samples(plan(model="other"), str(tmp_path / "s.csv"))


def test_the_estimate_counts_every_token_to_come(tmp_path: Path) -> None:
    """Expected tokens and dollars are those the vendor then bills, to the template's first guess."""
    asked, vendor = plan(), Vendor(8)
    expected = expect(asked, open_samples(asked, str(tmp_path / "s.csv")), PRICE)
    done = probe(tmp_path / "s.csv", vendor, asked)
    assert expected.usd == pytest.approx(done.spending.usd(PRICE), rel=0.05)
    assert expected.input_tokens == pytest.approx(done.spending.input_tokens, rel=0.05)


@pytest.mark.parametrize(
    ("budget", "reason"),
    [(Budget(tokens=900), "tokens"), (Budget(usd=0.0009), "dollars"), (Budget(minutes=1), "minutes")],
)
def test_a_budget_is_never_overrun(tmp_path: Path, budget: Budget, reason: str) -> None:
    """The probe stops before the call that would break the budget, and says which budget it was."""
    done = probe(tmp_path / "s.csv", Vendor(8), plan(over_s=600.0), budget)
    assert done.stopped is not None
    assert reason in done.stopped
    assert 0 < done.calls < 8
    assert done.spending.input_tokens + done.spending.output_tokens <= (budget.tokens or 10**6)
    assert (done.spending.usd(PRICE) or 0.0) <= (budget.usd or 1.0)


def test_dollars_without_a_price_are_refused(tmp_path: Path) -> None:
    """A budget in dollars is an error when no price is known."""
    asked = plan()
    with pytest.raises(ConfigurationError, match="needs a price"):
        Prober(asked, Vendor().send, open_samples(asked, str(tmp_path / "s.csv")), budget=Budget(usd=1.0))


def test_calls_are_spread_over_the_time_given(tmp_path: Path) -> None:
    """Eight calls over 800 s: each falls into its own slot of 100 s."""
    clock, starts = Clock(), []

    class Noting(Vendor):
        def send(self, prompt: str, output_tokens: int) -> Call:
            starts.append(clock.seconds)
            return Vendor.send(self, prompt, output_tokens)

    probe(tmp_path / "s.csv", Noting(), plan(over_s=800.0), clock=clock)
    assert [int(at // 100) for at in starts[len(WARM_UP) :]] == list(range(8))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m5s"}, 65.0),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "1m5s"}, 8.0),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-23T12:00:12Z",
            },
            12.0,
        ),
        ({"retry-after": "9000"}, 300.0),
        ({"retry-after": "soon"}, 8.0),
        ({}, 8.0),
    ],
)
def test_rate_limit_headers_say_how_long_to_wait(headers: dict[str, str], seconds: float) -> None:
    """Each vendor's header is understood; without one, pauses double."""
    now = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
    assert wait_for(headers, 3, now) == pytest.approx(seconds)


def test_a_refused_call_is_waited_for_and_made_again(tmp_path: Path) -> None:
    """429 with retry-after: that pause is made, the call repeated, and its runtime is the last attempt's alone."""
    timing = fake_vendor.Timing(overhead_s=0.01)
    with fake_vendor.FakeVendor(timing) as vendor:
        client = openai.OpenAI(base_url=vendor.openai_url, api_key="k")
        opened, clock, asked = open_probe(client, False), Clock(), plan(points=((40, 1),))
        vendor.fail_next(*[fake_vendor.Fault()] * len(WARM_UP), fake_vendor.Fault(429, {"retry-after": "3"}))
        file = open_samples(asked, str(tmp_path / "s.csv"))
        sender = lambda prompt, o: opened.send("m", prompt, o, False)  # noqa: E731
        done = Prober(asked, sender, file, budget=Budget(), sleep=clock.sleep, now=clock.now).run()
        assert len(vendor.requests) == len(WARM_UP) + 3
    assert done.calls == 2
    assert clock.naps == [3.0]
    assert all(float(row["runtime_s"]) < 1.0 for row in file.rows)


def test_a_wrong_key_ends_the_probe_with_one_line(tmp_path: Path) -> None:
    """401 is not waited for: the error names provider, model and status."""
    with fake_vendor.FakeVendor() as vendor:
        client = openai.OpenAI(base_url=vendor.openai_url, api_key="k")
        opened, clock, asked = open_probe(client, False), Clock(), plan()
        vendor.fail_next(fake_vendor.Fault(401))
        file = open_samples(asked, str(tmp_path / "s.csv"))
        sender = lambda prompt, o: opened.send("m", prompt, o, False)  # noqa: E731
        with pytest.raises(ConfigurationError, match="openai: m: AuthenticationError 401"):
            Prober(asked, sender, file, budget=Budget(), sleep=clock.sleep, now=clock.now).run()
    assert clock.naps == []


CLIENTS: dict[str, Callable[[fake_vendor.FakeVendor], Any]] = {
    "openai": lambda vendor: openai.OpenAI(base_url=vendor.openai_url, api_key="k"),
    "anthropic": lambda vendor: anthropic.Anthropic(base_url=vendor.url, api_key="k"),
    "cohere": lambda vendor: cohere.ClientV2(base_url=vendor.url, api_key="k"),
}


@pytest.mark.parametrize("sdk", list(CLIENTS))
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_is_recorded_with_the_vendors_counts(sdk: str, stream: bool) -> None:
    """A probe call of each SDK carries reported usage, runtime, and the time to the first chunk where it streams."""
    timing = fake_vendor.Timing(overhead_s=0.03, seconds_per_output_token=0.03)
    with fake_vendor.FakeVendor(timing) as vendor:
        opened = open_probe(CLIENTS[sdk](vendor), stream)
        opened.send("m", "warm up", 1, stream)
        call = opened.send("m", "one two three", 4, stream)
    assert call.provider == opened.provider == sdk
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens) == (3, 4)
    assert call.usage.source == "reported"
    assert call.raw_runtime_s is not None
    assert call.raw_runtime_s >= 0.08
    assert (call.time_to_first_chunk_s is not None) == stream


@pytest.mark.parametrize("sdk", list(CLIENTS))
def test_an_sdk_makes_one_attempt(sdk: str) -> None:
    """A refused probe call reaches the vendor once: no SDK retries behind the probe's back."""
    with fake_vendor.FakeVendor() as vendor:
        opened = open_probe(CLIENTS[sdk](vendor), False)
        vendor.fail_next(fake_vendor.Fault(429, {"retry-after": "0"}))
        with pytest.raises(Exception, match="asked to fail") as raised:
            opened.send("m", "one", 1, False)
        assert len(vendor.requests) == 1
    assert passes(raised.value)
    assert headers_of(raised.value)["retry-after"] == "0"


def test_an_unknown_client_cannot_be_probed() -> None:
    """open_probe refuses what no vendor adapter knows."""
    with pytest.raises(UnsupportedClientError):
        open_probe(object(), False)


def test_writer_never_writes_an_empty_prompt() -> None:
    """Asked for fewer tokens than the template alone, the prompt is one word."""
    writer = PromptWriter(Random(0))
    prompt, words = writer.write(1, 1)
    assert words == 1
    assert prompt
