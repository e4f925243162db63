"""``tracewrap run -- CMD``: trace an unchanged program."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from tracewrap.errors import ConfigurationError


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("--span-log", metavar="FOLDER", default=None, help="where calls are written (default: calls)")
    parser.add_argument("--otlp", metavar="URL", help="also export there over OTLP/HTTP")
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
    folder = args.span_log or os.environ.get("TRACEWRAP_SPAN_LOG") or "calls"
    environment = _environment(args, folder)
    try:
        child = subprocess.Popen(command, env=environment)
    except OSError as error:
        print(f"tracewrap: {command[0]}: cannot be started ({error.strerror})", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    code = _wait(child)
    if not args.quiet:
        print(f"tracewrap: calls are in {folder}; read them with: tracewrap report {folder}", file=sys.stderr)
    return code


def _environment(args: argparse.Namespace, folder: str) -> dict[str, str]:
    import tracewrap.start

    environment = dict(os.environ)
    bootstrap = str(Path(tracewrap.start.__file__).parent)
    paths = [bootstrap, *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    environment["TRACEWRAP_SPAN_LOG"] = os.path.abspath(folder)
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
        for number in (signal.SIGTERM, signal.SIGHUP)
    }
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = child.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.signal(signal.SIGINT, interrupted)
    return 128 - code if code < 0 else code
