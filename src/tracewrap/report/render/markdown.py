"""Markdown for chat and e-mail: short enough to read on a phone; no name's own markup comes through."""

from __future__ import annotations

from collections.abc import Sequence

from tracewrap import words
from tracewrap.report.render import text
from tracewrap.report.render.columns import CALL_COLUMNS, PARTIAL_NOTE, Column, columns, group_name, stack_columns
from tracewrap.report.schema import Group, Grouping, Report

MAX_GROUPS = 15
MAX_CALLS = 5


def render_markdown(report: Report) -> str:
    """The report as GitHub-flavoured Markdown."""
    out = [f"# {words.markdown(text.title(report))}", "", f"**{words.markdown(report['verdict'])}**", ""]
    out += [f"> **Note:** {words.markdown(note)}" for note in report["notes"]] + ([""] if report["notes"] else [])
    out += [f"**Coverage:** {words.markdown('; '.join(text.coverage_lines(report)))}", ""]
    if report["totals"]["calls"] and (totals := text.total_rows(report)):
        out += _table(("", "total"), [[name.strip(), value] for name, value in totals])
    if line := text.hours_line(report):
        out += ["", f"**Contention by hour:** `{line}`"]
    for grouping in text.groupings(report):
        out += _groups(report, grouping)
    for title, calls in text.call_tables(report):
        rows = [[column.text(call) for column in CALL_COLUMNS] for call in calls[:MAX_CALLS]]
        out += ["", f"## {title.capitalize()}", "", *_table([column.head for column in CALL_COLUMNS], rows)]
    if scored := report["capability"]:
        on = f"{words.markdown(scored['score'])} against efficiency, per call on {text.stack_name(scored['stack'], report)}"
        out += ["", f"## {on}", "", *_table(text.CAPABILITY_HEAD, text.capability_rows(scored))]
    out += ["", *(f"- drift: {words.markdown(event['text'])}" for event in report["drift"])] if report["drift"] else []
    if missing := text.missing_lines(report):
        out += ["", "## Without a price or a profile", "", *(f"- {words.markdown(line)}" for line in missing)]
    return "\n".join(out) + "\n"


def _groups(report: Report, grouping: Grouping) -> list[str]:
    rows, by = grouping["rows"][:MAX_GROUPS], ", ".join(grouping["by"])
    if not rows:
        return []
    out = ["", f"## By {words.markdown(by)}", "", *_figures(by, rows, columns(report))]
    if any(column.mark(row) for row in rows for column in columns(report)):
        out += ["", words.markdown(PARTIAL_NOTE)]
    for index, reference in list(enumerate(report["totals"]["references"]))[1:]:
        on = words.markdown(text.stack_name(reference["stack"], report))
        out += ["", f"Idealized on {on}:", "", *_figures(by, rows, stack_columns(index))]
    hidden = len(grouping["rows"]) - len(rows) + grouping["more_rows"]
    return [*out, "", f"and {hidden:,} more"] if hidden else out


def _figures(by: str, rows: Sequence[Group], shown: Sequence[Column]) -> list[str]:
    shown = [column for column in shown if any(column.value(row) is not None for row in rows)]
    cells = [[group_name(row), *(column.text(row) for column in shown)] for row in rows]
    return _table((by, *(column.name for column in shown)), cells)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(map(words.markdown, head)) + " |", "|" + "|".join(" --- " for _ in head) + "|"]
    return lines + ["| " + " | ".join(map(words.markdown, row)) + " |" for row in rows]
