"""What in a ``config.json`` is not a plain transformer: layers with a state, or what no formula here covers.

State-space and hybrid families are read where their fields say all that costs time (Granite 4, Nemotron-H, Jamba, Qwen3-Next and
Qwen3.5); any other field that changes the cost makes the configuration refused by name, never taken for a plain transformer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from tracewrap.errors import ConfigurationError

REFUSED_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba"), "a state-space model without attention"),
    **dict.fromkeys(("rwkv", "rwkv6", "rwkv7", "retnet", "xlstm", "recurrent_gemma"), "a recurrent model"),
    **dict.fromkeys(
        ("llada", "llada2_moe", "dream", "diffusion_gemma", "sdar", "mercury"),
        "a diffusion model: it has no decode step",
    ),
    **dict.fromkeys(
        ("zamba", "zamba2", "bamba", "falcon_h1", "plamo2", "lfm2", "lfm2_moe"), "a hybrid whose layers differ"
    ),
    **dict.fromkeys(
        ("kimi_linear", "minimax", "minimax_text_01", "bailing_moe_linear"), "linear attention of another kind"
    ),
    **dict.fromkeys(("t5", "bart", "whisper", "mt5", "encoder-decoder"), "an encoder and decoder"),
    **dict.fromkeys(("bert", "roberta", "modernbert", "xlm-roberta"), "an encoder: it generates no tokens"),
    **dict.fromkeys(("deci", "nemotron-nas"), "a model whose layers differ from one another"),
}
REFUSED_FIELDS: Mapping[str, str] = {
    "compress_ratios": "compressed attention, layer by layer",
    "sparse_attention_config": "block-sparse attention",
    "linear_attn_config": "linear attention of another kind",
    "block_configs": "layers that differ from one another",
    "ssm_cfg": "state-space layers",
    "attn_type_list": "attention that differs from layer to layer",
    "hybrid_layer_pattern": "layers with other heads than the rest",
    "swa_num_attention_heads": "layers with other heads than the rest",
    "attention_other_setting": "layers with other heads than the rest",
    "routed_expert_hidden_size": "experts of another width than the model",
    "num_kv_shared_layers": "keys and values shared between layers",
    "hidden_size_per_layer_input": "an embedding for every layer",
    "use_double_wide_mlp": "feed-forward blocks of two widths",
    "kv_sharing_period": "keys and values shared between layers",
    "cla_share_factor": "keys and values shared between layers",
}
STATE_TYPES = ("granitemoehybrid", "nemotron_h", "jamba", "qwen3_next", "qwen3_5", "qwen3_5_moe")
PLAIN_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}
SPARSE_LAYERS = {"deepseek_sparse_attention"}
"""Layers that the fields of sparse attention describe."""
STATE_FIELDS = ("mamba_d_state", "ssm_state_size", "state_size", "mamba_num_heads", "attn_layer_period")


class Fields(Protocol):
    """Fields of a configuration, as ``model_config`` reads them."""

    values: Mapping[str, Any]
    where: str

    def optional(self, *names: str) -> int | None:
        """The first of *names* that is there."""

    def whole(self, *names: str) -> int:
        """The first of *names* that is there; ConfigurationError when none is."""


def refuse_unknown(fields: Fields, kind: str) -> None:
    """Raise ConfigurationError naming what in the configuration has no formula here."""
    if kind in REFUSED_TYPES:
        raise ConfigurationError(f"{fields.where}: model_type {kind!r} is {REFUSED_TYPES[kind]}; it is not modelled")
    for name, reason in REFUSED_FIELDS.items():
        if fields.values.get(name) and not _harmless(name, fields.values[name]):
            raise ConfigurationError(f"{fields.where}: field {name!r} means {reason}, which is not modelled")
    if kind.removesuffix("_text") in STATE_TYPES:
        return
    for name in STATE_FIELDS:
        if fields.values.get(name):
            raise ConfigurationError(
                f"{fields.where}: field {name!r} means state-space layers, not modelled for model_type {kind!r}"
            )
    kinds = fields.values.get("layer_types")
    known = PLAIN_LAYERS | (SPARSE_LAYERS if fields.values.get("index_topk") else set())
    unknown = [each for each in kinds if each not in known] if isinstance(kinds, list) else []
    if unknown:
        raise ConfigurationError(
            f"{fields.where}: layer_types has {unknown[0]!r}, not modelled for model_type {kind!r}"
        )


def _harmless(name: str, value: Any) -> bool:
    """Whether the field says that nothing is unusual: no sharing between layers, full attention (1) in every layer."""
    if name == "attn_type_list":
        return isinstance(value, list) and all(each == 1 for each in value)
    return name == "cla_share_factor" and value == 1


def state_layers(fields: Fields, kind: str, layers: int, hidden: int) -> dict[str, Any]:
    """Architecture fields of the layers with a recurrent state; empty for a model that has none."""
    readers: dict[str, Callable[[], dict[str, Any]]] = {
        "granitemoehybrid": lambda: _granite(fields, layers, hidden),
        "nemotron_h": lambda: _nemotron(fields, hidden),
        "jamba": lambda: _jamba(fields, layers, hidden),
    }
    reader = readers.get(kind)
    if reader is not None:
        return reader()
    return _gated_delta(fields, layers) if fields.optional("linear_num_key_heads") else {}


def _mamba2(hidden: int, inner: int, groups: int, state: int, heads: int) -> dict[str, int]:
    """Weights and state of a Mamba-2 layer: input (gate, values, B, C, step sizes) and output projections."""
    weights = hidden * (2 * inner + 2 * groups * state + heads) + inner * hidden
    return {"linear_weights": weights, "linear_state": inner * state}


def _granite(fields: Fields, layers: int, hidden: int) -> dict[str, Any]:
    kinds = _kinds(fields, "layer_types", ("mamba", "attention"), layers)
    heads, width = fields.whole("mamba_n_heads"), fields.whole("mamba_d_head")
    layer = _mamba2(hidden, heads * width, fields.whole("mamba_n_groups"), fields.whole("mamba_d_state"), heads)
    return {"linear_layers": kinds.count("mamba"), **layer} if "mamba" in kinds else {}


def _nemotron(fields: Fields, hidden: int) -> dict[str, Any]:
    names = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
    pattern = fields.values.get("hybrid_override_pattern")
    listed = fields.values.get("layers_block_type")
    kinds = [names.get(each, each) for each in pattern] if isinstance(pattern, str) else listed
    if not isinstance(kinds, list) or not set(kinds) <= set(names.values()):
        raise ConfigurationError(
            f"{fields.where}: field 'hybrid_override_pattern' is {pattern!r}; expected M, *, - and E, one a layer"
        )
    heads, width = fields.whole("mamba_num_heads"), fields.whole("mamba_head_dim")
    layer = _mamba2(hidden, heads * width, fields.whole("n_groups"), fields.whole("ssm_state_size"), heads)
    blocks = kinds.count("mlp") + kinds.count("moe")
    return {
        "layers": len(kinds),
        "linear_layers": kinds.count("mamba"),
        "ffn_only_layers": blocks,
        "mixer_only_layers": len(kinds) - blocks,
        **({"dense_layers": kinds.count("mlp")} if "moe" in kinds else {}),
        **layer,
    }


def _jamba(fields: Fields, layers: int, hidden: int) -> dict[str, Any]:
    period, offset = fields.whole("attn_layer_period"), int(fields.values.get("attn_layer_offset", 0))
    attention = len(range(offset, layers, period))
    inner = (fields.optional("mamba_expand") or 2) * hidden
    state, rank = fields.whole("mamba_d_state"), fields.optional("mamba_dt_rank") or -(-hidden // 16)
    weights = 3 * hidden * inner + inner * (rank + 2 * state) + rank * inner
    every, first = fields.optional("expert_layer_period") or 1, int(fields.values.get("expert_layer_offset", 0))
    return {
        "linear_layers": layers - attention,
        "linear_weights": weights,
        "linear_state": inner * state,
        "dense_layers": layers - len(range(first, layers, every)),
    }


def _gated_delta(fields: Fields, layers: int) -> dict[str, Any]:
    """Gated linear-attention layers (Qwen3-Next and its successors)."""
    kinds = fields.values.get("layer_types")
    if isinstance(kinds, list):
        kinds = _kinds(fields, "layer_types", ("linear_attention", "full_attention"), layers)
        linear = kinds.count("linear_attention")
    else:
        linear = layers - layers // (fields.optional("full_attention_interval") or 4)
    keys = fields.whole("linear_num_key_heads") * fields.whole("linear_key_head_dim")
    values = fields.whole("linear_num_value_heads") * fields.whole("linear_value_head_dim")
    return {
        "linear_layers": linear,
        "linear_key_dim": keys,
        "linear_value_dim": values,
        "linear_state": values * fields.whole("linear_key_head_dim"),
        "attention_gate": True,
    }


def _kinds(fields: Fields, name: str, known: Sequence[str], layers: int) -> list[str]:
    kinds = fields.values.get(name)
    if not isinstance(kinds, list) or len(kinds) != layers or not set(kinds) <= set(known):
        raise ConfigurationError(
            f"{fields.where}: field {name!r} must list {' or '.join(known)} for each of {layers} layers"
        )
    return kinds
