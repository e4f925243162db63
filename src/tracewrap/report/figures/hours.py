"""Contention hour by hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracewrap.report.figures.group import number, ratio
from tracewrap.report.schema import Hour
from tracewrap.report.tables import queries
from tracewrap.report.tables.period import HOUR_NS

if TYPE_CHECKING:
    from tracewrap.report.building import Joined

MAX_FILLED = 24 * 35
"""Hours of a period up to which empty ones are listed too."""


def hours(joined: Joined) -> list[Hour]:
    """One row an hour of the period, empty ones included unless the period is longer than five weeks."""
    names = ["hour", *queries.rollup_figures(joined.prefixes)]
    rows = {
        row[0]: dict(zip(names, row, strict=True))
        for row in joined.engine.rows(queries.rollup_query(joined.prefixes, ["hour"]))
    }
    medians = {row[0]: row[1:] for row in joined.engine.rows(queries.hour_medians_query())}
    total = -(-(joined.span.until_ns - joined.span.since_ns) // HOUR_NS)
    wanted = range(total) if total <= MAX_FILLED else sorted(rows)
    out: list[Hour] = []
    for index in wanted:
        row, (raw, denoised) = rows.get(index), medians.get(index, (None, None))
        last, quiet = (number(row["last_sum"]), number(row["d_sum"])) if row else (None, None)
        out.append(
            {
                "hour": joined.span.hour_label(index),
                "calls": int(row["calls"]) if row else 0,
                "failed_calls": int(row["failed"]) if row else 0,
                "compared_calls": int(row["d_n"]) if row else 0,
                "raw_p50_s": number(raw[0]) if raw else None,
                "denoised_p50_s": number(denoised[0]) if denoised else None,
                "contention_share": None if last is None or quiet is None else ratio(last - quiet, last),
                "list_cost_usd": number(row["usd_sum"]) if row and row["usd_n"] else None,
            }
        )
    return out
