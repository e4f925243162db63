"""The paper study runs from the measured data to one page and CSV files, and its figures are the paper's."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "paper_study" / "run.py"
VOID = {"meta", "br", "path", "circle", "rect"}


@pytest.fixture(scope="module")
def study(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's folder, made once."""
    out = tmp_path_factory.mktemp("study")
    command = [sys.executable, str(SCRIPT), "--data", str(shared_data), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return out


def table(study: Path, name: str) -> list[dict[str, str]]:
    """One CSV of the study."""
    with (study / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Balanced(HTMLParser):
    """Open tags, and the first that was closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong = self.wrong or tag


def test_page_is_self_contained(study: Path) -> None:
    """One well-formed page with charts for every section, no script, nothing fetched, and no absent value spelled out."""
    html = (study / "index.html").read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(html)
    assert parser.wrong is None
    assert parser.open == []
    assert html.count("<section") == 8
    assert html.count("<svg") >= 16
    assert html.count('class="diff"') == 8
    assert "<script" not in html
    assert not re.search(r'(src|href)="https?:', html)
    assert not re.search(r"\bnan\b|None", html)


def test_runtime_is_linear_in_output_tokens(study: Path) -> None:
    """The paper's first finding: R² above 0.999 for every model at every prompt size."""
    rows = table(study, "linearity")
    assert len(rows) == 9
    assert all(float(r["least_r2"]) > 0.999 for r in rows)


def test_refit_beats_the_published_table(study: Path) -> None:
    """On eight of the nine architectures at least the refitted profile is nearer to the logs than HELM's table."""
    rows = table(study, "fit_quality")
    assert sum(float(r["ours_median"]) < float(r["helm_median"]) for r in rows) >= 8


def test_cost_of_estimating_is_the_papers(study: Path) -> None:
    """57 times cheaper idealized and 10 times denoised, computed from the measured times; the designed points cost less."""
    times = {r["who"]: float(r["times_cheaper"]) for r in table(study, "cost_of_estimating")}
    assert times["paper"] == pytest.approx(57.09, abs=0.05)
    assert times["paper, API"] == pytest.approx(10, abs=0.05)
    assert times["tracewrap"] > 2 * times["paper"]


def test_ten_queries_predict_the_rest(study: Path) -> None:
    """The ten designed configurations alone predict the other 260 of every architecture to 2% at the median and 6% at p90."""
    rows = table(study, "few_queries")
    assert [r["predicted"] for r in rows] == ["260"] * 9
    assert all(float(r["median"]) < 0.02 and float(r["p90"]) < 0.06 for r in rows)


def test_passive_denoising_needs_no_trials(study: Path) -> None:
    """One call a configuration, regressed, is within 9% of the curve through the minima of ten trials, the low end of the noise."""
    rows = table(study, "denoiser")
    assert len(rows) == 3
    assert all(float(r["one_call"]) < 0.09 and float(r["all_calls"]) < 0.09 for r in rows)


def test_ranks_are_the_papers(study: Path) -> None:
    """Most ranks by accuracy per idealized second are the published ones."""
    rows = [r for r in table(study, "ranks") if r["our_rank"]]
    assert len(rows) == 15
    assert sum(r["our_rank"] == r["published_rank"] for r in rows) >= 12


def test_frontiers_are_not_beaten(study: Path) -> None:
    """No model that counts is at least as good as a frontier model in both, and better in one."""
    for key in ("boolq", "imdb", "mmlu"):
        rows = [r for r in table(study, f"tradeoff_{key}") if r["assumed"] == "False" and r["accuracy"]]
        points = [
            (float(r["idealized_cents"]), -float(r["accuracy"]), r["pareto_idealized_cents"] == "True") for r in rows
        ]
        for cost, loss, front in points:
            beaten = any(c <= cost and a <= loss and (c, a) != (cost, loss) for c, a, _ in points)
            assert front is not beaten


def test_raft_accuracy_is_not_invented(study: Path) -> None:
    """RAFT has runtimes but no accuracy in the data, and the study leaves it empty."""
    rows = table(study, "tradeoff_raft")
    assert len(rows) >= 6
    assert all(r["accuracy"] == "" for r in rows)


def test_missing_data_is_one_line(tmp_path: Path) -> None:
    """Without the data the study says what it needs, exits 2 and writes nothing."""
    out = tmp_path / "out"
    command = [sys.executable, str(SCRIPT), "--data", str(tmp_path), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--data" in done.stderr
    assert not out.exists()
