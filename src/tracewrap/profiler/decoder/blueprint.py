"""Blueprint: everything that is needed to build and run one decoder with random weights.

``Architecture`` (in ``tracewrap.runtime``) says how large a model is, which is enough to compute with. To run it one
must also know its norms, activation, positions and routing. ``blueprint_from_config`` (its own module) reads them from
a Hugging Face configuration; ``blueprint_from_architecture`` fills them in by the conventions of the model's family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tracewrap.errors import ConfigurationError
from tracewrap.runtime.roofline.architecture import Architecture

_NONE: Mapping[str, Any] = MappingProxyType({})


def _none() -> Mapping[str, Any]:
    return _NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """Rotary positions: base, how many dimensions of a head turn, pair layout, and Hugging Face's scaling fields."""

    theta: float = 10_000.0
    dim: int
    interleaved: bool = False
    scaling: Mapping[str, Any] = field(default_factory=_none)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """One decoder. Widths in elements; one entry of ``full`` and ``dense`` per layer.

    ``norm``: ``rms`` or ``layer``; ``norm_offset``: the weight is stored less one (Gemma). ``block``: ``sequential``;
    ``parallel`` (attention and feed-forward read the same input, each with its norm) or ``parallel_shared`` (one norm);
    ``sandwich`` (sequential, norms after each part too). ``rope`` None: learned positions. ``full[i]``: layer i reads
    the whole context, else at most ``window`` tokens. ``dense[i]``: layer i has a plain feed-forward block.
    ``qk_norm`` is per head. ``notes``: what the model has and this decoder leaves out.
    """

    id: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    norm: str = "rms"
    norm_eps: float = 1e-6
    norm_offset: bool = False
    norm_bias: bool = False
    block: str = "sequential"
    activation: str = "silu"
    gated: bool = True
    rope: Rope | None = None
    local_rope: Rope | None = None
    qkv_bias: bool = False
    out_bias: bool = False
    ffn_bias: bool = False
    head_bias: bool = False
    qk_norm: bool = False
    tied: bool = False
    embed_scale: float = 1.0
    attention_scale: float | None = None
    attention_softcap: float | None = None
    logit_softcap: float | None = None
    logit_scale: float = 1.0
    window: int | None = None
    full: tuple[bool, ...] = ()
    experts: int = 0
    active_experts: int = 0
    expert_ffn: int = 0
    shared_ffn: int = 0
    shared_gate: bool = False
    normalize_experts: bool = True
    dense: tuple[bool, ...] = ()
    notes: tuple[str, ...] = ()

    def reads_all(self, layer: int) -> bool:
        """Whether *layer* attends to the whole context."""
        return self.window is None or not self.full or self.full[layer]

    def is_dense(self, layer: int) -> bool:
        """Whether *layer* has a plain feed-forward block."""
        return not self.experts or bool(self.dense and self.dense[layer])

    def layer_kind(self, layer: int) -> tuple[bool, bool]:
        """(reads the whole context, is dense): layers of one kind cost the same."""
        return self.reads_all(layer), self.is_dense(layer)

    def layer_parameters(self, layer: int) -> int:
        """Weights of *layer*, norms left out."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        matrices = 3 if self.gated else 2
        if self.is_dense(layer):
            return attention + matrices * self.hidden * self.ffn
        width = self.experts * self.expert_ffn + self.shared_ffn
        return attention + matrices * self.hidden * width + self.hidden * self.experts

    @property
    def embedding_parameters(self) -> int:
        """Weights of embedding and output layer."""
        learned = 0 if self.rope else self.context * self.hidden
        return self.vocab * self.hidden * (1 if self.tied else 2) + learned

    @property
    def parameters(self) -> int:
        """All weights, norms left out."""
        return self.embedding_parameters + sum(self.layer_parameters(i) for i in range(self.layers))


def not_in_the_decoder(a: Architecture) -> str:
    """What the model is built of that the decoder cannot run; empty where it can run all of it."""
    if a.attention == "mla":
        return "multi-head latent attention"
    if a.linear_layers:
        return "linear-attention layers"
    if a.ffn_only_layers or a.mixer_only_layers:
        return "layers of one block alone"
    return "layers whose heads differ in number or width" if a.attention_weights or a.full_kv_values else ""


def blueprint_from_architecture(a: Architecture) -> Blueprint:
    """The decoder of *a*, with norms, activation and positions as its family has them.

    Raises ConfigurationError for what the measuring decoder cannot run: latent attention and linear attention.
    """
    if missing := not_in_the_decoder(a):
        raise ConfigurationError(
            f"model {a.id!r}: the measuring decoder has no {missing}; use `tracewrap profile estimate`"
        )
    return Blueprint(
        id=a.id,
        layers=a.layers,
        hidden=a.hidden,
        heads=a.heads,
        kv_heads=a.kv_heads,
        head_dim=a.head_dim,
        ffn=a.ffn,
        vocab=a.vocab,
        context=a.context,
        gated=a.gated,
        qkv_bias=a.attention_bias,
        tied=a.tied,
        window=a.window if a.attention == "sliding" else None,
        full=_full_layers(a),
        experts=a.experts,
        active_experts=a.active_experts,
        expert_ffn=a.expert_ffn,
        shared_ffn=a.shared_ffn,
        dense=tuple(i < a.dense_layers for i in range(a.layers)),
        notes=_notes(a),
        **_conventions(a),
    )


def _conventions(a: Architecture) -> dict[str, Any]:
    """Norms, activation and positions as models of *a*'s family have them."""
    name = f"{a.family} {a.id}".lower()
    gemma = "gemma" in name
    sandwich = gemma and not ("gemma-2b" in name or "gemma-7b" in name)
    rope_dim = a.rope_dim or (a.head_dim if a.gated else max(2, a.head_dim // 4))
    layer_norm = not a.gated or "command" in name or "cohere" in name
    return {
        "norm": "layer" if layer_norm else "rms",
        "norm_bias": not a.gated,
        "norm_offset": gemma,
        "block": "sandwich" if sandwich else "parallel_shared" if layer_norm and a.gated else "sequential",
        "activation": "gelu_tanh" if gemma or not a.gated else "silu",
        "rope": Rope(dim=rope_dim - rope_dim % 2),
        "ffn_bias": not a.gated,
        "qk_norm": "qwen3" in name or "gemma-3" in name,
        "embed_scale": a.hidden**0.5 if gemma else 1.0,
    }


def _full_layers(a: Architecture) -> tuple[bool, ...]:
    """Spread the layers that read the whole context evenly among the others, the last of each group first."""
    full = a.layers if a.full_layers is None else a.full_layers
    return tuple((i + 1) * full // a.layers > i * full // a.layers for i in range(a.layers))


def _notes(a: Architecture) -> tuple[str, ...]:
    notes = ["norms, activation and positions by the conventions of the family"]
    if a.attention_gate:
        notes.append("attention output gate left out")
    if "gpt-oss" in a.id.lower():
        notes.append("attention sinks and expert biases left out")
    return tuple(notes)
