"""``tracewrap top``: calls by group over the last minutes, as programs write them to a span-log folder."""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import json
import math
import os
import re
import select
import shutil
import signal
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracewrap.errors import ConfigurationError, SourceError, missing_extra

if TYPE_CHECKING:
    from tracewrap.live.follow import Figures

SUMMARY = "live view of the calls that programs write to a span-log folder"
SCHEMA = "tracewrap.top/1"
_STEP_BYTES = 4 * 2**20
_ENDLESS = 10**6


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "source",
        nargs="?",
        help="span-log folder or OTLP-JSON file (default: the folder that TRACEWRAP_SPAN_LOG or pyproject.toml names)",
    )
    parser.add_argument(
        "--window", default="5m", metavar="TIME", help="calls that ended this recently: 90s, 5m, 1h (default: 5m)"
    )
    parser.add_argument(
        "--interval", type=float, default=2.0, metavar="SECONDS", help="between two frames (default: %(default)g)"
    )
    parser.add_argument(
        "--group-by",
        choices=("model", "provider", "deployment", "service"),
        default="model",
        help="one row each (default: %(default)s)",
    )
    parser.add_argument(
        "--sort",
        choices=("contention", "calls", "cost", "raw"),
        default="contention",
        help="largest first: contention share, calls, list cost, raw p50 (default: %(default)s)",
    )
    parser.add_argument("--once", action="store_true", help="print one frame and exit")
    parser.add_argument("--json", action="store_true", help="print one JSON object a frame, one a line")


def run(args: argparse.Namespace) -> int:
    """Follow the source until q (0) or Ctrl-C (130), or print one frame."""
    view = View(_source(args.source), _window_s(args.window), args.group_by, args.sort)
    if not 0.1 <= args.interval <= 3600:
        raise ConfigurationError(f"--interval {args.interval:g}: write seconds from 0.1 to 3600")
    terminal = sys.stdout.isatty()
    if terminal and not (args.once or args.json) and os.environ.get("TERM") != "dumb":
        return _live(view, args.interval)
    width = shutil.get_terminal_size().columns if terminal or os.environ.get("COLUMNS") else _ENDLESS
    while True:
        view.read()
        frame = view.frame()
        text = json.dumps(frame, allow_nan=False) if args.json else "\n".join(t for t, _ in render(frame, width))
        print(text, flush=True)
        if args.once:
            return 0
        if not args.json:
            print()
        time.sleep(args.interval)


def _source(text: str | None) -> Path:
    from tracewrap.pipeline import settings
    from tracewrap.sources import lake

    text = text or settings().span_log
    if not text:
        raise ConfigurationError(
            "no span-log folder is configured; name one (tracewrap top calls), or set TRACEWRAP_SPAN_LOG or "
            "span_log in [tool.tracewrap] of pyproject.toml"
        )
    path = Path(text)
    if "://" in text or (path.is_dir() and lake.is_lake(path)) or text.endswith((".gz", ".zst", ".parquet")):
        raise SourceError(
            f"{text}: only span-log folders and OTLP-JSON files can be followed; try: tracewrap report {text}"
        )
    if not path.exists():
        raise SourceError(
            f"{text}: no such folder; it appears with the first call: tracewrap run --span-log {text} -- CMD"
        )
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise SourceError(f"{text}: cannot be read (permission denied)")
    return path


def _window_s(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", text.strip())
    seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2] or "s"] if found else 0.0
    if not 1 <= seconds <= 86_400:
        raise ConfigurationError(f"--window {text!r}: write a time from 1s to 24h, such as 90s, 5m or 1h")
    return seconds


class View:
    """A source, followed, and the frame of any moment."""

    def __init__(self, path: Path, window_s: float, group_by: str, sort: str) -> None:
        from tracewrap.live.follow import Follower, Window

        self.path, self.group_by, self.sort = path, group_by, sort
        self.follower = Follower(path)
        self.window = Window(window_s)
        self._lines: Iterator[bytes] | None = None

    def read(self, limit_bytes: int | None = None) -> bool:
        """Take in what is new, about *limit_bytes* of it at most; True when there is more."""
        if self._lines is None:
            now_ns = time.time_ns()
            self._lines = self.follower.new_lines(self.window.since_ns(now_ns), now_ns)
        taken = 0
        for line in self._lines:
            self.window.add(line, time.time_ns())
            taken += len(line)
            if limit_bytes is not None and taken >= limit_bytes:
                return True
        self._lines = None
        return False

    def frame(self) -> dict[str, Any]:
        """What is shown now, as JSON values; null: unknown."""
        now_ns, window, follower = time.time_ns(), self.window, self.follower
        if follower.skipped:
            window.first_ns = 0
        total, rows = window.rows(now_ns, self.group_by, self.sort)
        return {
            "schema": SCHEMA,
            "time": _moment(now_ns),
            "source": str(self.path),
            "group_by": self.group_by,
            "sort": self.sort,
            "window_s": window.window_s,
            "covered_s": window.covered_s(now_ns),
            "calls_cut": window.cut_ns > now_ns - window.window_s * 1e9,
            "last_call": _moment(window.last_ns) if window.last_ns else None,
            "last_call_age_s": (now_ns - window.last_ns) / 1e9 if window.last_ns else None,
            "calls_read": window.calls_read,
            "duplicates": window.duplicates,
            "torn_lines": window.torn_lines,
            "foreign_lines": window.foreign_lines,
            "unfinished_lines": follower.unfinished_lines,
            "files": len(follower.files),
            "files_cut": follower.cut_files(window.since_ns(now_ns)),
            "files_unreadable": {str(path): why for path, why in follower.unreadable.items()},
            "still_reading": self._lines is not None,
            "total": total,
            "rows": rows,
        }


def _moment(ns: int) -> str:
    return dt.datetime.fromtimestamp(ns // 10**9, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def three(value: float) -> str:
    """*value* with three significant digits, without exponent: ``0.0123``, ``12.3``, ``1,230``."""
    if value == 0:
        return "0"
    for _ in range(2):  # rounding may add a digit: 9.996 becomes 10.0
        digits = 2 - math.floor(math.log10(abs(value)))
        value = round(value, digits)
    return f"{value:,.{max(digits, 0)}f}"


def seconds(value: float) -> str:
    """Three significant digits in ms below one second, in s from there."""
    return f"{three(value * 1000)} ms" if abs(value) < 0.9995 else f"{three(value)} s"


def _share(value: float) -> str:
    return f"{100 * value:.1f}%"


def _usd(value: float) -> str:
    return f"${value:,.2f}" if value >= 1 else f"${three(value)}"


_COLUMNS: tuple[tuple[str, str, str, Callable[[Any], str], int], ...] = (
    ("", "calls", "calls", "{:,}".format, 1),
    ("calls", "/min", "calls_per_min", three, 5),
    ("", "errors", "error_share", _share, 6),
    ("in", "tok/s", "input_tokens_per_s", three, 10),
    ("out", "tok/s", "output_tokens_per_s", three, 8),
    ("raw", "p50", "raw_p50_s", seconds, 2),
    ("raw", "p95", "raw_p95_s", seconds, 7),
    ("denoised", "p50", "denoised_p50_s", seconds, 4),
    ("idealized", "p50", "idealized_p50_s", seconds, 9),
    ("conten-", "tion", "contention_share", _share, 3),
    ("", "retries", "retries", "{:,}".format, 11),
    ("list", "cost", "list_cost_usd", _usd, 12),
    ("list", "$/h", "list_cost_usd_per_h", _usd, 13),
)
"""Two lines of head, figure, how it is written, and rank: the last ones go first when the terminal is narrow."""
_GAP = 2

Lines = list[tuple[str, str]]
"""Text and its style, as rich names it."""


def render(frame: dict[str, Any], width: int, height: int = _ENDLESS, end: str = "") -> Lines:
    """*frame* as lines of *width* columns, *height* lines at most; *end* is the last one."""
    out: Lines = [(line, "bold") for line in _packed(_what(frame), width)]
    out += [(line, "") for line in _packed(_read(frame), width)]
    out += [(line, "yellow") for note in _notes(frame) for line in _packed(note.split(" "), width, " ")]
    foot: Lines = [("", ""), (_fitted(end, width), "dim")] if end else []
    if frame["total"]["calls"]:
        out += [("", ""), *_table(frame, width, height - len(out) - len(foot) - 1)]
    return [*out, *foot][:height]


def _what(frame: dict[str, Any]) -> list[str]:
    order = f"by {frame['group_by']}, {frame['sort']} first"
    return [f"tracewrap top {clean(frame['source'])}", f"last {_length(frame['window_s'])}", order]


def _read(frame: dict[str, Any]) -> list[str]:
    files = frame["files"]
    parts = [f"{frame['calls_read']:,} calls read", f"{files:,} file{'' if files == 1 else 's'}"]
    if frame["last_call"]:
        parts.insert(0, f"last call {frame['last_call'][11:19]} UTC, {_length(frame['last_call_age_s'])} ago")
    skipped = [
        f"{frame[key]:,} {word}"
        for key, word in (("torn_lines", "torn"), ("foreign_lines", "foreign"), ("unfinished_lines", "unfinished"))
        if frame[key]
    ]
    return [*parts, f"lines skipped: {', '.join(skipped)}"] if skipped else parts


def _notes(frame: dict[str, Any]) -> list[str]:
    source, window = clean(frame["source"]), _length(frame["window_s"])
    out = [f"{clean(path)}: cannot be read ({why})" for path, why in frame["files_unreadable"].items()]
    if frame["still_reading"]:
        out.append("still reading what was written before")
    if frame["files_cut"]:
        out.append(f"only the last 64 MB of {frame['files_cut']} file(s) were read: calls of the window are missing")
    if frame["calls_cut"]:
        out.append(f"too many calls to hold: figures are of the last {_length(frame['covered_s'])}")
    elif frame["total"]["calls"] and frame["covered_s"] < frame["window_s"]:
        out.append(f"the log began {_length(frame['covered_s'])} ago: rates are over that time")
    if not frame["files"]:
        out.append(f"no span log in {source} yet; it appears with a program's first call (tracewrap run -- CMD)")
    elif not frame["total"]["calls"] and not frame["still_reading"]:
        out.append(f"no call ended in the last {window}; for older ones: tracewrap report {source}")
    return out


def _length(value: float) -> str:
    """``90 s``, ``5 min``, ``3 h``."""
    for unit_s, name in ((3600, "h"), (60, "min")):
        if value >= 2 * unit_s or value == unit_s:
            return f"{value / unit_s:.3g} {name}"
    return f"{value:.0f} s"


def _packed(parts: list[str], width: int, gap: str = "   ") -> list[str]:
    """*parts* on as few lines of *width* columns as they need."""
    lines: list[str] = []
    for part in parts:
        joined = f"{lines[-1]}{gap}{part}" if lines else part
        if lines and cells(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(_fitted(part, width))
    return lines


def _table(frame: dict[str, Any], width: int, room: int) -> Lines:
    """Head, rows, what is hidden, total in *room* lines; columns by rank as far as they fit."""
    rows: list[Figures] = frame["rows"]
    rows = rows if len(rows) + 4 <= room else rows[: max(room - 5, 0)]
    hidden = len(frame["rows"]) - len(rows)
    names = [*("-" if row["key"] is None else clean(row["key"]) for row in rows), "total"]
    columns = []
    for first, second, figure, write, rank in _COLUMNS:
        found: list[Any] = [row[figure] for row in (*rows, frame["total"])]
        text = ["-" if value is None else write(value) for value in found]
        columns.append((rank, [first, second, *text], max(map(len, [first, second, *text]))))
    longest = max(cells(name) for name in [*names, frame["group_by"]])
    kept, left = set(), width - min(longest, 24 if width >= 72 else 12)
    for rank, _, size in sorted(columns, key=lambda column: column[0]):
        if size + _GAP > left:
            break
        kept.add(rank)
        left -= size + _GAP
    taken = sum(size + _GAP for rank, _, size in columns if rank in kept)
    room_for_name = min(longest, width - taken)
    lines = []
    for index, name in enumerate(["", frame["group_by"], *names]):
        text = [cell[index].rjust(size + _GAP) for rank, cell, size in columns if rank in kept]
        lines.append(_fitted(name, room_for_name, pad=True) + "".join(text))
    more = [(_fitted(f"and {hidden} more", width), "dim")] if hidden else []
    body = [(line, "") for line in lines[2:-1]]
    rule = "-" * (room_for_name + taken)
    return [(lines[0], "bold"), (lines[1], "bold"), *body, *more, (rule, "dim"), (lines[-1], "bold")]


def clean(text: str) -> str:
    """*text* without what would move the cursor: names come from outside."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def cells(text: str) -> int:
    """Columns of a terminal that *text* takes."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def _fitted(text: str, width: int, pad: bool = False) -> str:
    """*text* in *width* columns; what is too long loses its middle, for names differ at both ends."""
    if cells(text) > width:
        half, front, back = (width - 1) / 2, min(width, len(text)), min(width, len(text))
        while front and cells(text[:front]) > math.ceil(half):
            front -= 1
        while back and cells(text[-back:]) > math.floor(half):
            back -= 1
        text = f"{text[:front]}…{text[-back:] if back else ''}"
    return text + " " * (width - cells(text)) if pad else text


def _live(view: View, interval_s: float) -> int:
    """Frames on the alternate screen until q is pressed."""
    try:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.text import Text
    except ImportError:
        raise missing_extra("the live view (not --once or --json)", "report") from None
    console, due, drawn, more = Console(), 0.0, None, False
    with _Terminal() as terminal, Live(console=console, screen=True, auto_refresh=False) as screen:
        while True:
            now, size = time.monotonic(), console.size
            if more or now >= due:
                more = view.read(_STEP_BYTES)
            if now >= due or size != drawn:
                due, drawn = now + interval_s, size
                lines = render(view.frame(), size.width, size.height, terminal.hint)
                screen.update(Group(*(Text(text, style, no_wrap=True) for text, style in lines)), refresh=True)
            if terminal.quits(0 if more else min(0.2, max(due - time.monotonic(), 0))):
                return 0


class _Terminal:
    """The terminal while the view is on it: keys come at once and unseen; SIGTERM leaves it as it was; it cannot be suspended."""

    def __init__(self) -> None:
        self._keys = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._restore: Callable[[], None] = lambda: None
        self.hint = "Ctrl-C quits" if self._keys is None else "q quits"

    def __enter__(self) -> _Terminal:
        import termios
        import tty

        self._signals = {
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)),
            signal.SIGTSTP: signal.signal(signal.SIGTSTP, signal.SIG_IGN),
        }
        if self._keys is not None:
            saved = termios.tcgetattr(self._keys)
            self._restore = functools.partial(termios.tcsetattr, self._keys, termios.TCSADRAIN, saved)
            tty.setcbreak(self._keys)
        return self

    def quits(self, timeout_s: float) -> bool:
        """Wait for a key, *timeout_s* seconds at most; whether it was q."""
        if self._keys is None:
            time.sleep(timeout_s)
            return False
        if not select.select([self._keys], [], [], timeout_s)[0]:
            return False
        pressed = os.read(self._keys, 1024)
        if not pressed:
            self._keys = None  # closed: it would be ready for ever
        return b"q" in pressed.lower()

    def __exit__(self, *_: object) -> None:
        self._restore()
        for number, handler in self._signals.items():
            signal.signal(number, handler)
