"""The engines that constants are fitted to: their tree, and how far each constant may lie from its parent's.

Prior values are of the right physical size; widths are standard deviations of logarithms. Latencies of a layer start from its
number of kernels, 3 us each: nine of a dense layer, four more where it chooses among experts, four for the block that every token
passes beside them, nine for latent attention, six for a state; what quantizes activations is mostly part of the kernels before
it, 4 us together. ``kernel_rate`` is how fast an engine launches all of them, so that what one kind of model shows of an engine
holds for the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracewrap.runtime.roofline.terms import Constants

PRIOR = Constants(
    bandwidth_efficiency=0.85,
    flop_efficiency=0.55,
    attention_efficiency=0.35,
    layer_s=27e-6,
    step_s=400e-6,
    first_s=6e-3,
    all_reduce_s=10e-6,
    kv_efficiency=0.7,
    scan_s=1e-9,
    moe_layer_s=12e-6,
    vocab_s=1e-9,
    expert_efficiency=0.8,
    narrow_efficiency=0.9,
    narrow_layer_s=4e-6,
    narrow_flop_gain=1.4,
    expert_flop_efficiency=0.5,
    kernel_rate=1.0,
    shared_layer_s=12e-6,
    latent_layer_s=27e-6,
    linear_layer_s=18e-6,
    prompt_layer_s=0.3e-3,
    prompt_moe_layer_s=0.2e-3,
    prompt_latent_layer_s=1.5e-3,
    link_efficiency=0.6,
    queue_share=0.2,
    launch_s=0.8e-3,
    expert_launch_s=50e-6,
)


@dataclass(frozen=True, slots=True)
class Widths:
    """Prior standard deviations of the logarithms of one constant's factors; 0 means there is no such factor."""

    general: float
    engine: float
    version: float = 0.0
    general_tags: tuple[tuple[str, float], ...] = ()
    engine_tags: tuple[tuple[str, float], ...] = ()


WIDTHS: dict[str, Widths] = {
    "bandwidth_efficiency": Widths(
        0.06, 0.06, 0.03, (("maker", 0.12), ("generation", 0.08), ("gpu", 0.05)), (("generation", 0.06), ("gpu", 0.04))
    ),
    "narrow_efficiency": Widths(0.15, 0.12, 0.0, (("precision", 0.15),), (("precision", 0.12),)),
    "expert_efficiency": Widths(0.3, 0.2, 0.0, (("precision", 0.3),), (("precision", 0.3), ("generation", 0.15))),
    "kv_efficiency": Widths(0.15, 0.15, 0.0, (), (("generation", 0.1),)),
    "flop_efficiency": Widths(
        0.2, 0.15, 0.05, (("maker", 0.2), ("generation", 0.15), ("gpu", 0.08)), (("generation", 0.1),)
    ),
    "narrow_flop_gain": Widths(0.15, 0.1, 0.0, (("precision", 0.25),), (("precision", 0.15),)),
    "expert_flop_efficiency": Widths(0.3, 0.2, 0.0, (("precision", 0.3),), (("precision", 0.2), ("generation", 0.2))),
    "attention_efficiency": Widths(0.4, 0.3, 0.2, (("generation", 0.2),)),
    "link_efficiency": Widths(0.3, 0.2, 0.0, (("link", 0.4),)),
    "layer_s": Widths(0.35, 0.2, 0.15, (("maker", 0.2), ("generation", 0.1)), (("generation", 0.15), ("gpu", 0.1))),
    "narrow_layer_s": Widths(0.6, 0.3, 0.0, (("precision", 0.4),), (("precision", 0.4),)),
    "moe_layer_s": Widths(
        0.35, 0.3, 0.0, (("precision", 0.15), ("maker", 0.2)), (("precision", 0.3), ("generation", 0.2))
    ),
    "kernel_rate": Widths(0.3, 0.3, 0.15, (("maker", 0.5), ("generation", 0.1)), (("generation", 0.2), ("gpu", 0.1))),
    "shared_layer_s": Widths(0.5, 0.15),
    "latent_layer_s": Widths(0.5, 0.15),
    "linear_layer_s": Widths(0.5, 0.15),
    "step_s": Widths(0.5, 0.2, 0.1, (("maker", 0.4), ("generation", 0.15)), (("generation", 0.1), ("gpu", 0.05))),
    "vocab_s": Widths(0.8, 0.5, 0.3),
    "scan_s": Widths(1.2, 1.0, 0.5, (), (("generation", 0.5),)),
    "all_reduce_s": Widths(0.3, 0.25, 0.0, (("link", 0.7), ("generation", 0.15)), (("generation", 0.15),)),
    "first_s": Widths(0.7, 0.5, 0.3, (), (("generation", 0.2),)),
    "prompt_layer_s": Widths(0.4, 0.3, 0.2, (("generation", 0.2),), (("generation", 0.15),)),
    "prompt_moe_layer_s": Widths(0.4, 0.4, 0.0, (("precision", 0.3),), (("precision", 0.4),)),
    "prompt_latent_layer_s": Widths(1.0, 0.8),
    "queue_share": Widths(0.6, 0.3),
}
EAGER = ("transformers", "megatron")
LOOSE = {  # engines of their own kind, far from the others
    "transformers": {"kv_efficiency": 1.2, "attention_efficiency": 1.5, "narrow_layer_s": 2.0},
    "megatron": {
        "layer_s": 0.7,
        "flop_efficiency": 0.3,
        "scan_s": 2.0,
        "attention_efficiency": 1.0,
        "all_reduce_s": 1.5,
        "first_s": 2.0,
    },
    "llamacpp-2024": {
        "bandwidth_efficiency": 0.6,
        "moe_layer_s": 3.0,
        "layer_s": 1.2,
        "vocab_s": 2.0,
        "all_reduce_s": 1.5,
    },
    "llamacpp": {"bandwidth_efficiency": 0.15},
    "deepspeed-mii": {"layer_s": 0.8, "step_s": 0.7},
}
AGE = 0.7  # width of what current engines share against the early ones, as a share of the width of all


@dataclass(frozen=True, slots=True)
class Engine:
    """A generation of an engine: its framework, the first version that is of it, how its stacks are named in the data.

    ``early``: of 2024 or before. ``alone``: shares nothing with the other engines. ``apart``: versions fitted by
    themselves. ``mode``: ``eager`` where the host launches.
    """

    framework: str
    generation: str
    since: str
    prefixes: tuple[str, ...]
    early: bool = False
    apart: tuple[str, ...] = ()
    mode: str = "graph"
    pipeline: bool = False
    ring: bool = False
    tile: int = 1
    alone: bool = False


ENGINES: dict[str, Engine] = {
    "vllm-rocm": Engine("vllm-rocm", "vLLM of 2024 for ROCm", "0", ("vllm-rocm-",), early=True),
    "vllm-v0": Engine(
        "vllm", "V0 engine, before 0.8", "0", ("vllm-0.5", "vllm-0.6.", "vllm-0.7."), True, ("0.5", "0.6", "0.7")
    ),
    "vllm-v1": Engine("vllm", "V1 engine, 0.8 and later", "0.8", ("vllm", "vllm-0.", "vllm-1.")),
    "sglang": Engine("sglang", "SGLang 0.4 and later", "0", ("sglang-",), False, ("0.4", "0.5")),
    "trtllm-0": Engine("trtllm", "TensorRT-LLM before 1.0", "0", ("trtllm-0.",), True, ("0.5", "0.10")),
    "trtllm-1": Engine("trtllm", "TensorRT-LLM 1.0 and later, PyTorch backend", "1", ("trtllm-1.",)),
    "lmdeploy": Engine("lmdeploy", "LMDeploy", "0", ("lmdeploy-",), early=True),
    "atom": Engine("atom", "ATOM for ROCm", "0", ("atom-",)),
    "deepspeed-mii": Engine("deepspeed-mii", "DeepSpeed-MII", "0", ("deepspeed-mii-",), early=True),
    "llamacpp-2024": Engine("llamacpp", "llama.cpp of 2024 driven from Python", "", ("llamacpp-2024",), early=True),
    "llamacpp": Engine("llamacpp", "llama.cpp's own server", "0", ("llama.cpp", "llamacpp")),
    "transformers": Engine(
        "transformers", "Transformers", "0", ("transformers-",), True, ("4.46", "4.51"), "eager", pipeline=True
    ),
    "megatron": Engine(
        "megatron", "Megatron-LM", "0", ("megatron-",), True, mode="eager", ring=True, tile=128, alone=True
    ),
}


def path_of(stack: str) -> tuple[str, ...]:
    """The nodes a stack inherits from, the widest first: all engines, their age, engine generation, version."""
    for key, engine in ENGINES.items():
        if stack in engine.prefixes or any(
            stack.startswith(p) for p in engine.prefixes if p.endswith(("-", ".")) or "." in p
        ):
            if engine.alone:
                return (key,)
            age = "early" if engine.early else "current"
            version = stack.removeprefix(f"{engine.framework}-")
            apart = next((v for v in engine.apart if version == v or version.startswith(f"{v}.")), None)
            return ("general", age, key, f"{engine.framework}-{apart}") if apart else ("general", age, key)
    return ("general", "current")
