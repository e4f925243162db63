"""Models that do not fit: build some layers of each kind, measure, scale to all of them.

Layers of one kind (full or sliding attention, dense or experts) have one shape, and a generation runs them one after
another, so with T_j the runtime of the decoder cut after its first j kinds, k_j layers built of n_j there are,

    T = T_0 + sum_j (n_j / k_j) * (T_j - T_{j-1})

where T_0 (no layers) is embedding and output layer alone. Noise of the differences grows by n_j / k_j.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracewrap.errors import ConfigurationError
from tracewrap.profiler.decoder.blueprint import Blueprint

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1}
_USABLE = 0.9  # of free memory: allocators round up and kernels keep workspaces


@dataclass(frozen=True, slots=True)
class Depths:
    """Which ``layers`` to build, kind after kind; ``built`` and ``wanted`` layers of each kind."""

    layers: tuple[int, ...]
    built: tuple[int, ...]
    wanted: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Whether every layer is there: nothing to scale."""
        return self.built == self.wanted

    def cuts(self) -> tuple[int | None, ...]:
        """Depths to run at: all layers, or 0 and then after each kind."""
        if self.whole:
            return (None,)
        return tuple(sum(self.built[:j]) for j in range(len(self.built) + 1))

    def scaled(self, seconds: Sequence[float]) -> float:
        """The whole model's seconds from those measured at each of ``cuts``; never less than what was measured."""
        if self.whole:
            return seconds[0]
        total = seconds[0]
        for j, (built, wanted) in enumerate(zip(self.built, self.wanted, strict=True)):
            total += wanted / built * (seconds[j + 1] - seconds[j])
        return max(total, seconds[-1])


def choose_depths(b: Blueprint, precision: str, max_tokens: int, memory: int, layers: int | None = None) -> Depths:
    """All layers where they fit *memory* bytes, else as many of each kind as do; *layers*: at most so many.

    Raises ConfigurationError when not even one layer of each kind fits.
    """
    kinds: dict[tuple[bool, bool], list[int]] = {}
    for i in range(b.layers):
        kinds.setdefault(b.layer_kind(i), []).append(i)
    wanted = tuple(len(members) for members in kinds.values())
    most = b.layers if layers is None else layers
    while True:
        built = tuple(max(1, count * most // b.layers) for count in wanted)
        chosen = tuple(i for members, count in zip(kinds.values(), built, strict=True) for i in members[:count])
        need = memory_needed(b, precision, max_tokens, chosen)
        if need <= memory * _USABLE:
            order = chosen if built != wanted else tuple(range(b.layers))
            return Depths(order, built, wanted)
        if most <= len(kinds):
            raise ConfigurationError(
                f"model {b.id!r}: one layer of each kind needs {need / 1e9:.1f} GB with room for {max_tokens} tokens, "
                f"{memory / 1e9:.1f} GB are free; lower --max-input-tokens or --precision"
            )
        most -= 1


def memory_needed(b: Blueprint, precision: str, max_tokens: int, layers: Sequence[int]) -> float:
    """Bytes of weights, cache and the largest activations with *layers* built."""
    width = 2 if precision == "fp8" else BYTES[precision]
    weights = BYTES[precision] * sum(b.layer_parameters(i) for i in layers) + width * b.embedding_parameters
    reach = [max_tokens if b.reads_all(i) else min(max_tokens, b.window or max_tokens) for i in layers]
    cache = 2 * width * b.kv_heads * b.head_dim * sum(reach)
    expert = b.active_experts * (2 * b.hidden + 3 * b.expert_ffn)
    row = max(3 * b.ffn, expert) + 3 * (b.heads + 2 * b.kv_heads) * b.head_dim + 6 * b.hidden
    return weights + cache + width * max_tokens * row + 8 * b.vocab
