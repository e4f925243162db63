"""The shipped reference stack: the paper's ten models, where they came from, and that they say what was measured."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import pytest

from tracewrap.estimate.catalog import load_catalog
from tracewrap.runtime.files import reference_folder
from tracewrap.runtime.roofline.architectures import load_models
from tracewrap.runtime.stack import ReferenceStack, load_stack

STACK = "a100-sxm-80gb_megatron-fp16"
GPUS = {
    "openai/davinci": 8,
    "ai21/j1-jumbo": 8,
    "ai21/j1-grande": 1,
    "ai21/j1-large": 1,
    "cohere/xlarge-20220609": 4,
    "anthropic/stanford-online-all-v4-s3": 4,
    "microsoft/TNLGv2_530B": 24,
    "EleutherAI/gpt-j-6b": 1,
    "yandex/yalm-100b": 4,
    "bigscience/bloom": 8,
}


@pytest.fixture(scope="module")
def stack() -> ReferenceStack:
    """The shipped stack."""
    return load_stack(reference_folder() / f"{STACK}.json")


@pytest.mark.parametrize("model", GPUS)
def test_the_papers_ten_models_are_there(stack: ReferenceStack, model: str) -> None:
    """Each has provenance, sample count, fit quality and the GPUs that the paper serves it on."""
    profile = stack.profiles[model]
    assert profile.provenance == "measured"
    assert profile.n_gpus == GPUS[model]
    assert profile.fit["samples"] == 270
    assert len(profile.fit["residuals"]) == 270
    assert 0 < profile.fit["residual_median"] < 0.01
    assert "2305.02440" in profile.measured["by"]


@pytest.mark.parametrize("model", ["openai/curie", "microsoft/TNLGv2_7B"])
def test_models_that_were_never_measured_are_assumed(stack: ReferenceStack, model: str) -> None:
    """They stand on J1-Large's measurements, as in HELM's table, and their estimates say so."""
    assert stack.profiles[model].estimate(512, 32).provenance == "assumed"
    assert stack.profiles[model].runtime(512, 32) == stack.profiles["ai21/j1-large"].runtime(512, 32)


def test_every_profile_has_an_architecture(stack: ReferenceStack) -> None:
    """Model keys are ids of models/*.toml, so that every alias finds them."""
    assert set(stack.profiles) <= set(load_models())


def test_helms_names_find_the_profiles(shared_data: Path) -> None:
    """Every model of HELM's idealized table but ada, whose shape was not measured, is found on the stack by its name there."""
    table = json.loads((shared_data / "helm-efficiency" / "helm_inference_idealized_runtimes.json").read_text("utf-8"))
    catalog = load_catalog(references=[STACK])
    lost = [name for name in table if (found := catalog.idealized(name)) is None or found[0].id != STACK]
    assert lost == ["openai/ada"]


@pytest.mark.parametrize(
    "name", ["bigscience/bloom", "EleutherAI/gpt-j-6B", "yandex/yalm-100b", "EleutherAI/gpt-neox-20b"]
)
def test_todays_names_find_the_profiles(name: str) -> None:
    """The same weights under the names they have today are found too."""
    found = load_catalog(references=[STACK]).idealized(name)
    assert found is not None
    assert found[0].id == STACK


def test_closed_models_of_today_do_not(stack: ReferenceStack) -> None:
    """Names that merely look alike borrow no profile."""
    catalog = load_catalog(references=[STACK])
    assert [catalog.idealized(name) for name in ("davinci-002", "gpt-4o", "text-davinci-003", "claude-v1")] == [
        None
    ] * 4


@pytest.mark.parametrize(
    ("model", "name", "factor"),
    [("openai/davinci", "openai_davinci", 1), ("microsoft/TNLGv2_530B", "mt_nlg", 3), ("bigscience/bloom", "bloom", 1)],
)
def test_profiles_say_what_was_measured(
    shared_data: Path, stack: ReferenceStack, model: str, name: str, factor: int
) -> None:
    """Median error against the measurements below 1%, and at least 85% of them inside their 90% interval."""
    with (shared_data / "helm-efficiency" / "megatron_a100.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == name]
    errors, inside = [], 0
    for row in rows:
        p, o, measured = int(row["input_tokens"]), int(row["output_tokens"]), factor * float(row["runtime_s"])
        estimate = stack.profiles[model].estimate(p, o)
        errors.append(abs(estimate.value / measured - 1))
        inside += estimate.low <= measured <= estimate.high
    assert statistics.median(errors) < 0.01
    assert inside / len(rows) > 0.85
