"""Calls that a program could not write are said in the report: in the coverage line, in a note, and by reason in the JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made_days import DAY_NS, call, write_log
from tracewrap import report
from tracewrap.records import DAY_NS as A_DAY_NS
from tracewrap.report.render.text import coverage_lines
from tracewrap.sinks import SpanLog
from tracewrap.sources.compact import compact

OPTIONS: dict[str, Any] = {"day": "2026-11-20", "now_ns": DAY_NS + 2 * A_DAY_NS}


def _log(folder: Path, *losses: tuple[tuple[str, str, int], int]) -> str:
    """Ten calls of the day, and records of losses: (place, reason, count) and since when."""
    write_log(folder / "a.jsonl", [call(i, i) for i in range(1, 11)])
    log = SpanLog(folder)
    for lost, since_ns in losses:
        log.write_losses([lost], since_ns)
    return str(folder)


def test_lost_calls_are_said(tmp_path: Path) -> None:
    """Those of the period that never reached the log make its totals too low; what an exporter lost does not."""
    built = report.build(
        _log(
            tmp_path,
            (("span_log", "no_space", 780), DAY_NS + 1),
            (("span_log", "queue_full", 20), DAY_NS + 2),
            (("otlp", "http_503", 5), DAY_NS + 3),
            (("span_log", "no_space", 7), DAY_NS - 1),
            (("span_log", "no_space", 7), DAY_NS + A_DAY_NS),
        ),
        **OPTIONS,
    )
    assert built["totals"]["calls"] == 10
    assert built["coverage"]["lost_calls"] == 800
    assert built["sources"][0]["lost"] == {"otlp": {"http_503": 5}, "span_log": {"no_space": 780, "queue_full": 20}}
    assert "800 calls lost before they were logged" in coverage_lines(built)[0]
    notes = " ".join(built["notes"])
    assert (
        "800 calls could not be written to it (no_space 780, queue_full 20): not counted, totals are too low" in notes
    )
    assert "5 calls did not reach otlp (http_503 5); counted here" in notes


def test_lost_calls_are_said_of_a_lake(tmp_path: Path) -> None:
    """The report of a lake says the same of losses as that of the log which was compacted into it."""
    log = _log(tmp_path / "log", (("span_log", "no_space", 780), DAY_NS + 1), (("otlp", "http_503", 5), DAY_NS + 3))
    compact([log], tmp_path / "lake")
    of_log, of_lake = (report.build(str(place), **OPTIONS) for place in (log, tmp_path / "lake"))
    assert of_lake["coverage"]["lost_calls"] == 780
    assert of_lake["sources"][0]["lost"] == of_log["sources"][0]["lost"]
    assert coverage_lines(of_lake) == coverage_lines(of_log)
    assert "780 calls could not be written to it" in " ".join(of_lake["notes"])


def test_a_copied_record_counts_once(tmp_path: Path) -> None:
    """A log that is read twice, as a copy beside itself, tells of its losses once."""
    _log(tmp_path, (("span_log", "no_space", 3), DAY_NS))
    for path in list(tmp_path.glob("*.jsonl")):
        (tmp_path / f"copy-{path.name}").write_bytes(path.read_bytes())
    assert report.build(str(tmp_path), **OPTIONS)["coverage"]["lost_calls"] == 3


def test_a_record_that_is_none_is_passed_over(tmp_path: Path) -> None:
    """Hostile records of losses cost nothing but themselves."""
    folder = _log(tmp_path, (("span_log", "no_space", 3), DAY_NS))
    good = next(path for path in tmp_path.glob("*.jsonl") if path.name != "a.jsonl")
    text = good.read_text()
    bad = [text.replace('"intValue":"3"', f'"intValue":"{value}"') for value in ("-5", "many", "1e999")]
    (tmp_path / "bad.jsonl").write_text("".join(bad) + text.replace('"tracewrap.lost.place"', '"else"'))
    assert report.build(folder, **OPTIONS)["coverage"]["lost_calls"] == 3


def test_no_losses_no_words(tmp_path: Path) -> None:
    """A log without losses says nothing of them."""
    built = report.build(_log(tmp_path), **OPTIONS)
    assert (built["coverage"]["lost_calls"], built["sources"][0]["lost"]) == (0, {})
    assert "lost" not in " ".join([*coverage_lines(built), *built["notes"]])
