"""From rows of aggregates to the report's figures: absent stays absent, every ratio from sums over the same calls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tracewrap.estimate.split import VERDICTS
from tracewrap.report.schema import (
    Contention,
    EstimatedRuntimes,
    Group,
    Interval,
    ReferenceFigures,
    Runtimes,
    SplitSeconds,
)
from tracewrap.report.tables import split_sql
from tracewrap.report.tables.loading import prefixes_of
from tracewrap.report.tables.queries import DENOISED

Row = Mapping[str, Any]
Provenances = Mapping[str, Mapping[str, int]]
VERDICT = "verdict"
"""Under which ``Provenances`` have the calls by verdict of their denoised profile."""


def number(value: Any) -> float | None:
    """*value* as a finite float; None for NULL and NaN."""
    return None if value is None or not math.isfinite(float(value)) else float(value)


def ratio(above: float | None, below: float | None) -> float | None:
    """above / below; None when either is unknown or below is 0."""
    return None if above is None or not below else above / below


def _four(values: Any) -> tuple[float | None, float | None, float | None, float | None]:
    """p50, p90, p99, p95, as ``engine`` orders them."""
    found = [number(value) for value in values] if values else []
    return (found[0], found[1], found[2], found[3]) if len(found) == 4 else (None, None, None, None)


def _runtimes(row: Row, name: str) -> Runtimes:
    p50, p90, p99, p95 = _four(row.get(f"{name}_quantiles"))
    n = int(row[f"{name}_n"] or 0)
    total = number(row[f"{name}_sum_s"]) if n else None
    return {"n": n, "sum_s": total, "p50_s": p50, "p90_s": p90, "p95_s": p95, "p99_s": p99}


def _estimated(
    row: Row, prefix: str, provenance: Mapping[str, int], verdicts: Mapping[str, int] | None = None
) -> EstimatedRuntimes:
    plain = _runtimes(row, prefix)
    known = plain["n"] > 0
    return {
        "n": plain["n"],
        "sum_s": plain["sum_s"],
        "sum_low_s": number(row[f"{prefix}_low_sum_s"]) if known else None,
        "sum_high_s": number(row[f"{prefix}_high_sum_s"]) if known else None,
        "p50_s": plain["p50_s"],
        "p90_s": plain["p90_s"],
        "p95_s": plain["p95_s"],
        "p99_s": plain["p99_s"],
        "provenance": dict(provenance),
        "verdicts": dict(verdicts or {}),
        "extrapolated_calls": int(row[f"{prefix}_extrapolated"] or 0),
    }


def _contention(row: Row) -> Contention:
    n = int(row["denoised_n"] or 0)
    last, value = (number(row["last_attempt_sum_s"]), number(row["denoised_sum_s"])) if n else (None, None)
    low, high = (number(row["denoised_low_sum_s"]), number(row["denoised_high_sum_s"])) if n else (None, None)

    def left(estimate: float | None) -> float | None:
        return None if last is None or estimate is None else last - estimate

    return {
        "n": n,
        "last_attempt_sum_s": last,
        "seconds": left(value),
        "seconds_low": left(high),
        "seconds_high": left(low),
        "share": ratio(left(value), last),
        "share_low": ratio(left(high), last),
        "share_high": ratio(left(low), last),
    }


def _split(row: Row) -> SplitSeconds:
    n = int(row["denoised_n"] or 0)
    raw, last = (number(row[name]) if n else None for name in ("split_raw_s", "last_attempt_sum_s"))
    parts = {f"{part}_s": number(row[f"split_{part}_sum_s"]) if n else None for part in split_sql.PARTS}
    if not row["split_admission_n"]:
        parts["admission_s"] = None
    found = {
        "n": n,
        "raw_s": raw,
        "retries_s": None if raw is None or last is None else raw - last,
        **parts,
        "consumer_s": number(row["split_held_s"]) if n else None,
        "calls": {name: int(row[f"verdict_{name}"] or 0) for name in VERDICTS},
        "us": {kind: int(row[f"us_{kind}"] or 0) for kind in split_sql.KINDS},
    }
    return cast(SplitSeconds, found)


def _interval(row: Row, name: str) -> Interval:
    n = int(row[f"{name}_n"] or 0)
    value, low, high = (
        (number(row[name]), number(row[f"{name}_low"]), number(row[f"{name}_high"])) if n else (None, None, None)
    )
    return {"n": n, "value": value, "low": low, "high": high}


def _reference(row: Row, prefix: str, stack: str, provenance: Mapping[str, int]) -> ReferenceFigures:
    both = {
        name: number(row[f"{prefix}_both_{name}"])
        for name in (f"{part}_{value}" for part in ("denoised", "idealized") for value in ("s", "low_s", "high_s"))
    }
    beside = int(row[f"{prefix}_beside_n"] or 0)
    listed, ideal = (number(row[f"{prefix}_beside_{name}_usd"]) if beside else None for name in ("list", "cost"))
    return {
        "stack": stack,
        "idealized": _estimated(row, prefix, provenance),
        "serving_ratio": {
            "n": int(row[f"{prefix}_both_n"] or 0),
            "value": ratio(both["denoised_s"], both["idealized_s"]),
            "low": ratio(both["denoised_low_s"], both["idealized_high_s"]),
            "high": ratio(both["denoised_high_s"], both["idealized_low_s"]),
        },
        "idealized_cost_usd": _interval(row, f"{prefix}_cost"),
        "list_cost_usd": listed,
        "list_cost_calls": beside,
        "list_cost_idealized_usd": ideal,
        "list_to_idealized": ratio(listed, ideal),
        "idealized_energy_j": _interval(row, f"{prefix}_energy"),
        "idealized_co2e_g": {"n": 0, "value": None, "low": None, "high": None},
    }


def group(key: Mapping[str, str | None], row: Row, stacks: Sequence[str], provenances: Provenances) -> Group:
    """One group's figures from a row of ``rollup_figures`` with quantiles beside it."""
    calls, usage = int(row["calls"] or 0), int(row["reported"] or 0) + int(row["estimated"] or 0)
    priced = int(row["priced"] or 0)
    return {
        "key": dict(key),
        "calls": calls,
        "complete_calls": int(row["complete"] or 0),
        "partial_calls": int(row["partial"] or 0),
        "cancelled_calls": int(row["cancelled"] or 0),
        "failed_calls": int(row["failed"] or 0),
        "error_share": int(row["failed"] or 0) / calls if calls else None,
        "input_tokens": int(row["input_tokens"] or 0),
        "output_tokens": int(row["output_tokens"] or 0),
        "cached_input_tokens": int(row["cached_input_tokens"] or 0),
        "reasoning_output_tokens": int(row["reasoning_output_tokens"] or 0),
        "usage_calls": usage,
        "attempts": int(row["attempts"] or 0),
        "retried_calls": int(row["retried"] or 0),
        "retry_s": float(row["retry_s"] or 0.0),
        "raw": _runtimes(row, "raw"),
        "time_to_first_chunk": _runtimes(row, "first_chunk"),
        "time_per_output_token": _runtimes(row, "per_token"),
        "output_tokens_per_s": ratio(number(row["speed_tokens"]), number(row["speed_s"])),
        "denoised": _estimated(row, DENOISED, provenances.get(DENOISED, {}), provenances.get(VERDICT)),
        "contention": _contention(row),
        "split": _split(row),
        "references": [
            _reference(row, prefix, name, provenances.get(prefix, {}))
            for prefix, name in zip(prefixes_of(stacks)[1:], stacks, strict=True)
        ],
        "list_cost_usd": number(row["list_cost_usd"]) if priced else None,
        "priced_calls": priced,
        "unpriced_calls": max(usage - priced, 0),
    }
