"""tracewrap models."""

from __future__ import annotations

import json

import pytest

from tracewrap.cli import main
from tracewrap.runtime.roofline.architectures import load_models


def test_without_a_name_every_model_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a model and the number of them."""
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(load_models()) + 1
    assert f"{len(load_models())} models" in lines[-1]


def test_part_of_a_name_searches(capsys: pytest.CaptureFixture[str]) -> None:
    """Other names are searched too: K2.6 is K2-Thinking's shape."""
    assert main(["models", "granite-4.0", "--json"]) == 0
    found = {model["id"] for model in json.loads(capsys.readouterr().out)}
    assert found >= {"ibm-granite/granite-4.0-h-small", "ibm-granite/granite-4.0-micro"}
    assert main(["models", "Ling"]) == 0
    assert "inclusionAI/Ling-1T" in capsys.readouterr().out


def test_a_name_shows_shape_names_memory_and_estimates(capsys: pytest.CaptureFixture[str]) -> None:
    """By any host's name, on the cards asked for; a card that cannot hold it says why."""
    assert main(["models", "moonshotai/kimi-k2.6", "--gpu", "h200", "--gpu", "l4", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["id"] == "moonshotai/Kimi-K2-Thinking"
    assert shown["architecture"]["experts"] == 384
    served, refused = shown["estimates"]
    assert served["n_gpus"] == 8  # as its makers serve it: 4 hold the weights, not the cache beside them
    assert served["first_token_s"][1] < served["first_token_s"][0] < served["first_token_s"][2]
    assert served["weight_bytes"] == pytest.approx(5.7e11, rel=0.05)  # experts in 4 bits, the rest in 16
    low, high = served["usd_per_hour"]  # what vendors ask, dated in gpus.toml
    assert 8 * 3 < low < high < 8 * 8
    assert refused["gpu"] == "l4"
    assert main(["models", "kimi-k2.5"]) == 0
    assert "time per further token" in capsys.readouterr().out


def test_an_unknown_name_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and one line."""
    assert main(["models", "mistral-small-4-119b-2603"]) == 2
    assert "nearest: " in capsys.readouterr().err
