"""A frame of the live view as lines of a terminal: as many columns as fit, none cut in two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracewrap.live.window import Figures
from tracewrap.words import (
    ABSENT,
    ENDLESS,
    cells,
    clean,
    count,
    counted,
    duration,
    fitted,
    name,
    packed,
    rate,
    seconds,
    share,
    table,
    usd,
)

_COLUMNS: tuple[tuple[str, str, str, Callable[[Any], str], int], ...] = (
    ("", "calls", "calls", count, 1),
    ("calls", "/min", "calls_per_min", rate, 5),
    ("", "errors", "error_share", share, 6),
    ("in", "tok/s", "input_tokens_per_s", rate, 10),
    ("out", "tok/s", "output_tokens_per_s", rate, 11),
    ("raw", "p50", "raw_p50_s", seconds, 2),
    ("raw", "p95", "raw_p95_s", seconds, 7),
    ("denoised", "p50", "denoised_p50_s", seconds, 4),
    ("idealized", "p50", "idealized_p50_s", seconds, 9),
    ("conten-", "tion", "contention_share", share, 3),
    ("slow", "by", "slow_by", str, 8),
    ("", "retries", "retries", count, 12),
    ("list", "cost", "list_cost_usd", usd, 13),
    ("list", "$/h", "list_cost_usd_per_h", usd, 14),
)
"""Two lines of head, figure, how it is written, and rank: the last ones go first when the terminal is narrow."""

Lines = list[tuple[str, str]]
"""Text and its style, as rich names it."""


def render(frame: dict[str, Any], width: int, height: int = ENDLESS, end: str = "") -> Lines:
    """*frame* as lines of *width* columns, *height* lines at most; *end* is the last one."""
    out: Lines = [(line, "bold") for line in packed(_what(frame), width)]
    out += [(line, "") for line in packed(_read(frame), width)]
    out += [(line, "yellow") for note in _notes(frame) for line in packed(note.split(" "), width, " ")]
    foot: Lines = [("", ""), (fitted(end, width), "dim")] if end else []
    if frame["total"]["calls"]:
        out += [("", ""), *_table(frame, width, height - len(out) - len(foot) - 1)]
    return [*out, *foot][:height]


def _what(frame: dict[str, Any]) -> list[str]:
    order = f"by {frame['group_by']}, {frame['sort']} first"
    return [f"tracewrap top {clean(frame['source'])}", f"last {duration(frame['window_s'])}", order]


def _read(frame: dict[str, Any]) -> list[str]:
    files = frame["files"]
    parts = [f"{counted(frame['calls_read'], 'call')} read", counted(files, "file")]
    if frame["last_call"]:
        parts.insert(0, f"last call {frame['last_call'][11:19]} UTC, {duration(frame['last_call_age_s'])} ago")
    skipped = [
        f"{frame[key]:,} {word}"
        for key, word in (("torn_lines", "torn"), ("foreign_lines", "foreign"), ("unfinished_lines", "unfinished"))
        if frame[key]
    ]
    return [*parts, f"lines skipped: {', '.join(skipped)}"] if skipped else parts


def _notes(frame: dict[str, Any]) -> list[str]:
    source, window = clean(frame["source"]), duration(frame["window_s"])
    out = [f"{clean(path)}: cannot be read ({why})" for path, why in frame["files_unreadable"].items()]
    if frame["still_reading"]:
        out.append("still reading what was written before")
    if frame["files_cut"]:
        out.append(
            f"only the last 64 MB of {counted(frame['files_cut'], 'file')} were read: calls of the window are missing"
        )
    if frame["calls_cut"]:
        out.append(f"too many calls to hold: figures are of the last {duration(frame['covered_s'])}")
    elif frame["total"]["calls"] and frame["covered_s"] < frame["window_s"]:
        out.append(f"the log began {duration(frame['covered_s'])} ago: rates are over that time")
    if unsure := frame["total"]["unsure"]:
        named = ", ".join(f"{verdict} {n:,}/{frame['total']['calls']:,}" for verdict, n in sorted(unsure.items()))
        out.append(f"denoised profiles that are not ok: {named}")
    if not frame["files"]:
        out.append(f"no span log in {source} yet; it appears with a program's first call (tracewrap run -- CMD)")
    elif not frame["total"]["calls"] and not frame["still_reading"]:
        out.append(f"no call ended in the last {window}; for older ones: tracewrap report {source}")
    return out


def _table(frame: dict[str, Any], width: int, room: int) -> Lines:
    """Head, rows, what is hidden, total in *room* lines; columns by rank as far as they fit."""
    rows: list[Figures] = frame["rows"]
    rows = rows if len(rows) + 4 <= room else rows[: max(room - 5, 0)]
    hidden = len(frame["rows"]) - len(rows)
    names = [*(name(row["key"]) for row in rows), "total"]
    text = [["", *(column[0] for column in _COLUMNS)], [frame["group_by"], *(column[1] for column in _COLUMNS)]]
    for label, row in zip(names, [*rows, frame["total"]], strict=True):
        text.append([label, *(ABSENT if row[f] is None else write(row[f]) for _, _, f, write, _ in _COLUMNS)])
    lines = table(text, heads=2, width=width, ranks=[0, *(column[4] for column in _COLUMNS)], rule=False)
    body = [(line, "") for line in lines[2:-1]]
    more = [(fitted(f"and {hidden:,} more", width), "dim")] if hidden else []
    dashes = "-" * max(map(cells, lines))
    return [(lines[0], "bold"), (lines[1], "bold"), *body, *more, (dashes, "dim"), (lines[-1], "bold")]
