"""Reports of a sample: totals of all calls with an interval, a coverage line that says so, and a tail sample that tells no cost."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from made_days import call, line, span, write_log
from tracewrap import report, semconv
from tracewrap.cli import main
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import Call, TokenUsage
from tracewrap.semconv.sampling import sampling_of
from tracewrap.sources import read_calls

TENTH = "ot=th:e6666666666668"


def calls(count: int, seed: int) -> list[Call]:
    """Calls of two models in traces of one to four, with prices; costs spread over two orders of magnitude."""
    draw = random.Random(seed)
    made = []
    trace = 0
    while len(made) < count:
        trace += 1
        for _ in range(draw.choice((1, 1, 2, 4))):
            model = draw.choice(("gpt-4o", "gpt-4o-mini"))
            usage = TokenUsage(int(draw.lognormvariate(6.5, 1)), int(draw.lognormvariate(5, 1)))
            named = {"request_model": model, "response_model": model, "trace_id": f"{trace:032x}"}
            made.append(call(len(made) + 1, 20 * len(made) / count, usage=usage, **named))
    return made[:count]


def built(folder: Path, spans: list[dict[str, Any]], **options: Any) -> report.Report:
    """The report of *spans* in a file."""
    folder.mkdir(exist_ok=True)
    (folder / "a.jsonl").write_text(line(spans) + "\n")
    return report.build(str(folder), day="2026-11-20", group_by=(), catalog=Catalog(), **options)


def test_the_truth_lies_in_the_interval(tmp_path: Path) -> None:
    """Ten of a hundred traces kept: calls, tokens and cost of all of them lie in their intervals in at least 18 of 20 seeds."""
    held = {"calls": 0, "input_tokens": 0, "list_cost_usd": 0}
    for seed in range(20):
        everything = calls(1500, seed)
        keep = random.Random(1000 + seed)
        kept = {trace for trace in sorted({one.trace_id for one in everything}) if keep.random() < 0.1}
        truth = built(tmp_path / "all", [span(one) for one in everything])["totals"]
        spans = [span(one) for one in everything if one.trace_id in kept]
        found = built(tmp_path / "some", spans, sampled=0.1)["sample"]
        assert found is not None
        for name in held:
            interval = found[name]  # type: ignore[literal-required]
            held[name] += interval["low"] <= truth[name] <= interval["high"]  # type: ignore[literal-required]
    assert min(held.values()) >= 18, held


def test_the_coverage_line_says_that_it_is_a_sample(tmp_path: Path) -> None:
    """The first note: the probability, and all calls with their interval; figures of everything say nothing of the kind."""
    found = built(tmp_path / "a", [span(one, traceState=TENTH) for one in calls(20, 1)])
    assert found["notes"][0].startswith(
        "a sample: 20 calls of traces kept with probability 0.1; all calls, with 95% intervals: 200 ("
    )
    assert found["sample"] is not None
    assert found["sample"]["calls"] is not None
    assert found["sample"]["calls"]["value"] == pytest.approx(200)
    whole = built(tmp_path / "b", [span(one) for one in calls(20, 1)])
    assert whole["sample"] is None
    assert not any("sample" in note for note in whole["notes"])


def test_a_trace_counts_by_its_own_probability(tmp_path: Path) -> None:
    """Two calls kept at a half and one at a quarter stand for eight; a record's word wins over the user's."""
    states = ("ot=th:8", "vendor=x,ot=rv:0123456789abcd;th:8", "ot=th:c")
    spans = [span(call(i + 1), traceState=state) for i, state in enumerate(states)]
    found = built(tmp_path / "a", spans, sampled=0.001)["sample"]
    assert found is not None
    assert found["calls"] is not None
    assert (found["calls"]["value"], found["least_probability"], found["most_probability"]) == (8.0, 0.25, 0.5)


def test_sampled_without_a_probability_is_said(tmp_path: Path) -> None:
    """A random value without a threshold: a sample of unknown size; the line says how to scale it."""
    spans = [span(one, traceState="ot=rv:0123456789abcd") for one in calls(5, 1)]
    found = built(tmp_path / "a", spans)
    assert found["notes"][0].startswith(
        "a sample: 5 calls of 5 are of sampled traces, with what probability their records do not say"
    )
    assert "--sampled 0.1 scales them" in found["notes"][0]


def test_calls_beside_unsampled_ones_are_marked_as_a_sample(tmp_path: Path) -> None:
    """The mark that a sampling process leaves on what it exports, read by both codecs."""
    spans = [span(one) for one in calls(5, 1)]
    for one in spans[1:]:
        one["attributes"].append({"key": semconv.SAMPLED, "value": {"boolValue": True}})
    found = built(tmp_path / "a", spans)
    assert found["notes"][0].startswith("a sample: 4 calls of 5 are of sampled traces")
    marked = semconv.call_attributes(call(1)) | {semconv.SAMPLED: True}
    read = semconv.call_from_attributes(marked, trace_id="t", span_id="s", start_time_ns=1)
    assert read is not None
    assert (read.sampled, read.sampling_probability, dict(read.tags)) == (True, None, {})


def test_a_tail_sample_tells_no_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cost and error share are unknown; a limit on them cannot be judged; no quiet day is learned."""
    found = built(tmp_path / "a", [span(one) for one in calls(30, 1)], sampled="tail")
    assert (found["totals"]["list_cost_usd"], found["totals"]["error_share"]) == (None, None)
    assert found["notes"][0].startswith("a tail sample")
    assert found["totals"]["calls"] == 30
    limits = tmp_path / "limits.toml"
    limits.write_text("[limits]\nlist_cost_usd = 1000.0\n")
    source = str(tmp_path / "a")
    assert main(["check", source, "--limits", str(limits), "--sampled", "tail"]) == 2
    assert main(["check", source, "--limits", str(limits)]) == 0
    assert main(["denoise", source, "--sampled", "tail"]) == 2
    assert "no quiet day can be learned" in capsys.readouterr().err


def test_a_limit_on_cost_is_judged_for_all_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the traffic does not make the bill a tenth; the probability may also be a setting."""
    log = str(write_log(tmp_path / "a.jsonl", calls(30, 1)))
    cost = report.build(log, catalog=Catalog())["totals"]["list_cost_usd"]
    assert cost is not None
    limits = tmp_path / "limits.toml"
    limits.write_text(f"[limits]\nlist_cost_usd = {cost * 5}\n")
    assert main(["check", log, "--limits", str(limits)]) == 0
    monkeypatch.setenv("TRACEWRAP_SAMPLED", "0.1")
    assert main(["check", log, "--limits", str(limits)]) == 1


@pytest.mark.parametrize("text", ["0", "1.5", "-0.1", "nan", "head"])
def test_what_is_no_probability(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit 2."""
    log = str(write_log(tmp_path / "a.jsonl", [call(1)]))
    assert main(["report", log, "--sampled", text]) == 2
    assert f"--sampled {text!r}: write the probability" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, (None, None)),
        ("", (None, None)),
        ("vendor=th:8", (None, None)),
        ("ot=th:0", (False, 1.0)),
        ("ot=th:8", (True, 0.5)),
        ("a=b, ot=rv:0123456789abcd;th:c ,c=d", (True, 0.25)),
        ("ot=rv:0123456789abcd", (True, None)),
        ("ot=th:XYZ", (None, None)),
    ],
)
def test_tracestate(state: str | None, expected: tuple[bool | None, float | None], tmp_path: Path) -> None:
    """The two readers of a tracestate, Python and SQL, agree."""
    assert sampling_of(state) == expected
    (tmp_path / "a.jsonl").write_text(line([span(call(1), traceState=state or "")]) + "\n")
    (read,) = read_calls(str(tmp_path))
    assert (read.sampled, read.sampling_probability) == expected


def test_json_has_the_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads the scaled totals too."""
    log = str(write_log(tmp_path / "a.jsonl", calls(10, 1)))
    assert main(["report", log, "--sampled", "0.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["sample"]
    assert (found["kind"], found["calls"]["value"]) == ("given", 20.0)
