"""A comparison as text."""

from __future__ import annotations

from collections.abc import Callable

from tracewrap.report.questions.compare import Comparison, Measure, SideFacts
from tracewrap.words import ABSENT, count, seconds, share, table, usd

_NAMES: dict[str, tuple[str, Callable[[float | None], str]]] = {
    "raw_runtime_s": ("raw, mean", seconds),
    "raw_runtime_typical_s": ("raw, typical call", seconds),
    "time_to_first_chunk_s": ("time to first chunk", seconds),
    "denoised_runtime_s": ("denoised", seconds),
    "contention_share": ("contention share", share),
    "idealized_runtime_s": ("idealized", seconds),
    "idealized_cost_usd": ("idealized cost", usd),
    "list_cost_usd": ("list cost", usd),
    "error_share": ("error share", share),
}


def render_comparison(found: Comparison) -> str:
    """Both sides, the notes, and a row a measure: figures per call at equal token counts."""
    lines = [_side("A", found["a"]), _side("B", found["b"]), ""]
    lines += [f"! {note}" for note in found["notes"]] + ([""] if found["notes"] else [])
    rows: list[tuple[str, ...]] = [("per call, equal tokens", "A", "B", "B against A", "90% interval", "verdict")]
    rows += [_row(measure) for measure in found["measures"]]
    lines += table(rows)
    return "\n".join(lines) + "\n"


def _side(letter: str, side: SideFacts) -> str:
    period = side["period"]
    matched = f", {share(side['matched_share'])} with a counterpart" if side["matched_share"] is not None else ""
    return (
        f"{letter}  {side['name']}: {count(side['calls'])} calls from {period['since']} to {period['until']},"
        f" {count(side['comparable_calls'])} comparable{matched}"
    )


def _row(measure: Measure) -> tuple[str, ...]:
    name, show = _NAMES[measure["measure"]]
    change, low, high = (_change(measure, measure[part]) for part in ("change", "low", "high"))
    interval = ABSENT if ABSENT in (low, high) else f"{low} to {high}"
    return (name, show(measure["a"]), show(measure["b"]), change, interval, measure["verdict"])


def _change(measure: Measure, value: float | None) -> str:
    if value is None:
        return ABSENT
    if measure["kind"] == "difference":
        return f"{100 * value:+.1f} points"
    return f"{100 * (value - 1):+.1f}%" if value < 3 else f"x {value:.3g}"
