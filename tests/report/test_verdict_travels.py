"""What a denoised profile says of itself stands wherever its figures stand: one profile that is ``few_hours``, every carrier asked."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from made_days import attributes as otlp
from made_days import call, span, write_log
from made_days import line as log_line
from tracewrap import report, semconv
from tracewrap.cli import main
from tracewrap.estimate.catalog import Catalog, load_catalog
from tracewrap.estimate.joiner import join_attributes, join_call
from tracewrap.estimate.presenting import summary
from tracewrap.live.screen import render
from tracewrap.records import Call, TokenUsage
from tracewrap.report.render.formats import render as rendered
from tracewrap.runtime.files import save_profile
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.sinks.terminal import line

KEY = "openai|api.openai.com:443|m|chat|plain"
UNSURE = RuntimeProfile(
    id=KEY, model="m", prompt_knots=((1.0, 0.2),), d0=0.01, stack={"deployment": KEY}, verdict="few_hours"
)
CATALOG = Catalog(denoised={KEY: UNSURE})


def calls() -> list[Call]:
    """Thirty calls of the deployment."""
    return [
        call(i, i / 2, request_model="m", response_model="m", usage=TokenUsage(50, 20), raw_runtime_s=0.6)
        for i in range(1, 31)
    ]


def attributes() -> dict[str, object]:
    """Of a call's span, joined."""
    one = calls()[0]
    facts = semconv.call_attributes(one)
    return facts | join_attributes(facts, CATALOG)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log of the calls."""
    return write_log(tmp_path / "log" / "a.jsonl", calls()).parent


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """The profile's file."""
    save_profile(UNSURE, tmp_path / "quiet.json")
    return tmp_path / "quiet.json"


@pytest.fixture
def built(folder: Path, profile: Path) -> report.BuiltReport:
    """The day's report by that profile."""
    return report.build(str(folder), day="2026-11-20", profile_paths=[str(profile)], learn=False)


def test_the_profile_file_says_it(profile: Path) -> None:
    """It is written and read back."""
    assert json.loads(profile.read_text())["verdict"] == "few_hours"
    assert load_catalog(profile, shipped=False).denoised[KEY].verdict == "few_hours"


def test_the_joined_call_says_it() -> None:
    """The estimate has it, and the join status names it."""
    joined = join_call(calls()[0], CATALOG)
    assert joined.denoised_runtime is not None
    assert joined.denoised_runtime.verdict == "few_hours"
    assert "denoised_few_hours" in joined.join_status


def test_span_line_and_summary_say_it() -> None:
    """The span's attribute and its join status; the terminal's line; the one line that Jaeger shows."""
    found = attributes()
    assert found[semconv.PROFILE_VERDICT] == "few_hours"
    assert "denoised_few_hours" in str(found[semconv.JOIN_STATUS])
    assert "denoised_few_hours" in line("chat m", found)
    assert "few_hours" in (summary(found) or "")


def test_the_report_says_it(built: report.BuiltReport) -> None:
    """In the figures of every group, in the coverage and beside the profile; a share of calls, not a mere word."""
    assert built["totals"]["denoised"]["verdicts"] == {"few_hours": 30}
    assert {row["denoised"]["verdicts"]["few_hours"] for grouping in built["groups"] for row in grouping["rows"]} == {
        30
    }
    assert built["coverage"]["denoised_verdicts"] == {"few_hours": 30}
    assert [used["verdict"] for used in built["denoised_profiles"]] == ["few_hours"]


SAID: dict[str, Callable[[str], bool]] = {
    "table": lambda text: text.count("few_hours: 30 calls") == 2,
    "md": lambda text: text.count("few\\_hours: 30 calls") == 2,
    "json": lambda text: json.loads(text)["coverage"]["denoised_verdicts"] == {"few_hours": 30},
    "csv": lambda text: all(row["denoised.verdicts"] == "few_hours=30" for row in csv.DictReader(io.StringIO(text))),
    "html": lambda text: "measured (30); few_hours (30)" in text and ">few_hours</td>" in text,
}


@pytest.mark.parametrize("name", SAID)
def test_every_format_says_it(name: str, built: report.BuiltReport) -> None:
    """The coverage line of what people read; the cells of what programs read."""
    text = rendered(built.data, name)
    assert SAID[name](text), text[:3000]


def test_check_says_it(folder: Path, profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside limits that held or not, on standard error; in the JSON by itself."""
    limits = tmp_path / "limits.toml"
    limits.write_text("[limits]\ncontention_share = 0.9\n")
    command = ["check", str(folder), "--limits", str(limits), "--profiles", str(profile), "--no-learn"]
    assert main(command) == 0
    assert "not ok stand behind these figures (few_hours: 30 calls)" in capsys.readouterr().err
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["denoised_verdicts"] == {"few_hours": 30}


def test_top_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of calls that were recorded with such a profile: in the note above the table and in the JSON."""
    now = time.time_ns()
    recent = [dataclasses.replace(one, start_time_ns=now - 20 * 10**9) for one in calls()]
    joined = [span(one, attributes=otlp(semconv.call_attributes(one) | attributes())) for one in recent]
    folder = tmp_path / "top"
    folder.mkdir()
    (folder / "a.jsonl").write_text(log_line(joined) + "\n")
    assert main(["top", str(folder), "--once", "--json", "--no-learn"]) == 0
    frame = json.loads(capsys.readouterr().out)
    assert frame["total"]["unsure"] == {"few_hours": 30}
    assert any("not ok: few_hours 30/30" in text for text, _ in render(frame, 120))
