"""List prices: as of the call's time, the package's arithmetic, the user's file first, unknown is unpriced."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import pytest

from made_days import DAY_NS, call, write_log
from tracewrap import report
from tracewrap.errors import ConfigurationError
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.joiner import join_call
from tracewrap.prices.book import PriceBook
from tracewrap.prices.list_cost import Pricer
from tracewrap.prices.rates import Purchase
from tracewrap.prices.user_file import read_price_file
from tracewrap.records import Call, TokenUsage

genai_prices = pytest.importorskip("genai_prices")


def list_costs(folder: Path, calls: list[Call], **options: object) -> dict[int, float | None]:
    """List cost by call number, from a report grouped by a tag that names the call."""
    import dataclasses

    tagged = [dataclasses.replace(one, tags={"n": str(int(one.trace_id, 16))}) for one in calls]
    log = write_log(folder / "log.jsonl", tagged)
    built = report.build(str(log), catalog=Catalog(), group_by=["n"], now_ns=DAY_NS * 2, **options)  # type: ignore[arg-type]
    return {int(row["key"]["n"] or 0): row["list_cost_usd"] for row in built["groups"][0]["rows"]}


def test_sql_costs_equal_the_package(tmp_path: Path) -> None:
    """Costs of random calls of plain, cached, tiered and dated models equal genai_prices.calc_price to 1e-9."""
    rng = random.Random(5)
    models = (
        ("openai", "gpt-4o"),
        ("openai", "o3"),
        ("anthropic", "claude-sonnet-4-5"),
        ("cohere", "command-a-03-2025"),
        ("deepseek", "deepseek-chat"),
        ("gcp.gemini", "gemini-2.5-pro"),
    )
    calls = []
    for number in range(1, 121):
        provider, model = models[number % len(models)]
        p = rng.choice((100, 5000, 199_999, 200_001, 400_000))
        usage = TokenUsage(
            input_tokens=p, output_tokens=rng.randrange(2000), cached_input_tokens=rng.choice((None, p // 2))
        )
        when = DAY_NS - rng.choice((0, 400, 560)) * 86_400 * 10**9 + rng.randrange(86_400) * 10**9
        calls.append(
            call(number, provider=provider, request_model=model, response_model=model, usage=usage, start_time_ns=when)
        )
    found, pricer = list_costs(tmp_path, calls), Pricer(PriceBook())
    for one in calls:
        live = join_call(one, Catalog(), pricer).list_cost_usd
        assert live == pytest.approx(found[int(one.trace_id, 16)], rel=1e-9)
        assert one.usage is not None
        expected = genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=one.usage.input_tokens,
                output_tokens=one.usage.output_tokens,
                cache_read_tokens=one.usage.cached_input_tokens or 0,
            ),
            one.request_model or "",
            provider_id="google" if one.provider == "gcp.gemini" else one.provider,
            genai_request_timestamp=dt.datetime.fromtimestamp(one.start_time_ns / 1e9, dt.UTC),
        ).total_price
        assert found[int(one.trace_id, 16)] == pytest.approx(float(expected), rel=1e-9), one


@pytest.mark.parametrize(("prompt", "usd_per_million"), [(199_999, 3.0), (200_000, 3.0), (200_001, 6.0)])
def test_a_prompt_of_exactly_the_threshold_is_a_short_one(tmp_path: Path, prompt: int, usd_per_million: float) -> None:
    """The long-prompt price begins above 200,000 tokens, in SQL and live alike."""
    model = "claude-sonnet-4-5"
    usage = TokenUsage(input_tokens=prompt, output_tokens=0)
    one = call(1, provider="anthropic", request_model=model, response_model=model, usage=usage)
    expected = pytest.approx(prompt * usd_per_million / 1e6, rel=1e-9)
    assert list_costs(tmp_path, [one]) == {1: expected}
    assert join_call(one, Catalog(), Pricer(PriceBook())).list_cost_usd == expected


def test_cohere_bills_billed_tokens(tmp_path: Path) -> None:
    """Where the vendor bills other counts than the model processed, the billed ones are priced."""
    usage = TokenUsage(input_tokens=71, output_tokens=420, billed_input_tokens=5, billed_output_tokens=418)
    one = call(1, provider="cohere", request_model="command-a-03-2025", response_model=None, usage=usage)
    # 5 x 2.5e-6 + 418 x 10e-6
    assert list_costs(tmp_path, [one]) == {1: pytest.approx(0.0041925, rel=1e-9)}


def test_unknown_model_is_unpriced_by_name(tmp_path: Path) -> None:
    """A model that no source knows has no cost, and the report names it and why."""
    log = write_log(
        tmp_path / "a.jsonl",
        [call(1, request_model="house-7b", response_model=None, usage=TokenUsage(input_tokens=1, output_tokens=1))],
    )
    built = report.build(str(log), catalog=Catalog(), now_ns=DAY_NS * 2)
    assert built["totals"]["list_cost_usd"] is None
    assert [(m["model"], m["calls"]) for m in built["unpriced"]] == [("house-7b", 1)]
    assert "does not know it" in built["unpriced"][0]["reason"]


def test_user_file_wins_and_follows_dates(tmp_path: Path) -> None:
    """Entries of the user's file come before the package; later dated ones take over; LiteLLM's format is read."""
    own = tmp_path / "prices.toml"
    own.write_text(
        '[[prices]]\nmodel = "gpt-4o"\ninput_usd_per_million = 1\noutput_usd_per_million = 2\n'
        '[[prices]]\nmodel = "gpt-4o"\ninput_usd_per_million = 3\noutput_usd_per_million = 2\nfrom = 2026-11-21\n'
    )
    usage = TokenUsage(input_tokens=1_000_000, output_tokens=0)
    calls = [
        call(i, hour, request_model="gpt-4o", response_model=None, usage=usage) for i, hour in ((1, 1.0), (2, 25.0))
    ]
    assert list_costs(tmp_path, calls, prices=str(own)) == {1: pytest.approx(1.0), 2: pytest.approx(3.0)}
    other = tmp_path / "litellm.json"
    other.write_text(
        '{"gpt-4o": {"input_cost_per_token": 4e-6, "output_cost_per_token": 1e-6, "litellm_provider": "openai"}}'
    )
    assert list_costs(tmp_path, calls, prices=str(other))[1] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "not valid JSON"),
        ("[1]", "no list 'prices'"),
        ('{"prices": [{"model": "a"}]}', "input_usd_per_million"),
        ('{"prices": [{"model": "a", "input_usd_per_million": -1, "output_usd_per_million": 1}]}', "at least 0"),
        (
            '{"prices": [{"model": "a", "input_usd_per_million": 1, "output_usd_per_million": 1, "from": "soon"}]}',
            "must be a date",
        ),
    ],
)
def test_bad_price_files_say_what_is_wrong(tmp_path: Path, text: str, part: str) -> None:
    """One line names file, entry and what was expected."""
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=part):
        read_price_file(str(path))


def test_missing_file_and_no_model(tmp_path: Path) -> None:
    """A price file that is not there is an error; spans without a model are unpriced."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_price_file(str(tmp_path / "none.toml"))
    assert PriceBook().find(Purchase("openai", ()), 0, 1).reason == "the spans name no model"


def test_a_batch_has_the_price_of_batches(tmp_path: Path) -> None:
    """40 x 1.5 and 34 x 7.5 dollars a million, half the plain price; without a runtime, nothing is compared."""
    one = call(
        1,
        provider="anthropic",
        request_model="claude-sonnet-4-5",
        response_model="claude-sonnet-4-5",
        usage=TokenUsage(40, 34),
        service_tier="batch",
        raw_runtime_s=None,
    )
    log = write_log(tmp_path / "log.jsonl", [one])
    built = report.build(str(log), catalog=Catalog(), now_ns=2**62)
    assert (built["totals"]["complete_calls"], built["totals"]["raw"]["n"]) == (1, 0)
    assert built["coverage"]["comparable_calls"] == 0
    assert built["totals"]["list_cost_usd"] == pytest.approx(315e-6)


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"service_tier": "priority"}, "tier 'priority'"),
        ({"service_tier": "batch", "speed": "fast"}, "tier 'batch' and speed 'fast'"),
        ({"speed": "fast"}, "speed 'fast'"),
        ({"region": "eu"}, "region 'eu'"),
    ],
)
def test_terms_that_the_list_does_not_know_are_unpriced(tmp_path: Path, terms: dict[str, str], reason: str) -> None:
    """A tier, a speed mode, both together, a region: no price, never the plain one, and the report says why."""
    one = call(
        1,
        provider="anthropic",
        request_model="claude-sonnet-4-5",
        response_model="claude-sonnet-4-5",
        usage=TokenUsage(40, 34),
        **terms,
    )
    log = write_log(tmp_path / "log.jsonl", [one])
    built = report.build(str(log), catalog=Catalog(), now_ns=2**62)
    assert built["totals"]["list_cost_usd"] is None
    assert any(reason in gap["reason"] for gap in built["unpriced"])
    assert join_call(one, Catalog(), Pricer(PriceBook())).list_cost_usd is None
