"""The section of the page about other hardware: A100 against V100 and H100."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from analysis import Row
from sections import diagonal, square

from tracewrap.formats.profile_drawing import COLOURS, Series
from tracewrap.study.page import difference, figure, grid, section, skipped, table


def hardware(v100: list[Row], h100: list[Row] | None, prices: Mapping[str, float]) -> str:
    """A100 against V100, in seconds, GPU-seconds and dollars; and A100 against H100, where its measurements (*h100*) are."""
    return section(
        "hardware",
        "The same model on other hardware",
        "<p>V100: times published by the paper's authors, against our refitted A100 profiles. H100: end to end times of the same "
        "framework on as many of either GPU, batch 1.</p>",
        grid([_v100_chart(v100), *([_h100_chart(h100)] if h100 else [])]),
        "<h3>V100 over A100, for one output token</h3>"
        f"<p>Dollars at the paper's list prices, {prices['v100']:g} $ a V100-hour and {prices['a100']:g} $ an A100-hour. Above 1 the "
        "V100 takes longer, holds more GPU time, or costs more.</p>",
        table(
            v100,
            "model=model;a100_gpus=A100s|#;v100_gpus=V100s|#;a100_ms_per_token=A100 ms a token|3;v100_ms_per_token=V100|3;"
            "decode_ratio=seconds|x2;gpu_seconds_ratio=GPU-seconds|x2;usd_ratio=dollars|x2;"
            "prompt_1024_ratio=1024 in: seconds|x2;prompt_1024_usd_ratio=dollars|x2",
        ),
        _h100_table(h100) if h100 else skipped("A100 against H100", "argonne/batch1.csv"),
        difference(_v100_found(v100)),
    )


def _h100_table(rows: Sequence[Row]) -> str:
    columns = "framework=framework;pairs=pairs|#;median=median ratio|3;least=least|3;most=most|3"
    return "<h3>A100 over H100, by framework</h3>" + table(_by_framework(rows), columns)


def _v100_found(rows: Sequence[Row]) -> str:
    seconds, gpu_seconds, usd = (_middle(rows, key) for key in ("decode_ratio", "gpu_seconds_ratio", "usd_ratio"))
    equal = sorted(r["usd_ratio"] for r in rows if r["v100_gpus"] == r["a100_gpus"])
    more = [r for r in rows if r["v100_gpus"] > r["a100_gpus"]]
    dearer = sorted(r["usd_ratio"] for r in more)
    return (
        f"As there, V100 is slower: {seconds:.2f} times as long per output token and {_middle(rows, 'prompt_1024_ratio'):.2f} times "
        f"for 1024 prompt tokens (medians). But {len(more)} of {len(rows)} models ran on twice as many V100s, because theirs hold "
        f"less memory, so the same token is {gpu_seconds:.2f} times the GPU-seconds and {usd:.2f} times the dollars (medians): "
        f"{dearer[0]:.2f} to {dearer[-1]:.2f} times the dollars where the GPUs doubled, {equal[0]:.2f} to {equal[-1]:.2f} times on "
        "as many GPUs, where V100 is the cheaper. Reading 1024 tokens costs "
        f"{min(r['prompt_1024_usd_ratio'] for r in rows):.2f} times the dollars or more on every model. Only the fit published for "
        "V100 is used here, rounded to a millisecond, so no interval is given. H100 is newer than the paper."
    )


def _middle(rows: Sequence[Row], key: str) -> float:
    return statistics.median(r[key] for r in rows)


def _v100_chart(rows: Sequence[Row]) -> str:
    points = [(r["a100_ms_per_token"], r["v100_ms_per_token"]) for r in rows]
    labels = [r["model"] for r in rows]
    series = [Series(points=points, name="models", kind="points", labels=labels, radius=4), diagonal([15.0, 140.0])]
    return figure(square(series, "Time per output token, Megatron", "A100 ms", "V100 ms"))


def _h100_chart(rows: Sequence[Row]) -> str:
    series: list[Series] = []
    for i, framework in enumerate(dict.fromkeys(r["framework"] for r in rows)):
        mine = [r for r in rows if r["framework"] == framework]
        points = [(r["a100_s"], r["h100_s"]) for r in mine]
        tips = [f"{r['model']} x{r['n_gpus']}, {r['input_tokens']} in" for r in mine]
        series.append(Series(points=points, name=framework, kind="points", colour=COLOURS[i], labels=tips))
    series.append(diagonal([r["a100_s"] for r in rows]))
    return figure(square(series, "Batch 1, as many tokens out as in", "A100-40GB seconds", "H100 seconds"))


def _by_framework(rows: Sequence[Row]) -> list[Row]:
    out = []
    for framework in dict.fromkeys(r["framework"] for r in rows):
        ratios = [r["ratio"] for r in rows if r["framework"] == framework]
        row: Row = {"framework": framework, "pairs": len(ratios), "median": statistics.median(ratios)}
        out.append(row | {"least": min(ratios), "most": max(ratios)})
    return out
