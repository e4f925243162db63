"""A plain torch decoder with random weights: what a runtime profile is measured with.

Only the shape of a model sets its runtime, so random weights suffice (Narayanan et al., arXiv 2305.02440, section 3).
Batch 1, static key-value cache, one matrix product for queries, keys and values and one for gate and up projection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tracewrap.errors import ConfigurationError
from tracewrap.profiler.decoder.attention import (
    BLOCK,
    AttentionShape,
    KeyValueCache,
    Place,
    attend_cache,
    attend_prompt,
)
from tracewrap.profiler.decoder.blocks import (
    DTYPES,
    Experts,
    FeedForward,
    Linear,
    Norm,
    RotaryTable,
    check_precision,
    grouped_product_works,
)
from tracewrap.profiler.decoder.blueprint import Blueprint


@dataclass(slots=True)
class Layer:
    """One layer's weights and cache. ``norm_2`` None: the feed-forward block reads the same normed input."""

    norm_1: Norm
    norm_2: Norm | None
    qkv: Linear
    out: Linear
    mlp: FeedForward | Experts
    cache: KeyValueCache
    rope: RotaryTable | None
    q_norm: Norm | None = None
    k_norm: Norm | None = None
    after_attention: Norm | None = None
    after_mlp: Norm | None = None


class Decoder:
    """A model of *blueprint* on *device*, room for *max_tokens*, with the layers whose indices are *layers* (all).

    ``prefill`` and ``step`` return the logits (vocabulary,) of the last token, in float32. Raises ConfigurationError for
    a precision that the device does not have; torch raises its own error when memory runs out.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        *,
        max_tokens: int,
        device: str | torch.device = "cpu",
        precision: str = "fp32",
        layers: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        self.blueprint = b = blueprint
        self.device = torch.device(device)
        check_precision(precision, self.device)
        if precision == "fp8" and b.experts:
            raise ConfigurationError(f"model {b.id!r}: 8-bit experts cannot be measured; choose --precision bf16")
        self.precision = precision
        self.dtype = DTYPES[precision]
        self.max_tokens = max_tokens
        scale = b.attention_scale or b.head_dim**-0.5
        self.shape = AttentionShape(b.heads, b.kv_heads, b.head_dim, scale, b.attention_softcap)
        self._random = torch.Generator(device=self.device).manual_seed(seed)
        self._grouped = bool(b.experts) and grouped_product_works(self.device, self.dtype)
        rope = None if b.rope is None else RotaryTable(b.rope, max_tokens, self.device)
        local = rope if b.local_rope is None else RotaryTable(b.local_rope, max_tokens, self.device)
        with torch.no_grad():
            self.embedding = self._weights(b.vocab, b.hidden)
            self.positions = None if b.rope else self._weights(max(b.context, max_tokens), b.hidden)
            self.head = Linear(
                self.embedding if b.tied else self._weights(b.vocab, b.hidden), self._bias(b.vocab, b.head_bias)
            )
            self.norm = self._norm()
            chosen = range(b.layers) if layers is None else layers
            self.layers = [self._layer(i, rope if b.reads_all(i) else local) for i in chosen]

    @property
    def expert_method(self) -> str | None:
        """How experts are read in a decode step (see ``Experts``); None without experts."""
        mixtures = [layer.mlp for layer in self.layers if isinstance(layer.mlp, Experts)]
        return mixtures[0].method if mixtures else None

    def prefill(self, tokens: Tensor, depth: int | None = None, every: bool = False) -> Tensor:
        """Logits after the prompt *tokens* (p,), whose keys and values are stored; of every token when *every*.

        *depth*: use the first so many layers only.
        """
        with torch.inference_mode():
            positions = torch.arange(len(tokens), device=self.device)
            x = self._embed(tokens, positions)
            turns = self._turns(positions)
            for layer in self.layers[:depth]:
                x = self._run(layer, x, turns, None)
            return self._logits(x if every else x[-1:])

    def step(self, token: Tensor, position: Tensor, blocks: int, depth: int | None = None) -> Tensor:
        """Logits after *token* (1,) at *position* (1,), reading the first *blocks* blocks of the cache.

        Never waits for the device (looped experts excepted). *blocks* must reach *position*: see ``blocks_for``.
        """
        with torch.inference_mode():
            x = self._embed(token, position)
            turns = self._turns(position)
            places: dict[int | None, Place] = {}
            for layer in self.layers[:depth]:
                window = layer.cache.window
                if window not in places:
                    places[window] = layer.cache.place(position, blocks)
                x = self._run(layer, x, turns, places[window])
            return self._logits(x)

    @staticmethod
    def blocks_for(tokens: int) -> int:
        """Cache blocks that *tokens* tokens fill."""
        return -(-tokens // BLOCK)

    def _embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        x = F.embedding(tokens, self.embedding)
        if self.positions is not None:
            x = x + self.positions[positions]
        scale = self.blueprint.embed_scale
        return x if scale == 1.0 else x * scale

    def _turns(self, positions: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
        tables = {id(layer.rope): layer.rope for layer in self.layers if layer.rope is not None}
        return {key: table.at(positions, self.dtype) for key, table in tables.items()}

    def _run(self, layer: Layer, x: Tensor, turns: dict[int, tuple[Tensor, Tensor]], at: Place | None) -> Tensor:
        normed = layer.norm_1(x)
        attended = self._attend(layer, normed, turns, at)
        if self.blueprint.block.startswith("parallel"):
            return x + attended + layer.mlp(normed if layer.norm_2 is None else layer.norm_2(x))
        if layer.after_attention is not None:
            attended = layer.after_attention(attended)
        x = x + attended
        out = layer.mlp(x if layer.norm_2 is None else layer.norm_2(x))
        return x + (out if layer.after_mlp is None else layer.after_mlp(out))

    def _attend(self, layer: Layer, x: Tensor, turns: dict[int, tuple[Tensor, Tensor]], at: Place | None) -> Tensor:
        b = self.blueprint
        turned = b.heads + b.kv_heads
        both, v = layer.qkv(x).view(len(x), turned + b.kv_heads, b.head_dim).split((turned, b.kv_heads), dim=1)
        if layer.q_norm is not None and layer.k_norm is not None:
            both = torch.cat((layer.q_norm(both[:, : b.heads]), layer.k_norm(both[:, b.heads :])), dim=1)
        if layer.rope is not None:
            cos, sin = turns[id(layer.rope)]
            both = layer.rope.turn(both, cos, sin)
        q, k = both.split((b.heads, b.kv_heads), dim=1)
        if at is None:
            layer.cache.write_prompt(k, v)
            return layer.out(attend_prompt(q, k, v, layer.cache.window, self.shape))
        layer.cache.write_token(k, v, at)
        return layer.out(attend_cache(q, layer.cache, at, self.shape))

    def _logits(self, x: Tensor) -> Tensor:
        logits = self.head(self.norm(x)).float() * self.blueprint.logit_scale
        cap = self.blueprint.logit_softcap
        logits = logits if cap is None else torch.tanh(logits / cap) * cap
        return logits[0] if len(logits) == 1 else logits

    def _layer(self, index: int, rope: RotaryTable | None) -> Layer:
        b, d = self.blueprint, self.blueprint.head_dim
        sandwich = b.block == "sandwich"
        window = None if b.reads_all(index) else b.window
        head_norm = [Norm(self._ones(d), None, b.norm_eps, False) if b.qk_norm else None for _ in range(2)]
        return Layer(
            norm_1=self._norm(),
            norm_2=None if b.block == "parallel_shared" else self._norm(),
            qkv=self._linear((b.heads + 2 * b.kv_heads) * d, b.hidden, b.qkv_bias),
            out=self._linear(b.hidden, b.heads * d, b.out_bias),
            mlp=self._feed_forward(b.ffn) if b.is_dense(index) else self._experts(),
            cache=KeyValueCache(self.shape, self.max_tokens, window, self.device, self.dtype),
            rope=rope,
            q_norm=head_norm[0],
            k_norm=head_norm[1],
            after_attention=self._norm() if sandwich else None,
            after_mlp=self._norm() if sandwich else None,
        )

    def _feed_forward(self, width: int) -> FeedForward:
        b = self.blueprint
        up = self._linear(width * (2 if b.gated else 1), b.hidden, b.ffn_bias)
        return FeedForward(up, self._linear(b.hidden, width, b.ffn_bias), b.gated, b.activation)

    def _experts(self) -> Experts:
        b = self.blueprint
        method = "grouped" if self._grouped else "gathered" if self.device.type == "cuda" else "looped"
        return Experts(
            router=Linear(self._weights(b.experts, b.hidden)),
            up=self._weights(b.experts, 2 * b.expert_ffn, b.hidden),
            down=self._weights(b.experts, b.hidden, b.expert_ffn),
            active=b.active_experts,
            normalize=b.normalize_experts,
            activation=b.activation,
            shared=self._feed_forward(b.shared_ffn) if b.shared_ffn else None,
            shared_gate=Linear(self._weights(1, b.hidden)) if b.shared_gate else None,
            method=method,
        )

    def _linear(self, rows: int, columns: int, bias: bool) -> Linear:
        linear = Linear(self._weights(rows, columns), self._bias(rows, bias))
        return linear.quantized() if self.precision == "fp8" else linear

    def _weights(self, *size: int) -> Tensor:
        """Normal values whose products keep the size of what they multiply."""
        out = torch.empty(size, device=self.device, dtype=self.dtype)
        return out.normal_(0.0, size[-1] ** -0.5, generator=self._random)

    def _bias(self, rows: int, wanted: bool) -> Tensor | None:
        return torch.zeros(rows, device=self.device, dtype=self.dtype) if wanted else None

    def _ones(self, width: int) -> Tensor:
        return torch.ones(width, device=self.device, dtype=self.dtype)

    def _norm(self) -> Norm:
        b = self.blueprint
        bias = self._bias(b.hidden, b.norm_bias)
        return Norm(self._ones(b.hidden), bias, b.norm_eps, b.norm == "layer")
