"""The one sentence on top of a report: what was slow, who caused it, what it cost, what is not known."""

from __future__ import annotations

from tracewrap.report.schema import Group, Report
from tracewrap.words import clean, counted, printable, seconds, share, usd


def verdict(report: Report) -> str:
    """The sentence; every figure in it stands in the report too."""
    totals = report["totals"]
    calls, failed = totals["calls"], totals["failed_calls"]
    if not calls:
        return f"No calls in this period{' are as asked' if report['where'] else ''}."
    if failed == calls:
        return f"{'The only call' if calls == 1 else f'All {calls:,} calls'} failed{_error(report)}."
    parts = [_speed(totals), _cause(report, totals), _cost(totals)]
    if failed:
        parts.append(f"{share(totals['error_share'])} failed{_error(report)}")
    unknown = _unknown(report)
    if unknown:
        parts.append(f"not known: {unknown}")
    return "; ".join(part for part in parts if part) + "."


def _speed(totals: Group) -> str:
    raw = totals["raw"]
    if not raw["n"]:
        return f"{counted(totals['calls'], 'call')}, none with a runtime"
    if totals["calls"] == 1:
        return f"1 call took {seconds(raw['p50_s'])}"
    return f"{totals['calls']:,} calls took {seconds(raw['p50_s'])} at the median and {seconds(raw['p95_s'])} at p95"


def _cause(report: Report, totals: Group) -> str:
    """Who made calls slow, where calls could be judged."""
    by, n = totals["split"]["calls"], totals["split"]["n"]
    if not n:
        steps = [gap["next"] for gap in report["unprofiled"] if gap["stack"] is None]
        return f"whether they were slow cannot be told yet ({printable(steps[0])})" if steps else ""
    who = {"provider": "the provider", "us": "this program", "network": "the network"}
    # "unknown" is also who slowed a call that has no quiet day: those may not have been slow at all.
    unknown = by["unknown"] - (sum(by.values()) - n)
    slow = sorted([(unknown, "unknown causes"), *((by[name], text) for name, text in who.items())], reverse=True)
    lost = f"contention was {share(totals['contention']['share'])} of the time"
    (most, whose), *others = [(count, text) for count, text in slow if count > 0] or [(0, "")]
    of = counted(sum(by.values()), "compared call")
    if not most:
        return f"{lost}, and none of {of} was slow"
    return f"{lost}: {whose} slowed {most:,} of {of}" + "".join(f", {text} {count:,}" for count, text in others)


def _cost(totals: Group) -> str:
    """List cost, beside the idealized cost of the same calls where there is one."""
    listed = totals["list_cost_usd"]
    if listed is None:
        return ""
    beside = next((ref for ref in totals["references"] if ref["list_cost_idealized_usd"] is not None), None)
    if beside is None:
        return f"list cost {usd(listed)}"
    ideal, same = beside["list_cost_idealized_usd"], beside["list_cost_calls"]
    if same == totals["priced_calls"]:
        return f"list cost {usd(listed)}, idealized {usd(ideal)}"
    return f"list cost {usd(listed)}; {usd(beside['list_cost_usd'])} of it beside {usd(ideal)} idealized, for {counted(same, 'call')}"


def _error(report: Report) -> str:
    """The commonest error."""
    errors = report["error_types"]
    return f", most often with {clean(str(errors[0]['error_type']))}" if errors else ""


def _unknown(report: Report) -> str:
    """What the figures leave out."""
    cover = report["coverage"]
    quiet = sum(gap["calls"] for gap in report["unprofiled"] if gap["stack"] is None)
    gaps = (
        (quiet if cover["denoised_calls"] else 0, "denoised runtime"),
        (cover["unpriced_calls"], "price"),
        (cover["usage_missing_calls"], "token counts"),
    )
    return ", ".join(f"the {what} of {counted(n, 'call')}" for n, what in gaps if n)
