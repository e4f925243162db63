"""The command table: every command listed is there, answers --help, and a wrong word is one line and exit code 2."""

from __future__ import annotations

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


@pytest.mark.parametrize("words", [["nonsense"], ["profile", "nonsense"]])
def test_unknown_command_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It names the word and what there is."""
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "nonsense" in said.err
