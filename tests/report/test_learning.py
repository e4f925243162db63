"""Reports learn the quiet day by themselves: from the period, from the fortnight before, from what live learners left; once."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from made_days import DAY_NS, call, write_log
from tracewrap import report
from tracewrap.cli import main
from tracewrap.estimate.catalog import Catalog
from tracewrap.learn.learner import Denoiser
from tracewrap.learn.many import Pupil, learn_many
from tracewrap.records import Call, TokenUsage
from tracewrap.report.questions.compare import compare
from tracewrap.report.questions.selection import Selection
from tracewrap.report.render import html
from tracewrap.report.render.markdown import render_markdown
from tracewrap.report.render.table import render_table
from tracewrap.report.tables import learning, lesson_cache
from tracewrap.runtime.files import save_profile
from tracewrap.runtime.profile import RuntimeProfile

DAY = "2026-11-20"
KEY = "openai|api.openai.com:443|m|chat|plain"


def quiet_s(p: int, o: int) -> float:
    """What the made API takes on a quiet day."""
    return 0.2 + 2e-4 * p + 0.01 * o


def busy_calls(n: int, *, first: int = 1, day: int = 0, level: float = 1.0, **changes: object) -> list[Call]:
    """*n* calls of one model in one day; every third met contention, as long again on average."""
    dice, out = random.Random(first), []
    for i in range(n):
        usage = TokenUsage(dice.choice((50, 400, 3000)), dice.choice((5, 50, 200)))
        seconds = (
            level
            * quiet_s(usage.input_tokens or 0, usage.output_tokens or 0)
            * (1.0 + dice.expovariate(1.0) if i % 3 == 0 else 1.0)
        )
        made = call(first + i, 24 * day + 24 * i / n, request_model="m", response_model="m", usage=usage)
        out.append(dataclasses.replace(made, raw_runtime_s=seconds, **changes))  # type: ignore[arg-type]
    return out


def test_a_report_has_denoised_figures_by_itself(tmp_path: Path) -> None:
    """Sixty calls, a third of them doubled: a quarter of the time was contention, with no profile given and no command run before."""
    calls = busy_calls(60)
    built = report.build(str(write_log(tmp_path / "log" / "a.jsonl", calls).parent), day=DAY)
    raw = sum(one.raw_runtime_s or 0.0 for one in calls)
    quiet = sum(quiet_s(one.usage.input_tokens or 0, one.usage.output_tokens or 0) for one in calls if one.usage)
    assert built["totals"]["denoised"]["n"] == 60
    assert built["totals"]["denoised"]["sum_s"] == pytest.approx(quiet, rel=0.1)
    assert built["totals"]["contention"]["share"] == pytest.approx(1 - quiet / raw, abs=0.08)
    assert built["denoised_profiles"][0]["deployment"] == KEY


def test_the_days_before_count_too(tmp_path: Path) -> None:
    """Five calls today are too few; forty of the day before make it enough. The totals stay today's."""
    folder = write_log(tmp_path / "log" / "a.jsonl", [*busy_calls(40), *busy_calls(5, first=100, day=1)]).parent
    built = report.build(str(folder), day="2026-11-21")
    assert (built["totals"]["calls"], built["totals"]["denoised"]["n"]) == (5, 5)


def test_too_few_calls_say_how_many_more(tmp_path: Path) -> None:
    """Eight calls: no denoised figure, and the next step beside the dash: twelve more."""
    built = report.build(str(write_log(tmp_path / "log" / "a.jsonl", busy_calls(8)).parent), day=DAY)
    assert built["totals"]["denoised"]["n"] == 0
    assert [gap["next"] for gap in built["unprofiled"] if gap["stack"] is None] == [
        "12 more usable calls needed (of 20)"
    ]
    assert "12 more usable calls needed" in built["verdict"]


def test_given_profiles_win_and_no_learn_learns_nothing(tmp_path: Path) -> None:
    """A profile of the deployment in --profiles is the one used; --no-learn leaves the rest without."""
    folder = write_log(tmp_path / "log" / "a.jsonl", busy_calls(60)).parent
    mine = RuntimeProfile(id="mine", model="m", prompt_knots=((0.0, 1.0),), stack={"deployment": KEY})
    save_profile(mine, tmp_path / "mine.json")
    built = report.build(str(folder), day=DAY, profile_paths=[str(tmp_path / "mine.json")])
    assert [used["profile_id"] for used in built["denoised_profiles"]] == ["mine"]
    assert report.build(str(folder), day=DAY, learn=False)["totals"]["denoised"]["n"] == 0
    assert report.build(str(folder), day=DAY, catalog=Catalog())["totals"]["denoised"]["n"] == 0


def test_what_was_learned_is_kept_beside_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second report fits nothing and says the same; one more call, and it is learned anew; a damaged cache is passed over."""
    log = write_log(tmp_path / "log" / "a.jsonl", busy_calls(60))
    fitted = _watched(monkeypatch)
    first, second = (report.build(str(log.parent), day=DAY, now_ns=DAY_NS * 2) for _ in range(2))
    assert fitted == [KEY]
    assert first["totals"]["denoised"]["p50_s"] == second["totals"]["denoised"]["p50_s"]
    write_log(tmp_path / "log" / "b.jsonl", busy_calls(1, first=900))
    report.build(str(log.parent), day=DAY)
    assert fitted == [KEY, KEY]
    cache = log.parent / lesson_cache.CACHE
    for damage in ("{", "[]", json.dumps({"schema": lesson_cache.SCHEMA, "entries": {"x": 1}})):
        cache.write_text(damage)
        report.build(str(log.parent), day=DAY)
    assert len(fitted) == 5


def _watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the deployments that are learned from now on."""
    fitted: list[str] = []

    def watched(pupils: Sequence[Pupil], *rest: Any, **more: Any) -> Any:
        done = learn_many(pupils, *rest, **more)
        fitted.extend(done)
        return done

    monkeypatch.setattr(learning, "learn_many", watched)
    return fitted


def _three(tmp_path: Path) -> Path:
    """A log of three deployments: 90 calls of c, 60 of b, 30 of a."""
    made = {"c": busy_calls(90), "b": busy_calls(60, first=200), "a": busy_calls(30, first=400)}
    calls = [
        dataclasses.replace(one, request_model=name, response_model=name) for name, some in made.items() for one in some
    ]
    return write_log(tmp_path / "log" / "a.jsonl", calls).parent


def test_learning_has_a_time_and_says_what_it_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No time: nothing is learned; how many deployments and calls that are stands in the coverage, the notes and beside each gap."""
    folder = _three(tmp_path)
    built = report.build(str(folder), day=DAY, learn_s=0.0)
    assert built["totals"]["denoised"]["n"] == 0
    assert (built["coverage"]["unlearned_deployments"], built["coverage"]["unlearned_calls"]) == (3, 180)
    assert f"3 deployments with 180 calls not denoised: {learning.NO_TIME}" in built["notes"]
    assert {gap["next"] for gap in built["unprofiled"] if gap["stack"] is None} == {learning.NO_TIME}
    assert main(["report", str(folder), "--day", DAY, "--learn-seconds", "0"]) == 0
    assert "3 deployments with 180 calls not denoised" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["report", str(folder), "--learn-seconds", "-1"])


def test_the_most_used_are_learned_first_and_the_next_report_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time for one deployment a report: the most used, then the next; when all are known and all have new calls, the old lessons hold."""
    folder, fitted = _three(tmp_path), _watched(monkeypatch)
    monkeypatch.setattr(learning, "learn_many", lambda pupils, *_, **__: learn_many(pupils[:1]))
    for known in (90, 150, 180):
        assert report.build(str(folder), day=DAY)["totals"]["denoised"]["n"] == known
    more = [dataclasses.replace(one, request_model="a", response_model="a") for one in busy_calls(5, first=900)]
    write_log(folder / "b.jsonl", more)
    monkeypatch.setattr(learning, "learn_many", lambda *_, **__: {})
    built = report.build(str(folder), day=DAY)
    assert (built["totals"]["denoised"]["n"], built["coverage"]["unlearned_deployments"]) == (185, 0)
    assert fitted == []


def test_what_live_learners_left_is_used(tmp_path: Path) -> None:
    """The log holds three calls, the learner's state in its folder the eighty that were rotated away: denoised all the same."""
    folder = write_log(tmp_path / "log" / "a.jsonl", busy_calls(3)).parent
    learner = Denoiser()
    for one in busy_calls(80, first=500, day=-1):
        learner.observe(one)
    learner.save(folder)
    next(folder.glob(".denoiser-*.json")).rename(folder / ".denoiser-1.json")  # of another process
    assert report.build(str(folder), day=DAY)["totals"]["denoised"]["n"] == 3


def test_failed_calls_are_no_gap_in_coverage(tmp_path: Path) -> None:
    """Of ten calls four failed: usage of all that did not fail is known, nothing is unprofiled for the failed ones."""
    failed = busy_calls(4, first=50, usage=None, outcome="error", error_type="Timeout")
    built = report.build(str(write_log(tmp_path / "log" / "a.jsonl", [*busy_calls(6), *failed]).parent), day=DAY)
    assert (built["coverage"]["usage_share"], built["coverage"]["usage_missing_calls"]) == (1.0, 0)
    assert {gap["calls"] for gap in built["unprofiled"]} == {6}
    assert "40.0% failed, most often with Timeout" in built["verdict"]


def test_all_failed_is_said_first(tmp_path: Path) -> None:
    """The verdict of a day of errors is one sentence; no call that failed stands among the slowest."""
    failed = busy_calls(4, usage=None, outcome="error", error_type="Timeout")
    built = report.build(str(write_log(tmp_path / "log" / "a.jsonl", failed).parent), day=DAY)
    assert built["verdict"] == "All 4 calls failed, most often with Timeout."
    assert built["slowest"] == []


@pytest.mark.parametrize("width", [60, 120])
def test_failed_calls_alone_have_no_rows_of_dashes(tmp_path: Path, width: int) -> None:
    """Asked for the failed calls: how many of whom, and no figure that failed calls do not have, tokens included."""
    calls = [*busy_calls(6), *busy_calls(4, first=50, usage=None, outcome="error", error_type="Timeout")]
    log = str(write_log(tmp_path / "log" / "a.jsonl", calls).parent)
    built = report.build(log, day=DAY, group_by=("model",), where={"status": "error"})
    for text in (render_table(built.data, width), render_markdown(built.data)):
        assert "All 4 calls failed, most often with Timeout" in text
        assert not re.search(r"(?<![-\w])-(?![-\w])", text.replace("---", ""))
        assert "tokens" not in text
    page = html.render(built.data)
    body = page[page.index("<main>") : page.index("</main>")]
    assert ">-<" not in body
    assert "tokens in" not in body


def test_what_slowed_calls_may_be_unknown(tmp_path: Path) -> None:
    """Every third call was slow while it was under way between us and the provider: somebody's contention, nobody's name."""
    log = str(write_log(tmp_path / "log" / "a.jsonl", busy_calls(60, network_transit_s=100.0)).parent)
    built = report.build(log, day=DAY)
    slow = built["totals"]["split"]["calls"]["unknown"]
    assert slow > 10
    assert f"of the time: unknown causes slowed {slow} of 60 compared calls" in built["verdict"]


def test_days_asked_for_are_shown_once(tmp_path: Path) -> None:
    """A period of two days shows its days by itself, and not twice where they are asked for."""
    calls = [*busy_calls(6), *busy_calls(6, first=100, day=1)]
    log = str(write_log(tmp_path / "log" / "a.jsonl", calls).parent)
    for asked in (("model",), ("model", "day"), ("day",)):
        built = report.build(log, group_by=asked)
        assert render_table(built.data, 120).count("by day\n") == 1
        assert html.render(built.data).count(">By day<") == 1
        assert render_markdown(built.data).count("## By day\n") == 1


def test_compare_learns_each_side(tmp_path: Path) -> None:
    """The API is 35% slower on the second day: denoised says so, from each day's own calls; the contention stays what it was."""
    calls = [*busy_calls(400), *busy_calls(400, first=1000, day=1, level=1.35)]
    source = (str(write_log(tmp_path / "log" / "a.jsonl", calls).parent),)
    found = compare(Selection(source, day=DAY, text="one"), Selection(source, day="2026-11-21", text="two"))
    denoised = next(one for one in found["measures"] if one["measure"] == "denoised_runtime_s")
    assert denoised["change"] == pytest.approx(1.35, rel=0.06)
    assert denoised["verdict"] == "higher"


def test_one_profile_is_not_compared(tmp_path: Path) -> None:
    """Where one profile describes both sides, its row says nothing, and says that."""
    calls = [*busy_calls(40), *busy_calls(40, first=1000, day=1, level=1.35)]
    source = (str(write_log(tmp_path / "log" / "a.jsonl", calls).parent),)
    mine = RuntimeProfile(id="mine", model="m", prompt_knots=((0.0, 1.0),), stack={"deployment": KEY})
    sides = [Selection(source, day=day, text=day) for day in (DAY, "2026-11-21")]
    found = compare(sides[0], sides[1], catalog=Catalog(denoised={KEY: mine}))
    denoised = next(one for one in found["measures"] if one["measure"] == "denoised_runtime_s")
    assert (denoised["verdict"], denoised["change"]) == ("one profile: not compared", None)


def test_breach_comes_before_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One limit breached, one that cannot be judged: exit 1, and both are said, with the next step."""
    folder = write_log(tmp_path / "log" / "a.jsonl", busy_calls(8)).parent
    limits = tmp_path / "limits.toml"
    limits.write_text("[limits]\nraw_p50_s = 0.001\ncontention_share = 0.5\n")
    assert main(["check", str(folder), "--limits", str(limits)]) == 1
    said = capsys.readouterr().err
    assert "1 limit breached" in said
    assert "1 limit cannot be judged, the figure is unknown for these calls: contention_share" in said
    assert "12 more usable calls needed" in said
