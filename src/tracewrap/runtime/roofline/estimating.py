"""Analytic runtime profiles: any model on any GPU, from the architecture and a stack's fitted constants.

The terms are in ``terms``, the constants in ``stacks``, what fits where in ``memory``. The 90% interval comes from rows that the
calibration left out and widens with every way in which a case is unlike the measured ones: model, card, precision, engine.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracewrap.errors import ConfigurationError
from tracewrap.records import Estimate, Provenance
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.roofline.architecture import BYTES_PER_VALUE, Architecture
from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.gpus import Gpu, get_gpu, load_gpus
from tracewrap.runtime.roofline.memory import fits, fitting_context, minimum_gpus
from tracewrap.runtime.roofline.stacks import Stack, find_stack
from tracewrap.runtime.roofline.terms import (
    Constants,
    Setup,
    decode_step_s,
    first_token_s,
    prefill_s,
    token_s,
    weight_bytes,
)
from tracewrap.runtime.stack import ReferenceStack

LIKE_TOKENS = 1024
"""Input and output tokens of the other requests in flight, whose prompts are encoded between one's own tokens."""
BASE_SPREAD = 0.02
HOST_LINK_SPREAD, NODES_SPREAD = 0.15, 0.2
"""Further 90% half-widths where GPUs talk through the host, or over several nodes: few such servers were measured."""
ASSUMED_SPREAD = 0.2
"""Further 90% half-width of a model whose shape is partly assumed: what a wrong width or head count can change."""
DEFAULT_STACK_IDS = ("h100-sxm:vllm",)
_PRECISION_NAMES = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float32": "fp32",
    "awq": "int4",
    "gptq": "int4",
    "gptq-int4": "int4",
    "awq-int4": "int4",
    "w4a16": "int4",
    "gptq-int8": "int8",
    "w8a8": "int8",
    "fp8-dynamic": "fp8",
}


def default_stack_ids() -> tuple[str, ...]:
    """Ids, ``gpu:stack``, of the reference stacks used when the user names none; for ``reference_stack``."""
    return DEFAULT_STACK_IDS


def reference_stack(stack_id: str, gpus: Mapping[str, Gpu] | None = None) -> ReferenceStack:
    """The reference stack called ``gpu:stack`` (``h100-sxm:vllm``), price and power filled in, without profiles.

    Its profiles are made one by one with ``estimate_profile``. Raises ProfileNotFoundError naming the unknown part.
    """
    gpu_name, _, stack_name = stack_id.partition(":")
    gpu, stack = get_gpu(gpu_name, gpus), find_stack(stack_name or None)
    return ReferenceStack(
        id=stack_id,
        gpu=gpu.id,
        precision="native",
        software={stack.framework: stack.version, "mode": stack.mode},
        price=gpu.price,
        watts=gpu.batch_1_watts,
        description=f"{gpu.name}, {stack.framework} {stack.version}, batch 1, analytic",
    )


@functools.lru_cache(maxsize=1024)
def estimate_by_name(model: str, stack_id: str) -> RuntimeProfile:
    """``estimate_profile`` for a host's model name on the reference stack ``gpu:stack``; cached.

    Raises ProfileNotFoundError when model, GPU or stack are not known.
    """
    gpu_name, _, stack_name = stack_id.partition(":")
    return estimate_profile(get_model(model), get_gpu(gpu_name, load_gpus()), stack=stack_name or None)


def estimate_profile(
    architecture: Architecture,
    gpu: Gpu,
    *,
    n_gpus: int | None = None,
    stack: str | Stack | None = None,
    precision: str | None = None,
    concurrency: float = 1.0,
) -> RuntimeProfile:
    """The analytic profile of *architecture* on *n_gpus* of *gpu* under *stack*, with *concurrency* requests in flight.

    ``n_gpus``: None takes the fewest that hold weights and an 8k-token KV cache: a power of two within a node, whole
    nodes beyond. ``stack``: id, framework, or framework-version; None is the current default. ``precision``: of the
    weights; None is the one they are published in. ``concurrency``: 1 is the idealized runtime, uncontended. Raises
    ConfigurationError naming the field that cannot be, and ProfileNotFoundError when the model fits on no supported number of
    these GPUs or the stack is unknown.
    """
    setup, found = prepare(architecture, gpu, n_gpus=n_gpus, stack=stack, precision=precision, concurrency=concurrency)
    return profile_of(setup, found, concurrency)


def prepare(
    architecture: Architecture,
    gpu: Gpu,
    *,
    n_gpus: int | None = None,
    stack: str | Stack | None = None,
    precision: str | None = None,
    concurrency: float = 1.0,
) -> tuple[Setup, Stack]:
    """The setup and stack of an estimate; arguments and errors as ``estimate_profile``'s."""
    if not 1.0 <= concurrency < math.inf:
        raise ConfigurationError(f"concurrency is {concurrency}, must be at least 1")
    found = stack if isinstance(stack, Stack) else find_stack(stack)
    weights = resolve_precision(architecture, precision)
    count = minimum_gpus(architecture, gpu, weights, found.pipeline) if n_gpus is None else n_gpus
    setup = make_setup(architecture, gpu, count, weights, found.constants_for(gpu, weights))
    if n_gpus is not None and architecture.heads % setup.width:
        raise ConfigurationError(
            f"n_gpus is {n_gpus}: {architecture.heads} attention heads of {architecture.id} do not divide among "
            f"{setup.width} GPUs; take a divisor"
        )
    if not fits(setup):
        raise ConfigurationError(
            f"n_gpus is {count}: {architecture.id} in {weights} does not fit on {count} x {gpu.id}; "
            f"{minimum_gpus(architecture, gpu, weights, found.pipeline)} are needed"
        )
    if fitting_context(setup, concurrency) < 1:
        raise ConfigurationError(
            f"concurrency is {concurrency:g}: that many requests do not fit beside the weights on {count} x {gpu.id}"
        )
    return setup, found


@dataclass(frozen=True, slots=True)
class ServerTimes:
    """What one request of a running server takes: seconds to the first token and per further token, with 90% intervals."""

    first_s: Estimate
    token_s: Estimate
    provenance: Provenance
    notes: tuple[str, ...]


def server_times(setup: Setup, stack: Stack, prompt: int, output: int, concurrency: float = 1.0) -> ServerTimes:
    """First token and mean time per further token of a request of *prompt* and *output* tokens among *concurrency* like it."""
    provenance = _provenance(setup, stack)
    distances = stack.distances(setup.model, setup.gpu, setup.precision)
    beyond = prompt + output > fitting_context(setup, concurrency)
    notes = _notes(setup, stack)
    if beyond:
        notes.append("longer than the context that fits: extrapolated")
    values = {"first": first_token_s(setup, prompt, concurrency), "token": token_s(setup, prompt, output, concurrency)}
    name = f"{setup.model.id}@{setup.gpu.id}x{setup.n_gpus}:{stack.id}:{setup.precision}"
    first, token = (
        Estimate(value, value * math.exp(-r), value * math.exp(r), provenance, name, beyond)
        for value, r in ((values[key], _half_width(setup, stack, key, distances)) for key in ("first", "token"))
    )
    return ServerTimes(first, token, provenance, tuple(notes))


def batch_slowdown(
    architecture: Architecture,
    gpu: Gpu,
    batch: float,
    *,
    context: float = 1024,
    n_gpus: int | None = None,
    stack: str | Stack | None = None,
    precision: str | None = None,
) -> float:
    """How much longer a decode step takes with *batch* sequences of *context* tokens than with one; for ``cost.amortized``.

    Weights are read once for all, keys and values and (in a mixture) further experts for each. Raises ConfigurationError when
    the sequences do not fit beside the weights.
    """
    if not batch >= 1.0:
        raise ConfigurationError(f"batch is {batch}, must be at least 1")
    found = stack if isinstance(stack, Stack) else find_stack(stack)
    weights = resolve_precision(architecture, precision)
    count = minimum_gpus(architecture, gpu, weights, found.pipeline) if n_gpus is None else n_gpus
    s = make_setup(architecture, gpu, count, weights, found.constants_for(gpu, weights))
    if not fits(s, context * batch):
        raise ConfigurationError(
            f"batch is {batch:g}: that many sequences of {context:g} tokens do not fit on {count} x {gpu.id}"
        )
    computed = (
        2.0 * batch * architecture.active_parameters / (gpu.peak_flops(weights) * s.width * s.constants.flop_efficiency)
    )
    return max(decode_step_s(s, context, batch), computed) / decode_step_s(s, context)


def resolve_precision(architecture: Architecture, precision: str | None) -> str:
    """The canonical name of *precision*, or the architecture's own; ConfigurationError when it is unknown."""
    if precision is None:
        return architecture.precision
    name = precision.strip().lower()
    name = _PRECISION_NAMES.get(name, name)
    if name not in BYTES_PER_VALUE:
        raise ConfigurationError(f"precision is {precision!r}, must be one of {', '.join(BYTES_PER_VALUE)}")
    return name


def make_setup(architecture: Architecture, gpu: Gpu, n_gpus: int, precision: str, constants: Constants) -> Setup:
    """Tensor parallel within a node, pipeline stages across nodes (or everywhere, for a pipeline stack)."""
    if not isinstance(n_gpus, int) or isinstance(n_gpus, bool) or n_gpus < 1:
        raise ConfigurationError(f"n_gpus is {n_gpus!r}, must be a whole number of at least 1")
    if constants.pipeline:
        return Setup(architecture, gpu, 1, n_gpus, precision, constants)
    width = min(n_gpus, gpu.node_gpus)
    if n_gpus % width or n_gpus > architecture.layers * width:
        raise ConfigurationError(f"n_gpus is {n_gpus}, must be a multiple of {width}, the {gpu.id} of one node")
    return Setup(architecture, gpu, width, n_gpus // width, precision, constants)


def profile_of(s: Setup, stack: Stack, concurrency: float = 1.0) -> RuntimeProfile:
    """The profile of a setup that ``prepare`` gave."""
    c, limit = s.constants, fitting_context(s, concurrency)
    near = min(limit, s.model.window or 1024, s.model.index_top or 2048, 2048)
    first, last = decode_step_s(s, near, concurrency), decode_step_s(s, limit, concurrency)
    d1 = max(0.0, (last - first) / (limit - near)) if limit > near else 0.0
    others = (concurrency - 1.0) * prefill_s(s, LIKE_TOKENS) / LIKE_TOKENS if concurrency > 1.0 else 0.0
    distances = stack.distances(s.model, s.gpu, s.precision)
    interval = Interval(
        base=BASE_SPREAD,
        prompt=_half_width(s, stack, "first", distances),
        decode=_half_width(s, stack, "token", distances),
        extrapolation=0.5,
    )
    batch = "" if concurrency == 1.0 else f":concurrency-{concurrency:g}"
    return RuntimeProfile(
        id=f"{s.model.id}@{s.gpu.id}x{s.n_gpus}:{stack.id}:{s.precision}{batch}",
        model=s.model.id,
        prompt_knots=_knots(s, limit, concurrency),
        d0=max(0.0, first - d1 * near) + others,
        d1=d1,
        tile=c.tile,
        tile_fraction=c.tile_fraction,
        interval=interval,
        max_output_tokens=limit,
        provenance=_provenance(s, stack),
        n_gpus=s.n_gpus,
        stack=_describe(s, stack, limit, concurrency),
        fit=dict(stack.fit),
    )


def _provenance(s: Setup, stack: Stack) -> Provenance:
    """Calibrated where this engine was measured on this very card; assumed where part of the model's shape is."""
    if s.model.assumed:
        return "assumed"
    measured = stack.calibrated and s.gpu.id in stack.nodes[-1].seen.get("gpus", ())
    return "analytic_calibrated" if measured else "analytic"


def _half_width(s: Setup, stack: Stack, quantity: str, distances: tuple[str, ...]) -> float:
    """90% half-width on the log scale: the calibration's for these distances, wider over slow or long links."""
    link = HOST_LINK_SPREAD if s.width > 1 and s.gpu.link == "pcie" else 0.0
    nodes = NODES_SPREAD if s.stages > 1 and not s.constants.pipeline else 0.0
    shape = ASSUMED_SPREAD if s.model.assumed else 0.0
    return math.hypot(stack.half_width(quantity, distances), link, nodes, shape)


def _notes(s: Setup, stack: Stack) -> list[str]:
    """What the reader of an estimate has to know: whose constants it takes, what of the shape is assumed."""
    assumed = f"assumed, no published configuration was found: {s.model.assumed}" if s.model.assumed else ""
    return [note for note in (stack.note, assumed) if note]


def _knots(s: Setup, limit: int, concurrency: float) -> tuple[tuple[float, float], ...]:
    """Prefill seconds at lengths a factor of the square root of two apart, out to *limit* tokens."""
    points = {1, limit}
    for i in range(14, 2 * 48):
        tokens = round(2 ** (i / 2))
        if tokens >= limit:
            break
        points.add(tokens)
    knots: list[tuple[float, float]] = []
    for tokens in sorted(points):
        seconds = first_token_s(s, tokens, concurrency)
        knots.append((float(tokens), max(seconds, knots[-1][1] if knots else 0.0)))
    return tuple(knots)


def _describe(s: Setup, stack: Stack, limit: int, concurrency: float) -> dict[str, Any]:
    facts = {
        "id": f"{s.gpu.id}:{stack.id}",
        "gpu": s.gpu.id,
        "software": {stack.framework: stack.version, "mode": stack.mode},
        "precision": s.precision,
        "batch": concurrency if concurrency % 1 else int(concurrency),
        "tensor_parallel": s.width,
        "pipeline_stages": s.stages,
        "constants": stack.id,
        "weight_gb": round(weight_bytes(s.model, s.precision) / 1e9, 2),
        "max_context_tokens": limit,
    }
    notes = _notes(s, stack)
    return {**facts, "note": "; ".join(notes)} if notes else facts
