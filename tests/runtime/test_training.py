"""What training took: hours as published or computed, energy by HELM's formula, a token's share; by hand."""

from __future__ import annotations

import re
import statistics
from typing import Any

import pytest

from tracewrap.errors import ConfigurationError
from tracewrap.runtime.roofline.architectures import load_models, resolve_model
from tracewrap.runtime.roofline.gpus import load_gpus
from tracewrap.runtime.training import JOULES_PER_MWH, Training, load_training, parsed, served, share, training_of

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def told(model: str = LLAMA, **table: Any) -> Training:
    """The training that a table with these keys tells."""
    return parsed(model, {"gpu": "h100-sxm", "source": "here", "date": "2026-11", **table}, load_gpus())


def test_published_hours_by_hand() -> None:
    """Llama 3.1 8B: 1.46 million H100 hours. x 700 W x 1.1 = 1124.2 MWh; x 6.88 $ = 10,044,800 $."""
    found = training_of(LLAMA)
    assert found is not None
    assert (found.gpu_hours, found.provenance, found.assumed) == (1.46e6, "published", "")
    assert found.energy_j == pytest.approx(1124.2 * JOULES_PER_MWH)
    assert found.usd == pytest.approx(10_044_800)
    # A million of 10^12 tokens bears a millionth: 10.0448 $ and 1.1242 kWh x 1000 = 4.04712 MJ.
    assert share(found.usd, 1e6, 1e12) == pytest.approx(10.0448)
    assert share(found.energy_j, 1e6, 1e12) == pytest.approx(4_047_120)
    assert share(None, 1e6, 1e12) is None


def test_gpus_and_days_are_hours() -> None:
    """BLOOM: 384 GPUs for 117 days are 384 x 117 x 24 = 1,078,272 hours; at 400 W x 1.1 474.4 MWh."""
    found = training_of("bigscience/bloom")
    assert found is not None
    assert found.gpu_hours == 1_078_272
    assert found.energy_j == pytest.approx(474.43968 * JOULES_PER_MWH)


def test_hours_from_operations_by_hand() -> None:
    """GPT-3: 3.14e23 operations at 24.6e12 a second are 3,545,619 hours; x 330 W x 1.1 = 1287.1 MWh."""
    found = training_of("openai/davinci")
    assert found is not None
    assert (found.provenance, found.utilisation) == ("computed", pytest.approx(24.6 / 125))
    assert found.gpu_hours == pytest.approx(3.14e23 / 24.6e12 / 3600)
    assert found.energy_j == pytest.approx(1287.06 * JOULES_PER_MWH, rel=1e-5)


def test_hours_from_tokens_by_hand() -> None:
    """6 x active parameters x 10^12 tokens at half of 989 x 10^12 operations a second; what is assumed makes it assumed."""
    active = load_models()[LLAMA].active_parameters
    found = told(tokens=1e12, utilisation=0.5)
    assert found.gpu_hours == pytest.approx(6 * active * 1e12 / (0.5 * 989e12) / 3600)
    assert (found.provenance, found.utilisation) == ("computed", 0.5)
    assert told(tokens=1e12, utilisation=0.5, assumed="GPU").provenance == "assumed"
    # And back: those hours with these tokens imply that utilisation.
    assert told(tokens=1e12, gpu_hours=found.gpu_hours).utilisation == pytest.approx(0.5)


def test_a_mixture_counts_active_parameters() -> None:
    """DeepSeek-V3, 37B of 671B active, 14.8 x 10^12 tokens in 2.788 million hours: about a third of the peak; its own 2 $ an hour."""
    found = training_of("deepseek-ai/DeepSeek-V3")
    assert found is not None
    assert found.utilisation == pytest.approx(6 * 37e9 * 14.8e12 / (2.788e6 * 3600 * 989e12), rel=0.02)
    assert found.usd == pytest.approx(5_576_000)


def test_absent_is_absent() -> None:
    """Energy alone has no hours and no dollars; a device without a price no dollars; an unpublished or closed model nothing."""
    neox, gptj = training_of("EleutherAI/gpt-neox-20b"), training_of("EleutherAI/gpt-j-6b")
    assert neox is not None
    assert gptj is not None
    assert (neox.gpu_hours, neox.usd, neox.energy_j) == (None, None, pytest.approx(60.1 * JOULES_PER_MWH))
    assert (gptj.gpu_hours, gptj.usd) == (128 * 35 * 24, None)
    assert training_of("google/gemma-3-27b-it") is None
    assert training_of("gpt-5-mini") is None


def test_any_hosts_name_is_understood() -> None:
    """As for architectures: Bedrock's name is the same model, a distillation of it is not."""
    assert training_of("us.meta.llama3-1-8b-instruct-v1:0") is training_of(LLAMA) is not None
    for name in ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Qwen3-Coder-30B-A3B-Instruct", "huggyllama/llama-7b"):
        assert resolve_model(name) is not None
        assert training_of(name) is None


def test_every_shipped_training_says_where_from() -> None:
    """Source and month of each; what was computed from tokens alone says what is assumed, at the median that published ones imply."""
    found = load_training().values()
    assert len(found) >= 35
    assert all(one.source and re.fullmatch(r"20\d\d-\d\d", one.date) for one in found)
    assert all(bool(one.assumed) == (one.provenance == "assumed") for one in found)
    implied = [one.utilisation for one in found if one.provenance == "published" and one.utilisation]
    assert len(implied) >= 15
    assert all(0.05 < share < 0.7 for share in implied)
    assumed = {one.utilisation for one in found if one.assumed == "GPU and utilisation"}
    assert assumed == {round(statistics.median(implied), 2)}


@pytest.mark.parametrize(
    ("table", "error", "said"),
    [
        ({"hours": 1.0}, ValueError, "unknown key 'hours'"),
        ({"gpu": "abacus", "gpu_hours": 1.0}, KeyError, "watts"),
        ({"gpu": "abacus", "flops": 1e20, "utilisation": 0.3}, ValueError, "'abacus' is none"),
        ({"tokens": 1e12}, KeyError, "utilisation"),
        ({}, KeyError, "tokens"),
    ],
)
def test_a_table_that_does_not_suffice_names_the_key(table: dict[str, Any], error: type[Exception], said: str) -> None:
    """Nothing is guessed in its place."""
    with pytest.raises(error, match=said):
        told(**table)


@pytest.mark.parametrize("text", ["abc", "0", "-1e12", "inf", "nan", ""])
def test_served_tokens_are_a_positive_number(text: str) -> None:
    """1e12 is; anything else is refused with what to write."""
    assert served("1e12") == 1e12
    with pytest.raises(ConfigurationError, match="such as 1e12"):
        served(text)
