"""The command line: parse arguments, call one library function a command, turn errors into one line.

Each command is a module with ``configure(parser)`` and ``run(args) -> int``; its one line stands in ``SUMMARIES``. Only the module of
the command that was asked for is imported. Exit codes: 0 done, 1 a limit was breached, 2 usage or data error,
130 interrupted.
"""

from __future__ import annotations

import argparse
import codecs
import difflib
import errno
import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn, TextIO

from tracewrap.errors import TracewrapError, UnstableSamplesWarning
from tracewrap.words import plain_signs

COMMANDS: dict[str, str | dict[str, str]] = {
    "demo": "tracewrap.cli.demo",
    "run": "tracewrap.cli.run",
    "report": "tracewrap.cli.report",
    "compare": "tracewrap.cli.compare",
    "whatif": "tracewrap.cli.whatif",
    "suite": "tracewrap.cli.suite",
    "study": "tracewrap.cli.study",
    "check": "tracewrap.cli.check",
    "top": "tracewrap.cli.top",
    "export": "tracewrap.cli.export",
    "sql": "tracewrap.cli.sql",
    "lake": {"compact": "tracewrap.cli.lake_compact"},
    "denoise": "tracewrap.cli.denoise",
    "profile": {
        "fit": "tracewrap.cli.profile_fit",
        "predict": "tracewrap.cli.profile_predict",
        "design": "tracewrap.cli.profile_design",
        "estimate": "tracewrap.cli.profile_estimate",
        "measure": "tracewrap.cli.profile_measure",
        "probe": "tracewrap.cli.profile_probe",
        "list": "tracewrap.cli.profile_list",
        "show": "tracewrap.cli.profile_show",
        "verify": "tracewrap.cli.profile_verify",
        "import": "tracewrap.cli.profile_import",
        "export": "tracewrap.cli.profile_export",
    },
    "models": "tracewrap.cli.models",
    "doctor": "tracewrap.cli.doctor",
}
SUMMARIES: dict[str, str] = {
    "demo": "a real small model served on this machine, called through the real SDK, reported; no key, no GPU",
    "run": "trace a program: tracewrap run -- python app.py",
    "report": "raw, denoised and idealized runtime and cost of recorded calls",
    "check": "limits: exit 0 held, 1 breached, 2 usage or data error",
    "compare": "two periods, sources, providers, models or stacks at equal token counts",
    "whatif": "this traffic on other hardware",
    "study": "questions about the method, answered by computing: which queries, how many, which stack, which facts",
    "suite": "models and stacks over standard token mixes: a table, or a page to publish",
    "top": "live view of the calls that programs write to a span-log folder",
    "export": "send recorded calls with their estimates to an OTLP receiver: Jaeger, a Collector",
    "sql": "the join as tables and views of a warehouse: ClickHouse, DuckDB, Spark, BigQuery, Snowflake",
    "lake": "the Parquet lake",
    "lake compact": "append recorded calls to a Parquet lake, once; safe to kill, to repeat, to run twice at once",
    "denoise": "a quiet-day profile from recorded calls or samples",
    "profile": "make, inspect and use runtime profiles",
    "profile fit": "fit a profile to measured samples",
    "profile predict": "runtimes of a profile at given points",
    "profile design": "the (p, o) points to measure, in order of usefulness",
    "profile estimate": "analytic profile of any model on any GPU, from its architecture and a stack's fitted constants",
    "profile measure": "measure a model on this machine's GPU or CPU; a run that was stopped goes on where it was",
    "profile probe": "measure a black-box API through its client; says first what it will cost",
    "profile list": "shipped and local profiles: model, stack, GPUs, provenance, fit quality",
    "profile show": "one profile as table and drawing",
    "profile verify": "check profile and stack files; exit 0 good, 1 above --max-error, 2 a bad file",
    "profile import": "read another project's runtime table as profiles",
    "profile export": "write profiles in another project's format",
    "models": "open models: search, shape, names, memory and estimates on chosen cards",
    "doctor": "what is recorded, twice or not at all; what is reachable",
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with an argument in one line, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2; an option that is not known is told with one that is like it."""
        unknown = message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
        near = difflib.get_close_matches(unknown, self._option_string_actions, 1) if unknown.startswith("--") else []
        message += f"; do you mean {near[0]}?" if near and unknown not in near else ""
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help shows all\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _make_streams_safe()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say
            code = _dispatch(arguments)
        sys.stdout.flush()  # a pipe that was closed, or a full disk, is told here and not by the interpreter when it ends
        return code
    except TracewrapError as error:
        print(f"tracewrap: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        _drop_output()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename is not None:
            raise
        _drop_output()
        print(f"tracewrap: standard output: cannot be written ({error.strerror})", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tracewrap: interrupted", file=sys.stderr)
        return 130


def _say(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning: ours in one line, as errors are; those of others as Python has it."""
    ours = issubclass(category, UnstableSamplesWarning)
    said = f"tracewrap: warning: {message}\n" if ours else warnings.formatwarning(message, category, filename, lineno)
    (file or sys.stderr).write(said)


def _make_streams_safe() -> None:
    """Standard streams that are there, and that take every character: as a plain sign where their encoding lacks it."""
    codecs.register_error("tracewrap", plain_signs)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by who started us
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for good
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="tracewrap")


def _drop_output() -> None:
    """What is still buffered has nowhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: list[str]) -> int:
    path: list[str] = []
    level: str | dict[str, str] | dict[str, str | dict[str, str]] = dict(COMMANDS)
    while isinstance(level, dict):
        word = arguments[0] if arguments else None
        if word in ("-V", "--version") and not path:
            return _version()
        if word is None or word in ("-h", "--help"):
            print(_overview(path, level))
            return 0 if word else 2
        if word not in level:
            known = ", ".join(level)
            print(f"tracewrap: no command {' '.join([*path, word])!r}; there is {known}", file=sys.stderr)
            return 2
        path.append(arguments.pop(0))
        level = level[word]
    command = importlib.import_module(level)
    name = " ".join(path)
    parser = _Parser(prog=f"tracewrap {name}", description=SUMMARIES[name], allow_abbrev=False)
    command.configure(parser)
    return int(command.run(parser.parse_args(arguments)) or 0)


def _version() -> int:
    from importlib.metadata import version

    print(f"tracewrap {version('tracewrap')}")
    return 0


def _overview(path: list[str], level: dict[str, str] | dict[str, str | dict[str, str]]) -> str:
    prefix = " ".join(["tracewrap", *path])
    rows = [f"  {name:<10} {SUMMARIES[' '.join([*path, name])]}" for name in level]
    return "\n".join([f"usage: {prefix} COMMAND ...", "", *rows, "", f"{prefix} COMMAND --help says more."])
