"""Reproduce the tables and figures of arXiv 2305.02440 from its measured data: one HTML page and CSV files.

    python examples/paper_study/run.py [--data ../shared/data] [-o paper_study]

Needs the extra ``fit`` and the measured data (``helm-efficiency`` and ``argonne`` of the data folder).
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import analysis
import analysis_cost
import paper_data
import sections
import sections_hardware
import sections_value
from page import cards, page

from tracewrap.errors import ProfileNotFoundError, TracewrapError
from tracewrap.runtime.files import reference_folder, write_whole
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.roofline.gpus import get_gpu
from tracewrap.runtime.stack import ReferenceStack, load_stack

Rows = list[analysis.Row]
ROOT = Path(__file__).resolve().parents[2]
STACK = "a100-sxm-80gb_megatron-fp16.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Compute everything, write page and CSVs, print where they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the measured data"
    )
    parser.add_argument("--stack", type=Path, default=None, help="reference stack file (default: the shipped one)")
    parser.add_argument(
        "--accuracy", type=Path, help="CSV with scenario, model, accuracy: fills accuracies that are absent"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("paper_study"), help="folder to write to")
    args = parser.parse_args(argv)
    try:
        if not (args.data / "helm-efficiency").is_dir():
            raise ProfileNotFoundError(
                f"{args.data}: no folder helm-efficiency in it; give the measured data with --data"
            )
        data = paper_data.load(args.data, args.accuracy)
        html, tables = study(data, load_stack(args.stack or reference_folder() / STACK))
        args.output.mkdir(parents=True, exist_ok=True)
        for name, rows in tables.items():
            write_whole(args.output / f"{name}.csv", to_csv(rows))
        write_whole(args.output / "index.html", html)
    except TracewrapError as error:
        print(f"paper_study: {error}", file=sys.stderr)
        return 2
    print(f"{args.output / 'index.html'} and {len(tables)} CSV files")
    return 0


def study(data: paper_data.Data, stack: ReferenceStack) -> tuple[str, dict[str, Rows]]:
    """The page and the tables behind it."""
    minima, chosen = analysis.denoised_profiles(data), analysis_cost.designed(data)
    rows = analysis.three_runtimes(data, stack, analysis.published_denoised(data) | minima)
    watts = get_gpu(stack.gpu).batch_1_watts
    points = analysis.tradeoffs(data, stack, data.published["prices_usd_per_gpu_hour"]["a100"], watts)
    tables = {
        "fit_quality": analysis.fit_quality(data, stack),
        "linearity": analysis.linearity(data),
        "three_runtimes": rows,
        "runtime_summary": analysis.runtime_summary(rows),
        "against_published": analysis.against_published(rows),
        "denoiser": analysis.denoiser(data, minima),
        "v100": analysis_cost.v100_against_a100(data, stack),
        "h100": analysis_cost.h100_against_a100(data.batch1),
        "ranks": analysis.ranks(points, data.published["accuracy_per_idealized_second"]),
        "cost_of_estimating": analysis_cost.cost_of_estimating(data, chosen),
        "without_tradeoff": analysis.without_tradeoff(data, points),
        "few_queries": analysis_cost.few_queries(data, chosen),
        **{f"tradeoff_{key}": found for key, found in points.items()},
    }
    html = page(
        "Idealized runtimes of ten language models, reproduced",
        "Narayanan et al., Cheaply Evaluating Inference Efficiency Metrics for Autoregressive Transformer APIs (arXiv "
        "2305.02440), recomputed with tracewrap from the measurements that came with it. Where ours differs, each section says "
        "by how much.",
        _headline(tables),
        _parts(data, stack, tables, points, watts, minima),
        f"Reference stack <code>{stack.id}</code>. Every table is beside this page as CSV. Measurements: "
        "stanford-crfm/helm-efficiency, stanford-crfm/helm (Apache-2.0), argonne-lcf/LLM-Inference-Bench (BSD-3-Clause).",
    )
    return html, tables


def _parts(
    data: paper_data.Data,
    stack: ReferenceStack,
    tables: dict[str, Rows],
    points: dict[str, Rows],
    watts: float,
    minima: dict[str, RuntimeProfile],
) -> list[tuple[str, str, str]]:
    prices = data.published["prices_usd_per_gpu_hour"]
    rows, passive = tables["three_runtimes"], analysis.passive_profiles(data)
    return [
        ("output-tokens", "Output tokens", sections.output_tokens(data, stack, tables["linearity"])),
        ("prompt-time", "Prompt time", sections.prompt_time(data, stack)),
        ("quality", "Fit", sections.quality(tables["fit_quality"])),
        ("three-runtimes", "Raw, denoised, idealized", sections.three(data, rows, tables, minima, passive)),
        ("hardware", "Hardware", sections_hardware.hardware(tables["v100"], tables["h100"], prices)),
        (
            "capability",
            "Accuracy and cost",
            sections_value.capability(points, tables["without_tradeoff"], prices["a100"], watts),
        ),
        ("ranks", "Ranks", sections_value.ranking(tables["ranks"])),
        (
            "cost",
            "Cost of estimating",
            sections_value.cost(
                data.published["estimation_cost"],
                prices["a100"],
                tables["cost_of_estimating"],
                tables["few_queries"],
                analysis_cost.designed(data),
            ),
        ),
    ]


def _headline(tables: dict[str, Rows]) -> str:
    times = {r["who"]: r["times_cheaper"] for r in tables["cost_of_estimating"]}
    ours, helm = (statistics.median(r[f"{n}_median"] for r in tables["fit_quality"]) for n in ("ours", "helm"))
    ranks = [r for r in tables["ranks"] if r["our_rank"] is not None]
    same = sum(r["our_rank"] == r["published_rank"] for r in ranks)
    return cards(
        [
            (f"{helm:.2%} → {ours:.2%}", "median error of T(p, o) on the measured points: published table → refitted"),
            (f"{min(r['least_r2'] for r in tables['linearity']):.5f}", "least R² of runtime against output tokens"),
            (
                f"{times['paper']:.1f}x → {times['tracewrap']:.0f}x",
                "cheaper than measuring every query: the paper's 270 → ten designed ones",
            ),
            (f"{same} of {len(ranks)}", "ranks by accuracy per idealized second are the published ones"),
        ]
    )


def to_csv(rows: Sequence[analysis.Row]) -> str:
    """*rows* as CSV text; absent values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return text.getvalue()


if __name__ == "__main__":
    raise SystemExit(main())
