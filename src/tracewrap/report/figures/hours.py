"""The period day by day and hour by hour."""

from __future__ import annotations

from tracewrap.records import HOUR_NS
from tracewrap.report.figures.group import number, ratio
from tracewrap.report.figures.grouping import table
from tracewrap.report.schema import Group, Hour
from tracewrap.report.tables import queries
from tracewrap.report.tables.loading import Joined

MAX_FILLED = 24 * 35
"""Hours of a period up to which empty ones are listed too."""


def days(joined: Joined) -> list[Group]:
    """The figures of each day that has calls, in order; none for a period of one day."""
    if len(joined.span.describe()["days"]) < 2:
        return []
    return sorted(table(joined, ("day",)), key=lambda row: str(row["key"]["day"]))


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
        last, quiet = (number(row["last_attempt_sum_s"]), number(row["denoised_sum_s"])) if row else (None, None)
        out.append(
            {
                "hour": joined.span.hour_label(index),
                "calls": int(row["calls"]) if row else 0,
                "failed_calls": int(row["failed"]) if row else 0,
                "compared_calls": int(row["denoised_n"]) if row else 0,
                "raw_p50_s": number(raw[0]) if raw else None,
                "denoised_p50_s": number(denoised[0]) if denoised else None,
                "contention_share": None if last is None or quiet is None else ratio(last - quiet, last),
                "list_cost_usd": number(row["list_cost_usd"]) if row and row["priced"] else None,
            }
        )
    return out
