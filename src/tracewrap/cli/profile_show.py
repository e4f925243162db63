"""``tracewrap profile show``: one profile as a table, and its prompt time and residuals drawn."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from tracewrap.cli.profile_list import facts, fit_errors
from tracewrap.errors import ConfigurationError
from tracewrap.formats import profile_drawing as drawing
from tracewrap.formats.profile_drawing import Chart, Point, Series
from tracewrap.formats.profile_files import Shelved, find_profiles, pick
from tracewrap.runtime.files import write_whole
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.words import table


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("name", metavar="PROFILE", help="profile or stack file, reference stack, or model name")
    parser.add_argument("--model", help="which profile of a stack")
    parser.add_argument("--samples", metavar="FILE.csv", help="measured samples to draw and to take residuals from")
    parser.add_argument("--samples-model", metavar="NAME", help="rows of the samples whose model column says so")
    parser.add_argument("--svg", metavar="FILE", help="write the two drawings as one SVG file")
    parser.add_argument("--no-drawing", action="store_true", help="the tables only")
    parser.add_argument("--plain", action="store_true", help="draw with ASCII characters")
    parser.add_argument("--json", action="store_true", help="the profile's JSON")


def run(args: argparse.Namespace) -> int:
    """Print the profile; write the SVG when asked to."""
    shelved = pick(find_profiles(args.name), args.model, args.name)
    profile = shelved.profile
    if args.json:
        print(json.dumps(profile.to_dict(), indent=1, ensure_ascii=False))
        return 0
    samples = _samples(args.samples, args.samples_model) if args.samples else []
    residuals = _residuals(profile, samples)
    charts = [prompt_chart(profile, samples), *([residual_chart(residuals)] if residuals else [])]
    if args.svg:
        write_whole(args.svg, stacked_svg(charts))
    print(summary(shelved))
    print()
    print(runtime_table(profile))
    if not args.no_drawing:
        plain = args.plain or "utf" not in (sys.stdout.encoding or "").lower()
        for chart in charts:
            print(f"\n{drawing.text(chart, plain=plain)}")
        if not residuals:
            print("\nNo residuals: the profile keeps none; give the measured samples with --samples FILE.csv")
    return 0


def summary(shelved: Shelved) -> str:
    """The profile's facts, one a line."""
    profile, known = shelved.profile, facts(shelved)
    errors = fit_errors(profile)
    rows = {
        "model": profile.model,
        "id": profile.id,
        "stack": known["stack"],
        "GPUs": None if profile.n_gpus is None else f"{profile.n_gpus} x {known['gpu'] or 'unknown'}",
        "provenance": profile.provenance,
        "samples": known["samples"],
        "fit error": ", ".join(f"{name} {value:.2%}" for name, value in errors.items()) or None,
        "prompt knots": len(profile.prompt_knots),
        "tile": f"{profile.tile} (share {profile.tile_fraction:.2f})" if profile.tile_fraction else None,
        "d0": f"{profile.d0 * 1000:.4g} ms per output token",
        "d1": f"{profile.d1 * 1e9:.4g} ns per output token and token of context" if profile.d1 else None,
        "overhead": f"{profile.overhead_s * 1000:.4g} ms" if profile.overhead_s else None,
        "measured": ", ".join(f"{k}: {v}" for k, v in profile.measured.items()) or None,
        "file": str(shelved.file),
    }
    return "\n".join(f"{name:<13}{value}" for name, value in rows.items() if value is not None)


def runtime_table(profile: RuntimeProfile) -> str:
    """T(p, o) in seconds over a few input and output tokens; ``*``: beyond what was measured."""
    last = int(profile.max_input_tokens)
    sizes = [p for p in (1, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 32768, 131072) if p <= last]
    sizes = sizes if last in sizes else [*sizes, last]
    outputs = [1, 8, 64, 256]
    rows = [["input", *(f"{o} out" for o in outputs), "90% at 64"]]
    for p in sizes:
        estimates = [profile.estimate(p, o) for o in outputs]
        cells = [f"{e.value:.4g}{'*' if e.extrapolated else ''}" for e in estimates]
        middle = estimates[2]
        rows.append([str(p), *cells, f"{middle.low:.4g} .. {middle.high:.4g}"])
    stars = any("*" in cell for row in rows for cell in row)
    return "\n".join(table(rows)) + ("\n* beyond what was measured" if stars else "")


def prompt_chart(profile: RuntimeProfile, samples: list[tuple[float, float, float]]) -> Chart:
    """Prompt time (with overhead) over the measured range, and the samples less their decode time."""
    last = max(2, int(profile.max_input_tokens))
    sizes = sorted({*range(1, last + 1, max(1, last // 480)), last, *(max(1, int(x)) for x, _ in profile.prompt_knots)})
    curve = [(float(p), profile.overhead_s + profile.prompt_time(p)) for p in sizes]
    series = [Series(points=curve, name="profile")]
    if samples:
        points = [(p, seconds - profile.decode_time(p, o)) for p, o, seconds in samples]
        series.append(Series(points=points, name="samples less decode", kind="points", radius=2.0))
    if not profile.tile_fraction:  # with tiles the knots lie over effective tokens, not over this axis
        knots = [(x, profile.overhead_s + y) for x, y in profile.prompt_knots if x >= 1]
        series.append(Series(points=knots, name="knots", kind="points", colour="#0f172a", radius=2.5))
    label = f"Prompt time of {profile.model}"
    return Chart(series=series, title=label, x_label="input tokens", y_label="seconds", zero=True, width=640)


def residual_chart(residuals: list[Point]) -> Chart:
    """Measured over predicted, less one, in percent, against input tokens."""
    last = max(p for p, _ in residuals)
    series = [
        Series(points=[(0.0, 0.0), (last, 0.0)], colour="#94a3b8", dashed=True),
        Series(points=[(p, 100 * r) for p, r in residuals], kind="points", name="samples", radius=2.0),
    ]
    return Chart(
        series=series, title="Residuals", x_label="input tokens", y_label="measured / predicted - 1, %", width=640
    )


def stacked_svg(charts: list[Chart]) -> str:
    """*charts* one above the other in one SVG document."""
    height = sum(chart.height for chart in charts)
    top, parts = 0, []
    for chart in charts:
        parts.append(
            drawing.svg(chart).replace("<svg ", f'<svg y="{top}" width="{chart.width}" height="{chart.height}" ', 1)
        )
        top += chart.height
    width = max(chart.width for chart in charts)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    return f'{head}<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'


def _residuals(profile: RuntimeProfile, samples: list[tuple[float, float, float]]) -> list[Point]:
    if samples:
        pairs = [(p, seconds, profile.runtime(p, o)) for p, o, seconds in samples]
        return [(p, seconds / predicted - 1) for p, seconds, predicted in pairs if predicted > 0]
    kept: Any = profile.fit.get("residuals")
    if not isinstance(kept, list):
        return []
    return [(float(row[0]), float(row[2])) for row in kept if isinstance(row, list) and len(row) == 3]


def _samples(path: str, model: str | None) -> list[tuple[float, float, float]]:
    from tracewrap.runtime.samples import read_samples

    rows = read_samples(path, model=model)
    if not rows:
        raise ConfigurationError(f"{path}: no samples")
    return [(float(s.input_tokens), float(s.output_tokens), float(s.runtime_s)) for s in rows]
