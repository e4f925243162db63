"""The ten questions: each is answered from the project alone, ends with a sentence to act on, and says what it should."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import pytest

from tracewrap.cli import main
from tracewrap.study.asking import QUESTIONS, as_page, as_text, ask
from tracewrap.study.questions.answer import Answer
from tracewrap.study.questions.scaling import PUBLISHED, measured

answered = functools.cache(ask)
"""Each question once: they take a second or so."""


def rows(name: str, key: str) -> dict[str, dict[str, float]]:
    """Rows of an answer by one of their columns."""
    return {row[key]: row for row in answered(name).rows}


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_page_ends_with_a_sentence_to_act_on(name: str) -> None:
    """Question first, source named, one sentence last, no absent value spelled out; as text and as a page."""
    answer: Answer = answered(name)
    text, html = as_text(name, answer), as_page(name, answer)
    assert answer.rows
    assert answer.question.endswith("?")
    assert text.rstrip().endswith(answer.use.split()[-1])
    assert answer.use.endswith(".")
    assert answer.use.count(". ") == 0
    assert not re.search(r"\bNone\b|\bnan\b", text + html)
    assert "<script" not in html
    assert max(map(len, text.splitlines())) < 200


def test_designed_queries_beat_the_other_ten() -> None:
    """Ten designed queries take less GPU time than any other ten and err least at p90; short prompts alone err most."""
    found = rows("configurations", "choice")
    designed = found.pop("10 designed")
    tens = [row for row in found.values() if row["queries"] == 10]
    assert len(tens) == 4
    assert all(designed["p90"] < row["p90"] and designed["gpu_time"] < row["gpu_time"] for row in tens)
    assert max(tens, key=lambda row: row["p90"])["choice"] == "10 short ones, up to 256 in"


def test_error_falls_with_queries_and_the_interval_covers_it() -> None:
    """From 4 to 27 queries the p90 error falls to a third at least, and the expected error stays above it."""
    found = answered("stopping").rows
    assert found[-1]["p90"] < found[0]["p90"] / 3
    assert all(row["expected"] > row["p90"] for row in found)


def test_steps_are_at_tile_edges() -> None:
    """Of every model a prompt that begins another tile of 128 costs over twice what one in the same tile does."""
    assert all(row["across"] > 2 * row["within"] for row in answered("slopes").rows)


def test_experts_matter_most() -> None:
    """Taking a mixture for a dense model of its weights is off by more than the whole runtime; nothing else is."""
    found = rows("facts", "fact")
    assert found["experts chosen"]["chat"] > 1
    assert all(row["chat"] < 0.5 for fact, row in found.items() if fact != "experts chosen")
    assert found["shared KV heads"]["agent"] > found["shared KV heads"]["chat"]


def test_the_form_fits_every_kind() -> None:
    """Full, sliding, latent and sparse attention, recurrent layers, dense and mixtures: within 1% at the median, 5% at p90."""
    found = answered("shapes").rows
    assert len(found) >= 7
    assert all(row["median"] < 0.01 and row["p90"] < 0.05 for row in found)


def test_published_scaling_is_the_tables(shared_data: Path) -> None:
    """The medians that travel with the project are those of the rows they were taken from."""
    for ours, theirs in zip(PUBLISHED, measured(shared_data / "argonne" / "batch1.csv"), strict=True):
        assert ours[:4] == theirs[:4]
        assert ours[4:] == pytest.approx(theirs[4:], abs=0.006)


def test_measured_grids_give_the_same_findings(shared_data: Path) -> None:
    """On the measurements themselves, too, designed queries beat random ones."""
    found = {row["choice"]: row for row in ask("configurations", shared_data).rows}
    assert found["10 designed"]["p90"] < found["10 at random"]["p90"]


def test_load_does_not_move_the_quiet_day_and_a_silent_cache_does() -> None:
    """Up to 80% slowed calls p90 is below 2%; a cache that is not reported errs over five times as much as one that is."""
    found = answered("caching").rows
    assert all(row["p90"] < 0.02 for row in found if not row["cached"] and row["slowed"] <= 0.8)
    told, silent = (
        [row["p90"] for row in found if row["reported"] == said and row["cached"] == 0.5] for said in ("yes", "no")
    )
    assert silent[0] > 5 * told[0]


def test_amortising_by_hand() -> None:
    """Calls times the cost of one is at least the profile's cost, and one call fewer is below it."""
    for row in answered("amortising").rows:
        assert row["calls"] * row["call_usd"] >= row["profile_usd"] > (row["calls"] - 1) * row["call_usd"]


def test_ranges_by_hand() -> None:
    """H100: 2.69 to 12.29 $ in the GPU table, a factor of 4.57."""
    row = rows("ranges", "gpu")["h100-sxm"]
    assert (row["low"], row["high"]) == (2.69, 12.29)
    assert row["price_ratio"] == pytest.approx(4.57, abs=0.005)


def test_stack_ranks_are_permutations() -> None:
    """The first stack agrees with itself; on none is a pair swapped whose intervals are apart."""
    found = answered("stacks").rows
    assert found[0]["tau"] == 1.0
    assert len(found) == 5
    assert all(0.5 < row["tau"] <= 1.0 for row in found)


def test_the_command_lists_answers_and_writes_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No name: the ten are listed. JSON has rows and the sentence. HTML: a page a question, and an index that links them."""
    assert main(["study"]) == 0
    listed = capsys.readouterr().out
    assert all(f" {name} " in listed for name in QUESTIONS)
    assert main(["study", "ranges", "--format", "json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["ranges"]) >= {"question", "rows", "use", "source"}
    assert main(["study", "ranges", "stacks", "--format", "html", "-o", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "ranges.html", "stacks.html"]
    assert 'href="stacks.html"' in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [["nothing"], ["ranges", "--format", "html"], ["slopes", "--data", "/nowhere"]])
def test_bad_input_is_one_line(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown question, pages without a place, a folder without data: one line, exit code 2."""
    assert main(["study", *command]) == 2
    assert capsys.readouterr().err.count("\n") == 1
