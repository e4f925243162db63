"""Architecture: the shape of one decoder, and what follows from it: parameters, bytes read, operations.

Counts are of the text decoder alone. ``h`` hidden size, ``L`` layers, ``V`` vocabulary. Sources of the formulas:
Narayanan et al., arXiv 2305.02440, section 3 (operations of a dense layer); DeepSeek-V2, arXiv 2405.04434, section 2.1
(multi-head latent attention); the model's own configuration for everything else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tracewrap.errors import ConfigurationError

BYTES_PER_VALUE: dict[str, float] = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "int4": 0.5 + 2.5 / 128,  # a 16-bit scale and a 4-bit zero point per group of 128
    "mxfp4": 0.5 + 1 / 32,  # an 8-bit scale per group of 32
    "nvfp4": 0.5 + 1 / 16,
}
"""Bytes of one weight by precision, scales of the quantized formats included."""

ATTENTION_KINDS = ("full", "sliding", "mla")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One decoder-only transformer. Built with impossible values it raises ConfigurationError naming the field.

    ``full_layers``: layers whose attention reads the whole context (all of them unless ``attention`` is sliding); the
    others read at most ``window`` tokens. ``attention_weights``: of one attention layer on average, where heads and
    widths do not tell. ``full_kv_values``: values cached per token in a layer that reads the whole context, where it
    differs. ``index_dim``, ``index_top``: sparse attention that reads an index of that width for every token and attends
    to that many. ``linear_layers``: layers with a recurrent state in place of a KV cache (linear attention, state
    space), of ``linear_weights`` weights each where their key and value widths do not tell, and ``linear_state`` values of
    state. ``ffn_only_layers``, ``mixer_only_layers``: layers that are a feed-forward block alone, or have none
    (Nemotron-H). ``dense_layers``: layers of a mixture with a plain feed-forward block of ``ffn``. ``expert_hidden``: width
    that tokens are projected to before the experts chosen among (0: the hidden size). ``kept_values``: values kept per token
    in all layers together, where they are not what is read (0: as the layers tell).
    ``precision``: the one the weights are published in; ``rest_precision``: of all but the experts, where that is another one.
    ``parameters``: the published count, for checking. ``assumed``: what of the shape no published configuration or model
    card was found for; an estimate from it says so.
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
    family: str = ""
    tied: bool = False
    gated: bool = True
    attention: str = "full"
    attention_bias: bool = False
    attention_gate: bool = False
    window: int | None = None
    full_layers: int | None = None
    experts: int = 0
    active_experts: int = 0
    expert_ffn: int = 0
    expert_hidden: int = 0
    shared_ffn: int = 0
    dense_layers: int = 0
    q_lora: int = 0
    kv_lora: int = 0
    rope_dim: int = 0
    v_head_dim: int = 0
    linear_layers: int = 0
    linear_key_dim: int = 0
    linear_value_dim: int = 0
    linear_weights: int = 0
    linear_state: int = 0
    ffn_only_layers: int = 0
    mixer_only_layers: int = 0
    index_dim: int = 0
    index_top: int = 0
    attention_weights: int = 0
    full_kv_values: int = 0
    kept_values: int = 0
    extra_parameters: int = 0
    precision: str = "bf16"
    rest_precision: str = ""
    parameters: int | None = None
    aliases: tuple[str, ...] = ()
    source: str = ""
    assumed: str = ""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def is_moe(self) -> bool:
        """Whether some layers choose among experts."""
        return self.experts > 0

    @property
    def attention_layers(self) -> int:
        """Layers with a KV cache."""
        return self.layers - self.linear_layers - self.ffn_only_layers

    @property
    def ffn_layers(self) -> int:
        """Layers with a feed-forward block, a plain one or a choice among experts."""
        return self.layers - self.mixer_only_layers

    @property
    def moe_layers(self) -> int:
        """Layers that choose among experts."""
        return self.ffn_layers - self.dense_layers if self.is_moe else 0

    @property
    def context_layers(self) -> int:
        """Layers whose attention reads the whole context."""
        return self.attention_layers if self.full_layers is None else self.full_layers

    @property
    def attention_parameters(self) -> int:
        """Weights of one attention layer."""
        if self.attention_weights:
            return self.attention_weights
        h, d = self.hidden, self.head_dim
        if self.attention == "mla":
            queries = self.heads * (d + self.rope_dim)
            q = h * self.q_lora + self.q_lora * queries if self.q_lora else h * queries
            kv = h * (self.kv_lora + self.rope_dim) + self.kv_lora * self.heads * (d + self.v_head_dim)
            return q + kv + self.heads * self.v_head_dim * h
        q_out = self.heads * d * (2 if self.attention_gate else 1)
        bias = q_out + 2 * self.kv_heads * d if self.attention_bias else 0
        return h * (q_out + 2 * self.kv_heads * d) + self.heads * d * h + bias

    @property
    def linear_parameters(self) -> int:
        """Weights of one linear-attention or state-space layer: queries and keys, values, output gate, output."""
        if self.linear_weights:
            return self.linear_weights
        return self.hidden * (2 * self.linear_key_dim + 3 * self.linear_value_dim)

    def feed_forward_parameters(self, width: int) -> int:
        """Weights of one feed-forward block of *width*."""
        return (3 if self.gated else 2) * self.hidden * width

    @property
    def head_parameters(self) -> int:
        """Weights of the output layer (read for every token; tied or not)."""
        return self.vocab * self.hidden

    @property
    def shared_layer_parameters(self) -> int:
        """Weights of all layers that every token uses: all but the experts chosen among."""
        dense = self.ffn_layers - self.moe_layers
        return (
            self.attention_layers * self.attention_parameters
            + self.linear_layers * self.linear_parameters
            + dense * self.feed_forward_parameters(self.ffn)
            + self.moe_layers * (self.hidden * self.experts + self.feed_forward_parameters(self.shared_ffn))
            + self.moe_layers * 2 * self.hidden * self.expert_hidden
            + self.layers * 2 * self.hidden
            + self.extra_parameters
        )

    @property
    def expert_parameters(self) -> int:
        """Weights of one expert of one layer."""
        return (3 if self.gated else 2) * (self.expert_hidden or self.hidden) * self.expert_ffn

    @property
    def total_parameters(self) -> int:
        """All weights: embedding, layers with every expert, output layer (once when tied)."""
        embeddings = self.head_parameters * (1 if self.tied else 2)
        experts = self.moe_layers * self.experts * self.expert_parameters
        return self.shared_layer_parameters + experts + embeddings

    @property
    def active_parameters(self) -> int:
        """Weights used for one token, the output layer included and the embedding table not."""
        chosen = self.moe_layers * self.active_experts * self.expert_parameters
        return self.shared_layer_parameters + chosen + self.head_parameters

    def experts_read(self, tokens: float) -> float:
        """Distinct experts of one layer read for *tokens* tokens that choose evenly: E(1-(1-k/E)^tokens)."""
        if not self.is_moe:
            return 0.0
        return (
            self.experts * -math.expm1(tokens * math.log1p(-self.active_experts / self.experts))
            if (self.active_experts < self.experts)
            else float(self.experts)
        )

    @property
    def kv_values_per_layer(self) -> int:
        """Values cached per token in one attention layer."""
        if self.attention == "mla":
            return self.kv_lora + self.rope_dim
        return 2 * self.kv_heads * self.head_dim

    def kv_token_layers(self, context: float) -> float:
        """Sum over layers of the tokens that attention looks at with *context* tokens."""
        full, near = self._tokens_seen(context, self.index_top)
        return full + near

    def kv_values(self, context: float) -> float:
        """Values of keys and values that one decoding step reads with *context* tokens."""
        return self._cached(*self._tokens_seen(context, self.index_top))

    def stored_kv_values(self, context: float) -> float:
        """Values of keys and values that are kept for *context* tokens: sparse attention reads less than it keeps."""
        if self.kept_values:
            return self.kept_values * context
        return self._cached(*self._tokens_seen(context, 0))

    def _tokens_seen(self, context: float, most: int) -> tuple[float, float]:
        """Tokens summed over the layers that read the whole context (at most *most* of it), and over the others."""
        near = self.attention_layers - self.context_layers
        seen = context if self.window is None else min(context, self.window)
        return self.context_layers * (min(context, most) if most else context), near * seen

    def _cached(self, full: float, near: float) -> float:
        return full * (self.full_kv_values or self.kv_values_per_layer) + near * self.kv_values_per_layer

    def index_values(self, context: float) -> float:
        """16-bit values of the index that sparse attention reads at *context* tokens (it is kept in 8 bits)."""
        return self.context_layers * self.index_dim * context / 2

    @property
    def state_values(self) -> int:
        """Values of recurrent state that one sequence has, whatever its length."""
        return self.linear_layers * self.linear_state


def _check(a: Architecture) -> None:
    """Raise ConfigurationError for the first impossible field."""
    for field in ("layers", "hidden", "heads", "kv_heads", "head_dim", "vocab", "context"):
        _require(a, field, _whole(getattr(a, field), 1), "must be a whole number of at least 1")
    optional = ("ffn", "experts", "active_experts", "expert_ffn", "shared_ffn", "dense_layers", "q_lora", "kv_lora")
    hybrid = ("linear_layers", "linear_weights", "linear_state", "ffn_only_layers", "mixer_only_layers")
    whole = ("attention_weights", "full_kv_values", "kept_values", "expert_hidden")
    for field in (*optional, *hybrid, "rope_dim", "v_head_dim", "index_dim", "index_top", "extra_parameters", *whole):
        _require(a, field, _whole(getattr(a, field), 0), "must be a whole number of at least 0")
    _require(a, "kv_heads", a.kv_heads <= a.heads and a.heads % a.kv_heads == 0, f"must divide heads ({a.heads})")
    _require(a, "attention", a.attention in ATTENTION_KINDS, f"must be one of {', '.join(ATTENTION_KINDS)}")
    _require(a, "precision", a.precision in BYTES_PER_VALUE, f"must be one of {', '.join(BYTES_PER_VALUE)}")
    rest = a.rest_precision
    _require(a, "rest_precision", not rest or rest in BYTES_PER_VALUE, f"must be one of {', '.join(BYTES_PER_VALUE)}")
    _require(a, "window", a.window is None or _whole(a.window, 1), "must be a whole number of at least 1")
    _require(a, "window", a.attention != "sliding" or a.window is not None, "is needed for sliding attention")
    _require(a, "linear_layers", a.linear_layers <= a.layers, f"must not exceed layers ({a.layers})")
    _require(a, "ffn_only_layers", a.attention_layers >= 0, "and linear_layers must not exceed layers")
    _require(a, "mixer_only_layers", a.ffn_layers >= 0, f"must not exceed layers ({a.layers})")
    full = a.full_layers
    fits = full is None or (_whole(full, 0) and full <= a.attention_layers)
    _require(a, "full_layers", fits, f"must lie in 0..{a.attention_layers}, the layers with attention")
    _require(a, "dense_layers", a.dense_layers <= a.layers, f"must not exceed layers ({a.layers})")
    if a.attention == "mla":
        for field in ("kv_lora", "rope_dim", "v_head_dim"):
            _require(a, field, getattr(a, field) >= 1, "is needed for multi-head latent attention")
    if a.is_moe:
        _require(a, "active_experts", 1 <= a.active_experts <= a.experts, f"must lie in 1..experts ({a.experts})")
        _require(a, "expert_ffn", a.expert_ffn >= 1, "is needed when there are experts")
    _require(a, "ffn", a.ffn >= 1 or (a.is_moe and a.dense_layers == 0), "must be a whole number of at least 1")


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _require(a: Architecture, field: str, holds: bool, rule: str) -> None:
    if not holds:
        raise ConfigurationError(f"model {a.id!r}: {field} is {getattr(a, field)!r}, {rule}")
