"""Copies the weights of a transformers model into a Decoder; transformers is used by tests alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tracewrap.profiler.decoder.blocks import Experts, FeedForward, Linear, Norm
from tracewrap.profiler.decoder.decoder import Decoder, Layer

State = Mapping[str, Tensor]


def copy_weights(decoder: Decoder, state: State) -> None:
    """Give *decoder* the weights of a transformers causal language model's ``state_dict``."""
    kind = "gpt2" if "transformer.wpe.weight" in state else "gptj" if "transformer.wte.weight" in state else "llama"
    kind = "gpt_neox" if "gpt_neox.embed_in.weight" in state else kind
    {"gpt2": _gpt2, "gptj": _gptj, "gpt_neox": _gpt_neox, "llama": _llama}[kind](decoder, state)


def _linear(target: Linear, weight: Tensor, bias: Tensor | None = None) -> None:
    assert target.weight.shape == weight.shape
    target.weight.copy_(weight)
    assert (target.bias is None) == (bias is None)
    if target.bias is not None:
        target.bias.copy_(bias)


def _norm(target: Norm | None, state: State, name: str, offset: float = 0.0) -> None:
    assert target is not None
    target.weight.copy_(state[f"{name}.weight"] + offset)
    if target.bias is not None:
        target.bias.copy_(state[f"{name}.bias"])


def _joined(state: State, names: list[str], part: str) -> Tensor | None:
    found = [state[f"{name}.{part}"] for name in names if f"{name}.{part}" in state]
    return torch.cat(found) if found else None


def _join(target: Linear, state: State, *names: str) -> None:
    weight = _joined(state, list(names), "weight")
    assert weight is not None
    _linear(target, weight, _joined(state, list(names), "bias"))


def _llama(decoder: Decoder, state: State) -> None:
    b = decoder.blueprint
    offset = 1.0 if b.norm_offset else 0.0
    decoder.embedding.copy_(state["model.embed_tokens.weight"])
    if not b.tied:
        _join(decoder.head, state, "lm_head")
    _norm(decoder.norm, state, "model.norm", offset)
    for i, layer in enumerate(decoder.layers):
        at = f"model.layers.{i}"
        _join(layer.qkv, state, *(f"{at}.self_attn.{x}_proj" for x in "qkv"))
        _join(layer.out, state, f"{at}.self_attn.o_proj")
        _norm(layer.norm_1, state, f"{at}.input_layernorm", offset)
        if b.qk_norm:
            _norm(layer.q_norm, state, f"{at}.self_attn.q_norm", offset)
            _norm(layer.k_norm, state, f"{at}.self_attn.k_norm", offset)
        if layer.after_attention is not None:
            _norm(layer.after_attention, state, f"{at}.post_attention_layernorm", offset)
            _norm(layer.norm_2, state, f"{at}.pre_feedforward_layernorm", offset)
            _norm(layer.after_mlp, state, f"{at}.post_feedforward_layernorm", offset)
        elif layer.norm_2 is not None:
            _norm(layer.norm_2, state, f"{at}.post_attention_layernorm", offset)
        _llama_mlp(layer, state, f"{at}.mlp")


def _llama_mlp(layer: Layer, state: State, at: str) -> None:
    if isinstance(layer.mlp, FeedForward):
        _join(layer.mlp.up, state, f"{at}.gate_proj", f"{at}.up_proj")
        _join(layer.mlp.down, state, f"{at}.down_proj")
        return
    experts: Experts = layer.mlp
    _join(experts.router, state, f"{at}.gate")
    experts.up.copy_(state[f"{at}.experts.gate_up_proj"])
    experts.down.copy_(state[f"{at}.experts.down_proj"])
    if experts.shared is not None and experts.shared_gate is not None:
        _join(experts.shared.up, state, f"{at}.shared_expert.gate_proj", f"{at}.shared_expert.up_proj")
        _join(experts.shared.down, state, f"{at}.shared_expert.down_proj")
        _join(experts.shared_gate, state, f"{at}.shared_expert_gate")


def _gpt_neox(decoder: Decoder, state: State) -> None:
    b = decoder.blueprint
    decoder.embedding.copy_(state["gpt_neox.embed_in.weight"])
    _linear(decoder.head, state["embed_out.weight"] if "embed_out.weight" in state else state["lm_head.weight"])
    _norm(decoder.norm, state, "gpt_neox.final_layer_norm")
    for i, layer in enumerate(decoder.layers):
        at = f"gpt_neox.layers.{i}"
        weight, bias = (state[f"{at}.attention.query_key_value.{x}"] for x in ("weight", "bias"))
        split = (b.heads, 3, b.head_dim)  # each head's query, key and value lie together there
        weight = weight.view(*split, b.hidden).transpose(0, 1).reshape(-1, b.hidden)
        _linear(layer.qkv, weight, bias.view(split).transpose(0, 1).reshape(-1))
        _join(layer.out, state, f"{at}.attention.dense")
        _norm(layer.norm_1, state, f"{at}.input_layernorm")
        _norm(layer.norm_2, state, f"{at}.post_attention_layernorm")
        assert isinstance(layer.mlp, FeedForward)
        _join(layer.mlp.up, state, f"{at}.mlp.dense_h_to_4h")
        _join(layer.mlp.down, state, f"{at}.mlp.dense_4h_to_h")


def _gptj(decoder: Decoder, state: State) -> None:
    decoder.embedding.copy_(state["transformer.wte.weight"])
    _join(decoder.head, state, "lm_head")
    _norm(decoder.norm, state, "transformer.ln_f")
    for i, layer in enumerate(decoder.layers):
        at = f"transformer.h.{i}"
        _join(layer.qkv, state, *(f"{at}.attn.{x}_proj" for x in "qkv"))
        _join(layer.out, state, f"{at}.attn.out_proj")
        _norm(layer.norm_1, state, f"{at}.ln_1")
        assert isinstance(layer.mlp, FeedForward)
        _join(layer.mlp.up, state, f"{at}.mlp.fc_in")
        _join(layer.mlp.down, state, f"{at}.mlp.fc_out")


def _gpt2(decoder: Decoder, state: State) -> None:
    decoder.embedding.copy_(state["transformer.wte.weight"])
    assert decoder.positions is not None
    decoder.positions.copy_(state["transformer.wpe.weight"])
    _norm(decoder.norm, state, "transformer.ln_f")
    for i, layer in enumerate(decoder.layers):
        at = f"transformer.h.{i}"
        assert isinstance(layer.mlp, FeedForward)
        for target, name in (
            (layer.qkv, "attn.c_attn"),
            (layer.out, "attn.c_proj"),
            (layer.mlp.up, "mlp.c_fc"),
            (layer.mlp.down, "mlp.c_proj"),
        ):
            _linear(target, state[f"{at}.{name}.weight"].t(), state[f"{at}.{name}.bias"])
        _norm(layer.norm_1, state, f"{at}.ln_1")
        _norm(layer.norm_2, state, f"{at}.ln_2")
