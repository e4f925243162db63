"""The report as one self-contained HTML page: no request leaves when it is opened, charts with hover, light and dark, printable.

Charts are Chart.js (MIT), shipped with the package and written into the page; tables sort on a click and filter as one types; everything
else is HTML and CSS.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from tracewrap import words
from tracewrap.errors import missing_extra
from tracewrap.report.render import text
from tracewrap.report.render.charts import charts
from tracewrap.report.render.columns import PARTIAL_NOTE, Column, columns, group_name, stack_columns
from tracewrap.report.render.training import training_rows
from tracewrap.report.schema import CallRow, Group, Grouping, Report

NAME_CHARACTERS = 44
"""Characters of a name in a table; the middle of a longer one is cut, the whole is its tooltip."""


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
    shown = ("seconds", "usd", "joules", "grams", "share", "ratio", "count", "tokens", "counted")
    environment.filters.update({name: getattr(words, name) for name in shown})
    environment.filters["cut"] = lambda name: words.fitted(name, NAME_CHARACTERS)
    environment.globals.update(
        seconds=words.seconds, share=words.share, usd=words.usd, bounds=words.bounds, grams=words.grams
    )
    template = environment.from_string((folder / "report.html.j2").read_text(encoding="utf-8"))
    library = (folder / "chart.umd.min.js").read_text(encoding="utf-8")
    return template.render(
        report=report,
        title=title or f"LLM calls{words.chosen(report['where'])} {text.days_text(report)}",
        period=text.days_text(report),
        style=(folder / "report.css").read_text(encoding="utf-8"),
        script=(folder / "report.js").read_text(encoding="utf-8"),
        library=library.replace("</script", "<\\/script"),
        charts=_json(charts(report)),
        verdicts=_verdicts(report["totals"]),
        tables=_tables(report),
        call_tables=text.call_tables(report),
        partial_note=PARTIAL_NOTE,
        trace=lambda call: _trace(call, trace_url),
        stack_name=lambda stack: text.stack_name(stack, report),
        training=training_rows(report["training"]),
        next_step=lambda stack: text.next_step(report, stack),
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
    return [(what, calls[name]) for name, what in named.items() if calls[name]]


def _tables(report: Report) -> list[dict[str, Any]]:
    """The tables of groups, those without a row left out."""
    return [_table(grouping, report) for grouping in text.groupings(report) if grouping["rows"]]


def _table(grouping: Grouping, report: Report) -> dict[str, Any]:
    """One grouping as rows of (text, number to sort by, hint); columns without any figure are left out."""
    rows, stacks = grouping["rows"], report["totals"]["references"]
    found: list[tuple[str, Column]] = [(_head(column, report, 0), column) for column in columns(report)]
    for index in range(1, len(stacks)):
        found += [(_head(column, report, index), column) for column in stack_columns(index)]
    found = [(name, column) for name, column in found if any(column.value(row) is not None for row in rows)]
    return {
        "by": " and ".join(grouping["by"]),
        "head": [(name, column.explains) for name, column in found],
        "rows": [{"name": group_name(row), "cells": _cells(row, [column for _, column in found])} for row in rows],
        "partial": any(column.mark(row) for row in rows for _, column in found),
        "more": grouping["more_rows"],
    }


def _head(column: Column, report: Report, index: int) -> str:
    """The column's name; with its stack's where there are several."""
    stacks = report["totals"]["references"]
    of_stack = len(stacks) > 1 and column.name in {one.name for one in stack_columns(index)}
    return f"{column.name} on {text.stack_name(stacks[index]['stack'], report)}" if of_stack else column.name


Cell = tuple[str, float | None, str]
"""(text, number to sort by, hint)."""


def _cells(row: Group, shown: Sequence[Column]) -> list[Cell]:
    return [(column.text(row), column.value(row), column.hint(row)) for column in shown]
