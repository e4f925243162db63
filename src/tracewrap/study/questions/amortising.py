"""Amortising the profiling: after how many calls a profile pays."""

from __future__ import annotations

import math
from pathlib import Path

from tracewrap.runtime.fit.design import design
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.roofline.estimating import estimate_by_name, reference_stack
from tracewrap.study.mixes import MIXES
from tracewrap.study.questions.answer import INPUTS, MEASURED, OUTPUTS, Answer, Row, median, paper_stack
from tracewrap.study.suite import over_mix

QUESTION = "After how many calls does profiling a model pay?"
QUERIES, REPEATS, PAPER_REPEATS = 10, 5, 50
LOAD_S = 600.0
"""Seconds that the GPUs are held before the first measurement: loading, warming up."""
MODERN = ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct", "deepseek-ai/DeepSeek-V3")


METHOD = (
    f"A profile: {QUERIES} designed queries, {REPEATS} times each, and {LOAD_S / 60:.0f} minutes to load, on the GPUs that hold the "
    f"model. Without it every call would be run "
    "once more on those GPUs, held loaded: seconds a call of the mix (benchmark questions for the paper's models, chat for "
    "today's). Calls: from how many on the profile is the "
    "cheaper. The paper measured 270 queries 50 times."
)


def answer(data: Path | None) -> Answer:
    """Cost of a profile, and how many calls measured one by one cost as much, for the paper's models and three of today."""
    stack = paper_stack()
    usd = stack.price.usd_per_gpu_hour if stack.price else 4.096
    rows = [_row(stack.profiles[m], m, "A100, Megatron", usd, 1920, 64, "batch") for m in MEASURED.values()]
    for model in MODERN:
        price = reference_stack("h100-sxm:vllm").price
        rows.append(
            _row(
                estimate_by_name(model, "h100-sxm:vllm"),
                model,
                "H100, vLLM",
                price.usd_per_gpu_hour if price else 0.0,
                8192,
                512,
                "chat",
            )
        )
    calls = sorted(int(r["calls"]) for r in rows)
    paper = median([r["paper_usd"] / r["profile_usd"] for r in rows[: len(MEASURED)]])
    return Answer(
        QUESTION,
        METHOD,
        "model=model;stack=on;n_gpus=GPUs|#;gpu_minutes=GPU minutes|3;profile_usd=profile $|2f;call_usd=$ a call rerun|4;calls=pays "
        "after calls|#;"
        "without_loading=loading apart|#;paper_usd=the paper's way $|2f",
        rows,
        [
            f"A profile pays after {calls[0]:,} to {calls[-1]:,} calls, {median([float(c) for c in calls]):,.0f} at the median; loading "
            f"is most of it: apart from that after "
            f"{min(int(r['without_loading']) for r in rows):,} to {max(int(r['without_loading']) for r in rows):,}.",
            f"The paper's 270 queries 50 times cost {paper:.0f} times as much at the median. An analytic profile costs nothing and pays "
            f"at once, with a wider interval; a "
            "quiet-day profile is learned from the calls themselves, so it needs no probing.",
        ],
        "Profile a model that you will call more than some thousand times on a given stack; for fewer take the analytic profile and its "
        "interval.",
        "the project's fitted and analytic profiles, prices of the GPU table",
    )


def _row(
    profile: RuntimeProfile, model: str, on: str, usd_per_gpu_hour: float, most_in: int, most_out: int, mix: str
) -> Row:
    n = profile.n_gpus or 1
    points = design(QUERIES, max_input_tokens=most_in, max_output_tokens=most_out)
    seconds = REPEATS * sum(profile.runtime(q.input_tokens, q.output_tokens) for q in points)
    grid = sum(profile.runtime(p, o) for p in INPUTS for o in OUTPUTS)
    usd_s = n * usd_per_gpu_hour / 3600.0
    call = over_mix(MIXES[mix], lambda s: profile.estimate(s.input_tokens, s.output_tokens)).value
    row: Row = {"model": model.split("/")[1], "stack": on, "n_gpus": n, "gpu_minutes": n * (seconds + LOAD_S) / 60}
    row |= {
        "profile_usd": usd_s * (seconds + LOAD_S),
        "call_usd": usd_s * call,
        "calls": math.ceil((seconds + LOAD_S) / call),
    }
    return row | {"without_loading": math.ceil(seconds / call), "paper_usd": usd_s * (PAPER_REPEATS * grid + LOAD_S)}
