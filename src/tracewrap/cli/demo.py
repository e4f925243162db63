"""``tracewrap demo``: a real small model served on this machine, called through the real SDK, reported."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tracewrap.errors import ConfigurationError
from tracewrap.words import seconds, share, table, usd

if TYPE_CHECKING:
    from tracewrap.demo.scenario import Outcome

_BUSY_LOAD = 1.5


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("-o", "--output", default="tracewrap-demo", metavar="FOLDER", help="default: tracewrap-demo")
    parser.add_argument("--repeats", type=int, default=3, help="calls per cell and mode under load (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="of the prompts and of the competing client")
    parser.add_argument("--usd-per-hour", type=float, help="what this machine costs (default: AWS m7g.large on demand)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Play the scenario, print the table, write the page."""
    from tracewrap.demo.server import check_installed

    check_installed()
    from tracewrap.demo import scenario
    from tracewrap.runtime.stack import Price

    if args.repeats < 1:
        raise ConfigurationError(f"--repeats is {args.repeats}, must be at least 1")
    price = scenario.PRICE
    if args.usd_per_hour is not None:
        if not args.usd_per_hour > 0:
            raise ConfigurationError(f"--usd-per-hour is {args.usd_per_hour}, must be positive")
        price = Price(args.usd_per_hour, "--usd-per-hour", time.strftime("%Y-%m-%d"))
    outcome = scenario.play(Path(args.output), repeats=args.repeats, seed=args.seed, price=price, progress=_progress)
    _progress("", 1.0)
    page = write_page(outcome)
    if args.json:
        print(json.dumps(as_json(outcome), indent=1))
    else:
        print(figures(outcome))
        print(notes(outcome, page))
    return 0


def _progress(what: str, share: float) -> None:
    """One line on standard error that replaces itself on a terminal, and a line a stage elsewhere."""
    if sys.stderr.isatty():
        text = f"{what} {share:.0%}" if what else ""
        print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)
    elif what and what != _progress_state.get("what"):
        print(what, file=sys.stderr, flush=True)
    _progress_state["what"] = what


_progress_state: dict[str, str] = {}


def figures(outcome: Outcome) -> str:
    """Cells and total: raw beside denoised beside idealized."""
    rate = outcome.reference.price.usd_per_gpu_hour / 3600 if outcome.reference.price else None
    head = ("in", "out", "mode", "calls", "raw p50", "denoised", "idealized", "contention", "idealized cost")
    rows: list[tuple[str, ...]] = [head]
    for cell in outcome.cells:
        contention = None if cell.denoised_s is None else 1 - cell.denoised_s / cell.raw_s
        rows.append(
            (
                str(cell.input_tokens),
                str(cell.output_tokens),
                "stream" if cell.stream else "plain",
                str(cell.calls),
                seconds(cell.raw_s),
                seconds(cell.denoised_s),
                seconds(cell.idealized_s),
                share(contention),
                usd(None if rate is None else cell.idealized_s * rate),
            )
        )
    rows.append(_total(outcome))
    return "\n".join(table(rows))


def _total(outcome: Outcome) -> tuple[str, ...]:
    raw = sum(item.call.raw_runtime_s or 0.0 for item in outcome.joined)
    known = [item.denoised_runtime.value for item in outcome.joined if item.denoised_runtime is not None]
    denoised = sum(known) if len(known) == len(outcome.joined) else None
    idealized = sum(item.idealized_runtime.value for item in outcome.joined if item.idealized_runtime is not None)
    cost = sum(item.idealized_cost.value for item in outcome.joined if item.idealized_cost is not None)
    contention = None if denoised is None else 1 - denoised / raw
    return (
        "",
        "",
        "total",
        str(len(outcome.joined)),
        seconds(raw),
        seconds(denoised),
        seconds(idealized),
        share(contention),
        usd(cost),
    )


def notes(outcome: Outcome, page: Path | None) -> str:
    """What the numbers mean, where they were written, what to do next."""
    price = outcome.reference.price
    lines = [
        "",
        "raw: what each call took through the SDK, beside a competing client.",
        "denoised: what this server takes on a quiet day, learned from those same calls alone.",
        "idealized: the same model on this machine and this llama.cpp with nobody else on it, measured before.",
        "  So here it checks the denoiser; across hardware it is another reference stack (tracewrap report --reference).",
    ]
    if price is not None:
        lines.append(f"cost: idealized seconds at ${price.usd_per_gpu_hour:g} an hour ({price.source}, {price.date}).")
    for deployment, verdict in outcome.verdicts.items():
        if verdict != "ok":
            lines.append(f"denoiser: {verdict} for {deployment}")
    if outcome.load_before is not None and outcome.load_before > _BUSY_LOAD:
        lines.append(
            f"note: this machine was busy before the demo (load {outcome.load_before:.1f}); figures are noisy."
        )
    lines += ["", f"span log: {outcome.folder / 'calls'}   profile: {outcome.folder / 'reference.json'}"]
    if page is not None:
        lines.append(f"page: {page}")
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        lines.append(f"also exported to {os.environ['OTEL_EXPORTER_OTLP_ENDPOINT']}")
    lines.append("next: client = tracewrap.wrap(openai.OpenAI()), or: tracewrap run -- python app.py")
    return "\n".join(lines)


def write_page(outcome: Outcome) -> Path | None:
    """The self-contained HTML page of the demo's calls; None when the extra 'report' is not installed."""
    from importlib.util import find_spec

    if find_spec("jinja2") is None or find_spec("duckdb") is None:
        return None
    from tracewrap.report import build
    from tracewrap.report.render.html import render
    from tracewrap.runtime.files import write_whole

    report = build(str(outcome.folder / "calls"), catalog=outcome.catalog, group_by=("model", "deployment"))
    page = outcome.folder / "report.html"
    write_whole(page, render(report.data, title="tracewrap demo"))
    return page


def as_json(outcome: Outcome) -> dict[str, object]:
    """The figures for a program."""
    return {
        "cells": [dataclasses.asdict(cell) for cell in outcome.cells],
        "calls": len(outcome.joined),
        "verdicts": dict(outcome.verdicts),
        "reference": outcome.reference.to_dict(),
        "load_before": outcome.load_before,
        "seconds": outcome.seconds,
    }
