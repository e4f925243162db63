"""Sections of the page about what accuracy costs in the measured scenario means, and about the cost of estimating itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis import BENCHMARKS, Row, pareto
from paper_data import colour, short
from sections import DARK, starred

from tracewrap.formats.profile_drawing import Chart, Series
from tracewrap.study.page import difference, figure, grid, section, skipped, table


def capability(points: dict[str, list[Row]], usd: float, watts: float) -> str:
    """Idealized runtime, cost and energy against accuracy, of the API models in the measured scenario means."""
    figures = []
    for key, (title, _) in BENCHMARKS.items():
        if any(r["accuracy"] is not None for r in points[key]):
            figures.append(_frontier(points[key], "raw_s", f"{title}: raw", "raw seconds"))
            figures.append(_frontier(points[key], "idealized_s", f"{title}: idealized", "idealized seconds"))
            figures.append(_frontier(points[key], "idealized_cents", f"{title}: cost", "idealized cents"))
    return section(
        "another-run",
        "The same benchmarks in another run",
        f"<p>From the measured scenario means, which are another run than the published figures and have other models. "
        f"Idealized cost = idealized runtime x GPUs x {usd:g} $ per GPU-hour, the paper's price; idealized energy "
        f"= idealized runtime x GPUs x {watts:g} W, what an A100 draws while it serves one request (not in the paper). "
        "The dashed line is the Pareto "
        "frontier over the models whose own shape was measured. Models marked * are assumed to have another's: the instructed "
        "models that of their base model, curie that of J1-Large, as in HELM's table. They are drawn, but not on the "
        "frontier.</p>",
        _legend(points),
        grid(figures, "trio"),
        *(_tradeoff_table(title, points[key]) for key, (title, _) in BENCHMARKS.items()),
        difference(
            "The scenario means have five of the ten models, and curie and three instructed models beside them; accuracies are of fewer "
            "instances, so they differ from the published ones. RAFT carries no accuracy in these data, so its frontier is left out here; "
            "<code>--accuracy FILE.csv</code> (columns scenario, model, accuracy) adds accuracies of your own."
        ),
    )


def _tradeoff_table(title: str, rows: Sequence[Row]) -> str:
    front = [short(r["model"]) for r in rows if r["pareto_idealized_s"]]
    label = f"frontier by runtime: {', '.join(front)}" if front else "no accuracy in the data"
    return f"<h3>{title} ({label})</h3>" + table(
        starred(rows),
        "model=model;accuracy=accuracy|%1;input_tokens=tokens in|#;output_tokens=out|3;raw_s=raw s|3;"
        "idealized_s=idealized s|3;n_gpus=GPUs|#;idealized_cents=idealized cents|3;idealized_j=idealized J|3",
    )


def _frontier(rows: Sequence[Row], metric: str, title: str, label: str) -> str:
    known = [r for r in rows if r["accuracy"] is not None]
    series = [
        Series(
            points=[(r[metric], 100 * r["accuracy"])],
            kind="points",
            colour=colour(r["model"]),
            labels=[short(r["model"]) + ("*" if r["assumed"] else "")],
            radius=3.6 if r["assumed"] else 5.5,
        )
        for r in known
    ]
    front = [(r[metric], 100 * r["accuracy"]) for r in pareto([r for r in known if not r["assumed"]], metric)]
    series.append(Series(points=front, colour=DARK, dashed=True))
    chart = Chart(series=series, title=title, x_label=label, y_label="accuracy, %", log_x=True, width=360, height=270)
    return figure(chart)


def _legend(points: dict[str, list[Row]]) -> str:
    rows = {r["model"]: r for found in points.values() for r in found}
    return (
        '<p class="legend">'
        + "".join(
            f'<span><i style="background:{colour(m)}"></i>{short(m)}{"*" if r["assumed"] else ""}</span>'
            for m, r in rows.items()
        )
        + "</p>"
    )


def cost(
    said: Mapping[str, Any], usd: float, rows: list[Row], few: list[Row] | None, design: Sequence[tuple[int, int]]
) -> str:
    """The cost of estimating; *said*: what the authors published of theirs, *usd* their other price of a GPU-hour; *few*: what the
    designed configurations predict, None without the data, where GPU time is that of the fitted T(p, o).
    """
    return section(
        "cost",
        "What it costs to estimate instead of measuring",
        "<p>davinci on 8 A100, one run of the benchmark. A calibration is computed here from trials, "
        f"{'measured seconds' if few else 'seconds of the fitted T(p, o)'} or tokens, and prices "
        f"({said['usd_per_hour_8_a100']:g} $ an hour for the 8 GPUs, {said['usd_per_1000_input']:g} and "
        f"{said['usd_per_1000_output']:g} $ per 1000 tokens in and out). The pass over the API, and measuring every query, are "
        "the authors' sums: the queries behind them were not published.</p>",
        table(
            rows,
            "what=what;calibration_usd=measuring $|2f;pass_usd=pass $|2f;usd=dollars|2f;times_cheaper=times cheaper|x2;"
            "paper=authors print|x2",
        ),
        _few(few, design)
        if few
        else skipped("what the designed configurations predict", "helm-efficiency/megatron_a100.csv"),
        difference(_cost_found(said, rows, len(design), usd)),
    )


def _few(few: list[Row], design: Sequence[tuple[int, int]]) -> str:
    return (
        "<h3>What the designed configurations predict</h3>"
        f"<p>Fitted to (p, o) = {', '.join(f'({p}, {o})' for p, o in design)} alone; absolute relative error over the "
        "configurations that were not used.</p>"
        + table(few, "model=model;queries=queries|#;predicted=predicted|#;median=median|%2;p90=p90|%2;p99=p99|%2")
    )


def _cost_found(said: Mapping[str, Any], rows: list[Row], n: int, usd: float) -> str:
    by_who, printed, old = {r["who"]: r for r in rows}, said["printed"], said["superseded"]
    times = {who: r["times_cheaper"] for who, r in by_who.items()}
    idealized, denoised = by_who["paper"], by_who["paper, API"]
    return (
        f"Idealized: {_sum(idealized)} dollars, {times['paper']:.2f}x cheaper; the authors print {printed['idealized_usd']:.2f} "
        f"and {printed['idealized_factor']:.2f}x, from sums before rounding. {times['tracewrap']:.0f}x with {n} designed "
        "configurations: what remains is the pass over the API that the benchmark makes anyway. Of GPU time alone it is "
        f"{times['paper, GPU']:.0f}x and "
        f"{times['tracewrap, GPU']:,.0f}x. Denoised: {_sum(denoised)} dollars, {times['paper, API']:.2f}x; the authors print "
        f"{printed['denoised_usd']:.2f} and {printed['denoised_factor']:.2f}x. Without probing the factor is the number of trials, "
        f"{said['api_trials']}, by definition. {old['idealized_factor']:.2f}x and {old['denoised_factor']:.2f}x, which an earlier "
        "state of the authors' notebook printed, are superseded: it counted GPU time in the denoised estimate. "
        f"This account prices a GPU-hour at {said['usd_per_hour_8_a100'] / 8:.2f} $, where the authors' idealized costs take "
        f"{usd:g} $; at that the factor of {times['paper']:.2f}x is {_factor_at(rows, 8 * usd / said['usd_per_hour_8_a100']):.2f}x."
    )


def _factor_at(rows: list[Row], share: float) -> float:
    """Times cheaper of the paper's way if GPU time cost *share* of what it does here."""
    measured, estimated = (next(r for r in rows if r["who"] == who) for who in ("baseline", "paper"))
    return float(
        (share * measured["calibration_usd"] + measured["pass_usd"])
        / (share * estimated["calibration_usd"] + estimated["pass_usd"])
    )


def _sum(row: Row) -> str:
    return f"{row['calibration_usd']:.2f} + {row['pass_usd']:.2f} = {row['usd']:.2f}"
