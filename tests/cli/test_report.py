"""``tracewrap report`` and ``tracewrap lake compact``: every format, several files at once, clear errors, exit codes."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest

from made_days import DAY_NS, call, line, span, write_log
from tracewrap import report
from tracewrap.cli import main
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import TokenUsage
from tracewrap.report.render import formats as render
from tracewrap.runtime.files import save_profile
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.stack import Price, ReferenceStack, save_stack
from tracewrap.sources import connect

DAY = "2026-11-20"


@pytest.fixture
def log(tmp_path: Path) -> str:
    """Three priced calls, one failed call, and a torn line."""
    usage = TokenUsage(input_tokens=100, output_tokens=11)
    calls = [
        call(i, i, request_model="gpt-4o", response_model="gpt-4o", usage=usage, raw_runtime_s=float(i))
        for i in (1, 2, 3)
    ]
    calls.append(
        dataclasses.replace(
            calls[0], trace_id="f" * 32, usage=None, outcome="error", error_type="Timeout", service_name="b|a"
        )
    )
    return str(write_log(tmp_path / "spans.jsonl", calls, tail=line([span(calls[0])])[:99]))


@pytest.fixture
def profiles(tmp_path: Path) -> str:
    """A folder with a denoised profile and two stacks for gpt-4o."""
    folder = tmp_path / "profiles"
    folder.mkdir()
    quiet = RuntimeProfile(
        id="q",
        model="gpt-4o",
        prompt_knots=((0.0, 0.5),),
        d0=0.01,
        stack={"deployment": "openai|api.openai.com:443|gpt-4o|chat|plain"},
    )
    save_profile(quiet, folder / "quiet.json")
    for name, factor in (("fast", 1.0), ("slow", 2.0)):
        ideal = RuntimeProfile(id=name, model="gpt-4o", prompt_knots=((0.0, 0.1 * factor),), d0=0.01 * factor, n_gpus=4)
        stack = ReferenceStack(
            id=name, gpu="H100", precision="bf16", price=Price(3.6, "t", DAY), watts=300.0, profiles={"gpt-4o": ideal}
        )
        save_stack(stack, folder / f"{name}.json")
    return str(folder)


def test_table_is_the_default_and_says_the_verdict_first(
    log: str, profiles: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The terminal table says the verdict, notes and coverage, then totals, groups, slow calls and stacks."""
    assert main(["report", log, "--day", DAY, "--profiles", profiles, "--reference", "fast", "slow"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == f"LLM calls of {DAY} (UTC)"
    assert lines[1].startswith("4 calls took 2.00 s at the median and 2.90 s at p95; contention was 70.0% of the time")
    assert (
        out.index("note: ")
        < out.index("coverage: 4 calls")
        < out.index("raw runtime")
        < out.index("by provider")
        < out.index("slowest calls")
    )
    for part in (
        "1 torn line skipped",
        "idealized on fast",
        "idealized on slow",
        "genai-prices",
        "by model, idealized on slow",
        f"{3:032x}",
    ):
        assert part in out
    assert max(map(len, lines)) <= 160


def test_json_is_the_versioned_report(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints the report that build gives, nothing else."""
    assert main(["report", log, "--day", DAY, "--json", "--group-by", "service,model"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == report.SCHEMA
    assert found["groups"][0]["by"] == ["service", "model"]
    assert found["totals"]["calls"] == 4
    assert found["sources"][0]["torn_lines"] == 1


def test_several_files_at_once(log: str, profiles: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """-o writes each file in the format of its suffix; the figures agree; nothing is printed."""
    files = {name: tmp_path / f"out.{name}" for name in ("json", "csv", "md", "txt", "parquet")}
    assert (
        main(
            [
                "report",
                log,
                "--day",
                DAY,
                "--profiles",
                profiles,
                "--reference",
                "fast",
                "-o",
                *map(str, files.values()),
            ]
        )
        == 0
    )
    assert capsys.readouterr().out == ""
    built = json.loads(files["json"].read_text())
    rows = list(csv.DictReader(io.StringIO(files["csv"].read_text())))
    assert rows[0]["grouping"] == ""
    assert float(rows[0]["raw.sum_s"]) == pytest.approx(built["totals"]["raw"]["sum_s"])
    assert rows[0]["fast.idealized.provenance"] == "measured=3"
    with connect() as connection:
        table = connection.execute(
            f"SELECT calls, \"fast.idealized_cost_usd.value\" FROM '{files['parquet']}' WHERE grouping = ''"
        ).fetchall()
    assert table == [(4, pytest.approx(built["totals"]["references"][0]["idealized_cost_usd"]["value"]))]
    markdown = files["md"].read_text()
    assert markdown.startswith(f"# LLM calls of {DAY}")
    assert "b\\|a" in markdown
    assert files["txt"].read_text().startswith("LLM calls")


def test_markdown_tables_have_equal_columns(log: str, profiles: str) -> None:
    """Every row of every Markdown table has as many cells as its head."""
    built = report.build(log, day=DAY, profile_paths=[profiles], references=["fast"])
    width = 0
    for text in render.render(built, "md").splitlines():
        cells = text.replace("\\|", "").count("|")
        assert not (text.startswith("|") and width and cells != width), text
        width = cells if text.startswith("|") else 0


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["{tmp}/none", "--day", DAY], "no such file or folder"),
        (["{log}", "--day", "yesteryear"], "is no date"),
        (["{log}", "--since", "2026-11-21", "--until", "2026-11-20"], "is empty"),
        (["{log}", "--day", DAY, "--since", DAY], "exclude each other"),
        (["{log}", "--timezone", "Mars/Base"], "time zone 'Mars/Base'"),
        (["{log}", "--reference", "no-such-stack"], "no reference stack"),
        (["{log}", "--profiles", "{tmp}/gone.json"], "no such file or folder of profiles"),
        (["{log}", "--prices", "{tmp}/gone.toml"], "cannot be read"),
        (["{log}", "-o", "{tmp}/x.doc"], "names no format"),
        (["{log}", "-o", "{tmp}/no/such/folder/x.json"], "cannot be written"),
        (["{log}", "--group-by", "model,"], "a name is empty"),
        (["{log}", "--timezone", ""], "time zone ''"),
        (["{log}", "--since", ""], "is no date"),
        (["{log}", "--until", ""], "is no date"),
        (["{log}", "--top", "-1"], "--top is -1, must be at least 0"),
        (["{log}", "--drift-days", "-1"], "--drift-days is -1, must be at least 0"),
        (["{log}", "--memory", "much"], "--memory 'much' is no size"),
        (["{log}", "--training", "0"], "over how many served tokens"),
        (["{log}", "--stand-in", "gpt-4o"], "CLOSED=OPEN"),
        (["{log}", "--engine", "spark"], "compact the logs first"),
        (["jaeger://127.0.0.1:9", "--day", DAY], "cannot be reached"),
    ],
)
def test_errors_are_one_line_and_exit_2(
    arguments: list[str], part: str, log: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong is named with its value and the next step; exit code 2; no traceback."""
    assert main(["report", *(text.format(tmp=tmp_path, log=log) for text in arguments)]) == 2
    captured = capsys.readouterr()
    assert part in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("suffix", ["html", "json", "parquet"])
def test_a_report_in_an_object_store_is_refused(
    log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    """A URL never becomes a local file of that name: one line, exit 2, without its password."""
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert main(["report", log, "-o", f"s3://key:SECRET@bucket/day.{suffix}"]) == 2
    said = capsys.readouterr().err
    assert "s3://bucket/day" in said
    assert "SECRET" not in said
    assert set(tmp_path.iterdir()) == before


def test_a_day_without_calls_is_a_report(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty day says so, in every text format, and exits 0."""
    for name in ("table", "md", "json", "csv"):
        assert main(["report", log, "--day", "2026-11-25", "--format", name]) == 0
        out = capsys.readouterr().out
        assert "no calls" in out or name == "csv"
        assert re.search(r"\bnan\b", out, re.IGNORECASE) is None


def test_a_vanished_profile_is_named(log: str, tmp_path: Path) -> None:
    """Without any profile the report still stands: figures absent, models named."""
    built = report.build(log, day=DAY, catalog=Catalog())
    assert built["totals"]["denoised"]["sum_s"] is None
    assert {u["stack"] for u in built["unprofiled"]} == {None, "default"}
    assert "no denoised profile" in render.render(built, "table")


def test_a_wrong_clock_is_noted(tmp_path: Path) -> None:
    """Calls from the future stay in the day they claim, counted and noted."""
    log = write_log(tmp_path / "a.jsonl", [call(1), call(2, 5.0)])
    built = report.build(str(log), day=DAY, catalog=Catalog(), now_ns=DAY_NS + 3600 * 10**9)
    assert built["coverage"]["wrong_clock_calls"] == 1
    assert any("clock was wrong" in note for note in built["notes"])


def test_days_of_a_time_zone(tmp_path: Path) -> None:
    """A day of Auckland holds its own 24 hours; on the day clocks change it has 23 or 25."""
    log = write_log(tmp_path / "a.jsonl", [call(1, -14.0), call(2, -12.5), call(3, 10.5), call(4, 11.5)])
    built = report.build(str(log), day=DAY, timezone="Pacific/Auckland", catalog=Catalog())
    # Auckland is 13 hours ahead: its 20 November runs from 11:00 on the 19th to 11:00 on the 20th, UTC.
    assert built["totals"]["calls"] == 2
    assert built["period"]["since"] == "2026-11-20T00:00:00+13:00"
    assert built["hours"][0]["hour"].startswith("2026-11-20T00:00:00+13:00")
    assert len(report.build(str(log), day="2026-10-25", timezone="Europe/Berlin", catalog=Catalog())["hours"]) == 25


def test_everything_is_the_default_period(tmp_path: Path) -> None:
    """Without a period the report covers the whole days that hold the source's calls."""
    log = write_log(tmp_path / "a.jsonl", [call(1, 5.0), call(2, 30.0)])
    built = report.build(str(log), catalog=Catalog())
    assert built["period"]["days"] == ["2026-11-20", "2026-11-21"]
    assert built["totals"]["calls"] == 2


def test_lake_compact_says_what_it_did(log: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts in words and as JSON; the lake gives the same report as the log."""
    assert main(["lake", "compact", log, str(tmp_path / "lake")]) == 0
    assert "4 calls added in 1 day, 0 were there already; 1 lines" in capsys.readouterr().out
    assert main(["lake", "compact", log, str(tmp_path / "lake"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"calls": 4, "added": 0, "days": [], "skipped": 1}
    one, other = (report.build(source, day=DAY, catalog=Catalog()) for source in (log, str(tmp_path / "lake")))
    assert one["totals"] == other["totals"]
    assert one["slowest"] == other["slowest"]
