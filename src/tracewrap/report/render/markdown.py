"""Markdown for chat and e-mail: short enough to read on a phone."""

from __future__ import annotations

from collections.abc import Sequence

from tracewrap.report.render import text
from tracewrap.report.schema import Report

MAX_GROUPS = 15
MAX_CALLS = 5


def render_markdown(report: Report) -> str:
    """The report as GitHub-flavoured Markdown."""
    out = [f"# {text.title(report)}", ""]
    out += [f"> **Note:** {note}" for note in report["notes"]] + ([""] if report["notes"] else [])
    out += [f"**Coverage:** {'; '.join(text.coverage_lines(report))}", ""]
    if report["totals"]["calls"]:
        out += _table(("", "total"), [[name.strip(), value] for name, value in text.total_rows(report)])
    if line := text.hours_line(report):
        out += ["", f"**Contention by hour:** `{line}`"]
    for grouping in report["groups"]:
        if rows := grouping["rows"]:
            out += ["", f"## By {', '.join(grouping['by'])}", ""]
            out += _table(
                (", ".join(grouping["by"]), *text.GROUP_HEAD),
                [[text.key_text(row["key"]), *text.group_cells(row)] for row in rows[:MAX_GROUPS]],
            )
            for index, reference in enumerate(report["totals"]["references"]):
                out += ["", f"Idealized {text.on_stack(reference['stack'])}, no contention, batch 1:", ""]
                out += _table(
                    (", ".join(grouping["by"]), *text.STACK_HEAD),
                    [
                        [text.key_text(row["key"]), *text.stack_cells(row["references"][index])]
                        for row in rows[:MAX_GROUPS]
                    ],
                )
            if hidden := len(rows) - MAX_GROUPS + grouping["more_rows"]:
                out += ["", f"and {hidden} more"] if hidden > 0 else []
    for name, calls in (("Slowest calls", report["slowest"]), ("Most contended calls", report["most_contended"])):
        if calls:
            out += ["", f"## {name}", ""]
            out += _table(text.CALL_HEAD, [text.call_cells(call) for call in calls[:MAX_CALLS]])
    if scored := report["capability"]:
        out += ["", f"## {scored['score']} against efficiency, per call {text.on_stack(scored['stack'])}", ""]
        out += _table(("model", *text.CAPABILITY_HEAD), text.capability_rows(scored))
    out += ["", *(f"- drift: {event['text']}" for event in report["drift"])] if report["drift"] else []
    if missing := text.missing_lines(report):
        out += ["", "## Without a price or a profile", "", *(f"- {line}" for line in missing)]
    return "\n".join(out) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(" --- " for _ in head) + "|"]
    return lines + ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")
