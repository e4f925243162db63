"""The SQL join equals the live join, call by call, to 1e-9."""

from __future__ import annotations

import collections
import random
from pathlib import Path
from typing import Any

import pytest

from made_days import call, write_log
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.joiner import join_call
from tracewrap.estimate.split import split
from tracewrap.records import Call, TokenUsage
from tracewrap.report.tables import join_sql, queries, split_sql
from tracewrap.report.tables.loading import load
from tracewrap.report.tables.options import load_options
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.region import Region
from tracewrap.runtime.stack import ReferenceStack
from tracewrap.sources import connect

INTERVAL = Interval(base=0.03, prompt=0.2, decode=0.1, extrapolation=0.5)


def random_profile(rng: random.Random, name: str, model: str = "m") -> RuntimeProfile:
    """Any valid profile: one to thirty knots, tiles or none, decode or none."""
    xs = sorted(rng.sample(range(1, 40_000), rng.choice((1, 2, 4, 30))))
    y, knots = rng.uniform(0.0, 0.1), []
    for x in xs:
        knots.append((float(x), y))
        y += rng.choice((0.0, rng.uniform(0, 1), rng.uniform(0, 100)))
    return RuntimeProfile(
        id=name,
        model=model,
        prompt_knots=tuple(knots),
        d0=rng.choice((0.0, rng.uniform(0, 0.1))),
        d1=rng.choice((0.0, rng.uniform(0, 1e-6))),
        tile=rng.choice((1, 64, 128)),
        tile_fraction=rng.choice((0.0, 1.0, rng.random())),
        overhead_s=rng.choice((0.0, rng.uniform(0, 1))),
        interval=rng.choice((Interval(), INTERVAL)),
        max_output_tokens=rng.choice((None, 100, 5000)),
        cached_time=rng.choice((None, 0.0, rng.uniform(0, 1e-4))),
        region=rng.choice((None, _region(rng))),
    )


def _region(rng: random.Random) -> Region:
    """Any region: from the first token or not, cached tokens seen or not."""
    return Region(
        input_tokens=(rng.choice((0.0, 1.0, 64.5, 900.0)), rng.uniform(1000, 40_000)),
        output_tokens=(rng.choice((1.0, 30.0)), rng.uniform(40, 5000)),
        cached_input_tokens=rng.choice((0.0, rng.uniform(10, 20_000))),
    )


def test_estimates_equal_the_scalar_profile() -> None:
    """Value, low, high and extrapolated of 25 random profiles at 50 points each equal RuntimeProfile.estimate to 1e-9."""
    rng = random.Random(7)
    profiles = [random_profile(rng, f"p{i}") for i in range(25)]
    n = join_sql.segment_count(profiles)
    names = join_sql.profile_columns("d", n)
    points = [
        (
            rng.choice((0, 1, 64, 65, 128, rng.randrange(60_000))),
            rng.choice((0, 1, 2, rng.randrange(9_000))),
            rng.choice((0, 0, 64, rng.randrange(60_000))),
        )
        for _ in range(50)
    ]
    with connect() as connection:
        connection.execute(
            f"CREATE TABLE t (i INTEGER, p DOUBLE, o DOUBLE, c DOUBLE, {', '.join(f'{k} {v}' for k, v in names.items())})"
        )
        rows = [
            (i, *point, *join_sql.profile_values(profile, n)) for i, profile in enumerate(profiles) for point in points
        ]
        connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * (4 + len(names)))})", rows)
        sql = join_sql.stacked("SELECT * FROM t", join_sql.estimate_stages("d", n))
        found = connection.execute(f"SELECT i, p, o, c, d_s, d_low_s, d_high_s, d_extrapolated FROM ({sql})").fetchall()
    assert len(found) == 1250
    for i, p, o, c, value, low, high, outside in found:
        expected = profiles[i].estimate(p, o, c)
        assert value == pytest.approx(expected.value, rel=1e-9, abs=1e-300)
        assert low == pytest.approx(expected.low, rel=1e-9, abs=1e-300)
        assert high == pytest.approx(expected.high, rel=1e-9, abs=1e-300)
        assert bool(outside) is expected.extrapolated


def random_call(rng: random.Random, number: int) -> Call:
    """Any call: with and without usage, any outcome and operation, several deployments."""
    usage = TokenUsage(
        input_tokens=rng.randrange(50_000),
        output_tokens=rng.randrange(3000),
        cached_input_tokens=rng.choice((None, 0, 10, 20_000)),
    )
    return call(
        number,
        rng.uniform(0, 24),
        request_model=rng.choice(("m", "n", None)),
        response_model=rng.choice(("m", "m2", None)),
        stream=rng.random() < 0.5,
        server_port=rng.choice((443, None)),
        operation=rng.choice(("chat", "chat", "text_completion", "embeddings")),
        usage=rng.choice((usage, usage, None, TokenUsage(input_tokens=5))),
        raw_runtime_s=rng.uniform(0.1, 30),
        attempts=2,
        retry_s=rng.choice((0.0, 0.05)),
        outcome=rng.choice(("complete", "complete", "partial", "cancelled", "error")),
        consumer_s=rng.choice((None, None, 0.5, 40.0)),
        server_processing_s=rng.choice((None, None, 0.05, rng.uniform(0, 30))),
        **random_side(rng),
    )


def random_side(rng: random.Random) -> dict[str, Any]:
    """What was measured on our side of the wire: nothing, or any of it."""
    if rng.random() < 0.2:
        return {"client_pool_s": None, "client_sdk_s": None, "network_s": None}
    names = ("client_pool_s", "client_sdk_s", "network_s")
    side: dict[str, Any] = {name: rng.choice((0.0, rng.uniform(0, 0.03), rng.uniform(0, 8))) for name in names}
    if rng.random() < 0.4:
        side["network_transit_s"] = rng.choice((None, 0.0, rng.uniform(0, 30)))
        side["network_s"] = rng.choice((0.0, rng.uniform(0, 30)))
        side |= {"client_lag_s": rng.uniform(0, 20), "client_lag_kind": rng.choice(("threads", "event_loop"))}
    return side


def test_joined_table_equals_the_live_join(tmp_path: Path) -> None:
    """Every complete call's denoised and idealized estimates and contention equal join_call's, absent where they are absent."""
    rng = random.Random(11)
    calls = [random_call(rng, i) for i in range(1, 800)]
    keys = sorted({one.deployment.key for one in calls})
    denoised = {key: random_profile(rng, f"d{i}") for i, key in enumerate(keys) if i % 3}
    stacks = (
        ReferenceStack(id="a", gpu="g", precision="bf16", profiles={"m2": random_profile(rng, "a-m2")}),
        ReferenceStack(
            id="b", gpu="g", precision="bf16", profiles={m: random_profile(rng, f"b-{m}") for m in ("m", "m2")}
        ),
    )
    catalog = Catalog(stacks=stacks, denoised=denoised)
    log = write_log(tmp_path / "log.jsonl", calls)
    joined = load([str(log)], None, load_options(catalog=catalog, now_ns=2**62))
    sql = queries.joined_query(joined.prefixes, joined.n_segments, 0, joined.span.since_ns, 2**62, ids=True)
    parts = ("pool", "sdk", "lag", "network", "admission", "model", "contention", "unexplained")
    fields = (
        *(f"split_{part}_s" for part in parts),
        *("verdict", "us_kind", "span_id"),
        *(f"{prefix}_{part}" for prefix in ("denoised", "idealized_0") for part in ("s", "low_s", "high_s")),
        "last_attempt_s",
    )
    read = {row[10]: row for row in joined.engine.rows(f"SELECT {', '.join(fields)} FROM ({sql}) AS t")}
    found = {name: row[11:] for name, row in read.items()}
    assert len(found) == len(calls)
    compared = 0
    verdicts: collections.Counter[str] = collections.Counter()
    for one in calls:
        live = join_call(one, catalog)
        if one.outcome != "complete" or live.join_status.startswith(("no_usage", "not_generation")):
            assert found[one.span_id] == (None,) * 7
            continue
        estimates = [live.denoised_runtime, live.idealized_runtime]
        expected = [x for e in estimates for x in ((None,) * 3 if e is None else (e.value, e.low, e.high))]
        assert list(found[one.span_id][:6]) == [None if x is None else pytest.approx(x, rel=1e-9) for x in expected]
        assert found[one.span_id][6] == pytest.approx(one.last_attempt_s, rel=1e-12)
        compared += live.denoised_runtime is not None
        expected_split = split(live)
        assert expected_split is not None
        row = read[one.span_id]
        assert list(row[:8]) == [absent_or_near(getattr(expected_split, f"{part}_s")) for part in parts]
        assert split_sql.VERDICTS[row[8]] == expected_split.verdict
        assert (split_sql.KINDS[row[9]] if row[9] >= 0 else None) == expected_split.kind
        verdicts[expected_split.verdict] += 1
    assert compared > 50
    assert set(verdicts) == set(split_sql.VERDICTS)  # each was met


def absent_or_near(value: float | None) -> Any:
    """What equals *value* to 1e-9 of a second, or is absent as it is."""
    return None if value is None else pytest.approx(value, rel=1e-9, abs=1e-9)
