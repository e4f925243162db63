"""The report as one self-contained HTML page: no request leaves when it is opened, charts with hover, light and dark, printable.

Charts are Chart.js (MIT), shipped with the package and written into the page; tables sort on a click; everything else is HTML and CSS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from tracewrap import words
from tracewrap.errors import missing_extra
from tracewrap.report.render import text
from tracewrap.report.render.charts import charts
from tracewrap.report.render.columns import group_name
from tracewrap.report.schema import CallRow, Group, Grouping, Report


def render(report: Report, *, trace_url: str | None = None, title: str | None = None) -> str:
    """The page of *report*. *trace_url*: a URL with ``{trace_id}`` in it, to link calls to their traces; default: its source's, if any."""
    trace_url = trace_url or next((one["trace_url"] for one in report["sources"] if one["trace_url"]), None)
    try:
        import jinja2
    except ImportError:
        raise missing_extra("the HTML page", "report") from None
    folder = resources.files("tracewrap.report") / "templates"
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_finalized
    )
    environment.filters.update(
        seconds=words.seconds,
        usd=words.usd,
        joules=words.joules,
        share=words.share,
        ratio=words.ratio,
        count=words.count,
        tokens=words.tokens,
    )
    template = environment.from_string((folder / "report.html.j2").read_text(encoding="utf-8"))
    library = (folder / "chart.umd.min.js").read_text(encoding="utf-8")
    return template.render(
        report=report,
        title=title or f"LLM calls {text.days_text(report)}",
        period=text.days_text(report),
        style=(folder / "report.css").read_text(encoding="utf-8"),
        script=(folder / "report.js").read_text(encoding="utf-8"),
        library=library.replace("</script", "<\\/script"),
        charts=_json(charts(report)),
        verdicts=_verdicts(report["totals"]),
        tables=[_table(grouping, report) for grouping in report["groups"]],
        trace=lambda call: _trace(call, trace_url),
        stack_name=lambda stack: text.stack_name(stack, report),
        contended=[call for call in report["most_contended"] if call["contention_s"] is not None],
    )


def _finalized(value: Any) -> Any:
    """What the page says, without control characters; what is HTML already, and numbers, as they are."""
    return words.printable(value) if type(value) is str else value


def _json(data: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def _trace(call: CallRow, url: str | None) -> str | None:
    return None if url is None else url.replace("{trace_id}", call["trace_id"])


def _verdicts(totals: Group) -> list[tuple[str, int]]:
    """(who made calls slow, calls), in words; nothing where no call could be judged."""
    named = {
        "provider": "slow by the provider (retries, contention)",
        "us": "slow by this program itself",
        "network": "slow by the network (connecting, sending)",
        "model": "as fast as the model is on a quiet day",
        "unknown": "unknown: no denoised profile, or nothing measured on this side of the wire",
    }
    calls = totals["split"]["calls"]
    return [(text, calls[name]) for name, text in named.items() if calls[name]]


def _table(grouping: Grouping, report: Report) -> dict[str, Any]:
    """One grouping as rows of (text, number to sort by, hint)."""
    stacks = [text.stack_name(figures["stack"], report) for figures in report["totals"]["references"]]
    beside = [f" on {stack}" for stack in stacks] if len(stacks) > 1 else [""] * len(stacks)
    head = ["calls", "failed", "tokens in", "tokens out", "raw p50", "p90", "p99", "denoised p50", "contention"]
    for name in beside:
        head += [f"idealized p50{name}", f"serving ratio{name}", f"idealized cost{name}", f"energy{name}"]
    return {
        "by": " and ".join(grouping["by"]),
        "head": [*head, "list cost"],
        "rows": [{"name": group_name(row), "cells": _cells(row)} for row in grouping["rows"]],
        "more": grouping["more_rows"],
    }


Cell = tuple[str, float | None, str]
"""(text, number to sort by, hint)."""


def _cells(row: Group) -> list[Cell]:
    contention, denoised, raw = row["contention"], row["denoised"], row["raw"]
    unpriced = f"{row['unpriced_calls']} unpriced" if row["unpriced_calls"] else ""
    held = f"{denoised['n']} calls; {_classes(denoised['provenance'])}" if denoised["n"] else "no denoised profile"
    cells: list[Cell] = [
        (words.count(row["calls"]), row["calls"], ""),
        (words.share(row["error_share"]), row["error_share"], f"{row['failed_calls']} failed"),
        (words.tokens(row["input_tokens"]), row["input_tokens"], f"{words.count(row['cached_input_tokens'])} cached"),
        (words.tokens(row["output_tokens"]), row["output_tokens"], ""),
        *((words.seconds(value), value, "") for value in (raw["p50_s"], raw["p90_s"], raw["p99_s"])),
        (words.seconds(denoised["p50_s"]), denoised["p50_s"], held),
        (words.share(contention["share"]), contention["share"], _interval(contention, "share", words.share)),
    ]
    for figures in row["references"]:
        ideal, ratio = figures["idealized"], figures["serving_ratio"]
        cost, energy = figures["idealized_cost_usd"], figures["idealized_energy_j"]
        cells += [
            (words.seconds(ideal["p50_s"]), ideal["p50_s"], _classes(ideal["provenance"])),
            (words.ratio(ratio["value"]), ratio["value"], _between(ratio["low"], ratio["high"], words.ratio)),
            (words.usd(cost["value"]), cost["value"], _between(cost["low"], cost["high"], words.usd)),
            (words.joules(energy["value"]), energy["value"], _between(energy["low"], energy["high"], words.joules)),
        ]
    return [*cells, (words.usd(row["list_cost_usd"]), row["list_cost_usd"], unpriced)]


def _interval(values: Mapping[str, Any], name: str, text: Any) -> str:
    return _between(values[f"{name}_low"], values[f"{name}_high"], text)


def _classes(provenance: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({calls})" for name, calls in provenance.items())


def _between(low: float | None, high: float | None, text: Any) -> str:
    return "" if low is None or high is None else f"90% interval {text(low)} to {text(high)}"
