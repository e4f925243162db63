"""Sections of the page on all ten models: what accuracy costs on seven axes, and ranks under several objectives."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from analysis import BENCHMARKS, Row
from analysis_ten import AXES, LIMIT_S, OBJECTIVES
from paper_data import colour, short
from sections import DARK

from tracewrap.formats.profile_drawing import Chart, Series
from tracewrap.study.page import difference, figure, grid, section, table

DRAWN = tuple(axis for axis in AXES if axis != "idealized_j")  # all on A100, so joules are dollars on another scale


def tradeoffs(points: dict[str, list[Row]], fronts: list[Row], usd: float, watts: float) -> str:
    """Accuracy against seven axes, all ten models on four benchmarks."""
    charts = [_frontier(rows, axis, f"{_name(key)}: {AXES[axis][0]}") for key, rows in points.items() for axis in DRAWN]
    return section(
        "tradeoffs",
        "What accuracy costs, all ten models",
        "<p>Accuracy, raw and denoised seconds and FLOPs are the paper's, read out of its published vector figures; idealized seconds are "
        f"T(p, o) of the refitted profiles at the same mean token counts; dollars at {usd:g} $ a GPU-hour, the paper's price; joules at "
        f"{watts:g} W a GPU, what an A100 draws while it serves one request (not in the paper). Every idealized runtime is on A100s, so "
        "the "
        "frontier by joules is that by dollars. The dashed line is the frontier: models that no other beats in both. Cohere xlarge has the "
        "shape of Anthropic's 52B, whose measurement serves both; TNLG v2 is three times a third of its layers. TNLG v2 is on no "
        "denoised frontier: its API was never profiled.</p>",
        _legend(points),
        grid(charts, "trio"),
        *(f"<h3>{BENCHMARKS[key][0]}</h3>" + _points_table(rows) for key, rows in points.items()),
        "<h3>Who is on which frontier</h3>",
        table(
            fronts, "benchmark=benchmark;axis=accuracy against;models=models|#;frontier=frontier, the cheapest first"
        ),
        difference(_difference(points)),
    )


def _points_table(rows: Sequence[Row]) -> str:
    return table(
        [{**r, "model": short(r["model"])} for r in rows],
        "model=model;accuracy=accuracy|%1;input_tokens=tokens in|#;output_tokens=out|3;raw_s=raw s|3;denoised_s=denoised s|3;"
        "idealized_s=idealized s|3;idealized_low_s=from|3;idealized_high_s=to|3;published_idealized_s=published|3;difference=ours less|+1;"
        "n_gpus=GPUs|#;idealized_cents=cents|3;idealized_j=joules|3",
    )


def _difference(points: dict[str, list[Row]]) -> str:
    every = sorted(r["difference"] for rows in points.values() for r in rows)
    slow = [
        r
        for rows in points.values()
        for r in rows
        if r["denoised_s"] is not None and r["denoised_s"] < r["idealized_s"]
    ]
    return (
        f"Idealized seconds are {every[0]:+.1%} to {every[-1]:+.1%} from those that the authors' printed scores imply, "
        f"{statistics.median(every):+.1%} at the median: the published table takes slopes rounded to a millisecond and scales prompts "
        "below a "
        "measured size, ours does neither, and a mean of T is not quite T of the means. The idealized points "
        "of the authors' last figures are elsewhere: they average A100 and V100 runtimes of a scenario's first instance (davinci on BoolQ: "
        "0.544 s drawn, 0.402 s by the printed score), so they are not used here. "
        f"{len(slow)} of the denoised runtimes lie below the idealized one ({', '.join(dict.fromkeys(short(r['model']) for r in slow))}): "
        "those APIs are faster than Megatron on A100."
    )


def ranks(rows: list[Row], changes: list[Row]) -> str:
    """Ranks under each objective, and how they change."""
    same = sum(r["rank_second"] == r["rank_printed_second"] for r in rows)
    heads = ";".join(f"rank_{name}={_head(name)}|#" for name in OBJECTIVES)
    return section(
        "ranks",
        "Ranks under several objectives",
        "<p>1 is best, among the ten. An objective is what one is willing to pay accuracy for; a dash: the model does not qualify.</p>",
        table(
            rows,
            f"benchmark=benchmark;model=model;per_second=ours, 1/s|3;printed_per_second=printed|3;{heads};"
            "rank_printed_second=printed: per s|#;rank_printed_log_second=per log s|#;best=best|#;worst=worst|#",
        ),
        "<h3>How far ranks move from those per idealized second</h3>"
        "<p>Kendall's tau: 1 the same order, 0 no relation, -1 reversed; mean over benchmarks.</p>",
        table(
            changes,
            "objective=objective;tau=tau|3;compared=ranks|#;moved=that move|#;farthest=farthest|#;who=by",
        ),
        difference(
            f"{same} of {len(rows)} ranks by accuracy per idealized second are those of the authors' corrected notebook. It prints "
            "a "
            "second score, accuracy over ln(seconds): at one second its denominator crosses zero, so a model that takes 1.01 s is "
            "best and one that takes 0.99 s is worst; ours takes the logarithm of milliseconds, which stays above zero. What one "
            f"optimises decides: between denoised and idealized seconds {changes[3]['moved']} of {changes[3]['compared']} ranks change."
        ),
    )


def _head(name: str) -> str:
    return {
        "second": "per s",
        "log_ms": "per log ms",
        "usd": "per $, J",
        "denoised": "per denoised s",
        "raw": "per raw s",
        "limit": f"within {LIMIT_S:g} s",
        "accuracy": "accuracy",
    }[name]


def _name(key: str) -> str:
    return BENCHMARKS[key][0].split(",")[0]


def _frontier(rows: Sequence[Row], axis: str, title: str) -> str:
    known = [r for r in rows if r[axis] is not None]
    series = [
        Series(
            points=[(r[axis], 100 * r["accuracy"])],
            kind="points",
            colour=colour(r["model"]),
            labels=[short(r["model"])],
            radius=5.0,
        )
        for r in known
    ]
    front = sorted((r[axis], 100 * r["accuracy"]) for r in known if r[f"pareto_{axis}"])
    series.append(Series(points=front, colour=DARK, dashed=True))
    chart = Chart(
        series=series, title=title, x_label=AXES[axis][1], y_label="accuracy, %", log_x=True, width=360, height=270
    )
    return figure(chart)


def _legend(points: dict[str, list[Row]]) -> str:
    models = dict.fromkeys(r["model"] for rows in points.values() for r in rows)
    spans = "".join(f'<span><i style="background:{colour(m)}"></i>{short(m)}</span>' for m in models)
    return f'<p class="legend">{spans}</p>'
