"""What processes leave for each other: read once, never trusted, never the same name twice."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from tracewrap.learn import shared_files
from tracewrap.learn.learner import Denoiser
from tracewrap.learn.shared_files import Learned, SharedFiles
from tracewrap.runtime.quiet.usable import Row

ROWS = [Row(1.79e9 + i, 100 + i, 10, 1.0, None, 0) for i in range(3)]


def test_two_processes_never_share_a_name() -> None:
    """The same process id, as that of every container, makes two names."""
    assert SharedFiles().own != SharedFiles().own


def test_files_are_read_once_a_writing(tmp_path: Path) -> None:
    """What was read is no news again, and stays known; the reader's own file is none."""
    writer, reader = SharedFiles(), SharedFiles()
    writer.save(tmp_path, {"k": Learned("m", ROWS)})
    reader.save(tmp_path, {"own": Learned("m", ROWS)})
    assert [key for key, _ in reader.load(tmp_path)] == ["k"]
    assert reader.load(tmp_path) == []
    assert reader.known() == {"k": ROWS}


HOSTILE = {
    "infinite count": '{"deployments":{"k":{"model":"m","rows":[[1,1e999,1,1,null]]}}}',
    "not a number": '{"deployments":{"k":{"model":"m","rows":[[1,NaN,1,1,null]]}}}',
    "deeply nested": '{"deployments":' + "[" * 100_000 + "]" * 100_000 + "}",
    "not an object": "[1]",
    "binary": "\0\0\0",
    "torn": '{"schema": "tracewrap.denoiser/2", "deploy',
    "rows of text": '{"deployments":{"k":{"model":"m","rows":["abc"]}}}',
    "earlier is a number": '{"deployments":{"k":{"model":"m","rows":[],"since_unix_s":5,"earlier":3}}}',
    "since is text": '{"deployments":{"k":{"model":"m","rows":[],"since_unix_s":"x","earlier":[]}}}',
    "newer": '{"schema":"tracewrap.denoiser/99","deployments":{}}',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_passed_over(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a file holds, loading raises nothing, says at most one line, and takes in the files beside it."""
    (tmp_path / ".denoiser-1.json").write_text(text)
    SharedFiles().save(tmp_path, {"good": Learned("m", ROWS)})
    reader = SharedFiles()
    with caplog.at_level(logging.WARNING, "tracewrap"):
        found = dict(reader.load(tmp_path))
    assert found["good"].rows == ROWS
    assert not found.get("k", Learned("m", [])).rows
    assert len(caplog.messages) <= 1
    Denoiser().load(tmp_path)


def test_files_of_the_version_before_are_read(tmp_path: Path) -> None:
    """Rows without cached tokens, under the older schema or none."""
    entry = {"model": "m", "rows": [[1.5, 10, 2, 0.5, None], [2.5, 10, 2, 0.5, 0.25]]}
    (tmp_path / ".denoiser-7.json").write_text(
        json.dumps({"schema": "tracewrap.denoiser/1", "deployments": {"k": entry}})
    )
    ((_, learned),) = SharedFiles().load(tmp_path)
    assert learned.rows == [Row(1.5, 10, 2, 0.5, None, 0), Row(2.5, 10, 2, 0.5, 0.25, 0)]


def test_old_files_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than ``MAX_FILES`` stay."""
    monkeypatch.setattr(shared_files, "MAX_FILES", 3)
    for _ in range(6):
        SharedFiles().save(tmp_path, {"k": Learned("m", ROWS)})
    assert len(list(tmp_path.glob(".denoiser-*.json"))) == 3
