"""Other architectures: hybrids, state space, mixtures. How well the form of T fits them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

from tracewrap.errors import TracewrapError
from tracewrap.runtime.fit.fitting import fit
from tracewrap.runtime.roofline.architecture import Architecture
from tracewrap.runtime.roofline.architectures import load_models
from tracewrap.runtime.roofline.estimating import prepare
from tracewrap.runtime.roofline.gpus import get_gpu
from tracewrap.runtime.roofline.terms import Setup, decode_step_s, first_token_s
from tracewrap.runtime.samples import Sample
from tracewrap.study.questions.answer import Answer, Row, median, quantile

QUESTION = "Does the form of T hold for hybrids, state-space models and mixtures?"
GPU, STACK = "h100-sxm", "vllm"
PROMPTS, OUTPUTS = (16, 256, 1024, 3000, 8192, 20_000), (1, 16, 128, 512, 2000)
FITTED_PROMPTS, FITTED_OUTPUTS = (1, 128, 512, 2048, 4096, 12_000, 20_000), (1, 64, 2000)
MOST_INPUT, MOST_OUTPUT = 20_000, 2000
EACH = 12
"""Models of a kind at most."""


def kind_of(m: Architecture) -> str:
    """The kind of decoder that *m* is: what its layers do with the context first, then its feed-forward blocks."""
    block = "mixture" if m.is_moe else "dense"
    if m.linear_layers:
        return f"hybrid with recurrent layers, {block}"
    if m.index_top:
        return "sparse attention, mixture"
    if m.attention == "sliding":
        return f"sliding windows, {block}"
    return f"latent attention, {block}" if m.attention == "mla" else f"full attention, {block}"


def answer(data: Path | None) -> Answer:
    """Error of a dense fit against every token added up, by kind."""
    kinds: dict[str, list[Architecture]] = {}
    for m in load_models().values():
        if m.context >= MOST_INPUT + MOST_OUTPUT:
            kinds.setdefault(kind_of(m), []).append(m)
    rows: list[Row] = []
    for kind, models in sorted(kinds.items()):
        step = max(1, len(models) // EACH)
        found = [each for m in models[::step][:EACH] if (each := _errors(m))]
        errors = [e for each in found for e in each["form"]]
        linear = [e for each in found for e in each["linear"]]
        if errors:
            row: Row = {"kind": kind, "models": len(found), "median": median(errors), "p90": quantile(errors, 0.9)}
            rows.append(row | {"worst": max(errors), "linear": median(linear), "linear_p90": quantile(linear, 0.9)})
    worst = max(rows, key=lambda r: float(r["p90"]))
    context = max(rows, key=lambda r: float(r["linear_p90"]))
    return Answer(
        QUESTION,
        f"For each model on {GPU} with {STACK} the analytic terms are added up token by token: prompts of 16 to 20,000 tokens, 1 to "
        f"2,000 outputs. T(p, o) is then "
        "fitted to 21 of them, without noise, and compared at others: what is left is the error of the form. Beside it the paper's "
        "form, one time for every output token at any context, fitted to the same points.",
        "kind=kind;models=models|#;median=median error|%2;p90=p90|%2;worst=worst|%1;linear=paper's form, median|%2;linear_p90=p90|%2",
        rows,
        [
            f"The form fits every kind to {max(float(r['median']) for r in rows):.1%} at the median; the worst kind is {worst['kind']}, "
            f"{worst['p90']:.1%} at the 90th percentile.",
            "Mixtures err at prompts of a few tokens, where each further token wakes further experts, which no line through 1 and 128 "
            "tokens shows; "
            "windows and recurrent layers only stop growing with context, which costs a line little.",
            f"Without the context term the error reaches {context['linear_p90']:.1%} at the 90th percentile ({context['kind']}).",
            "What this cannot show: kernels that the analytic terms do not know. Measured servers of such models are in the calibration "
            "(benchmarks/analytic.py), with wider intervals.",
        ],
        "One profile of this form serves dense, hybrid and mixture models alike; of a mixture measure a prompt of 16 tokens too, and "
        "any model at the longest "
        "context that you use.",
        "the project's model table; analytic terms, no measurement",
    )


def _errors(m: Architecture) -> Mapping[str, list[float]] | None:
    try:
        setup, _ = prepare(m, get_gpu(GPU), stack=STACK)
    except TracewrapError:
        return None
    points = [(p, o) for p in FITTED_PROMPTS for o in FITTED_OUTPUTS]
    samples = [Sample(p, o, _seconds(setup, p, o)) for p, o in points]
    profile = fit(samples, id=m.id, model=m.id).profile
    slope = _slope(samples)
    truth = {(p, o): _seconds(setup, p, o) for p in PROMPTS for o in OUTPUTS if (p, o) not in points}
    form = [abs(profile.runtime(p, o) / s - 1) for (p, o), s in truth.items()]
    linear = [abs((profile.prompt_time(p) + (o - 1) * slope) / s - 1) for (p, o), s in truth.items()]
    return {"form": form, "linear": linear}


def _slope(samples: list[Sample]) -> float:
    """One time an output token: the mean over the longest answers of the design, least in relative error."""
    first = {s.input_tokens: s.runtime_s for s in samples if s.output_tokens == 1}
    base = median(list(first.values()))
    each = [
        (s.runtime_s - first.get(s.input_tokens, base)) / (s.output_tokens - 1) for s in samples if s.output_tokens > 1
    ]
    return median(each)


def _seconds(setup: Setup, p: int, o: int) -> float:
    """Prefill and every decode step, the steps of a long answer by Simpson's rule over pieces of its context."""
    if o <= 1:
        return first_token_s(setup, p)
    steps, pieces = o - 1, 16
    edges = [p + steps * i / pieces for i in range(pieces + 1)]
    mean = 0.0
    for a, b in itertools.pairwise(edges):
        mean += (decode_step_s(setup, a) + 4 * decode_step_s(setup, (a + b) / 2) + decode_step_s(setup, b)) / 6
    return first_token_s(setup, p) + steps * mean / pieces
