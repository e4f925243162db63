"""Calls to learn from are drawn where they lie: bounded, the same each time, every hour its share, by the rule of usable calls."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from made_days import call, write_log
from tracewrap.records import Call, TokenUsage
from tracewrap.report.tables import queries
from tracewrap.report.tables.drawing import Drawn, Wanted, drawn_calls
from tracewrap.report.tables.engines import DuckDBEngine
from tracewrap.runtime.quiet.usable import usable_call
from tracewrap.sources import EVER, load_all, open_source

ALL = Wanted(10_000, 10_000, 10)


def drawn(tmp_path: Path, calls: list[Call], wanted: Wanted, model: str | None = None) -> dict[str, Drawn]:
    """What is drawn of *calls*."""
    folder = write_log(tmp_path / "log" / "a.jsonl", calls).parent
    engine = DuckDBEngine()
    load_all(engine.connection, [open_source(str(folder))], "calls", *EVER, queries.loaded_columns(()))
    return drawn_calls(engine, ["calls"], wanted, model)


def made(n: int, hour: float, *, first: int, **changes: object) -> list[Call]:
    """*n* calls within the hour of the day that begins at *hour*."""
    return [
        dataclasses.replace(call(first + i, hour + i / n), usage=TokenUsage(50 + i, 5), **changes)  # type: ignore[arg-type]
        for i in range(n)
    ]


def hours(one: Drawn) -> Counter[int]:
    """Calls drawn by hour of the day."""
    return Counter(int(row.start_time_s // 3600 % 24) for row in one.rows)


def test_a_quiet_hour_keeps_its_calls(tmp_path: Path) -> None:
    """1,200 calls at noon and 30 at night, 100 are wanted: all of the night's, the rest from noon; asked again, the very same."""
    calls = [*made(1200, 12, first=1), *made(30, 3, first=5000)]
    first, again = (drawn(tmp_path, calls, Wanted(100, 10_000, 10)) for _ in range(2))
    (one,) = first.values()
    assert hours(one) == {3: 30, 12: 70}
    assert one.calls == 1230
    assert first == again


def test_known_deployments_are_left_out(tmp_path: Path) -> None:
    """Those that are wanted are drawn as they are among all; where every one is known, none is."""
    folder = tmp_path / "log"
    calls = [
        *made(40, 1, first=1),
        *made(40, 2, first=100, response_model="other's"),
        *made(9, 3, first=200, stream=True),
    ]
    write_log(folder / "a.jsonl", calls)
    engine = DuckDBEngine()
    load_all(engine.connection, [open_source(str(folder))], "calls", *EVER, queries.loaded_columns(()))
    wanted = Wanted(20, 10_000, 10)
    every = drawn_calls(engine, ["calls"], wanted)
    assert len(every) == 3
    for key in every:
        assert drawn_calls(engine, ["calls"], wanted, known={key}) == {
            name: one for name, one in every.items() if name != key
        }
    assert drawn_calls(engine, ["calls"], wanted, known=every) == {}


def test_hours_share_alike(tmp_path: Path) -> None:
    """Hours of 400, 800 and 1,200 calls give a third each, all over the hour."""
    calls = [*made(400, 1, first=1), *made(800, 2, first=1000), *made(1200, 3, first=3000)]
    (one,) = drawn(tmp_path, calls, Wanted(300, 10_000, 10)).values()
    assert sum(hours(one).values()) == 300
    assert all(70 <= n <= 130 for n in hours(one).values())
    late = sum(row.start_time_s % 3600 > 1800 for row in one.rows)
    assert 110 <= late <= 190


def test_few_calls_are_all_drawn_by_the_rule_of_usable_calls(tmp_path: Path) -> None:
    """Of fewer calls than are wanted, exactly the usable ones, whole and in order: the same rows as the live learner takes."""
    calls = [
        *made(40, 1, first=1, retry_s=0.1, time_to_first_chunk_s=0.3, stream=True, raw_runtime_s=1.0),
        *made(5, 2, first=100, outcome="error", error_type="Timeout", stream=True),
        *made(5, 3, first=200, operation="embeddings", stream=True),
        *made(5, 4, first=300, consumer_s=50.0, stream=True, raw_runtime_s=1.0),
    ]
    found = drawn(tmp_path, calls, ALL)
    rows = [row for one in found.values() for row in one.rows]
    assert rows == [row for one in calls if (row := usable_call(one)) is not None]
    assert len(rows) == 40


def test_keys_are_those_of_the_calls(tmp_path: Path) -> None:
    """Each deployment by its own key: tiers apart, the common ones together; many deployments give fewer each."""
    tiers = (None, "default", "flex", "priority")
    calls = [one for i, tier in enumerate(tiers) for one in made(60, 1, first=100 * i + 1, service_tier=tier)]
    found = drawn(tmp_path, calls, Wanted(100, 60, 10))
    assert set(found) == {one.deployment.key for one in calls}
    assert {key.rsplit("|", 1)[-1]: len(one.rows) for key, one in found.items()} == {
        "plain": 20,
        "flex": 20,
        "priority": 20,
    }


def test_speed_modes_and_regions_are_deployments_of_their_own(tmp_path: Path) -> None:
    """Those that were chosen; the plain speed, no region in particular and the one that the address names are the deployment itself."""
    chosen: list[dict[str, object]] = [
        {},
        {"speed": "standard", "region": "global"},
        {"region": "us-east-1", "server_address": "bedrock-runtime.us-east-1.example.com"},
        {"speed": "fast"},
        {"region": "us"},
        {"service_tier": "flex", "speed": "fast", "region": "us"},
    ]
    address = {"server_address": "api.example.com"}
    calls = [one for i, more in enumerate(chosen) for one in made(20, 1, first=100 * i + 1, **(address | more))]
    found = drawn(tmp_path, calls, ALL)
    assert set(found) == {one.deployment.key for one in calls}
    assert {key.split("|plain", 1)[1]: one.calls for key, one in found.items() if "api.example" in key} == {
        "": 40,
        "|speed=fast": 20,
        "|region=us": 20,
        "|flex|speed=fast|region=us": 20,
    }


@pytest.mark.parametrize(("model", "count"), [("alias", 30), ("dated", 30), ("other", 0)])
def test_a_model_is_found_by_either_name(tmp_path: Path, model: str, count: int) -> None:
    """By the name that was asked for and by the one that answered."""
    calls = made(30, 1, first=1, request_model="alias", response_model="dated")
    assert sum(len(one.rows) for one in drawn(tmp_path, calls, ALL, model).values()) == count
