"""Analytic runtime profiles: any model on any GPU, from the architecture and a stack's fitted constants.

The terms are in ``roofline_terms``, the constants in ``roofline_stacks``. The 90% interval comes from the residuals of the
stack's calibration and widens from a model and GPU like those measured to an unseen GPU and an unmeasured stack.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from tracewrap.errors import ConfigurationError, ProfileNotFoundError
from tracewrap.records import Provenance
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.roofline.architecture import BYTES_PER_VALUE, Architecture
from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.gpus import Gpu, get_gpu, load_gpus
from tracewrap.runtime.roofline.stacks import Stack, find_stack
from tracewrap.runtime.roofline.terms import Constants, Setup, decode_step_s, kv_bytes, prefill_s, weight_bytes
from tracewrap.runtime.stack import ReferenceStack

USABLE_MEMORY = 0.9
"""Share of a GPU's memory that weights and KV cache may take; the rest is activations and the runtime."""
FIT_CONTEXT = 8192
"""Context tokens whose keys and values must fit beside the weights when the GPU count is chosen."""
MAX_NODES = 16
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
) -> RuntimeProfile:
    """The analytic profile of *architecture* on *n_gpus* of *gpu* under *stack*, batch 1, uncontended.

    ``n_gpus``: None takes the fewest that hold weights and an 8k-token KV cache: a power of two within a node, whole
    nodes beyond. ``stack``: id, framework, or framework-version; None is the current default. ``precision``: of the
    weights; None is the one they are published in. Raises ConfigurationError naming the field that cannot be, and
    ProfileNotFoundError when the model fits on no supported number of these GPUs or the stack is unknown.
    """
    found = stack if isinstance(stack, Stack) else find_stack(stack)
    constants, own_gpu = found.constants_for(gpu)
    weights = resolve_precision(architecture, precision)
    count = minimum_gpus(architecture, gpu, weights) if n_gpus is None else n_gpus
    setup = make_setup(architecture, gpu, count, weights, constants)
    limit = fitting_context(setup)
    if n_gpus is not None and architecture.heads % setup.width:
        raise ConfigurationError(
            f"n_gpus is {n_gpus}: {architecture.heads} attention heads of {architecture.id} do not divide among "
            f"{setup.width} GPUs; take a divisor"
        )
    if limit < 1:
        raise ConfigurationError(
            f"n_gpus is {count}: {architecture.id} in {weights} does not fit on {count} x {gpu.id}; "
            f"{minimum_gpus(architecture, gpu, weights)} are needed"
        )
    return _profile(setup, found, own_gpu, limit)


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
    count = minimum_gpus(architecture, gpu, weights) if n_gpus is None else n_gpus
    s = make_setup(architecture, gpu, count, weights, found.constants_for(gpu)[0])
    if _setup_bytes(s, context * batch) > USABLE_MEMORY * gpu.memory_bytes:
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


def minimum_gpus(architecture: Architecture, gpu: Gpu, precision: str) -> int:
    """The fewest GPUs that hold weights and an 8k-token KV cache; ProfileNotFoundError when none do."""
    n = 1
    while n <= gpu.node_gpus * MAX_NODES:
        context = min(FIT_CONTEXT, architecture.context)
        if _bytes_needed(architecture, gpu, n, precision, context) <= USABLE_MEMORY * gpu.memory_bytes:
            return n
        n *= 2
    raise ProfileNotFoundError(
        f"{architecture.id} in {precision} ({weight_bytes(architecture, precision) / 1e9:.0f} GB) does not fit on "
        f"{n // 2} x {gpu.id} ({gpu.memory_bytes / 1e9:.0f} GB each); choose a larger GPU or a narrower precision"
    )


def _bytes_needed(architecture: Architecture, gpu: Gpu, n: int, precision: str, context: float) -> float:
    """Bytes per GPU of weights and keys and values."""
    width = min(n, gpu.node_gpus)
    split = (1 if architecture.attention == "mla" else min(width, architecture.kv_heads)) * (n // width)
    return weight_bytes(architecture, precision) / n + kv_bytes(architecture, context) / split


def fitting_context(s: Setup) -> int:
    """The largest context, up to the model's own, whose keys and values fit beside the weights; 0 when not even one token."""
    m, n = s.model, s.n_gpus
    low, high = 0, m.context
    room = USABLE_MEMORY * s.gpu.memory_bytes
    while low < high:
        middle = (low + high + 1) // 2
        if _setup_bytes(s, middle) <= room:
            low = middle
        else:
            high = middle - 1
    return low if n else 0


def _setup_bytes(s: Setup, context: float) -> float:
    split = 1 if s.model.attention == "mla" else min(s.width, s.model.kv_heads)
    return weight_bytes(s.model, s.precision) / s.n_gpus + kv_bytes(s.model, context) / (split * s.stages)


def _profile(s: Setup, stack: Stack, own_gpu: bool, limit: int) -> RuntimeProfile:
    c = s.constants
    near = min(limit, s.model.window or 1024, 2048)
    first, last = decode_step_s(s, near), decode_step_s(s, limit)
    d1 = max(0.0, (last - first) / (limit - near)) if limit > near else 0.0
    d0 = max(0.0, first - d1 * near)
    spread = _spread(s, stack, own_gpu)
    provenance: Provenance = "analytic_calibrated" if stack.calibrated and own_gpu else "analytic"
    return RuntimeProfile(
        id=f"{s.model.id}@{s.gpu.id}x{s.n_gpus}:{stack.id}:{s.precision}",
        model=s.model.id,
        prompt_knots=_knots(s, limit),
        d0=d0,
        d1=d1,
        tile=c.tile,
        tile_fraction=c.tile_fraction,
        interval=Interval(base=spread, prompt=stack.spread_prompt, extrapolation=0.5),
        max_output_tokens=limit,
        provenance=provenance,
        n_gpus=s.n_gpus,
        stack=_describe(s, stack),
        fit=dict(stack.fit),
    )


def _spread(s: Setup, stack: Stack, own_gpu: bool) -> float:
    """90% half-width on the log scale: the calibration's, widened for every way in which the case is unlike its data."""
    base = stack.spread_new_model if own_gpu else stack.spread_new_gpu
    known = load_gpus()
    makers = {known[gpu].vendor for gpu in stack.by_gpu if gpu in known}
    unlike = {
        "experts": 0.12 if s.model.is_moe else 0.0,
        "linear attention": 0.15 if s.model.linear_layers else 0.0,
        "quantized": 0.08 if BYTES_PER_VALUE[s.precision] < 2.0 else 0.0,
        "maker": 0.35 if (makers or {"NVIDIA"}) != {s.gpu.vendor} and s.gpu.vendor not in makers else 0.0,
        "host link": 0.15 if s.width > 1 and s.gpu.link == "pcie" else 0.0,
        "nodes": 0.2 if s.stages > 1 and not s.constants.pipeline else 0.0,
    }
    return math.sqrt(base**2 + sum(extra**2 for extra in unlike.values()))


def _knots(s: Setup, limit: int) -> tuple[tuple[float, float], ...]:
    """Prefill seconds at lengths a factor of the square root of two apart, out to *limit* tokens."""
    points = {1, limit}
    for i in range(14, 2 * 48):
        tokens = round(2 ** (i / 2))
        if tokens >= limit:
            break
        points.add(tokens)
    knots: list[tuple[float, float]] = []
    for tokens in sorted(points):
        seconds = prefill_s(s, tokens)
        knots.append((float(tokens), max(seconds, knots[-1][1] if knots else 0.0)))
    return tuple(knots)


def _describe(s: Setup, stack: Stack) -> dict[str, Any]:
    return {
        "id": f"{s.gpu.id}:{stack.id}",
        "gpu": s.gpu.id,
        "software": {stack.framework: stack.version, "mode": stack.mode},
        "precision": s.precision,
        "batch": 1,
        "tensor_parallel": s.width,
        "pipeline_stages": s.stages,
        "constants": stack.id,
        "weight_gb": round(weight_bytes(s.model, s.precision) / 1e9, 2),
        "max_context_tokens": math.floor(fitting_context(s)),
    }
