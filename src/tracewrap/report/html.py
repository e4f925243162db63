"""The report as one self-contained HTML page: no request leaves when it is opened, charts with hover, light and dark, printable.

Charts are Chart.js (MIT), shipped with the package and written into the page; tables sort on a click; everything else is HTML and CSS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from tracewrap.errors import missing_extra
from tracewrap.report import render_text as words
from tracewrap.report.model import CallRow, Group, Grouping, Report


def render(report: Report, *, trace_url: str | None = None, title: str | None = None) -> str:
    """The page of *report*. *trace_url*: a URL with ``{trace_id}`` in it, to link calls to their traces (Jaeger: ``http://host:16686/trace/{trace_id}``)."""
    try:
        import jinja2
    except ImportError:
        raise missing_extra("the HTML page", "report") from None
    folder = resources.files("tracewrap.report") / "templates"
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(
        seconds=words.seconds,
        usd=words.usd,
        joules=words.joules,
        share=words.share,
        ratio=words.ratio,
        count=words.count,
    )
    template = environment.from_string((folder / "report.html.j2").read_text(encoding="utf-8"))
    library = (folder / "chart.umd.min.js").read_text(encoding="utf-8")
    return template.render(
        report=report,
        title=title or f"LLM calls {_days(report)}",
        period=_days(report),
        library=library.replace("</script", "<\\/script"),
        charts=_json(_charts(report)),
        tables=[_table(grouping, report) for grouping in report["groups"]],
        trace=lambda call: _trace(call, trace_url),
        stack_name=lambda stack: _stack_name(stack, report),
        contended=[call for call in report["most_contended"] if call["contention_s"] is not None],
    )


def _json(data: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def _days(report: Report) -> str:
    days = report["period"]["days"]
    zone = report["period"]["timezone"]
    if not days:
        return f"{report['period']['since']} to {report['period']['until']}"
    return f"{days[0]} ({zone})" if len(days) == 1 else f"{days[0]} to {days[-1]} ({zone})"


def _trace(call: CallRow, url: str | None) -> str | None:
    return None if url is None else url.replace("{trace_id}", call["trace_id"])


def _stack_name(stack: str, report: Report) -> str:
    """*stack*, or what "default" stood for: the only stack used, or the first one that has each model."""
    used = [reference["id"] for reference in report["references"]]
    if stack in used or not used:
        return stack
    return used[0] if len(used) == 1 else "the first stack that has the model"


def _name(group: Group) -> str:
    return ", ".join(value or "(none)" for value in group["key"].values()) or "all calls"


def _table(grouping: Grouping, report: Report) -> dict[str, Any]:
    """One grouping as rows of (text, number to sort by)."""
    head = [
        "calls",
        "failed",
        "raw p50",
        "p90",
        "p99",
        "denoised p50",
        "contention",
        "idealized p50",
        "idealized cost",
        "list cost",
    ]
    return {
        "by": " and ".join(grouping["by"]),
        "head": head,
        "rows": [{"name": _name(row), "cells": _cells(row)} for row in grouping["rows"]],
        "more": grouping["more_rows"],
        "stacks": len(report["references"]),
    }


def _cells(row: Group) -> list[tuple[str, float | None, str]]:
    """(text, number to sort by, hint) of each column."""
    reference = row["references"][0] if row["references"] else None
    contention, denoised = row["contention"], row["denoised"]
    ideal = reference["idealized"] if reference else None
    cost = reference["idealized_cost_usd"] if reference else None
    return [
        (words.count(row["calls"]), row["calls"], ""),
        (words.share(row["error_share"]), row["error_share"], f"{row['failed_calls']} failed"),
        (words.seconds(row["raw"]["p50_s"]), row["raw"]["p50_s"], ""),
        (words.seconds(row["raw"]["p90_s"]), row["raw"]["p90_s"], ""),
        (words.seconds(row["raw"]["p99_s"]), row["raw"]["p99_s"], ""),
        (
            words.seconds(denoised["p50_s"]),
            denoised["p50_s"],
            f"{denoised['n']} calls; {_classes(denoised['provenance'])}",
        ),
        (
            words.share(contention["share"]),
            contention["share"],
            _between(contention["share_low"], contention["share_high"], words.share),
        ),
        (
            words.seconds(ideal["p50_s"] if ideal else None),
            ideal["p50_s"] if ideal else None,
            _classes(ideal["provenance"]) if ideal else "",
        ),
        (
            words.usd(cost["value"] if cost else None),
            cost["value"] if cost else None,
            _between(cost["low"], cost["high"], words.usd) if cost else "",
        ),
        (
            words.usd(row["list_cost_usd"]),
            row["list_cost_usd"],
            f"{row['unpriced_calls']} unpriced" if row["unpriced_calls"] else "",
        ),
    ]


def _classes(provenance: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({calls})" for name, calls in provenance.items())


def _between(low: float | None, high: float | None, text: Any) -> str:
    return "" if low is None or high is None else f"90% interval {text(low)} to {text(high)}"


def _charts(report: Report) -> dict[str, Any]:
    """Data of the charts; a chart without data is left out."""
    charts: dict[str, Any] = {}
    model_rows = next((g["rows"] for g in report["groups"] if g["by"] == ["model"]), [report["totals"]])[:12]
    if any(row["raw"]["n"] for row in model_rows):
        charts["runtimes"] = {
            "labels": [_name(row) for row in model_rows],
            "raw": [row["raw"]["p50_s"] for row in model_rows],
            "denoised": [row["denoised"]["p50_s"] for row in model_rows],
            "idealized": [_first(row, "p50_s") for row in model_rows],
        }
    hours = [hour for hour in report["hours"] if hour["calls"]]
    if len(hours) > 1:
        charts["hours"] = {
            "labels": [hour["hour"][11:16] for hour in report["hours"]],
            "contention": [hour["contention_share"] for hour in report["hours"]],
            "calls": [hour["calls"] for hour in report["hours"]],
        }
    costs = [row for row in model_rows if row["list_cost_usd"] is not None and row["references"]]
    if costs:
        charts["costs"] = {
            "labels": [_name(row) for row in costs],
            "list": [row["references"][0]["list_cost_usd"] for row in costs],
            "idealized": [row["references"][0]["idealized_cost_usd"]["value"] for row in costs],
        }
    return charts


def _first(row: Group, name: str) -> float | None:
    references: Sequence[Any] = row["references"]
    value: float | None = references[0]["idealized"][name] if references else None
    return value
