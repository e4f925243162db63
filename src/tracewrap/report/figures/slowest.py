"""Calls worth looking at: the slowest, and those that waited longest beyond the quiet day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracewrap.report.figures.group import number, ratio
from tracewrap.report.schema import CallRow
from tracewrap.report.tables import queries
from tracewrap.report.tables.join_sql import dbl
from tracewrap.report.tables.loading import Joined
from tracewrap.report.tables.period import from_ns

_FIELDS = (
    *(
        "trace_id",
        "span_id",
        "start_time_ns",
        "dim",
        "outcome_text",
        "service",
        "input_tokens",
        "output_tokens",
        "attempts",
    ),
    *("any_raw_s", "last_attempt_s", "denoised_s", "denoised_low_s", "denoised_high_s", "list_cost_usd"),
)

_WAIT = "last_attempt_s - denoised_s"
_ANSWERED = "outcome <> 'error'"


def calls(joined: Joined, top: int) -> tuple[list[CallRow], list[CallRow]]:
    """(the *top* slowest calls that did not fail, the *top* calls with most contention in seconds)."""
    slowest = _floor(
        joined,
        f"SELECT raw_runtime_s FROM calls WHERE raw_runtime_s IS NOT NULL AND {_ANSWERED} ORDER BY 1 DESC LIMIT {int(top)}",
    )
    contended = _floor(
        joined, f"SELECT {_WAIT} AS wait_s FROM joined WHERE denoised_s IS NOT NULL ORDER BY 1 DESC LIMIT {int(top)}"
    )
    floors = [floor for floor in (slowest, contended) if floor is not None]
    if not floors or top < 1:
        return [], []
    # A call waits no longer than it takes, so the calls of both lists take at least the smaller floor.
    fields = [*_FIELDS, *(f"{prefix}_s" for prefix in joined.prefixes[1:2])]
    sql = queries.joined_query(
        joined.prefixes,
        joined.n_segments,
        len(joined.keys),
        joined.span.since_ns,
        joined.now_ns,
        ids=True,
        floor_s=min(floors),
    )
    lists = []
    for order, known in (("any_raw_s", slowest), (_WAIT, contended)):
        where = "1 = 0" if known is None else f"{order} >= {dbl(known)} AND outcome <> 3"
        found = joined.engine.rows(
            f"SELECT {', '.join(fields)} FROM ({sql}) AS w WHERE {where} ORDER BY {order} DESC, trace_id, span_id LIMIT {int(top)}"
        )
        lists.append([_call(joined, dict(zip(fields, row, strict=True))) for row in found])
    return lists[0], lists[1]


def _floor(joined: Joined, sql: str) -> float | None:
    values = [float(row[0]) for row in joined.engine.rows(sql)]
    return min(values) if values else None


def _call(joined: Joined, row: Mapping[str, Any]) -> CallRow:
    deployment = joined.dims[row["dim"]].deployment
    last, quiet = number(row["last_attempt_s"]), number(row["denoised_s"])
    contention = None if last is None or quiet is None else last - quiet
    return {
        "trace_id": row["trace_id"],
        "span_id": row["span_id"],
        "start": from_ns(int(row["start_time_ns"]), joined.span.tz).isoformat(),
        "provider": deployment.provider,
        "model": deployment.model,
        "service": row["service"],
        "operation": deployment.operation,
        "outcome": row["outcome_text"],
        "input_tokens": _whole(row["input_tokens"]),
        "output_tokens": _whole(row["output_tokens"]),
        "attempts": int(row["attempts"]),
        "raw_runtime_s": number(row["any_raw_s"]),
        "last_attempt_s": last,
        "denoised_runtime_s": quiet,
        "denoised_low_s": number(row["denoised_low_s"]),
        "denoised_high_s": number(row["denoised_high_s"]),
        "contention_s": contention,
        "contention_share": ratio(contention, last),
        "idealized_runtime_s": number(row.get("idealized_0_s")),
        "list_cost_usd": number(row["list_cost_usd"]),
    }


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
