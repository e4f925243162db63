"""``tracewrap profile measure`` on the CPU, from a config.json to a profile and its samples."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tracewrap.cli import main
from tracewrap.runtime.files import load_profile
from tracewrap.runtime.samples import read_samples

ROOT = Path(__file__).resolve().parents[3]
CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 101,
    "max_position_embeddings": 600,
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A tiny model's configuration."""
    path = tmp_path / "tiny-llama" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(CONFIG))
    return path


def measure(config: Path, out: Path, *more: str) -> int:
    return main(["profile", "measure", "--model", str(config), "--n", "8", "--repeats", "3", "-o", str(out), *more])


def measure_steadily(config: Path, out: Path, *more: str) -> int:
    return measure(config, out, "--clock", "cpu", *more)


def test_measure_writes_a_profile_and_its_samples(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The profile says what it was measured on, when and how; profile fit can read the samples; nothing exceeds the context."""
    out = tmp_path / "tiny.json"
    assert measure_steadily(config, out, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["complete"] is True
    profile = load_profile(out)
    assert profile.model == "tiny-llama"
    assert profile.provenance == "measured"
    assert profile.stack["precision"] == "fp32"
    assert profile.stack["threads"] == 1
    assert profile.stack["torch"]
    assert profile.stack["weights"] == "random"
    assert profile.measured["samples_file"] == "tiny.samples.csv"
    assert {"when", "who", "command"} <= set(profile.measured)
    samples = read_samples(tmp_path / "tiny.samples.csv")
    assert len(samples) == summary["count"]
    assert len({(s.input_tokens, s.output_tokens) for s in samples}) == 8
    assert all(s.input_tokens + s.output_tokens <= 600 for s in samples)
    assert profile.runtime(400, 1) > 0


def test_measuring_again_adds_nothing(config: Path, tmp_path: Path) -> None:
    """The same command a second time measures nothing new and writes the same fit."""
    out = tmp_path / "tiny.json"
    assert measure_steadily(config, out) == 0
    first, samples = load_profile(out), (tmp_path / "tiny.samples.csv").read_text()
    assert measure_steadily(config, out) == 0
    assert (tmp_path / "tiny.samples.csv").read_text() == samples
    assert load_profile(out).prompt_knots == first.prompt_knots


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "cuda"), "sees no CUDA device"),
        (("--precision", "int2"), "precision is 'int2'"),
        (("--repeats", "0"), "--repeats is 0"),
        (("--model", "no-such-model-9b"), "no architecture for model 'no-such-model-9b'"),
        (("--model", "nowhere/config.json"), "no such file"),
        (("-o", "/nowhere/at/all.json"), "folder /nowhere/at is not there"),
    ],
)
def test_errors_are_one_line(
    config: Path, tmp_path: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be measured is named on one line, with exit code 2 and no file written."""
    import torch

    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert measure(config, tmp_path / "tiny.json", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "tiny.json").exists()


def test_the_reference_script_measures_what_it_is_told(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """examples/measure_reference.py runs each model by the command, here a tiny one on the CPU."""
    arguments = ["--device", "cpu", "--only", str(config), "--max-input-tokens", "200", "--n", "8", "--budget-s", "1"]
    monkeypatch.setattr(sys, "argv", ["measure_reference.py", *arguments, "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "examples" / "measure_reference.py"), run_name="__main__")
    assert ended.value.code == 0
    assert load_profile(tmp_path / "out" / "config.json").max_input_tokens <= 200


def test_the_reference_models_can_all_be_measured() -> None:
    """Every model the script lists is shipped and can be built."""
    from tracewrap.profiler.decoder.blueprint_config import find_model

    models = runpy.run_path(str(ROOT / "examples" / "measure_reference.py"))["MODELS"]
    sizes = {name: find_model(name)[0].parameters for name in models}
    assert min(sizes.values()) > 7e9
    assert any(find_model(name)[0].experts for name in models)
    assert sum(25e9 < size < 40e9 for size in sizes.values()) >= 2


def test_until_stops_at_the_first_points_when_little_is_asked(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--until 99% is met by the first six points; the profile is of those alone, and the error it expects is said."""
    out = tmp_path / "tiny.json"
    assert measure_steadily(config, out, "--until", "99%", "--json") == 0
    told = capsys.readouterr().err
    assert "6 points, expected error " in told
    samples = read_samples(tmp_path / "tiny.samples.csv")
    assert len({(s.input_tokens, s.output_tokens) for s in samples}) == 6


def test_until_that_is_no_share_is_one_line(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--until 2 is neither 2% nor 0.02: exit code 2 before anything is measured."""
    assert measure(config, tmp_path / "tiny.json", "--until", "2") == 2
    assert "--until is '2', must be a share such as 2% or 0.02" in capsys.readouterr().err
