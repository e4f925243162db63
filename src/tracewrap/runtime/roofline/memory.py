"""What fits where: weights, keys and values against the memory of the device and what the engine keeps for itself."""

from __future__ import annotations

from tracewrap.errors import ProfileNotFoundError
from tracewrap.runtime.roofline.architecture import Architecture
from tracewrap.runtime.roofline.gpus import Gpu
from tracewrap.runtime.roofline.terms import Setup, stored_kv_bytes, weight_bytes

USABLE_MEMORY = 0.92
"""Share of a GPU's memory that an engine takes by default (vLLM 0.9 to 0.92, SGLang about 0.9)."""
ALL_MEMORY = 0.97
"""The share that it can be told to take."""
ENGINE_BYTES = 1.5e9
"""Of that share, what activations, captured graphs and communication buffers take."""
FIT_CONTEXT = 8192
"""Context tokens whose keys and values must fit beside the weights when the GPU count is chosen."""
LEAST_CONTEXT = 1024
MAX_NODES = 16


def minimum_gpus(architecture: Architecture, gpu: Gpu, precision: str, pipeline: bool = False) -> int:
    """The fewest GPUs that hold weights and an 8k-token KV cache; ProfileNotFoundError when none do."""
    context = min(FIT_CONTEXT, architecture.context)
    n = 1
    while n <= gpu.node_gpus * MAX_NODES:
        width = 1 if pipeline else min(n, gpu.node_gpus)
        if _bytes(architecture, precision, width, n // width, context) <= _room(gpu, USABLE_MEMORY):
            return n
        n *= 2
    raise ProfileNotFoundError(
        f"{architecture.id} in {precision} ({weight_bytes(architecture, precision) / 1e9:.0f} GB) does not fit on "
        f"{n // 2} x {gpu.id} ({gpu.memory_bytes / 1e9:.0f} GB each); choose a larger GPU or a narrower precision"
    )


def fits(s: Setup, context: float = LEAST_CONTEXT) -> bool:
    """Whether weights and *context* tokens of keys and values fit when the engine is told to take all the memory."""
    tokens = min(context, s.model.context) if context == LEAST_CONTEXT else context
    return _bytes(s.model, s.precision, s.width, s.stages, tokens) <= _room(s.gpu, ALL_MEMORY)


def fitting_context(s: Setup, concurrency: float = 1.0) -> int:
    """The largest context, up to the model's own, of which *concurrency* fit beside the weights; 0 when not even one token.

    A model that fits by the engine's default share of memory is given that share, another one all of it.
    """
    share = USABLE_MEMORY if _setup_bytes(s, LEAST_CONTEXT) <= _room(s.gpu, USABLE_MEMORY) else ALL_MEMORY
    room = _room(s.gpu, share)
    low, high = 0, s.model.context
    while low < high:
        middle = (low + high + 1) // 2
        if _setup_bytes(s, middle * concurrency) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _room(gpu: Gpu, share: float) -> float:
    return max(share * gpu.memory_bytes - ENGINE_BYTES, 0.5 * gpu.memory_bytes)


def _setup_bytes(s: Setup, context: float) -> float:
    return _bytes(s.model, s.precision, s.width, s.stages, context)


def _bytes(model: Architecture, precision: str, width: int, stages: int, context: float) -> float:
    """Bytes per GPU of weights, keys and values; a KV head and a latent cache are not split."""
    split = 1 if model.attention == "mla" else min(width, model.kv_heads)
    return weight_bytes(model, precision) / (width * stages) + stored_kv_bytes(model, context) / (split * stages)
