"""How an estimate changes: with the number of GPUs, and with each thing that it rests on.

efficiency(n) = T(1 GPU, as if it held the model) / (n T(n))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from tracewrap.runtime.roofline.terms import Constants, Setup, first_token_s, token_s

CHANGE = 0.2
"""By how much each input is moved, as a share of it: about the 90% interval of an engine's constants."""
INPUTS: Mapping[str, tuple[str, ...]] = {
    "memory bandwidth reached": ("bandwidth_efficiency",),
    "bandwidth of the experts": ("expert_efficiency",),
    "reading keys and values": ("kv_efficiency", "scan_s"),
    "latency of kernels": (
        *(
            "layer_s",
            "narrow_layer_s",
            "moe_layer_s",
            "shared_layer_s",
            "latent_layer_s",
            "linear_layer_s",
            "step_s",
            "vocab_s",
        ),
        *("launch_s", "expert_launch_s"),
    ),
    "latency between GPUs": ("all_reduce_s",),
    "operations of the prompt": ("flop_efficiency", "attention_efficiency", "link_efficiency"),
    "launches of the prompt": ("first_s", "prompt_layer_s", "prompt_moe_layer_s", "prompt_latent_layer_s"),
}
"""What a runtime rests on, by the constants that say it. Efficiencies are divided where times are multiplied."""


@dataclass(frozen=True, slots=True)
class Swing:
    """A result with one input moved one way and the other: the smaller and the larger value, in the result's unit."""

    input: str
    low: float
    high: float


def request_s(s: Setup, prompt: float, output: float, concurrency: float = 1.0) -> float:
    """Seconds of a request of *prompt* and *output* tokens among *concurrency* like it."""
    further = max(output - 1.0, 0.0)
    return first_token_s(s, prompt, concurrency) + further * token_s(s, prompt, output, concurrency)


def parallel_efficiency(s: Setup, prompt: float, output: float) -> float:
    """How much of n times the speed of one GPU, were it large enough, the n GPUs of *s* give; 1 for one."""
    alone = dataclasses.replace(s, width=1, stages=1)
    return request_s(alone, prompt, output) / (s.n_gpus * request_s(s, prompt, output))


def swings(s: Setup, prompt: float, output: float, concurrency: float = 1.0) -> tuple[Swing, ...]:
    """The runtime with each input ``CHANGE`` smaller and larger, the input that moves it most first; none that does not."""
    found = [
        _swing(
            name, *(request_s(_moved(s, keys, 1.0 + sign * CHANGE), prompt, output, concurrency) for sign in (-1, 1))
        )
        for name, keys in INPUTS.items()
    ]
    for name, sizes in {"output tokens": (0, 1), "prompt tokens": (1, 0)}.items():
        moved = ((prompt * (1 + sign * CHANGE * sizes[0]), output * (1 + sign * CHANGE * sizes[1])) for sign in (-1, 1))
        found.append(_swing(name, *(request_s(s, p, o, concurrency) for p, o in moved)))
    now = request_s(s, prompt, output, concurrency)
    return tuple(sorted((x for x in found if x.high - x.low > 1e-6 * now), key=lambda x: x.low - x.high))


def _swing(name: str, one: float, other: float) -> Swing:
    return Swing(name, min(one, other), max(one, other))


def _moved(s: Setup, keys: tuple[str, ...], factor: float) -> Setup:
    """*s* with the constants *keys* a factor slower."""
    moved = {key: getattr(s.constants, key) * (factor if key.endswith("_s") else 1.0 / factor) for key in keys}
    constants: Constants = dataclasses.replace(s.constants, **moved)
    return dataclasses.replace(s, constants=constants)
