"""A source that holds a sample of the traces: totals of all calls, with an interval, from the probability with which each trace was kept.

Each trace counts as 1/p traces (Horvitz and Thompson, 1952); traces are kept independently of each other, so the variance of a total is
the sum over the kept traces of (1 - p)/p^2 times the square of what the trace holds. p comes from the record (``ot=th:`` of its
tracestate), else from the user. A tail sample (a collector that keeps slow and failed traces) has no such p: what it says of cost,
errors and the quiet day is said to be unknown.
"""

from __future__ import annotations

import math
from typing import Literal, cast

from tracewrap import words
from tracewrap.errors import ConfigurationError
from tracewrap.report.sample import Sample, Scaled
from tracewrap.report.schema import Report
from tracewrap.report.tables import queries
from tracewrap.report.tables.join_sql import dbl
from tracewrap.report.tables.loading import Joined

Sampled = float | Literal["tail"] | None
"""What the user says of the sources: each trace was kept with this probability; a tail sample; nothing."""

_NORMAL_95 = 1.959963984540054
_SCALED = ("calls", "input_tokens", "output_tokens", "list_cost_usd", "idealized_cost_usd")


def parse_sampled(text: str | None) -> Sampled:
    """*text* of ``--sampled`` or TRACEWRAP_SAMPLED; ConfigurationError for what is no probability."""
    if text is None or text == "":
        return None
    if text == "tail":
        return "tail"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= 1.0:
        raise ConfigurationError(
            f"--sampled {text!r}: write the probability with which a trace was kept, such as 0.1, or tail"
        )
    return value


def sample(joined: Joined, sampled: Sampled) -> Sample | None:
    """What the sources hold a sample of; None: nothing says that they hold less than everything."""
    marked, unknown = joined.engine.rows(
        "SELECT count(sampling_probability), sum(CASE WHEN sampled AND sampling_probability IS NULL THEN 1 ELSE 0 END) FROM calls"
    )[0]
    given = sampled if isinstance(sampled, float) and sampled < 1.0 else None
    if sampled == "tail":
        return _unscaled("tail", 0)
    if not marked and given is None:
        return _unscaled("unknown", int(unknown)) if unknown else None
    least, most, figures = _scaled(joined, 1.0 if given is None else given)
    if least == 1.0:
        return _unscaled("unknown", int(unknown)) if unknown else None
    kind: Literal["tracestate", "given"] = "tracestate" if marked else "given"
    unknown = int(unknown or 0) if given is None else 0
    known = {"kind": kind, "least_probability": least, "most_probability": most, "unknown_calls": unknown}
    return cast(Sample, known | figures)


def _unscaled(kind: Literal["tail", "unknown"], unknown: int) -> Sample:
    return {
        "kind": kind,
        "least_probability": None,
        "most_probability": None,
        "unknown_calls": unknown,
        "calls": None,
        "input_tokens": None,
        "output_tokens": None,
        "list_cost_usd": None,
        "idealized_cost_usd": None,
    }


def _scaled(joined: Joined, given: float) -> tuple[float, float, dict[str, Scaled | None]]:
    """(least and largest probability, totals of all calls); *given*: of the traces whose records do not say."""
    engine, first = joined.engine, joined.prefixes[1]
    calls = queries.joined_query(
        joined.prefixes, joined.n_segments, len(joined.keys), joined.span.since_ns, joined.now_ns, ids=True
    )
    cost = f"{first}_s * l.{first}_usd_per_s"
    terms = {
        "calls": "1",
        "input_tokens": "c.input_tokens",
        "output_tokens": "c.output_tokens",
        "list_cost_usd": "c.list_cost_usd",
        "idealized_cost_usd": f"c.{cost}",
    }
    sums = ", ".join(f"sum({dbl(sql)}) AS {name}" for name, sql in terms.items())
    probability = f"coalesce(min(c.sampling_probability), {dbl(given)})"
    traces = f"SELECT {probability} AS p, {sums} FROM ({calls}) AS c JOIN labels AS l ON c.dim = l.label_dim GROUP BY c.trace_id"
    figures = ", ".join(f"sum({name} / p), sum((1 - p) / (p * p) * {name} * {name}), count({name})" for name in _SCALED)
    least, most, *found = engine.rows(f"SELECT min(p), max(p), {figures} FROM ({traces}) AS t")[0]
    totals: dict[str, Scaled | None] = {}
    for index, name in enumerate(_SCALED):
        value, variance, n = found[3 * index : 3 * index + 3]
        if not n:
            totals[name] = None
            continue
        half = _NORMAL_95 * math.sqrt(max(float(variance), 0.0))
        totals[name] = {"value": float(value), "low": max(float(value) - half, 0.0), "high": float(value) + half}
    return float(least or 1.0), float(most or 1.0), totals


def notes(found: Sample | None, calls: int) -> list[str]:
    """The coverage line of a sample: what it is, and what all calls came to."""
    if found is None:
        return []
    if found["kind"] == "tail":
        return [
            "a tail sample: slow and failed traces were kept on purpose; cost, error share and the quiet day cannot be"
            " known from it: take them from the span log or from the metrics"
        ]
    if found["kind"] == "unknown":
        return [
            f"a sample: {words.counted(found['unknown_calls'], 'call')} of {calls:,} are of sampled traces, with what probability their"
            " records do not say; counts, tokens and costs are the sample's; --sampled 0.1 scales them"
        ]
    least, most = found["least_probability"], found["most_probability"]
    kept = f"{least:.3g}" if least == most else f"{least:.3g} to {most:.3g}"
    parts = [f"{_text(found['calls'])} calls", f"{_text(found['input_tokens'])} input tokens"]
    parts += [f"{_text(found['output_tokens'])} output tokens"]
    for name, cost in (("list cost", found["list_cost_usd"]), ("idealized cost", found["idealized_cost_usd"])):
        if cost is not None:
            parts.append(f"{name} {words.usd(cost['value'])} ({words.usd(cost['low'])} to {words.usd(cost['high'])})")
    out = [
        f"a sample: {calls:,} calls of traces kept with probability {kept}; all calls, with 95% intervals: {', '.join(parts)};"
        " every other figure is the sample's"
    ]
    if found["unknown_calls"]:
        out.append(
            f"{words.counted(found['unknown_calls'], 'call')} of sampled traces say no probability and are counted once;"
            " --sampled 0.1 scales them too"
        )
    return out


def _text(scaled: Scaled | None) -> str:
    if scaled is None:
        return "unknown"
    return f"{scaled['value']:,.0f} ({scaled['low']:,.0f} to {scaled['high']:,.0f})"


def refuse_tail(report: Report) -> None:
    """Take out of *report* what a tail sample cannot tell: cost and error share, of all calls and of each group."""
    rows = [row for grouping in report["groups"] for row in grouping["rows"]]
    for group in [report["totals"], *report["days"], *rows]:
        group["list_cost_usd"] = group["error_share"] = None
        for reference in group["references"]:
            reference["list_cost_usd"] = reference["list_cost_idealized_usd"] = reference["list_to_idealized"] = None
            reference["list_cost_calls"] = 0
            reference["idealized_cost_usd"] |= {"value": None, "low": None, "high": None}
    for hour in report["hours"]:
        hour["list_cost_usd"] = None
