"""tracewrap profile list, show, verify, import and export."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tracewrap.cli import main
from tracewrap.runtime.files import load_profile, save_profile
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.stack import ReferenceStack, load_stack, save_stack

PROFILE = RuntimeProfile(
    id="p",
    model="acme/one",
    prompt_knots=((1.0, 0.02), (512.0, 0.1), (2048.0, 0.4)),
    d0=0.01,
    max_output_tokens=64,
    n_gpus=2,
    fit={
        "samples": 3,
        "residual_median": 0.004,
        "residual_p90": 0.02,
        "residuals": [[1, 1, 0.01], [512, 1, -0.02], [2048, 64, 0.0]],
    },
)
HELM = {
    "a/b": {"runtime_per_output_token": 0.01, "runtime_for_prompt_tokens": {"1": 0.02, "512": 0.1}, "overhead": 0.2},
    "c/d": {"runtime_per_output_token": 0.02, "runtime_for_prompt_tokens": {"1": 0.04, "512": 0.03}},
}


@pytest.fixture
def profile_file(tmp_path: Path) -> Path:
    """A profile on disk."""
    path = tmp_path / "one.json"
    save_profile(PROFILE, path)
    return path


@pytest.fixture
def helm_file(tmp_path: Path) -> Path:
    """A small HELM table on disk."""
    path = tmp_path / "helm.json"
    path.write_text(json.dumps(HELM), encoding="utf-8")
    return path


def test_list_names_every_shipped_profile(capsys: pytest.CaptureFixture[str]) -> None:
    """The list has model, GPUs, provenance and sample count of the shipped stack, as JSON and as a table."""
    assert main(["profile", "list", "--json", "--stack", "a100-sxm-80gb_megatron-fp16"]) == 0
    rows = {row["model"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["openai/davinci"]["n_gpus"] == 8
    assert rows["openai/davinci"]["samples"] == 270
    assert rows["openai/davinci"]["provenance"] == "measured"
    assert main(["profile", "list"]) == 0
    assert "microsoft/TNLGv2_530B" in capsys.readouterr().out


def test_list_reads_local_files(profile_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder lists the profiles in it, without the shipped ones."""
    assert main(["profile", "list", str(profile_file.parent), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(r["model"], r["median_error"]) for r in rows] == [("acme/one", 0.004)]


def test_show_prints_table_and_drawings(profile_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table holds T(p, o), both drawings are there, and the SVG is one well-formed document."""
    svg = tmp_path / "out.svg"
    assert main(["profile", "show", str(profile_file), "--svg", str(svg)]) == 0
    out = capsys.readouterr().out
    assert "2 x unknown" in out
    assert f"{PROFILE.runtime(512, 64):.4g}" in out
    assert "Prompt time of acme/one" in out
    assert "Residuals" in out
    root = ET.fromstring(svg.read_text(encoding="utf-8"))
    titles = [e.text for e in root.iter() if e.tag.endswith("text")]
    assert {"Prompt time of acme/one", "Residuals"} <= set(titles)


def test_show_takes_residuals_from_samples(
    profile_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Samples that the profile meets exactly give residuals of zero."""
    samples = tmp_path / "s.csv"
    rows = [f"{p},{o},{PROFILE.runtime(p, o)!r}" for p in (1, 512) for o in (1, 64)]
    samples.write_text("input_tokens,output_tokens,runtime_s\n" + "\n".join(rows) + "\n", encoding="utf-8")
    assert main(["profile", "show", str(profile_file), "--samples", str(samples), "--plain"]) == 0
    assert "samples" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["davinci", "together/bloom", "EleutherAI/gpt-j-6B", "together/yalm", "gooseai/gpt-neo-20b"]
)
def test_show_finds_models_under_their_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A model measured on a shipped stack is found by HELM's name and by today's."""
    assert main(["profile", "show", name, "--no-drawing"]) == 0
    assert "a100-sxm-80gb" in capsys.readouterr().out


def test_show_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown name exits 2 with one line that names the stacks; a stack needs --model."""
    assert main(["profile", "show", "no-such-model"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "a100-sxm-80gb_megatron-fp16" in error
    assert main(["profile", "show", "a100-sxm-80gb_megatron-fp16"]) == 2
    assert "--model" in capsys.readouterr().err


def test_verify_exit_codes(profile_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Good files exit 0, a breached limit 1, a broken file 2 even beside good ones; each with its line."""
    assert main(["profile", "verify", str(profile_file)]) == 0
    assert "ok, 1 profile" in capsys.readouterr().out
    assert main(["profile", "verify", str(profile_file), "--max-error", "1"]) == 0
    assert main(["profile", "verify", str(profile_file), "--max-error", "0.3"]) == 1
    assert "acme/one 0.40%" in capsys.readouterr().err
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps({**PROFILE.to_dict(), "prompt_knots": [[1, 0.2], [2, 0.1]]}), encoding="utf-8")
    assert main(["profile", "verify", str(bad), str(profile_file)]) == 2
    out = capsys.readouterr()
    assert "must not decrease" in out.err
    assert "one.json: ok" in out.out


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"schema": "other/1"}', '{"schema": "tracewrap.profile/1", "id": "x"}']
)
def test_verify_names_what_is_wrong(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Empty, foreign and incomplete files give one line that names the file, and exit 2."""
    path = tmp_path / "f.json"
    path.write_text(text, encoding="utf-8")
    assert main(["profile", "verify", str(path)]) == 2
    error = capsys.readouterr().err
    assert "f.json" in error
    assert error.count("\n") == 1


def test_import_writes_a_stack_and_a_profile(
    helm_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All models make a stack, --model one profile; overhead and GPU count arrive."""
    out = tmp_path / "stack.json"
    assert main(["profile", "import", "helm", str(helm_file), "-o", str(out), "--gpu", "a100-sxm-80gb"]) == 0
    stack = load_stack(out)
    assert list(stack.profiles) == ["a/b", "c/d"]
    assert stack.profiles["a/b"].overhead_s == 0.2
    one = tmp_path / "one-model.json"
    assert main(["profile", "import", "helm", str(helm_file), "--model", "a/b", "--n-gpus", "4", "-o", str(one)]) == 0
    assert load_profile(one).n_gpus == 4
    assert main(["profile", "verify", str(out), str(one)]) == 0
    capsys.readouterr()


def test_import_then_export_returns_the_table(
    helm_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The round trip keeps every value of a model whose prompt times rise, and says how far the formulas agree."""
    stack, back = tmp_path / "stack.json", tmp_path / "back.json"
    assert main(["profile", "import", "helm", str(helm_file), "-o", str(stack)]) == 0
    assert main(["profile", "export", "helm", str(stack), "-o", str(back)]) == 0
    assert "differs by up to 0.00% at its keys" in capsys.readouterr().err
    assert json.loads(back.read_text(encoding="utf-8"))["a/b"] == HELM["a/b"]


def test_export_of_a_reference_stack(capsys: pytest.CaptureFixture[str]) -> None:
    """A shipped model exports under its id with HELM's 27 prompt sizes."""
    assert main(["profile", "export", "helm", "davinci"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert len(table["openai/davinci"]["runtime_for_prompt_tokens"]) == 27
    assert table["openai/davinci"]["runtime_per_output_token"] == pytest.approx(0.081, rel=0.02)


def test_export_refuses_two_of_a_name(profile_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One entry a model: the same model twice is an error and nothing is written."""
    other = tmp_path / "s.json"
    save_stack(ReferenceStack(id="s", gpu="g", precision="fp16", profiles={PROFILE.model: PROFILE}), other)
    out = tmp_path / "out.json"
    assert main(["profile", "export", "helm", str(profile_file), str(other), "-o", str(out)]) == 2
    assert "twice" in capsys.readouterr().err
    assert not out.exists()
