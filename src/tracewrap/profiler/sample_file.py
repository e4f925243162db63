"""Raw samples as CSV, one line a measurement, written as they come: a killed run loses nothing and can go on.

Columns ``input_tokens``, ``output_tokens`` and ``runtime_s`` are what ``tracewrap profile fit`` reads; the others say how
each was measured. The column ``setup`` identifies what was measured: a file is only continued by the same setup.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracewrap.errors import ConfigurationError, SourceError


def setup_key(facts: Mapping[str, Any]) -> str:
    """Ten hexadecimal digits that stand for *facts* (plain JSON values)."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def samples_path(profile_path: str) -> str:
    """Where the raw samples of a profile file are kept: beside it, ``.samples.csv`` for ``.json``."""
    return profile_path.removesuffix(".json") + ".samples.csv"


class SampleFile:
    """The samples of one setup at *path*. Opening reads what is there; a torn last line is cut off."""

    def __init__(self, path: str | os.PathLike[str], columns: Sequence[str], setup: str) -> None:
        self.path = Path(path)
        self.columns = (*columns, "setup")
        self.setup = setup
        self.rows: list[dict[str, str]] = self._read() if self.path.exists() else []
        if not self.rows:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(",".join(self.columns) + "\n", encoding="utf-8")

    def append(self, row: Mapping[str, Any]) -> None:
        """Write *row* (columns left out stay empty) and keep it in ``rows``."""
        values = {name: _text(row.get(name)) for name in self.columns} | {"setup": self.setup}
        line = io.StringIO()
        csv.DictWriter(line, self.columns, lineterminator="\n").writerow(values)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line.getvalue())
        self.rows.append(values)

    def _read(self) -> list[dict[str, str]]:
        text = self.path.read_text(encoding="utf-8")
        if text and not text.endswith("\n"):  # the last writer was killed in the middle of a line
            text = text[: text.rfind("\n") + 1]
            with self.path.open("r+", encoding="utf-8") as file:
                file.truncate(len(text.encode()))
        reader = csv.DictReader(io.StringIO(text))
        if text and tuple(reader.fieldnames or ()) != self.columns:
            raise SourceError(f"{self.path}: not a samples file of this command; give -o another name or move it away")
        rows = [dict(row) for row in reader]
        for number, row in enumerate(rows, start=2):
            if row["setup"] != self.setup:
                raise ConfigurationError(
                    f"{self.path}: line {number} was measured with another setup; give -o another name or move it away"
                )
        return rows


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.9g}" if isinstance(value, float) else str(value)
