"""Reproduce the tables and figures of arXiv 2305.02440: one HTML page and CSV files.

    python examples/paper_study/run.py [--data FOLDER] [-o paper_study]

Needs the extra ``fit``. Without ``--data`` from what the project holds: published numbers and fitted profiles; sections that need the
measured data (folders ``helm-efficiency`` and ``argonne``) say that they are skipped.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import analysis
import analysis_cost
import analysis_ten
import paper_data
import sections
import sections_hardware
import sections_ten
import sections_training
import sections_value

from tracewrap.errors import ProfileNotFoundError, TracewrapError
from tracewrap.runtime.files import reference_folder, write_whole
from tracewrap.runtime.roofline.gpus import get_gpu
from tracewrap.runtime.stack import ReferenceStack, load_stack
from tracewrap.study.page import cards, page, section, skipped

Rows = list[analysis.Row]
ROOT = Path(__file__).resolve().parents[2]
STACK = "a100-sxm-80gb_megatron-fp16.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Compute everything, write page and CSVs, print where they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the measured data; without it what needs them is skipped")
    parser.add_argument("--stack", type=Path, default=None, help="reference stack file (default: the shipped one)")
    parser.add_argument(
        "--accuracy", type=Path, help="CSV with scenario, model, accuracy: fills accuracies that are absent"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("paper_study"), help="folder to write to")
    args = parser.parse_args(argv)
    try:
        if args.data is not None and not (args.data / "helm-efficiency").is_dir():
            raise ProfileNotFoundError(
                f"{args.data}: no folder helm-efficiency in it; give the folder of the measured data with --data, or leave --data out"
            )
        data = None if args.data is None else paper_data.load(args.data, args.accuracy)
        html, tables = study(data, load_stack(args.stack or reference_folder() / STACK))
        args.output.mkdir(parents=True, exist_ok=True)
        for name, rows in tables.items():
            write_whole(args.output / f"{name}.csv", to_csv(rows))
        write_whole(args.output / "index.html", html)
    except TracewrapError as error:
        print(f"paper_study: {error}", file=sys.stderr)
        return 2
    if data is None:
        print(f"skipped without --data FOLDER (the paper's measurements): {', '.join(name for _, name in NEED_DATA)}")
    print(f"{args.output / 'index.html'} and {len(tables)} CSV files")
    return 0


NEED_DATA = (
    ("output-tokens", "Output tokens"),
    ("prompt-time", "Prompt time"),
    ("quality", "Fit"),
    ("three-runtimes", "Raw, denoised, idealized"),
    ("another-run", "Another run"),
)
"""Sections that are nothing without the measured data: anchor, short title."""


def study(data: paper_data.Data | None, stack: ReferenceStack) -> tuple[str, dict[str, Rows]]:
    """The page and the tables behind it; *data* None: of what the project holds alone."""
    said = paper_data.published()
    watts = get_gpu(stack.gpu).batch_1_watts
    seconds = analysis_cost.davinci(data, said, stack)
    chosen = analysis_cost.designed(seconds)
    probed = {(m.input_tokens, m.output_tokens) for m in data.calls} if data else set()
    ten = analysis_ten.ten(said, stack, said["prices_usd_per_gpu_hour"]["a100"], watts)
    ranked = analysis_ten.objectives(ten)
    tables: dict[str, Rows] = {
        "v100": analysis_cost.v100_against_a100(said, stack),
        "frontiers": analysis_ten.frontiers(ten),
        "ranks": ranked,
        "rank_changes": analysis_ten.rank_changes(ranked),
        "cost_of_estimating": analysis_cost.cost_of_estimating(said["estimation_cost"], seconds, chosen, probed),
        "training_helm": sections_training.helm(said["training"]),
        "training": sections_training.beside(stack),
        **{f"ten_{key}": found for key, found in ten.items()},
    }
    measured = {} if data is None else _measured(data, stack, tables, chosen, watts)
    html = page(
        "Idealized runtimes of ten language models, reproduced",
        "Narayanan et al., Cheaply Evaluating Inference Efficiency Metrics for Autoregressive Transformer APIs (arXiv "
        "2305.02440), recomputed with tracewrap from what was published with it. Where ours differs, each section says "
        "by how much.",
        _headline(tables),
        _parts(said, tables, ten, watts, chosen, measured),
        f"Reference stack <code>{stack.id}</code>. Every table is beside this page as CSV. Measurements: "
        "stanford-crfm/helm-efficiency, stanford-crfm/helm (Apache-2.0), argonne-lcf/LLM-Inference-Bench (BSD-3-Clause).",
    )
    return html, tables


def _measured(
    data: paper_data.Data, stack: ReferenceStack, tables: dict[str, Rows], chosen: list[tuple[int, int]], watts: float
) -> dict[str, str]:
    """The sections that need the data, by anchor; their tables are added to *tables*."""
    minima, usd = analysis.denoised_profiles(data), data.published["prices_usd_per_gpu_hour"]["a100"]
    rows = analysis.three_runtimes(data, stack, analysis.published_denoised(data) | minima)
    points = analysis.tradeoffs(data, stack, usd, watts)
    tables |= {
        "fit_quality": analysis.fit_quality(data, stack),
        "linearity": analysis.linearity(data),
        "three_runtimes": rows,
        "runtime_summary": analysis.runtime_summary(rows),
        "against_published": analysis.against_published(rows),
        "denoiser": analysis.denoiser(data, minima),
        "h100": analysis_cost.h100_against_a100(data.batch1),
        "few_queries": analysis_cost.few_queries(data, chosen),
        **{f"tradeoff_{key}": found for key, found in points.items()},
    }
    return {
        "output-tokens": sections.output_tokens(data, stack, tables["linearity"]),
        "prompt-time": sections.prompt_time(data, stack),
        "quality": sections.quality(tables["fit_quality"]),
        "three-runtimes": sections.three(data, rows, tables, minima, analysis.passive_profiles(data)),
        "another-run": sections_value.capability(points, usd, watts),
    }


def _parts(
    said: dict[str, Any],
    tables: dict[str, Rows],
    ten: dict[str, Rows],
    watts: float,
    chosen: list[tuple[int, int]],
    measured: dict[str, str],
) -> list[tuple[str, str, str]]:
    """Sections in the order of the page; in place of one that needs the data and has none, a note."""
    prices = said["prices_usd_per_gpu_hour"]
    usd, cost = prices["a100"], said["estimation_cost"]
    made = {
        anchor: measured.get(anchor) or section(anchor, name, skipped(name, "helm-efficiency"))
        for anchor, name in NEED_DATA
    }
    names = dict(NEED_DATA)
    made["hardware"] = sections_hardware.hardware(tables["v100"], tables.get("h100"), prices)
    made["tradeoffs"] = sections_ten.tradeoffs(ten, tables["frontiers"], usd, watts)
    made["ranks"] = sections_ten.ranks(tables["ranks"], tables["rank_changes"])
    made["cost"] = sections_value.cost(cost, usd, tables["cost_of_estimating"], tables.get("few_queries"), chosen)
    made["training"] = sections_training.training(tables["training_helm"], tables["training"])
    names |= {"hardware": "Hardware", "tradeoffs": "Accuracy and cost", "ranks": "Ranks", "cost": "Cost of estimating"}
    names["training"] = "Training"
    first = ("output-tokens", "prompt-time", "quality", "three-runtimes", "hardware", "tradeoffs", "ranks")
    return [(anchor, names[anchor], made[anchor]) for anchor in (*first, "another-run", "cost", "training")]


def _headline(tables: dict[str, Rows]) -> str:
    times = {r["who"]: r["times_cheaper"] for r in tables["cost_of_estimating"]}
    ranks, v100 = tables["ranks"], statistics.median(r["usd_ratio"] for r in tables["v100"])
    same = sum(r["rank_second"] == r["rank_printed_second"] for r in ranks)
    items = [
        (
            f"{times['paper']:.1f}x → {times['tracewrap']:.0f}x",
            "cheaper than measuring every query: the paper's 270 → ten designed ones",
        ),
        (f"{same} of {len(ranks)}", "ranks by accuracy per idealized second are the published ones"),
        (f"{v100:.2f}x", "the dollars of an A100 for one output token on V100, median over ten models"),
    ]
    if "fit_quality" in tables:
        ours, helm = (statistics.median(r[f"{n}_median"] for r in tables["fit_quality"]) for n in ("ours", "helm"))
        told = "median error of T(p, o) on the measured points: published table → refitted"
        items.insert(0, (f"{helm:.2%} → {ours:.2%}", told))
    return cards(items)


def to_csv(rows: Sequence[analysis.Row]) -> str:
    """*rows* as CSV text; absent values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return text.getvalue()


if __name__ == "__main__":
    raise SystemExit(main())
