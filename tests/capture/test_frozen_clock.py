"""Test suites freeze the clock: a call is recorded all the same, and a runtime that was not measured is absent, never 0.0."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import openai
import pytest

import tracewrap
from fake_vendor import FakeVendor
from tracewrap import semconv
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.joiner import join_attributes
from tracewrap.testing import Recording

_SECONDS = (
    semconv.RUNTIME_RAW,
    semconv.RETRY,
    semconv.CONSUMER,
    semconv.TIME_TO_FIRST_CHUNK,
    semconv.CLIENT_SDK,
    semconv.CLIENT_POOL,
    semconv.NETWORK,
)


def _freeze(monkeypatch: pytest.MonkeyPatch, real: object, frozen: Callable[[], float]) -> None:
    """Replace *real* wherever a module holds it, as freezegun does."""
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is real and not name.startswith("_"):
                monkeypatch.setattr(module, name, frozen)


def _ask(vendor: FakeVendor, stream: bool) -> None:
    with openai.OpenAI(base_url=vendor.openai_url, api_key="k", max_retries=0) as plain:
        client = tracewrap.wrap(plain)
        answer = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "q"}], stream=stream
        )
        if stream:
            list(answer)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_frozen_clock_of_the_program_is_not_ours(
    stream: bool, recorded: Recording, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program's clock stands still: runtimes are measured with the system's, above 0."""
    _freeze(monkeypatch, time.perf_counter, lambda: 1000.0)
    _freeze(monkeypatch, time.monotonic, lambda: 1000.0)
    _ask(vendor, stream)
    (call,) = recorded()
    assert call.raw_runtime_s is not None
    assert call.raw_runtime_s > 0.0


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_what_a_frozen_clock_measured_is_absent(
    stream: bool, recorded: Recording, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even our clock stands still (tracewrap was imported under a frozen one) no duration is written."""
    from tracewrap.capture import clock

    _freeze(monkeypatch, clock.perf_counter, lambda: 1000.0)
    _ask(vendor, stream)
    (span,) = recorded.spans
    attributes = dict(span.attributes or {})
    assert [name for name in _SECONDS if name in attributes] == []
    (call,) = recorded()
    assert (call.raw_runtime_s, call.outcome, call.usage is not None) == (None, "complete", True)
    joined = join_attributes(attributes, Catalog(stacks=()))
    assert [name for name in joined if name.startswith("tracewrap.split")] == []
