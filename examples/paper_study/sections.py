"""Sections of the page about runtime: output tokens, prompt time, fit, raw against denoised and idealized."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from analysis import Row, by_model
from paper_data import Data, colour, short

from tracewrap.formats.profile_drawing import COLOURS, Chart, Point, Series
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.stack import ReferenceStack
from tracewrap.study.page import difference, figure, grid, section, table

DARK = "#0f172a"


def output_tokens(data: Data, stack: ReferenceStack, rows: list[Row]) -> str:
    """Runtime against output tokens, one line a prompt size."""
    models = ("ai21/j1-large", "openai/davinci", "microsoft/TNLGv2_530B")
    most = max(rows, key=lambda r: abs(r["slope_growth"]))
    least = min(r["least_r2"] for r in rows)
    return section(
        "output-tokens",
        "Runtime is a line in output tokens",
        "<p>Dots are measured, lines are T(p, o) of the refitted profiles. Each prompt size has its own intercept and nearly the "
        "same slope.</p>",
        grid([_lines(data, stack, model) for model in models], "trio"),
        table(
            rows,
            "model=model;least_r2=least R² of a line|6;ms_per_token_at_p_1=ms a token, p = 1|3;"
            "ms_per_token_at_p_1920=p = 1920|3;slope_growth=growth|+1",
        ),
        difference(
            f"The same finding: a line through the ten output sizes has R² of at least {least:.5f} at every prompt size of every "
            "model. The paper takes one slope for all prompts, and on this stack that is right: between p = 1 and p = 1920 the "
            f"slope changes by {most['slope_growth']:+.1%} at most ({most['model']}). On stacks whose slope grows with the context the "
            "term d1 carries it."
        ),
    )


def _lines(data: Data, stack: ReferenceStack, model: str) -> str:
    points = [m for m in data.logs if m.model == model]
    series = []
    for i, p in enumerate((1, 256, 512, 1024, 1920)):
        line = [(float(o), stack.profiles[model].runtime(p, o)) for o in range(1, 65)]
        dots = [(float(m.output_tokens), m.runtime_s) for m in points if m.input_tokens == p]
        series.append(Series(points=line, name=f"{p} in", colour=COLOURS[i]))
        series.append(Series(points=dots, kind="points", colour=COLOURS[i], radius=2.6))
    return figure(_small(short(model), series))


def _small(title: str, series: Sequence[Series]) -> Chart:
    return Chart(
        series=series, title=title, x_label="output tokens", y_label="seconds", zero=True, width=420, height=280
    )


def prompt_time(data: Data, stack: ReferenceStack) -> str:
    """Prompt time against prompt tokens, all models; and the staircase of two."""
    series = []
    for model in by_model(data.logs):
        line = [(float(p), stack.profiles[model].prompt_time(p)) for p in range(1, 1921, 4)]
        series.append(Series(points=line, name=short(model), colour=colour(model)))
        series.append(Series(points=_first_tokens(data, model), kind="points", colour=colour(model), radius=2.2))
    every = Chart(
        series=series,
        title="All models",
        x_label="input tokens",
        y_label="seconds",
        log_y=True,
        width=860,
        height=420,
    )
    tiled = [p for p in stack.profiles.values() if p.tile_fraction > 0]
    tiles = ", ".join(map(str, sorted({p.tile for p in tiled})))
    steps = "the fit found no step that pays for itself"
    if tiled:
        steps = f"the fit finds a step of period {tiles} in {len(tiled)} of {len(stack.profiles)} profiles"
    return section(
        "prompt-time",
        "Prompt time is flat, then rises",
        "<p>While reading the weights dominates, a longer prompt costs little; then arithmetic dominates.</p>",
        grid([figure(every)], "wide"),
        grid([_stairs(data, stack, model) for model in ("openai/davinci", "EleutherAI/gpt-j-6b")]),
        difference(
            "The paper draws the curve as piecewise linear. On the same data prompt time also steps where the prompt fills another "
            f"tile of the matrix units: {steps}."
        ),
    )


def _first_tokens(data: Data, model: str) -> list[Point]:
    return [(float(m.input_tokens), m.runtime_s) for m in data.logs if m.model == model and m.output_tokens == 1]


def _stairs(data: Data, stack: ReferenceStack, model: str) -> str:
    line = [(float(p), stack.profiles[model].prompt_time(p)) for p in range(1, 1025)]
    dots = [point for point in _first_tokens(data, model) if point[0] <= 1024]
    pair = [Series(points=line, name="tracewrap"), Series(points=dots, name="measured", kind="points")]
    title = f"{short(model)}, up to 1024"
    return figure(Chart(series=pair, title=title, x_label="input tokens", y_label="seconds", zero=True))


def quality(rows: list[Row]) -> str:
    """Error of the refitted profiles and of HELM's table on the logs themselves."""
    ours, helm = (statistics.median(r[f"{n}_median"] for r in rows) for n in ("ours", "helm"))
    return section(
        "quality",
        "How well T(p, o) says what was measured",
        "<p>Absolute relative error on the very points both were fitted to, so it is a floor and not a forecast; "
        "<code>benchmarks/accuracy.py</code> holds points out.</p>",
        table(
            rows,
            "model=model;n_gpus=GPUs|#;samples=samples|#;ms_per_output_token=ms a token, ours|4;helm_ms=published|4;"
            "ours_median=ours median|%2;ours_p90=p90|%2;ours_p99=p99|%2;"
            "helm_median=HELM median|%2;helm_p90=p90|%2;helm_p99=p99|%2",
        ),
        difference(
            f"Median over models of the median error: {ours:.2%} against {helm:.2%} for the published table with HELM's own "
            "formula. The published slopes are rounded to a millisecond: up to half a millisecond of 20 to 120 for every output "
            "token."
        ),
    )


def three(
    data: Data,
    rows: list[Row],
    tables: dict[str, list[Row]],
    minima: dict[str, RuntimeProfile],
    passive: dict[str, RuntimeProfile],
) -> str:
    """Raw, denoised and idealized: single calls, and scenario means."""
    clouds = [_cloud(rows, "idealized_s", "idealized"), _cloud(rows, "denoised_s", "denoised")]
    return section(
        "three-runtimes",
        "Raw, denoised, idealized",
        "<p>Denoised: a fit to the minimum over trials of synthetic queries. Idealized: the reference stack at the same token "
        "counts. Contention is the share of raw time that denoised time does not explain; a serving ratio below 1 means that the "
        "provider is faster than the reference. Models marked * stand on another model's shape: assumed (curie on J1-Large's, the "
        "instructed models on their base model's).</p>",
        grid([_calls(data, model, minima[model], passive.get(model)) for model in by_model(data.calls)], "trio"),
        "<p>Blue: fit to the minimum of ten trials, the paper's way. Red: low-quantile regression over the calls as they come, which "
        "needs no trials. Distance of the red curve from the blue one, median over configurations:</p>",
        table(
            tables["denoiser"],
            "model=API model;configurations=configurations|#;calls=calls|#;"
            "one_call=from one call a configuration|%1;all_calls=from all calls|%1",
        ),
        grid(clouds),
        table(
            starred(tables["runtime_summary"]),
            "model=API model;scenarios=scenarios|#;raw_s=raw s|3;denoised_s=denoised s|3;idealized_s=idealized s|3;"
            "contention_share=contention|%0;serving_ratio=serving ratio|3;"
            "below_denoised=raw below denoised|%1;below_idealized=below idealized|%1",
        ),
        "<h3>Our idealized scenario means against those published</h3>",
        table(
            starred(tables["against_published"]),
            "model=model;scenarios=scenarios|#;p05=5%|+1;median=median|+1;p95=95%|+1",
        ),
        difference(_below(data, rows)),
    )


def _below(data: Data, rows: list[Row]) -> str:
    said = data.published["share_of_scenario_means_below"]
    quiet = [r for r in rows if r["denoised_s"]]
    low = [r for r in rows if r["raw_s"] < r["idealized_s"]]
    base = [r for r in rows if not r["assumed"]]
    denoised = sum(r["raw_s"] < r["denoised_s"] for r in quiet) / len(quiet)
    idealized_base = sum(r["raw_s"] < r["idealized_s"] for r in base) / len(base)
    assumed = sum(r["assumed"] for r in low) / max(1, len(low))
    ratios = [r["idealized_s"] / r["published_idealized_s"] - 1 for r in rows if r["published_idealized_s"]]
    cuts = statistics.quantiles(ratios, n=20, method="inclusive")
    return (
        f"{denoised:.1%} of scenario means lie below the denoised estimate (paper: {said['denoised']:.1%}) and "
        f"{len(low) / len(rows):.1%} below the idealized one (paper: {said['idealized']:.1%}). Of the latter "
        f"{assumed:.0%} are OpenAI models on a shape that is assumed (curie's is J1-Large's, the instructed models' their base "
        "model's): those APIs are faster than the reference, or are not that shape. Over models whose own shape was measured "
        f"{idealized_base:.1%} lie below, {_named(base, low)} among them. Our "
        f"idealized scenario mean is {cuts[9]:+.1%} from the published one at the median, {cuts[0]:+.1%} to {cuts[18]:+.1%} "
        "for nine in ten. The published means take prompt time at the next larger measured prompt; ours interpolate."
    )


def _named(base: Sequence[Row], low: Sequence[Row]) -> str:
    below = {r["model"] for r in low}
    return " and ".join(dict.fromkeys(short(r["model"]) for r in base if r["model"] in below)) or "none"


def _calls(data: Data, model: str, minima: RuntimeProfile, passive: RuntimeProfile | None) -> str:
    dots = [(float(c.output_tokens), c.runtime_s) for c in data.calls if c.model == model and c.input_tokens == 512]
    series = [Series(points=dots, name="raw", kind="points", colour="#94a3b8")]
    for profile, name, i in ((minima, "minima", 0), (passive, "calls", 1)):
        if profile is not None:
            line = [(float(o), profile.runtime(512, o)) for o in range(1, 65)]
            series.append(Series(points=line, name=name, colour=COLOURS[i]))
    return figure(_small(f"{short(model)}, 512 tokens in", series))


def _cloud(rows: Sequence[Row], key: str, name: str) -> str:
    series: list[Series] = []
    kept = [r for r in rows if r[key]]
    for model in dict.fromkeys(r["model"] for r in kept):
        mine = [r for r in kept if r["model"] == model]
        tips = [f"{r['scenario']}: {r['raw_s']:.3g} s raw, {r[key]:.3g} s {name}" for r in mine]
        label = short(model) + ("*" if mine[0]["assumed"] else "")
        points = [(r[key], r["raw_s"]) for r in mine]
        series.append(Series(points=points, name=label, kind="points", colour=colour(model), labels=tips, radius=2.4))
    series.append(diagonal([r[key] for r in kept]))
    return figure(square(series, f"Scenario means: raw against {name}", f"{name} seconds", "raw seconds"))


def diagonal(values: Sequence[float]) -> Series:
    """The line on which both axes are equal, over the range of *values*."""
    ends = [(v, v) for v in (min(values), max(values))]
    return Series(points=ends, name="equal", colour=DARK, dashed=True)


def square(series: Sequence[Series], title: str, x_label: str, y_label: str) -> Chart:
    """A chart of two times on log axes."""
    return Chart(
        series=series, title=title, x_label=x_label, y_label=y_label, log_x=True, log_y=True, width=600, height=380
    )


def starred(rows: Sequence[Row]) -> list[Row]:
    """*rows* with models by their short names, assumed ones with a star."""
    return [{**r, "model": short(r["model"]) + ("*" if r["assumed"] else "")} for r in rows]
