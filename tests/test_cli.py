"""The command table: every command listed is there, answers --help, and a wrong word is one line and exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tracewrap.cli import COMMANDS, SUMMARIES, main


def _paths() -> list[str]:
    return [
        path
        for name, target in COMMANDS.items()
        for path in ([f"{name} {inner}" for inner in target] if isinstance(target, dict) else [name])
    ]


@pytest.mark.parametrize("path", _paths())
def test_every_command_answers_help(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command's module exists and parses."""
    with pytest.raises(SystemExit) as stopped:
        main([*path.split(), "--help"])
    assert stopped.value.code == 0
    assert f"tracewrap {path}" in capsys.readouterr().out


def test_every_command_has_a_summary() -> None:
    """The overview names no more and no less than what there is."""
    groups = [name for name, target in COMMANDS.items() if isinstance(target, dict)]
    assert sorted(SUMMARIES) == sorted([*_paths(), *groups])


def test_wrong_arguments_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong, and where the right ones stand; an option that is nearly one is told."""
    said = {
        "report": "the following arguments are required: source",
        "report log --format pdf": "invalid choice: 'pdf'",
        "whatif log --utilization 1": "unrecognized arguments: --utilization 1; do you mean --utilisation?",
        "report log --xyzzy": "unrecognized arguments: --xyzzy; tracewrap report --help",
    }
    for arguments, line in said.items():
        with pytest.raises(SystemExit) as left:
            main(arguments.split())
        err = capsys.readouterr().err
        assert (left.value.code, len(err.splitlines())) == (2, 1)
        assert err.startswith(f"tracewrap {arguments.split()[0]}: ")
        assert line in err
        assert "--help shows all" in err


@pytest.mark.parametrize("words", [["nonsense"], ["profile", "nonsense"]])
def test_unknown_command_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It names the word and what there is."""
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "nonsense" in said.err


def test_a_warning_of_ours_is_one_line(tmp_path: Path) -> None:
    """Samples that disagree are told as errors are, without a file of ours and a line of its source."""
    pytest.importorskip("scipy")
    rows = [f"{p},{o},{(0.1 + o / 100) * noise}\n" for p in (10, 100) for o in (1, 50) for noise in (0.5, 1, 2)]
    (tmp_path / "samples.csv").write_text("input_tokens,output_tokens,runtime_s\n" + "".join(rows))
    command = [sys.executable, "-m", "tracewrap", "profile", "fit", "samples.csv", "-o", "profile.json"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0
    assert ran.stderr.startswith("tracewrap: warning: repeated measurements differ by ")
    assert ran.stderr.count("\n") == 1
