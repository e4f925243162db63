"""The report on a terminal: as many whole columns as fit its width, nothing cut in two."""

from __future__ import annotations

from collections.abc import Sequence

from tracewrap import words
from tracewrap.report.render import text
from tracewrap.report.render.columns import (
    CALL_COLUMNS,
    PARTIAL,
    PARTIAL_NOTE,
    Column,
    columns,
    group_name,
    stack_columns,
)
from tracewrap.report.schema import CallRow, Group, Grouping, Report

MAX_GROUPS = 20
WIDTH = 160
"""Columns of what is no terminal."""
_CODES = {"": "", "bold": "\x1b[1m", "dim": "\x1b[2m", "yellow": "\x1b[33m"}

Lines = list[tuple[str, str]]
"""Text and its style: a key of ``_CODES``."""


def render_table(report: Report, width: int | None = None) -> str:
    """The report as plain text of *width* columns."""
    return "".join(f"{line.rstrip()}\n" for line, _ in _lines(report, width or WIDTH))


def coloured_table(report: Report, width: int) -> str:
    """The report as text of *width* columns with a terminal's styles."""
    return "".join(
        f"{_CODES[style]}{line.rstrip()}\x1b[0m\n" if style else f"{line.rstrip()}\n"
        for line, style in _lines(report, width)
    )


def _lines(report: Report, width: int) -> Lines:
    """Verdict first; then notes and coverage, totals, days, groups, calls, what is missing."""
    out: Lines = [(line, "bold") for line in words.wrapped(text.title(report), width)]
    out += [(line, "") for line in words.wrapped(report["verdict"], width)]
    out += [(line, "yellow") for note in report["notes"] for line in words.wrapped(f"note: {note}", width, "  ")]
    for line in text.coverage_lines(report):
        out += [(part, "dim") for part in words.wrapped(f"coverage: {line}", width, "  ")]
    if not report["totals"]["calls"]:
        return out
    if totals := _totals(report, width):
        out += [("", ""), *totals]
    for grouping in text.groupings(report):
        out += _groups(report, grouping, width)
    for title, calls in text.call_tables(report):
        out += [("", ""), (title, "bold"), *((line, "") for line in _calls(calls, width))]
    if scored := report["capability"]:
        title = (
            f"{words.clean(scored['score'])} against efficiency, per call on {text.stack_name(scored['stack'], report)}"
        )
        rows = [text.CAPABILITY_HEAD, *text.capability_rows(scored)]
        out += [("", ""), (title, "bold"), *((line, "") for line in words.table(rows, width=width))]
    after = [("yellow", f"drift: {words.printable(event['text'])}") for event in report["drift"]]
    after += [("", line) for line in text.missing_lines(report)]
    return (
        out + [("", "")] * bool(after) + [(p, style) for style, line in after for p in words.wrapped(line, width, "  ")]
    )


def _totals(report: Report, width: int) -> Lines:
    """Name and figure side by side; below each other where the terminal is narrow."""
    rows = text.total_rows(report)
    if not rows:
        return []
    size = min(max(words.cells(name) for name, _ in rows), width // 3) + 2
    if (line := text.hours_line(report)) and size + words.cells(line) <= width:
        rows.append(("contention by hour", line))
    out: Lines = []
    for name, value in rows:
        if width < 72:
            folded = words.wrapped(f"{name}: {value}", width, "  ")
        else:
            room = width - size
            lines = [value] if words.cells(value) <= room else words.wrapped(value, room)
            left = [words.fitted(name, size - 2, pad=True), *[" " * (size - 2)] * (len(lines) - 1)]
            folded = [f"{head}  {part}" for head, part in zip(left, lines, strict=True)]
        out += [(part, "") for part in folded]
    return out


def _groups(report: Report, grouping: Grouping, width: int) -> Lines:
    if not grouping["rows"]:
        return []
    by, shown = ", ".join(grouping["by"]), grouping["rows"][:MAX_GROUPS]
    if grouping["by"] == ["day"]:
        shown = grouping["rows"][-MAX_GROUPS:]
    out: Lines = [("", ""), (f"by {by}", "bold"), *_table(by, shown, columns(report), width)]
    for index, reference in list(enumerate(report["totals"]["references"]))[1:]:
        if reference["idealized"]["n"]:
            title = f"by {by}, idealized on {text.stack_name(reference['stack'], report)}"
            out += [("", ""), (title, "bold"), *_table(by, shown, stack_columns(index), width)]
    hidden = len(grouping["rows"]) - len(shown) + grouping["more_rows"]
    return [*out, (f"and {hidden:,} more: --format json, csv or html has them", "dim")] if hidden else out


def _table(by: str, rows: Sequence[Group], shown: Sequence[Column], width: int) -> Lines:
    shown = [column for column in shown if any(column.value(row) is not None for row in rows)]
    cells = [["", *(column.head[0] for column in shown)], [by, *(column.head[1] for column in shown)]]
    cells += [[group_name(row), *(column.text(row) for column in shown)] for row in rows]
    lines = words.table(cells, heads=2, width=width, ranks=[0, *(column.rank for column in shown)])
    marked = any(line.find(PARTIAL) >= 0 for line in lines[3:])
    return [(line, "") for line in lines] + ([(p, "dim") for p in words.wrapped(PARTIAL_NOTE, width)] if marked else [])


def _calls(calls: Sequence[CallRow], width: int) -> list[str]:
    rows = [
        [column.head for column in CALL_COLUMNS],
        *([column.text(call) for column in CALL_COLUMNS] for call in calls),
    ]
    return words.table(rows, width=width, ranks=[column.rank for column in CALL_COLUMNS])
