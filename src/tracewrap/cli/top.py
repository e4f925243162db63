"""``tracewrap top``: calls by group over the last minutes, as programs write them to a span-log folder."""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tracewrap.errors import ConfigurationError, SourceError, TracewrapError
from tracewrap.words import ENDLESS

if TYPE_CHECKING:
    from tracewrap.live.calls import Learned
    from tracewrap.live.view import View
    from tracewrap.records import Call


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    from tracewrap.live.calls import GROUPS
    from tracewrap.live.window import SORTS

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
        choices=GROUPS,
        default="model",
        help="one row each (default: %(default)s)",
    )
    parser.add_argument(
        "--sort",
        choices=tuple(SORTS),
        default="contention",
        help="largest first: contention share, calls, list cost, raw p50 (default: %(default)s)",
    )
    parser.add_argument(
        "--no-learn",
        action="store_true",
        help="show the denoised runtimes that calls were recorded with, instead of what a report would learn of them",
    )
    parser.add_argument("--once", action="store_true", help="print one frame and exit")
    parser.add_argument("--json", action="store_true", help="print one JSON object a frame, one a line")


def run(args: argparse.Namespace) -> int:
    """Follow the source until q (0) or Ctrl-C (130), or print one frame."""
    from tracewrap.live.screen import render
    from tracewrap.live.view import View

    path = _source(args.source)
    teach = None if args.no_learn else functools.partial(_learned, path)
    view = View(path, _window_s(args.window), args.group_by, args.sort, teach)
    if not 0.1 <= args.interval <= 3600:
        raise ConfigurationError(f"--interval {args.interval:g}: write seconds from 0.1 to 3600")
    terminal = sys.stdout.isatty()
    if terminal and not (args.once or args.json) and os.environ.get("TERM") != "dumb":
        return _watched(view, args.interval)
    width = shutil.get_terminal_size().columns if terminal or os.environ.get("COLUMNS") else ENDLESS
    view.learn()
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


def _watched(view: View, interval_s: float) -> int:
    """The exit code of the live view. Where it is left while it learns the process ends here: an interpreter that is taken down under a
    thread that is in native code aborts."""
    from tracewrap.live.terminal import watch

    try:
        code = watch(view, interval_s)
    except KeyboardInterrupt:
        print("tracewrap: interrupted", file=sys.stderr)
        code = 130
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    if view.learns():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _learned(path: Path) -> Learned | None:
    """What the calls at *path* tell of the quiet day, as a report would learn it; None without the packages that it needs."""
    from tracewrap.estimate.joiner import join_call
    from tracewrap.estimate.split import split
    from tracewrap.live.calls import Quiet

    try:
        from tracewrap.report.tables.loading import learned_catalog

        catalog = learned_catalog(str(path))
    except (ImportError, TracewrapError):
        return None

    def quiet(call: Call) -> Quiet | None:
        joined = join_call(call, catalog)
        if joined.denoised_runtime is None:
            return None
        parts = split(joined)
        who, kind = (None, None) if parts is None else (parts.verdict, parts.kind)
        return Quiet(joined.denoised_runtime.value, who, kind, joined.denoised_runtime.verdict)

    return quiet


def _source(text: str | None) -> Path:
    from tracewrap.settings import settings
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
