"""Tables of groups: the figures of every group, whatever they are grouped by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracewrap.report.figures.group import VERDICT, group
from tracewrap.report.schema import Group, Grouping
from tracewrap.report.tables import queries
from tracewrap.report.tables.loading import Joined
from tracewrap.report.tables.names import CLOCK

MAX_ROWS = 500
"""Groups listed in one table; the report says how many more there are."""


def grouping(joined: Joined, by: Sequence[str]) -> Grouping:
    """One table of the report: by day or hour in order, else the highest list cost first, then most calls."""
    rows = table(joined, by)
    clock = by[0] if by[0] in CLOCK else None
    rows.sort(
        key=lambda row: (
            str(row["key"][clock]) if clock else "",
            -(row["list_cost_usd"] or 0.0),
            -row["calls"],
            str(row["key"]),
        )
    )
    return {"by": list(by), "rows": rows[:MAX_ROWS], "more_rows": max(len(rows) - MAX_ROWS, 0)}


def table(joined: Joined, by: Sequence[str]) -> list[Group]:
    """Figures by the names of *by*; by nothing: one row, of all calls, also when there is none."""
    columns = joined.columns(by)
    names = [*columns, *queries.rollup_figures(joined.prefixes)]
    rows = joined.engine.rows(queries.rollup_query(joined.prefixes, columns))
    quantiles = _keyed(joined, queries.quantile_query(joined.prefixes, columns), len(columns))
    provenances = _provenances(joined, columns)
    out = []
    for values in rows:
        row = dict(zip(names, values, strict=True))
        key = tuple(row[column] for column in columns)
        for name, found in zip((*queries.MEASURED, *joined.prefixes), quantiles.get(key, ()), strict=False):
            row[f"{name}_quantiles"] = found
        labels = dict(zip(by, key, strict=True))
        out.append(group(labels, row, joined.stacks, provenances.get(key, {})))
    return out


def _provenances(joined: Joined, columns: Sequence[str]) -> dict[tuple[Any, ...], dict[str, dict[str, int]]]:
    """Calls by class: of each group, by provenance under each prefix, by verdict under ``VERDICT``."""
    out: dict[tuple[Any, ...], dict[str, dict[str, int]]] = {}
    classes = [(prefix, prefix, "provenance") for prefix in joined.prefixes]
    for under, prefix, what in [*classes, (VERDICT, queries.DENOISED, "verdict")]:
        for *named, name, n in joined.engine.rows(queries.classes_query(prefix, what, columns)):
            if name is not None:
                out.setdefault(tuple(named), {}).setdefault(under, {})[name] = int(n)
    return out


def _keyed(joined: Joined, sql: str, n_keys: int) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    return {tuple(row[:n_keys]): tuple(row[n_keys:]) for row in joined.engine.rows(sql)}
