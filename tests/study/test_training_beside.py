"""Training beside inference in the study: by hand on a stack with round numbers, and over what is shipped."""

from __future__ import annotations

import pytest

from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.stack import ReferenceStack
from tracewrap.runtime.training import training_of
from tracewrap.study.mixes import MIXES
from tracewrap.study.page import cells
from tracewrap.study.training import COLUMNS, STACK, between, training_rows

BLOOM = "bigscience/bloom"
PROFILE = RuntimeProfile(id="p", model=BLOOM, prompt_knots=((0.0, 2.0),), d0=0.0, n_gpus=8)
PAPER = ReferenceStack(id="s", gpu="a100-sxm-80gb", precision="fp16", profiles={BLOOM: PROFILE})


def test_when_inference_has_taken_as_much_by_hand() -> None:
    """BLOOM, each call 2 s on 8 A100 that draw 0.55 x 400 W, at PUE 1.1: 2 x 8 x 242 = 3872 J and 16 x 3.43 / 3600 $."""
    (row,) = (row for row in training_rows(PAPER, 1e12) if row["model"] == BLOOM)
    tokens = MIXES["chat"].mean("input_tokens") + MIXES["chat"].mean("output_tokens")
    assert row["on"] == "s"
    assert row["j_per_token"] == pytest.approx(3872 / tokens)
    assert row["usd_per_million"] == pytest.approx(16 * 3.43 / 3600 / tokens * 1e6)
    # 474.43968 MWh of training; over 10^12 tokens 1.708 J each.
    joules = 474.43968 * 3.6e9
    assert row["share_j_per_token"] == pytest.approx(joules / 1e12)
    assert row["even_energy"] == pytest.approx(joules / (3872 / tokens) / 1e9)
    # 1,078,272 hours x 3.43 $ over the dollars of a token.
    assert row["even_usd"] == pytest.approx(1_078_272 * 3.43 / (16 * 3.43 / 3600 / tokens) / 1e9)


def test_what_is_unknown_is_a_dash() -> None:
    """GPT-NeoX has no hours, ada no architecture to serve: dashes, and the rest is there; every row of the file is shown."""
    rows = {row["model"]: row for row in training_rows(PAPER, 1e12)}
    assert (rows["EleutherAI/gpt-neox-20b"]["usd"], rows["EleutherAI/gpt-neox-20b"]["even_usd"]) == (None, None)
    assert rows["EleutherAI/gpt-neox-20b"]["even_energy"] is not None
    assert (rows["openai/ada"]["on"], rows["openai/ada"]["even_energy"]) == (None, None)
    assert rows["meta-llama/Llama-3.1-8B-Instruct"]["on"] == STACK
    assert all(training_of(model) is not None for model in rows)
    assert "None" not in str(cells(list(rows.values()), COLUMNS))


def test_between_leaves_out_what_is_absent() -> None:
    """Least, median and most of the known ones."""
    assert between([{"x": 3.0}, {"x": None}, {"x": 1.0}, {"x": 2.0}], "x") == (1.0, 2.0, 3.0)
