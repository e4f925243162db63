"""Which architecture facts matter: each dropped in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracewrap.errors import TracewrapError
from tracewrap.runtime.roofline.architecture import Architecture
from tracewrap.runtime.roofline.architectures import load_models
from tracewrap.runtime.roofline.estimating import estimate_profile, prepare
from tracewrap.runtime.roofline.gpus import get_gpu
from tracewrap.study.mixes import MIXES
from tracewrap.study.questions.answer import Answer, Row, median, quantile
from tracewrap.study.suite import over_mix

QUESTION = "Which facts of an architecture matter, and which can be left out?"
GPU, STACK = "h100-sxm", "vllm"
USUAL_DEPTH, USUAL_VOCAB = 128, 32_000
"""Hidden size over layers, and vocabulary, of the model that one would assume knowing nothing."""
Without = Callable[[Architecture], dict[str, Any]]


def _depth(m: Architecture) -> dict[str, Any]:
    """The usual number of layers for this width, the feed-forward width making up for the weights."""
    layers = max(1, round(m.hidden / USUAL_DEPTH))
    return (
        {}
        if m.is_moe or m.linear_layers or m.ffn_only_layers
        else {
            "layers": layers,
            "ffn": round(m.ffn * m.layers / layers),
            "full_layers": None,
            "window": None,
            "attention": "full",
        }
    )


FACTS: Mapping[str, tuple[str, Without]] = {
    "precision": (
        "weights in 16 bits",
        lambda m: {"precision": "bf16", "rest_precision": ""} if m.precision not in ("bf16", "fp16") else {},
    ),
    "experts chosen": (
        "a mixture as dense as all its weights",
        lambda m: (
            {
                "experts": 0,
                "active_experts": 0,
                "dense_layers": 0,
                "shared_ffn": 0,
                "expert_hidden": 0,
                "ffn": m.experts * m.expert_ffn + m.shared_ffn,
            }
            if m.is_moe and not (m.ffn_only_layers or m.mixer_only_layers)
            else {}
        ),
    ),
    "number of layers": ("hidden size / 128 layers, as many weights", _depth),
    "shared KV heads": (
        "one KV head a head",
        lambda m: {"kv_heads": m.heads} if m.kv_heads < m.heads and m.attention != "mla" else {},
    ),
    "window": (
        "every layer reads the whole context",
        lambda m: {"attention": "full", "window": None, "full_layers": None} if m.attention == "sliding" else {},
    ),
    "vocabulary": ("32,000 tokens", lambda m: {"vocab": USUAL_VOCAB}),
    "gate of the feed-forward block": (
        "two matrices, half as wide again",
        lambda m: {"gated": False, "ffn": round(1.5 * m.ffn)} if m.gated and not m.is_moe else {},
    ),
    "tied embedding": ("an output layer of its own", lambda m: {"tied": False} if m.tied else {}),
}
"""Fact -> what is assumed without it, and how a model's fields then read (none: it does not apply)."""


def answer(data: Path | None) -> Answer:
    """How far off chat and long agent calls are without each fact, over the models that have it."""
    models = [m for m in load_models().values() if not m.assumed]
    truth = {m.id: found for m in models if (found := _times(m, None)) is not None}
    rows: list[Row] = []
    for fact, (instead, without) in FACTS.items():
        rows.append({"fact": fact, "instead": instead, **_row(models, truth, without)})
    rows.sort(key=lambda r: -max(float(r["chat"]), float(r["agent"])))
    large = [r["fact"] for r in rows if max(r["chat"], r["agent"]) > 0.10]
    tail = [r["fact"] for r in rows if max(r["chat_p90"], r["agent_p90"]) > 0.20 and r["fact"] not in large]
    small = [r["fact"] for r in rows if max(r["chat_p90"], r["agent_p90"]) < 0.05]
    return Answer(
        QUESTION,
        f"The {len(truth)} open models of the project whose shapes are published, on {GPU} with {STACK}, as many GPUs as they need. A "
        f"fact is replaced by "
        "what one would assume without it; the change of the mean idealized runtime over chat and over agent turns (8.6k tokens in) is its "
        "error.",
        "fact=without;instead=assumed instead;models=models|#;chat=chat, median|%1;chat_p90=p90|%1;agent=agent turns, "
        "median|%1;agent_p90=p90|%1",
        rows,
        [
            f"Off by more than a tenth at the median: {', '.join(large) or 'none'}.",
            f"Off by more than a fifth for one model in ten: {', '.join(tail) or 'no other'}.",
            f"Within 5% for nine models in ten: {', '.join(small) or 'none'}.",
        ],
        f"To estimate a model that nobody measured, look these up: {', '.join(large + tail)}; these can wait: {', '.join(small)}.",
        "the project's model table and analytic profiles",
    )


def _row(models: Sequence[Architecture], truth: Mapping[str, dict[str, float]], without: Without) -> Row:
    """Errors over chat and agent turns without a fact, of the models that have it."""
    errors: dict[str, list[float]] = {"chat": [], "agent": []}
    for m in models:
        changes = without(m)
        found = _times(m, changes) if changes and m.id in truth else None
        if found is not None:
            for mix, each in errors.items():
                each.append(abs(found[mix] / truth[m.id][mix] - 1))
    row: Row = {"models": len(errors["chat"])}
    for mix, each in errors.items():
        row |= {mix: median(each), f"{mix}_p90": quantile(each, 0.9)}
    return row


def _times(model: Architecture, changes: dict[str, Any] | None) -> dict[str, float] | None:
    """Seconds over two mixes, on the GPUs that the true model needs; None where it fits on none, or the changed shape is impossible."""
    gpu = get_gpu(GPU)
    try:
        setup, _ = prepare(model, gpu, stack=STACK)
        shape = model if not changes else dataclasses.replace(model, parameters=None, **changes)
        count = setup.n_gpus
        try:
            profile = estimate_profile(shape, gpu, n_gpus=count, stack=STACK)
        except TracewrapError:
            profile = estimate_profile(shape, gpu, stack=STACK)
    except TracewrapError:
        return None
    return {
        mix: over_mix(MIXES[mix], lambda s: profile.estimate(s.input_tokens, s.output_tokens)).value
        for mix in ("chat", "agent")
    }
