"""Samples from CSV: what is wrong is said in one line that names file, row and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracewrap.cli import main
from tracewrap.errors import SourceError
from tracewrap.runtime.samples import Sample, read_samples

HEADER = "input_tokens,output_tokens,runtime_s"
BAD = {
    "empty file": ("", "is empty"),
    "header only": (HEADER + "\n", "holds no sample"),
    "missing column": ("input_tokens,runtime_s\n1,2\n", "column 'output_tokens' is missing"),
    "negative runtime": (f"{HEADER}\n1,1,-0.5\n", "row 2, column 'runtime_s': -0.5 must be greater than 0"),
    "zero runtime": (f"{HEADER}\n1,1,1\n1,2,0\n", "row 3, column 'runtime_s': 0 must be greater than 0"),
    "nan": (f"{HEADER}\n1,1,nan\n", "row 2, column 'runtime_s'"),
    "text": (f"{HEADER}\n1,many,1.0\n", "row 2, column 'output_tokens': 'many' is not a number"),
    "half a token": (f"{HEADER}\n1.5,1,1.0\n", "not a whole number"),
    "short row": (f"{HEADER}\n1,1\n", "row 2: column 'runtime_s' is missing"),
    "negative tokens": (f"{HEADER}\n-4,1,1.0\n", "row 2, column 'input_tokens'"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_bad_file_is_one_line(tmp_path: Path, text: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The library raises SourceError; the command prints it, exits 2 and writes nothing."""
    path, out = tmp_path / "samples.csv", tmp_path / "profile.json"
    path.write_text(text)
    with pytest.raises(SourceError, match=says):
        read_samples(path)
    assert main(["profile", "fit", str(path), "-o", str(out)]) == 2
    said = capsys.readouterr()
    assert str(path) in said.err
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "rows",
    ["1,1,0.5\n", "1,1,0.5\n1,1,0.6\n", "1,0,0.5\n2,0,0.6\n3,0,0.7\n"],
    ids=["one row", "one point", "no output"],
)
def test_undetermined_profile_writes_nothing(tmp_path: Path, rows: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Good rows that do not determine a profile: one line saying what to add, exit 2, no file."""
    path, out = tmp_path / "samples.csv", tmp_path / "profile.json"
    path.write_text(f"{HEADER}\n{rows}")
    assert main(["profile", "fit", str(path), "-o", str(out)]) == 2
    assert "add (" in capsys.readouterr().err
    assert not out.exists()


def test_columns_in_any_order_others_ignored(tmp_path: Path) -> None:
    """Order, spaces, a byte order mark and further columns do not matter; ``model`` selects."""
    path = tmp_path / "samples.csv"
    path.write_text("\ufeffmodel, runtime_s,note,output_tokens,input_tokens,repeats\na,0.5,x,2,1,3\nb,0.7,y,4,3,1\n")
    assert read_samples(path, "a") == [Sample(1, 2, 0.5, 3)]
    assert len(read_samples(path)) == 2
    with pytest.raises(SourceError, match="model 'c'"):
        read_samples(path, "c")


def test_fit_predict_design_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands in a row: design names points, fit takes samples of them, predict gives them back."""
    assert main(["profile", "design", "--n", "6"]) == 0
    points = [tuple(map(int, line.split(","))) for line in capsys.readouterr().out.splitlines()[1:]]
    assert len(points) == 6
    samples = tmp_path / "samples.csv"
    rows = [f"{p},{o},{0.02 + 0.0001 * p + 0.01 * (o - 1)},kept" for p, o in points]
    samples.write_text("\n".join([f"{HEADER},note", *rows]) + "\n")
    profile, out = tmp_path / "p.json", tmp_path / "out.csv"
    assert main(["profile", "fit", str(samples), "-o", str(profile)]) == 0
    assert main(["profile", "predict", str(profile), str(samples), "-o", str(out)]) == 0
    header, *lines = out.read_text().splitlines()
    assert header == f"{HEADER},note,predicted_runtime_s,low_s,high_s,extrapolated,verdict"
    for line in lines:
        cells = line.split(",")
        assert float(cells[5]) <= float(cells[4]) <= float(cells[6])
        assert float(cells[4]) == pytest.approx(float(cells[2]), rel=0.1)
        assert cells[3] == "kept"
