"""Files are written whole or not at all, and what cannot be read or written is one line."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tracewrap.errors import ConfigurationError, ProfileFormatError, ProfileNotFoundError
from tracewrap.runtime import files
from tracewrap.runtime.files import read_json, to_json, write_whole
from tracewrap.vendors import adapters


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A missing folder, and a folder in the file's place, are named; no temporary file stays behind."""
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_whole(tmp_path / "absent" / "x.json", "{}")
    (tmp_path / "taken").mkdir()
    with pytest.raises(ConfigurationError, match="taken: cannot be written"):
        write_whole(tmp_path / "taken", "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_write_replaces_the_file(tmp_path: Path) -> None:
    """The old text is gone, the new one is there whole."""
    path = tmp_path / "x.json"
    write_whole(path, "old")
    write_whole(path, to_json({"a": 1}))
    assert read_json(path) == {"a": 1}


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": Infinity}', "[1]", "nothing", ""])
def test_impossible_json_is_refused(tmp_path: Path, text: str) -> None:
    """NaN, infinities, other than objects and broken text raise an error that names the file."""
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ProfileFormatError, match=r"x\.json"):
        read_json(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    """Reading what is not there says so."""
    with pytest.raises(ProfileNotFoundError, match="cannot be read"):
        read_json(tmp_path / "x.json")


def test_the_umask_is_obeyed_and_never_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the umask means setting it, for every thread of the program: the mode is left to the system."""
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was set"))
        write_whole(tmp_path / "shared.json", "{}")
        write_whole(tmp_path / "private.json", "{}", 0o600)
        monkeypatch.undo()
        modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("shared.json", "private.json")]
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert modes == [0o640, 0o600]
    assert len(list(tmp_path.iterdir())) == 2


def test_reference_profiles_are_read_from_a_zip(tmp_path: Path) -> None:
    """A wheel on ``sys.path`` as it is, a zipapp: reference stacks, architectures and GPUs are found in it."""
    bundle, package = tmp_path / "bundle.zip", Path(files.__file__).parents[1]
    with zipfile.ZipFile(bundle, "w") as out:
        for folder, name in (
            (package, "tracewrap"),
            (package.parents[1] / "reference_profiles", "tracewrap/reference_profiles"),
        ):
            for file in folder.rglob("*"):
                if file.is_file() and file.suffix != ".pyc":
                    out.write(file, f"{name}/{file.relative_to(folder).as_posix()}")
    code = (
        "import sys; sys.modules.pop('tracewrap', None); sys.path.insert(0, sys.argv[1])\n"
        "import tracewrap; assert 'bundle.zip' in tracewrap.__file__\n"
        "from tracewrap.vendors import adapters; from tracewrap.runtime.roofline.gpus import load_gpus\n"
        "stack = tracewrap.load_catalog().stacks[0]\n"
        "print(stack.id, tracewrap.load_catalog().idealized('meta-llama/Llama-3.1-8B-Instruct') is not None,"
        " len(adapters()), len(load_gpus()) > 5)\n"
        "sys.exit(__import__('tracewrap.cli').cli.main(['profile', 'list']))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(bundle)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] == f"a100-sxm-80gb_megatron-fp16 True {len(adapters())} True"
