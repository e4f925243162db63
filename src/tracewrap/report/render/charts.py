"""Data of the page's charts, as plain JSON values; a chart without data is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracewrap.report.render.columns import group_name
from tracewrap.report.render.text import SPLIT_PARTS
from tracewrap.report.schema import Group, Report
from tracewrap.report.scores import Capability

MODELS = 12
"""Rows of a chart: the first of the table by model."""


def charts(report: Report) -> dict[str, Any]:
    """Chart name to data: runtimes, split, hours, costs, capability."""
    every = next((g["rows"] for g in report["groups"] if g["by"] == ["model"]), [report["totals"]])
    rows = every[:MODELS]
    found = {
        "runtimes": _of(_runtimes(rows), every),
        "split": _of(_split(rows), every),
        "hours": _hours(report),
        "costs": _of(_costs(rows), every),
        "capability": _capability(report.get("capability")),
    }
    return {name: data for name, data in found.items() if data is not None}


def _of(chart: dict[str, Any] | None, every: Sequence[Group]) -> dict[str, Any] | None:
    """*chart*, and of how many rows it shows the first, where there are more."""
    return None if chart is None else chart | {"of": len(every) if len(every) > MODELS else 0}


def _runtimes(rows: Sequence[Group]) -> dict[str, Any] | None:
    if not any(row["raw"]["n"] for row in rows):
        return None
    series = {"raw": [row["raw"]["p50_s"] for row in rows], "denoised": [row["denoised"]["p50_s"] for row in rows]}
    stacks = [figures["stack"] for figures in rows[0]["references"]]
    for i, stack in enumerate(stacks):
        name = "idealized" if len(stacks) == 1 else f"idealized, {stack}"
        series[name] = [row["references"][i]["idealized"]["p50_s"] for row in rows]
    return {"labels": [group_name(row) for row in rows], "series": _known(series)}


def _split(rows: Sequence[Group]) -> dict[str, Any] | None:
    """Mean seconds a call of each part of raw; contention below 0 (faster than on a quiet day) is left as it is."""
    known = [row for row in rows if row["split"]["n"]]
    if not known:
        return None
    series: dict[str, list[float | None]] = {}
    for name, part in SPLIT_PARTS.items():
        values = [row["split"][part] for row in known]  # type: ignore[literal-required]
        if not any(values) and part not in ("model_s", "contention_s"):
            continue
        series[name] = [
            None if value is None else value / row["split"]["n"] for value, row in zip(values, known, strict=True)
        ]
    return {"labels": [group_name(row) for row in known], "series": _known(series)}


def _known(series: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    return {name: values for name, values in series.items() if any(value is not None for value in values)}


def _hours(report: Report) -> dict[str, Any] | None:
    hours = report["hours"]
    if sum(1 for hour in hours if hour["calls"]) < 2 or all(hour["contention_share"] is None for hour in hours):
        return None
    several = len({hour["hour"][:10] for hour in hours}) > 1
    return {
        "labels": [f"{hour['hour'][5:10]} {hour['hour'][11:16]}" if several else hour["hour"][11:16] for hour in hours],
        "contention": [hour["contention_share"] for hour in hours],
        "calls": [hour["calls"] for hour in hours],
    }


def _costs(rows: Sequence[Group]) -> dict[str, Any] | None:
    known = [row for row in rows if any(figures["list_cost_usd"] is not None for figures in row["references"])]
    if not known:
        return None
    stacks = [figures["stack"] for figures in known[0]["references"]]
    series: dict[str, list[float | None]] = {"list": [row["references"][0]["list_cost_usd"] for row in known]}
    for i, stack in enumerate(stacks):
        name = "idealized" if len(stacks) == 1 else f"idealized, {stack}"
        series[name] = [row["references"][i]["idealized_cost_usd"]["value"] for row in known]
    return {"labels": [group_name(row) for row in known], "series": _known(series)}


def _capability(found: Capability | None) -> dict[str, Any] | None:
    if found is None or not any(row["idealized_runtime_s"] is not None for row in found["rows"]):
        return None
    names = (
        *("model", "score", "provenance", "idealized_runtime_s", "idealized_runtime_low_s", "idealized_runtime_high_s"),
        *("idealized_cost_usd", "idealized_energy_j", "frontier"),
    )
    rows: list[dict[str, Any]] = [dict(row) for row in found["rows"]]
    return {"score": found["score"], "rows": [{name: row[name] for name in names} for row in rows]}
