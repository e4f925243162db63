"""``tracewrap run -- CMD``: trace an unchanged program."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tracewrap import systems
from tracewrap.errors import ConfigurationError
from tracewrap.settings import settings
from tracewrap.sinks.folder import unwritable

SUMMARY = "trace a program: tracewrap run -- python app.py"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("--span-log", metavar="FOLDER", default=None, help="where calls are written (default: calls)")
    parser.add_argument("--otlp", metavar="URL", help="also export there over OTLP")
    parser.add_argument(
        "--profiles", metavar="PATH", action="append", default=[], help="profile or stack files, folders"
    )
    parser.add_argument("--reference", metavar="STACK", action="append", default=[], help="reference stack, repeatable")
    parser.add_argument("--quiet", action="store_true", help="no line a call on standard error")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD ...", help="the program and its arguments")


def run(args: argparse.Namespace) -> int:
    """Start the program with tracewrap in it; its exit code is ours."""
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise ConfigurationError("no program given; write: tracewrap run -- python app.py")
    chosen = settings(
        span_log=args.span_log, otlp=args.otlp, profiles=args.profiles or None, references=args.reference or None
    )
    folder = chosen.span_log or "calls"
    with tempfile.TemporaryDirectory(prefix="tracewrap-") as marks:
        environment = _environment(args, folder, marks)
        began_ns = time.time_ns()
        try:
            child = subprocess.Popen(command, env=environment)
        except OSError as error:
            print(f"tracewrap: {command[0]}: cannot be started ({error.strerror})", file=sys.stderr)
            return 127 if isinstance(error, FileNotFoundError) else 126
        code = _wait(child)
        said = _outcome(Path(folder), began_ns, traced=bool(os.listdir(marks))) if chosen.enabled else ""
    if said and (not args.quiet or not said.startswith("calls are in")):
        print(f"tracewrap: {said}", file=sys.stderr)
    return code


def _outcome(folder: Path, began_ns: int, traced: bool) -> str:
    """One line on what was recorded since *began_ns* (Unix time)."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""  # the program said so itself
    if any(path.stat().st_mtime_ns >= began_ns - 10**9 for path in folder.glob("*.jsonl")):
        return f"calls are in {folder}; read them with: tracewrap report {folder}"
    if traced and (why := unwritable(folder)) is not None:
        return (
            f"calls could not be written to {folder}: {why}; give a folder to write in: tracewrap run --span-log FOLDER"
        )
    if traced:
        return "the program made no call that is recorded; tracewrap doctor says what is recorded"
    return (
        "no Python of this program was traced: its environment has no tracewrap, or it was started without PYTHONPATH "
        "(python -I, -E or -S, env -i); call tracewrap.configure() and tracewrap.instrument() in the program instead"
    )


def _environment(args: argparse.Namespace, folder: str, marks: str) -> dict[str, str]:
    import tracewrap.start

    environment = dict(os.environ)
    bootstrap = str(Path(tracewrap.start.__file__).parent)
    paths = [bootstrap, *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    environment["TRACEWRAP_SPAN_LOG"] = os.path.abspath(folder)
    environment["TRACEWRAP_RUN_MARKS"] = marks
    if args.otlp:
        environment["TRACEWRAP_OTLP"] = args.otlp
    if args.profiles:
        environment["TRACEWRAP_PROFILES"] = os.pathsep.join(os.path.abspath(path) for path in args.profiles)
    if args.reference:
        environment["TRACEWRAP_REFERENCES"] = ",".join(args.reference)
    if not args.quiet:
        environment.setdefault("TRACEWRAP_TERMINAL", "true")
    return environment


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for *child*, passing signals on. Ctrl-C reaches it from the terminal by itself."""
    previous = {
        number: signal.signal(number, lambda received, _: child.send_signal(received))
        for number in systems.signals("SIGTERM", "SIGHUP")
    }
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = child.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.signal(signal.SIGINT, interrupted)
    return 128 - code if code < 0 else code
