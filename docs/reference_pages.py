"""The pages of the reference, made from the code: settings, attributes, statuses, metrics, commands, the Python API.

``python docs/reference_pages.py`` writes them to ``docs/reference/``; building the documentation does so too.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import tracewrap
from tracewrap import cli, records, semconv, settings
from tracewrap.sinks.metrics import DESCRIPTIONS, Metrics

FOLDER = Path(__file__).resolve().parent / "reference"
STATUSES = {
    "ok": "Everything was there.",
    "failed": "The call failed: it has no estimates.",
    "no_usage": "No token counts: neither reported nor to be estimated.",
    "not_generation": "No call that generates text: embeddings, moderation and the like.",
    "no_denoised_profile": "Not enough calls yet to know this deployment's quiet day.",
    "no_idealized_profile": "A model whose shape is not known: name a stand-in, or give a profile.",
    "unknown_model": "Neither the request nor the answer names a model.",
    "partial": "The answer was cut short; estimates are of the tokens that came.",
}
VERDICTS = {
    "ok": "The profile can be believed.",
    "not_identifiable": "The calls seen cannot tell a quiet day from a busy one.",
    "saturated": "No quiet calls were seen: the estimate is an upper bound.",
    "few_hours": "Quiet calls were seen in few hours only.",
    "too_few": "Few calls: the interval is wide.",
    "stale": "Its calls are old.",
}
"""What each value of ``records.Verdict`` means; as a status it stands behind ``denoised_``."""
KINDS = {
    "bool": "`true` or `false`",
    "str": "text",
    "tuple": "several texts",
    "Mapping": "pairs of texts",
    "int": "whole number",
    "float": "number",
}
"""Annotation of a setting -> what it may be."""


def documented(module: ModuleType, within: str | None = None) -> dict[str, str]:
    """Name -> the docstring below it ("" where there is none), of a module's or class's assignments, in their order."""
    tree: ast.Module | ast.ClassDef = ast.parse(inspect.getsource(module))
    if within is not None:
        tree = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == within)
    found: dict[str, str] = {}
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name):
            told = after.value if isinstance(after, ast.Expr) else None
            found[target.id] = str(told.value) if isinstance(told, ast.Constant) else ""
    return found


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; what would end a cell is escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("``", "`")).replace("|", "\\|").strip()


def settings_page() -> str:
    """Every setting: argument, variable, what it may be, its default, what it does."""
    told = documented(settings, "Settings")
    rows = []
    for one in inspect.signature(settings.Settings).parameters.values():
        default = (
            ""
            if one.default in (None, ())
            else f"`{str(one.default).lower() if isinstance(one.default, bool) else one.default}`"
        )
        kind = str(one.annotation).replace(" | None", "")
        allowed = get_args(getattr(settings, kind, None))
        shown = " or ".join(f"`{value}`" for value in allowed) or KINDS[kind.partition("[")[0]]
        rows.append([f"`{one.name}`", f"`{settings.PREFIX}{one.name.upper()}`", shown, default, told[one.name]])
    return (
        "# Settings\n\nEach is an argument of `tracewrap.configure()`, a variable, and a key of `[tool.tracewrap]` in pyproject.toml; the "
        "first of these that is given counts. Several values in one variable: paths are separated as in `PATH`, ids by commas, stand-ins "
        "written `closed=open,closed=open`.\n\n" + table(["argument", "variable", "value", "default", "meaning"], rows)
    )


def attributes_page() -> str:
    """Every attribute of spans, by its name on the wire."""
    told = documented(semconv.names)
    rows = [
        [f"`{value}`", told[name]]
        for name, value in vars(semconv.names).items()
        if name in told and isinstance(value, str) and "." in value
    ]
    return (
        "# Span attributes\n\nSeconds, US dollars, joules, tokens. What is not known is absent, never 0. Names that begin with `gen_ai.` "
        "follow OpenTelemetry's conventions for generative AI; an estimate has `.low` and `.high`, its 90% interval, beside it.\n\n"
        + table(["attribute", "meaning"], rows)
    )


def statuses_page() -> str:
    """What the attribute that says why something is missing may hold."""
    return (
        f"# Statuses\n\n`{semconv.JOIN_STATUS}` says why an estimate is missing, or what to know of it; several are joined by commas.\n\n"
        + table(["status", "meaning"], [[f"`{name}`", text] for name, text in STATUSES.items()])
        + f"\nA denoised profile has a verdict, `{semconv.PROFILE_VERDICT}`; one that is not `ok` is a status too, with `denoised_` before "
        "it.\n\n"
        + table(["verdict", "meaning"], [[f"`{name}`", VERDICTS[name]] for name in get_args(records.Verdict)])
        + f"\nHow a call ended, `{semconv.OUTCOME}`: "
        + ", ".join(f"`{name}`" for name in get_args(records.Outcome))
        + ".\n"
    )


def metrics_recorded() -> Iterator[Any]:
    """Every metric that a call with everything in it makes, by both namings, as the OpenTelemetry SDK hands them on."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.trace import SpanContext, TraceFlags

    reader = InMemoryMetricReader()
    sink = Metrics(MeterProvider([reader], shutdown_on_exit=False), naming="both")
    numbers: Mapping[str, Any] = dict.fromkeys(
        value for name, value in vars(semconv.names).items() if name.isupper() and isinstance(value, str)
    )
    texts = {
        semconv.PROVIDER: "p",
        semconv.REQUEST_MODEL: "m",
        semconv.RESPONSE_MODEL: "m",
        semconv.SPLIT_VERDICT: "us",
    }
    for operation in ("chat", "embeddings"):
        call = {**dict.fromkeys(numbers, 1.0), semconv.OPERATION: operation, **texts}
        for absent in (semconv.ERROR_TYPE, semconv.BATCH):
            del call[absent]
        sink.record(call, 1.0, SpanContext(1, 1, False, TraceFlags(1)))
    sink.lost("place", "reason", 1)
    data = reader.get_metrics_data()
    assert data is not None
    yield from data.resource_metrics[0].scope_metrics[0].metrics


def metrics_page() -> str:
    """Every metric, with what it is and its unit."""
    rows = sorted(
        [f"`{one.name}`", one.unit or "", type(one.data).__name__, one.description or ""] for one in metrics_recorded()
    )
    assert set(DESCRIPTIONS) <= {row[0].strip("`") for row in rows}
    return (
        "# Metrics\n\nOn with `TRACEWRAP_METRICS=true`; `TRACEWRAP_SEMCONV_METRICS` chooses the names: the newest, those of 1.41 "
        "(`gen_ai.client.operation.*`, `gen_ai.client.token.usage`), or both. Every recorded call is in them, also those of traces that "
        "are not kept.\n\n" + table(["metric", "unit", "kind", "meaning"], rows)
    )


def commands() -> Iterator[str]:
    """Every command: ``profile fit``."""
    for name, target in cli.COMMANDS.items():
        yield from (f"{name} {inner}" for inner in target) if isinstance(target, dict) else (name,)


def commands_page() -> str:
    """The help of every command."""
    parts = ["# Commands\n\nExit codes: 0 done, 1 a limit was breached, 2 usage or data error, 130 interrupted.\n"]
    for path in commands():
        name, _, inner = path.partition(" ")
        target = cli.COMMANDS[name]
        module = importlib.import_module(target[inner] if isinstance(target, dict) else target)
        parser = argparse.ArgumentParser(prog=f"tracewrap {path}", description=cli.SUMMARIES[path])
        module.configure(parser)
        parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=100)
        parts.append(f"## tracewrap {path}\n\n```text\n{parser.format_help().rstrip()}\n```\n")
    return "\n".join(parts)


def python_page() -> str:
    """Every public name with its signature and docstring."""
    parts = ["# Python\n"]
    for name in tracewrap.__all__:
        thing = getattr(tracewrap, name)
        shown = "" if isinstance(thing, type) and issubclass(thing, Exception) else _signature(thing)
        parts.append(f"## {name}\n\n```text\n{name}{shown}\n\n{inspect.getdoc(thing) or ''}\n```\n")
    return "\n".join(parts)


def _signature(thing: Any) -> str:
    whole = str(inspect.signature(thing)).replace("tracewrap.", "").replace("'", "")
    if len(whole) < 100:
        return whole
    parameters = [
        str(one).replace("tracewrap.", "").replace("'", "") for one in inspect.signature(thing).parameters.values()
    ]
    return "(\n    " + ",\n    ".join(parameters) + ",\n)"


PAGES = {
    "settings": settings_page,
    "attributes": attributes_page,
    "statuses": statuses_page,
    "metrics": metrics_page,
    "commands": commands_page,
    "python": python_page,
}


def write() -> None:
    """Write every page to ``FOLDER``."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / f"{name}.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write()
    sys.stdout.write(f"{len(PAGES)} pages in {FOLDER}\n")
