"""The terminal table; needs the package ``rich`` (extra ``report``)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from tracewrap.errors import missing_extra
from tracewrap.report.render import text
from tracewrap.report.schema import Grouping, Report

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

MAX_GROUPS = 20


def render_table(report: Report, width: int | None = None) -> str:
    """The report as plain text of *width* columns (at least 160: nobody folds a pipe)."""
    try:
        from rich.console import Console
    except ImportError:
        raise missing_extra("the terminal table", "report") from None
    console = Console(file=io.StringIO(), width=max(width or 0, 160), color_system=None, legacy_windows=False)
    print_table(report, console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def print_table(report: Report, console: Console) -> None:
    """Print the report on *console*: coverage first, then totals, hours, groups, calls, what is missing."""
    for part in _parts(report):
        console.print(part)


def _parts(report: Report) -> list[RenderableType]:
    from rich.text import Text

    out: list[RenderableType] = [Text(text.title(report), style="bold")]
    out += [Text(f"note: {note}", style="yellow") for note in report["notes"]]
    out += [
        Text(f"coverage: {line}" if i == 0 else f"          {line}")
        for i, line in enumerate(text.coverage_lines(report))
    ]
    if not report["totals"]["calls"]:
        return out
    out += [Text(""), *(Text(f"  {name:<24} {value}") for name, value in text.total_rows(report))]
    if line := text.hours_line(report):
        out.append(Text(f"  {'contention by hour':<24} {line}"))
    for grouping in report["groups"]:
        if grouping["rows"]:
            out += _group_tables(grouping)
    for name, calls in (("slowest calls", report["slowest"]), ("most contended calls", report["most_contended"])):
        if calls:
            out += [Text(""), _table(name, list(text.CALL_HEAD), [text.call_cells(call) for call in calls])]
    if scored := report["capability"]:
        title = f"{scored['score']} against efficiency, per call {text.on_stack(scored['stack'])}"
        out += [Text(""), _table(title, ["model", *text.CAPABILITY_HEAD], text.capability_rows(scored))]
    out += (
        [Text(""), *(Text(f"drift: {event['text']}", style="yellow") for event in report["drift"])]
        if report["drift"]
        else []
    )
    missing = text.missing_lines(report)
    return out + ([Text(""), *map(Text, missing)] if missing else [])


def _group_tables(grouping: Grouping) -> list[RenderableType]:
    from rich.text import Text

    shown, by = grouping["rows"][:MAX_GROUPS], ", ".join(grouping["by"])
    out: list[RenderableType] = [
        Text(""),
        _table(
            f"by {by}", ["", *text.GROUP_HEAD], [[text.key_text(row["key"]), *text.group_cells(row)] for row in shown]
        ),
    ]
    for index, reference in enumerate(shown[0]["references"]):
        if any(row["references"][index]["idealized"]["n"] for row in shown):
            cells = [[text.key_text(row["key"]), *text.stack_cells(row["references"][index])] for row in shown]
            name = f"by {by}, idealized {text.on_stack(reference['stack'])}, no contention, batch 1"
            out.append(_table(name, ["", *text.STACK_HEAD], cells))
    hidden = len(grouping["rows"]) - len(shown) + grouping["more_rows"]
    return [*out, Text(f"and {hidden} more")] if hidden else out


def _table(title: str, head: list[str], rows: list[list[str]]) -> RenderableType:
    from rich import box
    from rich.table import Table

    words = {"model", "service", "start", "trace id", ""}
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1)
    )
    for name in head:
        table.add_column(
            name, justify="left" if name in words else "right", overflow="fold", no_wrap=name == "trace id"
        )
    for row in rows:
        table.add_row(*row)
    return table
