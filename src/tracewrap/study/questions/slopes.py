"""Where slopes change, and whether tile size and SM count derive it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from tracewrap.formats.profile_drawing import Chart, Series
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.gpus import get_gpu
from tracewrap.study.questions.answer import MEASURED, Answer, Row, Seconds, grids, median, paper_stack

QUESTION = "Where do slopes change, and do tile size and SM count say where?"
TILE = 128
"""Rows and columns of an output tile of the matrix products that Megatron calls on A100."""
ACROSS = ((256, 320), (384, 428), (512, 576), (640, 704), (768, 832), (896, 960))
WITHIN = ((320, 384), (428, 472), (576, 640), (704, 768), (832, 896), (960, 1024))
"""Neighbours on the paper's grid that lie either side of a multiple of 128, and that lie in one tile."""
Time = Callable[[int], float]


def answer(data: Path | None) -> Answer:
    """The knee and the steps of prompt time of nine models, measured and derived."""
    stack, (known, source) = paper_stack(), grids(data)
    rows = [_row(model, stack.profiles[model], known[model]) for model in MEASURED.values()]
    errors = {
        kind: median([abs(r[f"{kind}_across"] - r["across"]) for r in rows]) for kind in ("tokens", "tiles", "waves")
    }
    knees = {kind: median([abs(r[kind] / r["knee"] - 1) for r in rows]) for kind in ("floor_over_slope", "roofline")}
    share = median([r["across"] / (r["across"] + r["within"]) for r in rows])
    return Answer(
        QUESTION,
        "Knee: where the line through 1024 and 1920 tokens meets the time of one token. Roofline: peak operations over bandwidth, two "
        "bytes a weight. Floor over slope: those two measured numbers. Across and within: how much longer the next measured prompt takes "
        "when it begins another tile of 128 tokens, and when it does not (medians); beside it what tokens alone, whole tiles, and waves "
        "of 128 x 128 "
        "tiles over the 108 SMs of an A100 would make of the step across.",
        "model=model;knee=knee, tokens|#;roofline=roofline|#;floor_over_slope=floor / slope|#;peak_share=of peak|%0;across=across|%1;"
        "within=within|%1;tokens_across=by tokens|%1;tiles_across=by tiles|%1;waves_across=by waves|%1",
        rows,
        [
            f"Where: steps are at multiples of 128. {share:.0%} of the rise over two neighbouring sizes comes where another tile "
            f"begins; were time "
            "smooth it would be half.",
            f"How high: off by {errors['tokens']:.1%} points by tokens alone, {errors['tiles']:.1%} by whole tiles, "
            f"{errors['waves']:.1%} by "
            "waves over the SMs (medians). Tile and SM count tell where, not how high: other kernels, whose time goes by tokens, share it.",
            f"The knee is {knees['roofline']:.0%} off the roofline's at the median, and {knees['floor_over_slope']:.0%} off floor over "
            f"slope: the floor is "
            "set by launching kernels one by one, not by reading weights.",
        ],
        "Do not round a prompt's time up to a tile, nor trust a data sheet for the knee: measure one token and one long prompt, and a "
        "pair across "
        "a multiple of 128.",
        source + "; model shapes and the A100's data sheet",
        [_chart(stack.profiles["openai/davinci"])],
    )


def _row(model: str, profile: RuntimeProfile, seconds: Seconds) -> Row:
    shape, gpu = get_model(model), get_gpu("a100-sxm-80gb")
    width = min(profile.n_gpus or 1, gpu.node_gpus)  # stages of a pipeline take turns
    slope = (profile.prompt_time(1920) - profile.prompt_time(1024)) / 896
    floor = profile.prompt_time(1)
    per_token = 2 * shape.active_parameters / (width * gpu.peak_flops("fp16"))
    row: Row = {"model": model.split("/")[1], "knee": 1024 - (profile.prompt_time(1024) - floor) / slope}
    row |= {
        "roofline": gpu.peak_flops("fp16") / gpu.bandwidth_bytes_s,
        "floor_over_slope": floor / slope,
        "peak_share": per_token / slope,
    }
    row |= {"across": _rise(lambda p: seconds[p, 1], ACROSS), "within": _rise(lambda p: seconds[p, 1], WITHIN)}
    row |= {"tokens_across": _rise(float, ACROSS), "tiles_across": _rise(lambda p: math.ceil(p / TILE), ACROSS)}
    return row | {"waves_across": _rise(_waves(shape.hidden, width, gpu.sm_count), ACROSS)}


def _rise(time: Time, pairs: tuple[tuple[int, int], ...]) -> float:
    return median([time(b) / time(a) - 1 for a, b in pairs])


def _waves(hidden: int, width: int, sms: int) -> Time:
    """Time by waves of tiles: the four products of a layer, split over the GPUs, each tile costing its depth."""
    columns = (3 * hidden / width, hidden, 4 * hidden / width, hidden)
    depths = (hidden, hidden / width, hidden, 4 * hidden / width)

    def time(p: int) -> float:
        rows = math.ceil(p / TILE)
        return sum(
            math.ceil(rows * math.ceil(c / TILE) / sms) * depth for c, depth in zip(columns, depths, strict=True)
        )

    return time


def _chart(profile: RuntimeProfile) -> Chart:
    line = [(float(p), profile.prompt_time(p)) for p in range(1, 1025)]
    return Chart(
        series=[Series(points=line, name="davinci, fitted")],
        title="A staircase of 128 tokens above a floor",
        x_label="input tokens",
        y_label="prompt seconds",
        zero=True,
    )
