"""Each token is charged once: in Python and in SQL, whatever the counts say of each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracewrap.prices.book import PriceBook
from tracewrap.prices.list_cost import load_pricer, purchase_of
from tracewrap.prices.rates import FAR, KINDS, PARENTS, Purchase, complete
from tracewrap.prices.terms import quantities, sql_stages, tokens_usd
from tracewrap.prices.user_file import read_price_file
from tracewrap.semconv import DETAILS

COUNTS = st.fixed_dictionaries({field.name: st.none() | st.integers(0, 300) for field in DETAILS})
TOTALS = st.integers(0, 500)
USD = complete(
    {"input": 2.0, "output": 8.0, "cached": 0.5, "cache_write": 2.5, "audio_input": 40.0, "cached_audio": 10.0}
)


@given(COUNTS, TOTALS, TOTALS)
@settings(max_examples=300, deadline=None)
def test_parts_never_exceed_the_whole(counts: dict[str, int | None], inputs: int, outputs: int) -> None:
    """However vendors' counts overlap or contradict each other, the kinds of token add up to the total, none below 0."""
    found = quantities(counts.get, inputs, outputs)
    tokens = {kind: n for kind, n in found.items() if PARENTS[kind] is not None}
    assert min(tokens.values()) >= 0
    out = sum(tokens[kind] for kind in tokens if PARENTS[kind] == "output")
    assert (sum(tokens.values()) - out, out) == (inputs, outputs)
    assert set(found) == set(KINDS)


@given(TOTALS, st.integers(0, 500), st.integers(0, 300))
@settings(max_examples=200, deadline=None)
def test_cached_is_never_dearer(inputs: int, cached: int, audio: int) -> None:
    """More of the prompt from the cache never costs more, audio or not."""

    def usd(tokens: int) -> float | None:
        named = {
            "cached_input_tokens": tokens,
            "audio_input_tokens": audio,
            "cached_audio_input_tokens": min(tokens, audio),
        }
        return tokens_usd(USD, named.get, inputs, 0)

    more, less = usd(cached + 10), usd(cached)
    assert more is not None
    assert less is not None
    assert more <= less + 1e-9


@given(st.lists(st.tuples(COUNTS, TOTALS, TOTALS), min_size=1, max_size=20))
@settings(max_examples=15, deadline=None)
def test_sql_charges_the_same(calls: list[tuple[dict[str, int | None], int, int]]) -> None:
    """The SQL form equals the Python form, unpriced ones included."""
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    names = [field.name for field in DETAILS]
    columns = ["i", "o", *names, "usd_request", *(f"usd_{kind}" for kind in KINDS)]
    rows = [[i, o, *(counts[name] for name in names), 0.0, *(USD[kind] for kind in KINDS)] for counts, i, o in calls]
    kinds = ["BIGINT"] * (2 + len(names)) + ["DOUBLE"] * (1 + len(KINDS))
    listed = ", ".join(f"{name} {kind}" for name, kind in zip(columns, kinds, strict=True))
    connection.execute(f"CREATE TABLE t ({listed})")
    connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(columns))})", rows)
    sql = "SELECT *, row_number() OVER () AS n FROM t"
    for stage in sql_stages("i", "o"):
        sql = f"SELECT *, {', '.join(f'{text} AS {name}' for name, text in stage.items())} FROM ({sql})"
    found = connection.execute(f"SELECT charged_usd FROM ({sql}) ORDER BY n").fetchall()
    expected = [tokens_usd(USD, counts.get, i, o) for counts, i, o in calls]
    assert [row[0] for row in found] == [None if usd is None else pytest.approx(usd) for usd in expected]


def test_an_unknown_overlap_at_another_price_is_unpriced() -> None:
    """Of 100 audio and 50 cached tokens nobody says how many are both: no price; where the total forces it, there is one."""
    counts = {"cached_input_tokens": 50, "audio_input_tokens": 100}
    assert tokens_usd(USD, counts.get, 1000, 0) is None
    # 100 of 100 are audio, so all 50 cached ones are: 50 x 10 + 50 x 40
    assert tokens_usd(USD, counts.get, 100, 0) == pytest.approx(2500.0)


def priced(path: Path, inputs: int, outputs: int, **more: Any) -> float | None:
    """US dollars by the price file at *path*."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "p",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": inputs,
        "gen_ai.usage.output_tokens": outputs,
        **more,
    }
    pricer = load_pricer(str(path))
    assert pricer is not None
    found = pricer.cost(attributes, 1_795_132_800 * 10**9)
    return None if found is None else round(found.usd, 9)


def test_a_file_as_litellm_keeps_it(tmp_path: Path) -> None:
    """Audio, thresholds, tiers, reasoning, search fees; a kind that a tier does not name is unpriced in it."""
    path = tmp_path / "litellm.json"
    entry = {
        **{"input_cost_per_token": 1.25e-6, "output_cost_per_token": 1e-5, "cache_read_input_token_cost": 1.25e-7},
        **{"input_cost_per_token_above_200k_tokens": 2.5e-6, "input_cost_per_token_batches": 6.25e-7},
        **{"output_cost_per_token_batches": 5e-6, "input_cost_per_token_priority": 2.5e-6},
        **{"output_cost_per_reasoning_token": 2e-5, "input_cost_per_audio_token": 4e-5},
        "search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_high": 0.01},
    }
    path.write_text(json.dumps({"m": entry}))
    tier = "tracewrap.service_tier"
    assert priced(path, 300_000, 0) == 0.75
    assert priced(path, 200_000, 0) == 0.25
    assert priced(path, 100_000, 0, **{tier: "batch"}) == 0.0625
    assert priced(path, 100_000, 0, **{tier: "priority"}) == 0.25
    assert priced(path, 100_000, 1, **{tier: "priority"}) is None
    assert priced(path, 100_000, 0, **{tier: "flex"}) is None
    assert priced(path, 0, 1000, **{"gen_ai.usage.reasoning.output_tokens": 1000}) == 0.02
    assert priced(path, 1000, 0, **{"gen_ai.usage.audio.input_tokens": 1000}) == 0.04
    assert priced(path, 0, 0, **{"tracewrap.usage.web_searches": 3}) == 0.03
    assert priced(path, 0, 0, **{"tracewrap.usage.other_charges": 1}) is None
    path.write_text(
        json.dumps({"m": {"input_cost_per_token": 0, "output_cost_per_token": 0, "input_cost_per_query": 0.002}})
    )
    assert priced(path, 0, 0, **{"tracewrap.usage.search_units": 3}) == 0.006


def test_a_file_of_ones_own_knows_terms(tmp_path: Path) -> None:
    """An entry without a tier says nothing of tiers; a region, a speed and a long prompt can have prices of their own."""
    path = tmp_path / "own.toml"
    plain = '[[prices]]\nmodel = "m"\ninput_usd_per_million = {}\noutput_usd_per_million = 8\n'
    path.write_text(
        plain.format(2)
        + plain.format(1) + 'service_tier = "batch"\n'
        + plain.format(4) + "above_input_tokens = 1000\n"
        + plain.format(6) + 'speed = "fast"\n'
    )  # fmt: skip
    assert priced(path, 1000, 0) == 0.002
    assert priced(path, 2000, 0) == 0.008
    assert priced(path, 1000, 0, **{"tracewrap.service_tier": "batch"}) == 0.001
    assert priced(path, 1000, 0, **{"tracewrap.service_tier": "flex"}) is None
    assert priced(path, 1000, 0, **{"tracewrap.service_tier": "standard"}) == 0.002
    assert priced(path, 1000, 0, **{"tracewrap.speed": "fast"}) == 0.006
    assert [price.rate.upto for price in read_price_file(str(path))] == [1000, FAR, FAR, FAR]
    assert Purchase("p", ("m",), "default", "standard").terms == {}


@pytest.mark.parametrize(
    ("provider", "asked", "answered", "priced_as"),
    [
        ("openai", "gpt-4o", "gpt-4o-2099-01-01", "gpt-4o"),
        ("openai", "gpt-4o", "openai/gpt-4o", "gpt-4o"),
        ("openai", "my-alias", "gpt-4o-2024-08-06", "gpt-4o"),
        ("openai", "gpt-4o", None, "gpt-4o"),
        ("openai", "gpt-5", "gpt-5.99", ""),
        ("openai", "gpt-4o", "gpt-4o-9", ""),
        ("openai", "gpt-4o", "house-7b", ""),
        ("openai", "ft:gpt-4.1-2025-04-14:org::id", "ft:gpt-4.1-2025-04-14:org::id", ""),
        ("gcp.vertex_ai", "google/gemini-2.5-pro", "google/gemini-2.5-pro", "gemini-2.5-pro"),
        ("gcp.gemini", "gemini-2.5-pro", "models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("groq", "openai/gpt-oss-120b", "openai/gpt-oss-120b", "openai/gpt-oss-120b"),
        ("openrouter", "openai/gpt-4o:online", "openai/gpt-4o:online", ""),
        (
            "aws.bedrock",
            "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "claude-sonnet-4-5-20250929",
            "regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
    ],
)
def test_whose_price_it_is(provider: str, asked: str, answered: str | None, priced_as: str) -> None:
    """A release has its model's price, a provider's own prefix is no other model; another model that answered has its own price or none."""
    pytest.importorskip("genai_prices")
    day = 1_795_132_800 * 10**9
    found = PriceBook().find(purchase_of(provider, asked, answered, None, None, None), day, day + 1)
    assert found.priced_as == priced_as
    assert bool(found.rates) is bool(priced_as)


def test_the_users_file_prices_what_was_asked_for(tmp_path: Path) -> None:
    """A deployment's own name is priced by the user's file, whatever model answered; tiers are the same in any spelling."""
    own = tmp_path / "prices.toml"
    own.write_text(
        '[[prices]]\nmodel = "my-deployment"\nservice_tier = "Flex"\ninput_usd_per_million = 1\noutput_usd_per_million = 2\n'
    )
    found = PriceBook(str(own)).find(
        purchase_of("azure.ai.openai", "my-deployment", "house-7b", "FLEX", None, None), 0, 1
    )
    assert (found.priced_as, [rate.usd["input"] for rate in found.rates]) == ("my-deployment", [1e-6])
