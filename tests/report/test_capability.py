"""Capability against efficiency: the user's scores beside what each model takes at this traffic's token counts.

Two calls: (100, 11) and (300, 1). On stack "s" (1 GPU, 3.6 $/h, 500 W: 0.001 $ and 500 J a second; interval none):
    small  0.01 + 0.01 (o - 1)   0.11 and 0.01: mean 0.06 s     score 50
    middle twice small           0.22 and 0.02: mean 0.12 s     score 40: small beats it in both
    large  four times small      0.44 and 0.04: mean 0.24 s     score 80
"""

from __future__ import annotations

from pathlib import Path

import pytest

from made_days import call, write_log
from tracewrap import report
from tracewrap.cli import main
from tracewrap.errors import ConfigurationError
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import TokenUsage
from tracewrap.report.figures.capability import read_scores
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.stack import Price, ReferenceStack


def profile(model: str, factor: float) -> RuntimeProfile:
    """T = factor x (0.01 + 0.01 (o - 1))."""
    return RuntimeProfile(id=model, model=model, prompt_knots=((0.0, 0.01 * factor),), d0=0.01 * factor)


STACK = ReferenceStack(
    id="s",
    gpu="g",
    precision="bf16",
    price=Price(3.6, "test", "2026-11-01"),
    watts=500.0,
    profiles={name: profile(name, factor) for name, factor in (("small", 1), ("middle", 2), ("large", 4))},
)


def build(folder: Path, scores: str, **options: object) -> report.Report:
    """The report of the two calls with *scores* beside."""
    log = write_log(
        folder / "log" / "a.jsonl",
        [
            call(1, usage=TokenUsage(100, 11), raw_runtime_s=1.0),
            call(2, usage=TokenUsage(300, 1), raw_runtime_s=1.0),
        ],
    )
    file = folder / "scores.csv"
    file.write_text(scores)
    return report.build(
        str(log.parent), catalog=Catalog(stacks=(STACK,)), references=["s"], scores=str(file), **options
    )  # type: ignore[arg-type]


def test_every_model_at_the_same_token_counts(tmp_path: Path) -> None:
    """Models that were never called are there too; the frontier leaves out what another beats in both."""
    found = build(tmp_path, "model,mmlu\nsmall,50\nmiddle,40\nlarge,80\nunheard-of,99\n")["capability"]
    assert found is not None
    assert (found["score"], found["stack"], found["calls"], found["unknown_models"]) == ("mmlu", "s", 2, ["unheard-of"])
    rows = {row["model"]: row for row in found["rows"]}
    assert [row["model"] for row in found["rows"]] == ["large", "small", "middle"]
    assert [rows[name]["idealized_runtime_s"] for name in ("small", "middle", "large")] == pytest.approx(
        [0.06, 0.12, 0.24]
    )
    assert rows["large"]["idealized_cost_usd"] == pytest.approx(0.24 * 0.001)
    assert rows["large"]["idealized_energy_j"] == pytest.approx(0.24 * 500)
    everything = ["idealized_runtime_s", "idealized_cost_usd", "idealized_energy_j"]
    assert [rows[name]["frontier"] for name in ("small", "middle", "large")] == [everything, [], everything]


def test_a_column_is_chosen(tmp_path: Path) -> None:
    """Several score columns: the named one counts."""
    found = build(tmp_path, "model,a,b\nsmall,1,2\n", score_column="b")["capability"]
    assert found is not None
    assert found["rows"][0]["score"] == 2


def test_no_calls_no_figures(tmp_path: Path) -> None:
    """A day without comparable calls has the scores and nothing beside them."""
    found = build(tmp_path, "model,a\nsmall,1\n", day="2026-11-01")["capability"]
    assert found is not None
    assert (found["calls"], found["rows"][0]["idealized_runtime_s"], found["rows"][0]["frontier"]) == (0, None, [])


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", None, "holds no rows"),
        ("name,score\nx,1\n", None, "no column 'model'; there is name, score"),
        ("model,a,b\nx,1,2\n", None, "which column is the score? name one of a, b"),
        ("model,a\nx,1\n", "c", "no column 'c'; there is a"),
        ("model,a\nx,1\ny,good\n", None, "row 3: 'a' is 'good', must be a number"),
        ("model,a\nx,nan\n", None, "row 2: 'a' is 'nan'"),
        ("model,a\n,1\n", None, "row 2: 'model' is empty"),
        ("model,a\nx,1\nx,2\n", None, "row 3: model 'x' is there twice"),
        ("model,a\nx\n", None, "row 2: 'a' is ''"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str, column: str | None, said: str) -> None:
    """One line with the file, the row and the column."""
    file = tmp_path / "s.csv"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_scores(file, column)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_missing_file_and_a_column_of_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says what is wrong before it reads any call, and exits with 2."""
    log = write_log(tmp_path / "log" / "a.jsonl", [call(1)])
    assert main(["report", str(log.parent), "--capability", str(tmp_path / "none.csv")]) == 2
    assert "none.csv: cannot be read" in capsys.readouterr().err
    assert main(["report", str(log.parent), "--score", "a"]) == 2
    assert "give --capability FILE.csv too" in capsys.readouterr().err
