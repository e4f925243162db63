"""Emissions of the idealized energy, on the grid that the reader names."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast

from tracewrap.report.schema import Interval, Report
from tracewrap.report.used import GridUsed
from tracewrap.runtime.grid import Grid


def add(report: Report, grid: Grid) -> None:
    """Fill in ``idealized_co2e_g`` of every row of *report*, and say which *grid* it is of."""
    report["grid"] = cast(GridUsed, asdict(grid))
    for row in (report["totals"], *report["days"], *(row for table in report["groups"] for row in table["rows"])):
        for figures in row["references"]:
            figures["idealized_co2e_g"] = _emitted(figures["idealized_energy_j"], grid)


def _emitted(energy: Interval, grid: Grid) -> Interval:
    value, low, high = (grid.grams(one) for one in (energy["value"], energy["low"], energy["high"]))
    return {"n": energy["n"], "value": value, "low": low, "high": high}
