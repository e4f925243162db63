"""What people read: whole numbers at any width, the calls asked for, names that are only names."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from made_days import call, write_log
from tracewrap import report, words
from tracewrap.cli import main
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import Call, TokenUsage
from tracewrap.report.render import formats, html
from tracewrap.report.render.markdown import render_markdown
from tracewrap.report.render.table import render_table
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.stack import Price, ReferenceStack

EVIL = "\x1b]0;owned\x07\x1b[2J"
LONG = "a-rather-long-model-name-of-somebody-2026-11-20"


def calls() -> list[Call]:
    """Forty streams of four models over two days, and one hostile name."""
    out = []
    for i in range(40):
        model = ("gpt-4o", LONG, "=1+1", f"{EVIL}<script>|x")[i % 4]
        made = call(
            i + 1,
            1.1 * i,
            request_model=model,
            response_model=model,
            stream=True,
            usage=TokenUsage(1000 + i, 11),
            raw_runtime_s=1.0 + i / 100,
            time_to_first_chunk_s=0.5,
            tags={"tenant": f"t{i % 2}", "feature": "search"},
        )
        out.append(made)
    return out


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The log of ``calls``."""
    return str(write_log(tmp_path_factory.mktemp("log") / "calls" / "a.jsonl", calls()).parent)


@pytest.fixture(scope="module")
def built(log: str) -> report.BuiltReport:
    """Its report, on a stack that knows gpt-4o."""
    ideal = RuntimeProfile(
        id="i", model="gpt-4o", prompt_knots=((0.0, 0.1),), d0=0.01, n_gpus=1, interval=Interval(base=0.1)
    )
    stack = ReferenceStack(
        id="s", gpu="h", precision="bf16", price=Price(3.6, "t", "2026-11-01"), watts=1.0, profiles={"gpt-4o": ideal}
    )
    return report.build(log, catalog=Catalog(stacks=(stack,)), group_by=("model", "tenant"))


def test_streams_tell_first_token_and_time_per_token(built: report.BuiltReport) -> None:
    """Raw 1.00 to 1.39 s, first chunk at 0.5 s, ten tokens after it: 50 to 89 ms a token; 440 tokens in 47.8 s of last attempts."""
    totals = built["totals"]
    assert totals["time_to_first_chunk"]["p50_s"] == pytest.approx(0.5)
    assert totals["time_per_output_token"]["p50_s"] == pytest.approx((1.195 - 0.5) / 10)
    assert totals["output_tokens_per_s"] == pytest.approx(440 / sum(1.0 + i / 100 for i in range(40)))


@pytest.mark.parametrize("width", [40, 60, 80, 120, 160])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(built: report.BuiltReport, width: int) -> None:
    """Fewer columns where it is narrow; every cell of a figure is one that the widest table has."""
    text = render_table(built.data, width)
    assert max(map(words.cells, text.splitlines())) <= width
    wide = set(render_table(built.data, 1000).split())
    row = next(line for line in text.splitlines() if line.startswith("gpt-4o"))
    assert set(row.split()[1:]) <= wide


def test_narrow_terminals_keep_what_decides(built: report.BuiltReport) -> None:
    """At 60 columns: calls, raw, list cost; at 160 also first token, time per token and tokens a second."""
    narrow, wide = (render_table(built.data, width).split("by model")[1].splitlines()[1:3] for width in (60, 160))
    assert {"calls", "p50", "cost"} <= set(narrow[1].split())
    assert "tok/s" not in narrow[1]
    assert {"tok/s", "token", "ratio"} <= set(wide[1].split()) | {"ratio"}


@pytest.mark.parametrize("name", ["table", "md", "csv", "html"])
def test_hostile_names_reach_no_terminal_and_no_spreadsheet(built: report.BuiltReport, name: str) -> None:
    """No escape in any format; no bare markup in Markdown; no cell that a spreadsheet would compute."""
    text = formats.render(built, name)
    assert "\x1b" not in text
    assert "\x07" not in text
    if name == "md":
        assert re.search(r"(?<!\\)<", text) is None
    if name == "csv":
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert not [cell for cell in cells if re.match(r"[=+@]|-(?![\d.]+$)", cell)]


def test_where_leaves_the_other_calls_out(log: str) -> None:
    """By what the deployment says, by any attribute, and both: 40 calls, 10 of gpt-4o, 20 of tenant t0; '' is without it."""

    def n(where: dict[str, str]) -> int:
        found: int = report.build(log, catalog=Catalog(), where=where)["totals"]["calls"]
        return found

    assert [n({}), n({"model": "gpt-4o"}), n({"tenant": "t0"}), n({"outcome": "complete"})] == [40, 10, 20, 40]
    assert [n({"model": "gpt-4o", "tenant": "t0"}), n({"model": "gpt-4o", "tenant": "t1"})] == [10, 0]
    assert [n({"stream": "plain"}), n({"feature": ""}), n({"feature": "search"})] == [0, 0, 40]


def test_a_filtered_report_says_which_calls_it_is_of(log: str) -> None:
    """In its title, in every format for people, and where none is like that, in place of "no calls in this period"."""
    built = report.build(log, catalog=Catalog(), where={"model": "gpt-4o", "outcome": "complete"})
    assert built["where"] == {"model": "gpt-4o", "outcome": "complete"}
    for text in (render_table(built.data, 80), render_markdown(built.data), html.render(built.data)):
        assert "LLM calls with model=gpt-4o, status=complete" in " ".join(text.split())
    none = report.build(log, catalog=Catalog(), where={"outcome": "error"})
    assert none["verdict"] == "No calls in this period are as asked."
    assert any(note.startswith("no calls with status=error between ") for note in none["notes"])


def test_a_value_that_a_name_never_has_is_refused(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With those that it has: an empty report would look like an answer."""
    assert main(["report", log, "--where", "status=success"]) == 2
    assert "status is one of complete, partial, cancelled, error, background" in capsys.readouterr().err
    assert main(["report", log, "--where", "stream=yes"]) == 2
    assert "stream is one of stream, plain" in capsys.readouterr().err


def test_where_is_written_as_names_and_values(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Several in one or apart; what is no NAME=VALUE is one line and exit 2."""
    assert main(["report", log, "--json", "--where", "model=gpt-4o,status=complete", "tenant=t0"]) == 0
    assert '"calls": 10' in capsys.readouterr().out
    assert main(["report", log, "--where", "gpt-4o"]) == 2
    assert "write NAME=VALUE" in capsys.readouterr().err


def test_days_and_hours_are_groupings(log: str) -> None:
    """In order, in the report's own time zone: in Auckland, 13 hours ahead, the forty calls lie on three days."""
    built = report.build(log, catalog=Catalog(), group_by=("day", "hour,tenant"), timezone="Pacific/Auckland")
    days = [(row["key"]["day"], row["calls"]) for row in built["groups"][0]["rows"]]
    assert days == [("2026-11-20", 10), ("2026-11-21", 22), ("2026-11-22", 8)]
    assert [row["calls"] for row in built["days"]] == [10, 22, 8]
    hours = [row["key"]["hour"] for row in built["groups"][1]["rows"]]
    assert hours == sorted(hours)
    assert hours[0] == "2026-11-20T13:00:00+13:00"


def test_an_unknown_grouping_is_an_error_with_near_names(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A typo is exit 2 and says what is near; ours are no error where no call has them."""
    assert main(["report", log, "--group-by", "modle"]) == 2
    assert "do you mean model?" in capsys.readouterr().err
    assert main(["report", log, "--group-by", "featur"]) == 2
    assert "do you mean feature?" in capsys.readouterr().err
    assert report.build(log, catalog=Catalog(), group_by=("route",))["groups"][0]["rows"][0]["key"] == {"route": None}


def test_99_percent_of_few_calls_is_not_shown(built: report.BuiltReport) -> None:
    """p99 of forty calls says no more than the slowest one."""
    assert "p99" not in render_table(built.data)


def test_costs_beside_each_other_are_of_the_same_calls(built: report.BuiltReport) -> None:
    """Only gpt-4o is priced and idealized: its costs stand bare; those of tenants too, whose priced calls are all gpt-4o's."""
    reference = built["totals"]["references"][0]
    assert reference["list_cost_calls"] == built["totals"]["priced_calls"] == 10
    assert reference["list_to_idealized"] == pytest.approx(
        reference["list_cost_usd"] / reference["list_cost_idealized_usd"]
    )
    text = render_table(built.data)
    assert "the same 10 calls" in text
    assert "not of the same calls" not in text


def test_a_report_is_a_dictionary_and_a_frame(built: report.BuiltReport) -> None:
    """Mapping access, plain JSON values, HTML for a notebook; frames where pandas or polars are installed."""
    assert built["totals"] == built.to_dict()["totals"]
    shown = built._repr_html_()
    assert words.clean(EVIL + "<script>|x").replace("<", "&lt;").replace(">", "&gt;") in shown
    assert "<script" not in shown
    pandas = pytest.importorskip("pandas")
    frame = built.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.loc[0, "calls"] == 40


def test_a_file_that_is_no_log_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program or a table given as a source: one line, exit 2, no report of nothing."""
    (tmp_path / "app.py").write_text("import openai\nprint(1)\n")
    assert main(["report", str(tmp_path / "app.py")]) == 2
    assert "no line of it is JSON" in capsys.readouterr().err


def test_a_stand_in_that_nothing_is_known_of_is_an_error(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--stand-in gpt-4o=nomodel is one line and exit 2, not a report as if it had not been said."""
    assert main(["report", log, "--stand-in", "gpt-4o=nomodel"]) == 2
    assert "nothing is known of 'nomodel'" in capsys.readouterr().err


def test_settings_hold_for_reports_too(
    log: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """TRACEWRAP_STAND_INS gives a closed model its stand-in, as it does live."""
    monkeypatch.setenv("TRACEWRAP_STAND_INS", "gpt-4o=llama-3.1-8b")
    assert main(["report", log, "--json"]) == 0
    assert '"assumed": 10' in capsys.readouterr().out
