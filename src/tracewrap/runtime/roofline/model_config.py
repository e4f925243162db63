"""Architecture from a Hugging Face ``config.json``.

Understands the field names of the Llama, Qwen, Mistral, Gemma, Phi, Cohere, gpt-oss, DeepSeek, GLM, Kimi, Mixtral,
GPT-NeoX, GPT-J, Falcon and BLOOM families, of the hybrids in ``hybrid_config`` and of multimodal wrappers
(``text_config``). A missing or impossible field
raises ConfigurationError naming it; nothing is filled in by guess but what the format itself leaves out by rule.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracewrap.errors import ConfigurationError
from tracewrap.runtime.roofline.architecture import Architecture
from tracewrap.runtime.roofline.hybrid_config import refuse_unknown, state_layers

_NAMES: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head"),
    "vocab": ("vocab_size",),
    "context": ("max_position_embeddings", "n_positions", "seq_length", "max_sequence_length"),
}
_UNGATED = {
    "gpt2",
    "gptj",
    "gpt_neox",
    "opt",
    "bloom",
    "falcon",
    "phi",
    "starcoder2",
    "gpt_bigcode",
    "mpt",
    "nemotron",
    "nemotron_h",
}
_TIED_BY_DEFAULT = {
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gemma4",
    "gemma4_text",
    "cohere",
    "cohere2",
    "cohere2_moe",
    "gpt2",
    "bloom",
    "opt",
}
_QKV_BIAS = {"qwen2", "qwen2_moe", "gpt2", "gpt_neox", "opt", "bloom", "phi"}
_PRECISIONS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "float8_e4m3fn": "fp8"}
_QUANTIZED = {"fp8": "fp8", "mxfp4": "mxfp4", "awq": "int4", "gptq": "int4", "fbgemm_fp8": "fp8"}


def read_config(path: str | os.PathLike[str], model_id: str | None = None) -> Architecture:
    """The architecture in the ``config.json`` at *path* (the file or the folder that holds it)."""
    file = Path(path)
    file = file / "config.json" if file.is_dir() else file
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigurationError(f"{file}: not valid JSON ({error})") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{file}: holds a JSON {type(data).__name__}, an object was expected")
    name = model_id or data.get("_name_or_path") or file.resolve().parent.name or "config"
    return architecture_from_config(data, str(name), where=str(file))


def architecture_from_config(config: Mapping[str, Any], model_id: str, where: str = "config") -> Architecture:
    """The architecture of a parsed ``config.json``; *where* names the file in error messages."""
    text = config.get("text_config") or {}
    if not isinstance(text, Mapping):
        raise ConfigurationError(f"{where}: text_config is {text!r}, must be an object")
    fields = {**config, **text}
    kind, blocks = str(fields.get("model_type", "")), fields.get("layers_block_type")
    if kind == "nemotron_h" and isinstance(blocks, list):
        fields.setdefault("num_hidden_layers", len(blocks))
    reader = _Reader(fields, where)
    refuse_unknown(reader, kind)
    values: dict[str, Any] = {field: reader.whole(*names) for field, names in _NAMES.items()}
    values["kv_heads"] = _kv_heads(reader, kind, values["heads"])
    values["tied"] = bool(reader.values.get("tie_word_embeddings", kind in _TIED_BY_DEFAULT))
    values["gated"] = kind not in _UNGATED
    values["attention_bias"] = bool(reader.values.get("attention_bias", kind in _QKV_BIAS))
    values["precision"] = _precision(reader)
    values["rest_precision"] = _rest_precision(reader)
    family = kind.removesuffix("_text")
    values |= _attention(reader, values) | _experts(reader, values)
    values |= state_layers(reader, family, values["layers"], values["hidden"])
    if not values["ffn"] and values.get("dense_layers"):
        values["ffn"] = reader.whole("intermediate_size")
    try:
        return Architecture(id=model_id, family=kind, source=where, **values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


class _Reader:
    """Fields of a configuration, with errors that name file, field and value."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    def optional(self, *names: str) -> int | None:
        """The first of *names* that is there, as a whole number above zero; None when none is."""
        for name in names:
            value = self.values.get(name)
            if isinstance(value, list) and value and all(each == value[0] for each in value):
                value = value[0]  # one value a layer, all alike
            if value is not None:
                if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                    raise ConfigurationError(f"{self.where}: {name} is {value!r}, must be a whole number of at least 1")
                return value
        return None

    def count(self, *names: str) -> int:
        """The first of *names* that is there and above zero; 0 when there is none."""
        return self.optional(*(name for name in names if self.values.get(name) != 0)) or 0

    def whole(self, *names: str) -> int:
        """The first of *names* that is there; ConfigurationError when none is."""
        value = self.optional(*names)
        if value is None:
            raise ConfigurationError(f"{self.where}: field {names[0]!r} is missing; add it to the configuration")
        return value


def _kv_heads(reader: _Reader, kind: str, heads: int) -> int:
    if kind == "falcon" and reader.values.get("multi_query") and not reader.values.get("new_decoder_architecture"):
        return 1
    return reader.optional("num_key_value_heads", "num_kv_heads") or heads


def _precision(reader: _Reader) -> str:
    quantization = reader.values.get("quantization_config")
    if isinstance(quantization, Mapping):
        narrow = _quantized(quantization)
        if narrow is not None:
            return narrow
    dtype = str(reader.values.get("torch_dtype") or reader.values.get("dtype") or "bfloat16").removeprefix("torch.")
    if dtype not in _PRECISIONS:
        raise ConfigurationError(f"{reader.where}: torch_dtype is {dtype!r}, must be one of {', '.join(_PRECISIONS)}")
    return _PRECISIONS[dtype]


def _rest_precision(reader: _Reader) -> str:
    """16 bits where the quantization leaves attention out of it, as when only experts are packed; else the same as theirs."""
    quantization = reader.values.get("quantization_config")
    left_out = quantization.get("ignore") if isinstance(quantization, Mapping) else None
    packed = (
        any("self_attn" in str(name) and "*" in str(name) for name in left_out) if isinstance(left_out, list) else False
    )
    return "bf16" if packed else ""


def _quantized(quantization: Mapping[str, Any]) -> str | None:
    """The weight precision of a ``quantization_config``: by bits and kind where it says so, else by method."""
    groups = quantization.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = first.get("weights") if isinstance(first, Mapping) else None
    if isinstance(weights, Mapping):
        names = {(8, "float"): "fp8", (8, "int"): "int8", (4, "int"): "int4", (4, "float"): "nvfp4"}
        return names.get((weights.get("num_bits", 0), str(weights.get("type", "int"))))
    if quantization.get("bits") == 8 or quantization.get("load_in_8bit"):
        return "int8"
    if quantization.get("load_in_4bit"):
        return "int4"
    return _QUANTIZED.get(str(quantization.get("quant_method", "")))


def _attention(reader: _Reader, values: Mapping[str, Any]) -> dict[str, Any]:
    kv_lora = reader.optional("kv_lora_rank")
    if kv_lora is not None:
        return {
            "attention": "mla",
            "kv_lora": kv_lora,
            "q_lora": reader.optional("q_lora_rank") or 0,
            "head_dim": reader.whole("qk_nope_head_dim"),
            "rope_dim": reader.whole("qk_rope_head_dim"),
            "v_head_dim": reader.whole("v_head_dim"),
            "index_dim": _index_width(reader),
            "index_top": reader.optional("index_topk") or 0,
        }
    head_dim = reader.optional("head_dim", "attention_head_dim")
    if head_dim is None:
        if values["hidden"] % values["heads"]:
            raise ConfigurationError(
                f"{reader.where}: num_attention_heads is {values['heads']}, must divide hidden_size ({values['hidden']})"
            )
        head_dim = values["hidden"] // values["heads"]
    window = _window(reader, values["layers"])
    return {"head_dim": head_dim, **window, **_global_heads(reader, values, head_dim, window)}


def _index_width(reader: _Reader) -> int:
    """Width of the index of sparse attention, a layer on average: some layers share the index of an earlier one."""
    width, kinds = reader.optional("index_head_dim") or 0, reader.values.get("indexer_types")
    if not isinstance(kinds, list) or not kinds:
        return width
    return round(width * kinds.count("full") / len(kinds))


def _global_heads(
    reader: _Reader, values: Mapping[str, Any], head_dim: int, window: Mapping[str, Any]
) -> dict[str, int]:
    """Gemma 4: layers that read the whole context have wider heads, fewer for keys, and may have keys for values."""
    wide = reader.optional("global_head_dim")
    if wide is None or wide == head_dim or "full_layers" not in window:
        return {}
    h, heads, full = values["hidden"], values["heads"], window["full_layers"]
    kv = reader.optional("num_global_key_value_heads") or values["kv_heads"]
    keys = 1 if reader.values.get("attention_k_eq_v") else 2
    near_weights = h * (2 * heads + 2 * values["kv_heads"]) * head_dim
    full_weights = h * (2 * heads + keys * kv) * wide
    layers = values["layers"]
    return {
        "attention_weights": ((layers - full) * near_weights + full * full_weights) // layers,
        "full_kv_values": 2 * kv * wide,
    }


def _window(reader: _Reader, layers: int) -> dict[str, Any]:
    """Sliding-window fields: which layers read the whole context."""
    if reader.values.get("use_sliding_window") is False:
        return {}
    window = reader.optional("sliding_window", "attention_chunk_size")
    kinds = reader.values.get("layer_types")
    if window is None:
        return {}
    rotary = reader.values.get("no_rope_layers")  # Llama 4: 0 for the layers without positions, which read everything
    if isinstance(rotary, list) and rotary and not isinstance(kinds, list):
        return {"attention": "sliding", "window": window, "full_layers": sum(not each for each in rotary)}
    if reader.values.get("model_type") in ("llama4", "llama4_text") and not isinstance(kinds, list):
        interval = reader.optional("no_rope_layer_interval") or 4
        return {"attention": "sliding", "window": window, "full_layers": layers // interval}
    if isinstance(kinds, list):
        full = sum(kind == "full_attention" for kind in kinds)
        return {"attention": "sliding", "window": window, "full_layers": full} if full < len(kinds) else {}
    pattern = reader.optional("sliding_window_pattern", "_sliding_window_pattern")
    if pattern is not None:
        return {"attention": "sliding", "window": window, "full_layers": layers // pattern}
    if reader.values.get("model_type") == "gemma2":
        return {"attention": "sliding", "window": window, "full_layers": layers // 2}
    return {"attention": "sliding", "window": window, "full_layers": 0}


def _experts(reader: _Reader, values: Mapping[str, Any]) -> dict[str, Any]:
    experts = reader.optional("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    if experts is None or experts == 1:
        return {"ffn": _ffn(reader, values)}
    width = reader.optional("moe_intermediate_size", "expert_ffn_hidden_size", "expert_intermediate_size")
    width = width or reader.whole("intermediate_size")
    dense = _dense_layers(reader, values["layers"])
    narrow = reader.optional("intermediate_size_mlp", "dense_intermediate_size", "intermediate_size") if dense else 0
    return {
        "experts": experts,
        "active_experts": reader.whole(
            "num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_topk", "top_k_experts", "moe_k"
        ),
        "expert_ffn": width,
        "expert_hidden": reader.count("moe_latent_size"),
        "shared_ffn": _shared_width(reader, width),
        "dense_layers": dense,
        "ffn": narrow or 0,
    }


def _shared_width(reader: _Reader, width: int) -> int:
    """Width of the block that every token passes beside the experts of *width* chosen among; 0 where there is none."""
    if reader.values.get("model_type") in ("gemma4", "gemma4_text"):  # a plain block beside the experts
        return reader.whole("intermediate_size")
    if reader.values.get("model_type") in ("llama4", "llama4_text"):
        return width
    shared = reader.count(
        "shared_expert_intermediate_size", "moe_shared_expert_intermediate_size", "shared_intermediate_size"
    )
    number = reader.count("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")
    return shared or number * width


def _dense_layers(reader: _Reader, layers: int) -> int:
    """Layers of a mixture that have a plain feed-forward block."""
    frequency = reader.values.get("moe_layer_freq")
    if isinstance(frequency, list):
        return sum(not each for each in frequency)
    step = reader.optional("interleave_moe_layer_step", "decoder_sparse_step") or 1
    return reader.count("first_k_dense_replace", "moe_layer_start_index") or layers - layers // step


def _ffn(reader: _Reader, values: Mapping[str, Any]) -> int:
    width = reader.optional("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
    if width is None and values["gated"]:
        raise ConfigurationError(f"{reader.where}: field 'intermediate_size' is missing; add it to the configuration")
    return width or 4 * int(values["hidden"])
