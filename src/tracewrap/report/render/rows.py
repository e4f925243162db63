"""JSON, CSV and Parquet: the report for programs. CSV and Parquet hold one row a group, totals first."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracewrap import systems
from tracewrap.errors import check_local
from tracewrap.report.schema import Group, Report
from tracewrap.sources import connect
from tracewrap.sources.table import quoted
from tracewrap.words import csv_cell


def render_json(report: Report) -> str:
    """Indented JSON text; NaN is refused, so none can slip out."""
    return json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def flat_rows(report: Report) -> list[dict[str, Any]]:
    """One flat row a group: ``grouping`` (names joined by commas; empty: totals), ``group`` (values likewise), then every figure."""
    out = [_flat("", report["totals"])]
    for grouping in report["groups"]:
        out += [_flat(",".join(grouping["by"]), row) for row in grouping["rows"]]
    return [{"since": report["period"]["since"], "until": report["period"]["until"], **row} for row in out]


def _flat(grouping: str, row: Group) -> dict[str, Any]:
    out: dict[str, Any] = {
        "grouping": grouping,
        "group": ",".join("" if value is None else value for value in row["key"].values()),
    }
    for name, value in row.items():
        if name == "references":
            for reference in row["references"]:
                _put(out, f"{reference['stack']}.", {k: v for k, v in reference.items() if k != "stack"})
        elif name != "key":
            _put(out, "", {name: value})
    return out


def _put(out: dict[str, Any], prefix: str, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name in ("provenance", "verdicts"):
            out[f"{prefix}{name}"] = ";".join(f"{k}={v}" for k, v in sorted(value.items()))
        elif isinstance(value, Mapping):
            _put(out, f"{prefix}{name}.", value)
        else:
            out[f"{prefix}{name}"] = value


def render_csv(report: Report) -> str:
    """CSV with a header; an unknown figure is an empty cell."""
    rows = flat_rows(report)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def write_parquet(report: Report, path: str) -> None:
    """Write the rows of ``flat_rows`` to *path* as Parquet, whole or not at all."""
    check_local(path)
    target = Path(path)
    rows = flat_rows(report)
    text = {"since", "until", "grouping", "group"}
    kinds = {name: _kind(name, [row[name] for row in rows], text) for name in rows[0]}
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    try:
        with connect() as connection:
            typed = ", ".join(f'"{name}" {kind}' for name, kind in kinds.items())
            connection.execute(f"CREATE TABLE report ({typed})")
            connection.executemany(
                f"INSERT INTO report VALUES ({', '.join('?' * len(kinds))})", [list(row.values()) for row in rows]
            )
            connection.execute(f"COPY report TO {quoted(temporary)} (FORMAT parquet)")
        systems.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _kind(name: str, values: list[Any], text: set[str]) -> str:
    if name in text or name.endswith(("provenance", "verdicts")):
        return "VARCHAR"
    known = [value for value in values if value is not None]
    return "BIGINT" if known and all(isinstance(value, int) for value in known) else "DOUBLE"
