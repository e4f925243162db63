"""Blueprint from a Hugging Face ``config.json``: the details that the sizes alone do not say.

Families: Llama, Mistral, Mixtral, Qwen2, Qwen2-MoE, Qwen3, Qwen3-MoE, Gemma, Gemma 2, Gemma 3 (text), Cohere, GPT-NeoX,
GPT-J, GPT-2. Sizes are read and checked by ``tracewrap.runtime.roofline.model_config``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracewrap.errors import ConfigurationError
from tracewrap.profiler.decoder.blueprint import Blueprint, Rope, blueprint_from_architecture
from tracewrap.runtime.roofline.architecture import Architecture
from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.model_config import architecture_from_config, read_config

_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
}
_LLAMA_LIKE = {"llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe"}


def find_model(name: str | os.PathLike[str]) -> tuple[Blueprint, Architecture]:
    """The decoder called *name*: a ``config.json``, a folder that holds one, or a shipped architecture's name."""
    path = Path(name)
    if path.exists():
        architecture = read_config(path)
        file = path / "config.json" if path.is_dir() else path
        config = json.loads(file.read_text(encoding="utf-8"))
        return blueprint_from_config(config, architecture.id, where=str(file)), architecture
    if path.suffix == ".json":
        raise ConfigurationError(f"{path}: no such file; --model takes a config.json or a model's name")
    architecture = get_model(str(name))
    return blueprint_from_architecture(architecture), architecture


def blueprint_from_config(config: Mapping[str, Any], model_id: str, where: str = "config") -> Blueprint:
    """The decoder of a parsed ``config.json``; other families get the conventions of their nearest relative."""
    architecture = architecture_from_config(config, model_id, where)
    values = {**config, **config.get("text_config", {})}
    base = blueprint_from_architecture(architecture)
    kind = str(values.get("model_type", ""))
    reader = _READERS.get("llama" if kind in _LLAMA_LIKE else kind)
    if reader is None:
        return base
    names = ("hidden_activation", "hidden_act", "activation_function")
    default = "gelu" if kind == "gpt_neox" else base.activation
    activation = next((str(values[name]) for name in names if values.get(name)), default)
    if activation not in _ACTIVATIONS:
        raise ConfigurationError(f"{where}: hidden_act is {activation!r}, must be one of {', '.join(_ACTIVATIONS)}")
    common = replace(base, activation=_ACTIVATIONS[activation], notes=())
    return reader(common, values, where)


def _rope(config: Mapping[str, Any], head_dim: int, where: str, theta: float = 10_000.0, kind: str = "") -> Rope:
    """Rotary positions from ``rope_theta``/``rope_scaling`` or the newer ``rope_parameters`` (possibly per layer kind)."""
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if kind and isinstance(given.get(kind), Mapping):
        given = given[kind]
    name = str(given.get("rope_type", given.get("type", "default")))
    if name not in ("default", "linear", "llama3", "yarn"):
        raise ConfigurationError(f"{where}: rope type is {name!r}; default, linear, llama3 and yarn are supported")
    share = given.get("partial_rotary_factor", config.get("partial_rotary_factor", config.get("rotary_pct", 1.0)))
    return Rope(
        theta=float(given.get("rope_theta", config.get("rope_theta", config.get("rotary_emb_base", theta)))),
        dim=int(head_dim * float(share)),
        scaling=dict(given) | {"context": config.get("max_position_embeddings")} if name != "default" else {},
    )


def _llama_like(b: Blueprint, c: Mapping[str, Any], where: str) -> Blueprint:
    kind = c.get("model_type")
    bias = bool(c.get("attention_bias", False))
    sparse = kind in ("qwen2_moe", "qwen3_moe")
    dense = tuple(
        i in (c.get("mlp_only_layers") or ()) or (i + 1) % int(c.get("decoder_sparse_step", 1)) != 0
        for i in range(b.layers)
    )
    return replace(
        b,
        norm="rms",
        block="sequential",
        norm_eps=float(c.get("rms_norm_eps", 1e-6)),
        rope=_rope(c, b.head_dim, where, 1e6 if kind == "mixtral" else 10_000.0),
        qkv_bias=bool(c.get("qkv_bias", True)) if kind in ("qwen2", "qwen2_moe") else bias,
        out_bias=bias and kind in ("llama", "qwen3", "qwen3_moe"),
        ffn_bias=bool(c.get("mlp_bias", False)),
        qk_norm=kind in ("qwen3", "qwen3_moe"),
        shared_gate=kind == "qwen2_moe",
        normalize_experts=bool(c.get("norm_topk_prob", False)) if sparse else True,
        ffn=int(c.get("intermediate_size", b.ffn)) if sparse else b.ffn,
        dense=dense if sparse else b.dense,
        full=_layer_types(c, b),
    )


def _layer_types(c: Mapping[str, Any], b: Blueprint) -> tuple[bool, ...]:
    kinds = c.get("layer_types")
    if b.window is None or not isinstance(kinds, list):
        return b.full
    return tuple(kind == "full_attention" for kind in kinds)


def _gemma(b: Blueprint, c: Mapping[str, Any], where: str) -> Blueprint:
    kind = str(c.get("model_type"))
    newer = kind != "gemma"
    scalar = c.get("query_pre_attn_scalar")
    third = kind.startswith("gemma3")
    theta = 1e6 if third else 10_000.0
    full = _layer_types(c, b)
    if newer and b.window is not None and not isinstance(c.get("layer_types"), list):
        every = int(c.get("sliding_window_pattern", 6)) if third else 2
        full = tuple((i + 1) % every == 0 for i in range(b.layers))
    local = None
    if third:
        per_kind = (c.get("rope_parameters") or {}).get("sliding_attention") or {}
        base = per_kind.get("rope_theta", c.get("rope_local_base_freq", 10_000.0))
        local = Rope(theta=float(base), dim=b.head_dim)
    return replace(
        b,
        norm="rms",
        norm_eps=float(c.get("rms_norm_eps", 1e-6)),
        norm_offset=True,
        block="sandwich" if newer else "sequential",
        rope=_rope(c, b.head_dim, where, theta, "full_attention"),
        local_rope=local,
        embed_scale=b.hidden**0.5,
        attention_scale=float(scalar) ** -0.5 if newer and scalar else None,
        attention_softcap=c.get("attn_logit_softcapping") if newer else None,
        logit_softcap=c.get("final_logit_softcapping") if newer else None,
        qk_norm=third,
        full=full,
    )


def _cohere(b: Blueprint, c: Mapping[str, Any], where: str) -> Blueprint:
    if c.get("use_qk_norm"):
        raise ConfigurationError(f"{where}: use_qk_norm is True, which the measuring decoder has for RMSNorm only")
    return replace(
        b,
        norm="layer",
        norm_bias=False,
        norm_eps=float(c.get("layer_norm_eps", 1e-5)),
        block="parallel_shared",
        rope=replace(_rope(c, b.head_dim, where), interleaved=True),
        logit_scale=float(c.get("logit_scale", 0.0625)),
        out_bias=bool(c.get("attention_bias", False)),
    )


def _gpt_neox(b: Blueprint, c: Mapping[str, Any], where: str) -> Blueprint:
    bias = bool(c.get("attention_bias", True))
    share = {"rotary_pct": 0.25, **c}
    return replace(
        b,
        norm="layer",
        norm_bias=True,
        norm_eps=float(c.get("layer_norm_eps", 1e-5)),
        block="parallel" if c.get("use_parallel_residual", True) else "sequential",
        rope=_rope(share, b.head_dim, where),
        qkv_bias=bias,
        out_bias=bias,
        ffn_bias=True,
    )


def _gptj(b: Blueprint, c: Mapping[str, Any], where: str) -> Blueprint:
    return replace(
        b,
        norm="layer",
        norm_bias=True,
        norm_eps=float(c.get("layer_norm_epsilon", 1e-5)),
        block="parallel_shared",
        rope=Rope(dim=int(c.get("rotary_dim") or b.head_dim), interleaved=True),
        ffn_bias=True,
        head_bias=True,
    )


def _gpt2(b: Blueprint, c: Mapping[str, Any], where: str) -> Blueprint:
    return replace(
        b,
        norm="layer",
        norm_bias=True,
        norm_eps=float(c.get("layer_norm_epsilon", 1e-5)),
        block="sequential",
        rope=None,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
    )


_READERS: dict[str, Callable[[Blueprint, Mapping[str, Any], str], Blueprint]] = {
    "llama": _llama_like,
    "gemma": _gemma,
    "gemma2": _gemma,
    "gemma3": _gemma,
    "gemma3_text": _gemma,
    "cohere": _cohere,
    "gpt_neox": _gpt_neox,
    "gptj": _gptj,
    "gpt2": _gpt2,
}
