"""Architectures: counts, names, configuration files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tracewrap.errors import ConfigurationError, ProfileFormatError, ProfileNotFoundError
from tracewrap.runtime.roofline.architecture import BYTES_PER_VALUE, Architecture
from tracewrap.runtime.roofline.architectures import get_model, load_models, read_config, resolve_model
from tracewrap.runtime.roofline.estimating import estimate_profile
from tracewrap.runtime.roofline.gpus import get_gpu
from tracewrap.runtime.roofline.terms import kv_bytes, stored_kv_bytes, weight_bytes

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}


def write(folder: Path, **changes: Any) -> Path:
    """A config.json with some fields changed; None removes a field."""
    values = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    file = folder / "config.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    return file


def test_at_least_140_models_and_200_names_of_the_named_vendors_each_with_its_source() -> None:
    """The shipped table covers the vendors that people call, and says where each shape comes from."""
    models = load_models()
    assert len(models) >= 140
    assert sum(1 + len(model.aliases) for model in models.values()) >= 200
    families = {model.family for model in models.values()}
    assert families >= {"llama", "qwen", "mistral", "gemma", "gpt-oss", "deepseek", "command", "phi"}
    assert [key for key, model in models.items() if not model.source] == []


@pytest.mark.parametrize("model", [m for m in load_models().values() if m.parameters], ids=lambda m: m.id)
def test_computed_parameter_count_meets_the_published_one(model: Architecture) -> None:
    """Counting the weights of the shape gives the published number to 1%."""
    assert model.parameters is not None
    assert abs(model.total_parameters / model.parameters - 1) < 0.01


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("Qwen/Qwen3-30B-A3B", 3.3),
        ("Qwen/Qwen3-235B-A22B", 22),
        ("openai/gpt-oss-20b", 3.6),
        ("openai/gpt-oss-120b", 5.1),
        ("deepseek-ai/DeepSeek-V3", 37),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 17),
        ("moonshotai/Kimi-K2-Instruct", 32),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 12.9),
    ],
)
def test_active_parameters_meet_the_published_ones(model: str, billions: float) -> None:
    """Weights used for one token, the embedding table aside, are what the maker states to 8%."""
    assert get_model(model).active_parameters / 1e9 == pytest.approx(billions, rel=0.08)


@pytest.mark.parametrize(
    "name",
    [
        "meta-llama/Llama-3.1-8B-Instruct",
        "meta-llama/Llama-3.1-8B",
        "META-LLAMA/META-LLAMA-3.1-8B-INSTRUCT",
        "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo",
        "accounts/fireworks/models/llama-v3p1-8b-instruct",
        "llama-3.1-8b-instant",
        "meta.llama3-1-8b-instruct-v1:0",
        "us.meta.llama3-1-8b-instruct-v1:0",
        "llama3.1",
        "llama3.1:8b",
        "llama3.1:8b-instruct-q4_K_M",
        "/models/Llama-3.1-8B-Instruct",
        "C:\\models\\Llama-3.1-8B-Instruct",
        "bartowski/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",
        "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic",
        "hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4",
        "meta-llama/llama-3.1-8b-instruct:free",
        "@cf/meta/llama-3.1-8b-instruct",
        "@cf/meta/llama-3.1-8b-instruct-fp8-fast",
        "meta-llama/Llama-3.1-8B-Instruct:novita",
        "databricks-meta-llama-3-1-8b-instruct",
        "llama3.1-8b",
        "llama-3.1-8b-instruct-maas",
        "arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-1-8b-instruct-v1:0",
        "hf.co/bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q4_K_M",
        "unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit",
    ],
)
def test_every_host_name_of_a_model_finds_it(name: str) -> None:
    """Together, Fireworks, Groq, DeepInfra, Bedrock, Ollama, OpenRouter and vLLM paths name the same shape."""
    assert resolve_model(name) == LLAMA


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o",
        "gpt-4o-mini",
        "o1-preview",
        "claude-sonnet-4-5",
        "gemini-2.0-flash",
        "mistral-large-latest",
        "mistral-small-latest",
        "command-r",
        "deepseek-chat",
        "someone/Llama-3.1-8B-Roleplay",
        "llama-3.1-9b-instruct",
        "ft:gpt-4o-mini:acme",
        "someone/Llama-3.1-8B-Instruct-uncensored",
        "grok-4",
        "nova-lite",
        "text-embedding-3-small",
        "",
        "/",
        "instruct",
    ],
)
def test_a_closed_moving_or_unknown_name_is_never_guessed(name: str) -> None:
    """What is not surely one of the shipped shapes is no shape at all."""
    assert resolve_model(name) is None


def test_every_id_and_alias_resolves_to_a_model_of_its_shape() -> None:
    """No name in the table leads to a model of another shape."""
    models = load_models()
    for key, model in models.items():
        for name in (key, *(alias.removeprefix("=") for alias in model.aliases)):
            found = resolve_model(name)
            assert found is not None, name
            assert models[found].active_parameters == pytest.approx(model.active_parameters, rel=0.02), name


def test_an_unknown_model_is_refused_with_the_nearest_names() -> None:
    """The error names the model and what comes near."""
    with pytest.raises(ProfileNotFoundError, match=r"Llama-3.1-80B.*nearest: .*Llama"):
        get_model("meta-llama/Llama-3.1-80B-Instruct")


def test_a_config_file_gives_the_shape_it_describes(tmp_path: Path) -> None:
    """A plain Llama configuration reads as the shipped Llama."""
    model, shipped = read_config(write(tmp_path)), get_model(LLAMA)
    assert model.total_parameters == shipped.total_parameters
    assert (model.kv_heads, model.head_dim, model.context, model.precision) == (8, 128, 131072, "bf16")
    assert read_config(tmp_path).total_parameters == shipped.total_parameters


def test_mixture_and_latent_attention_configs_are_read(tmp_path: Path) -> None:
    """A DeepSeek-V3 configuration gives its published size."""
    file = write(
        tmp_path,
        model_type="deepseek_v3",
        hidden_size=7168,
        num_hidden_layers=61,
        num_attention_heads=128,
        num_key_value_heads=128,
        intermediate_size=18432,
        vocab_size=129280,
        q_lora_rank=1536,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        n_routed_experts=256,
        num_experts_per_tok=8,
        moe_intermediate_size=2048,
        n_shared_experts=1,
        first_k_dense_replace=3,
        quantization_config={"quant_method": "fp8"},
    )
    model = read_config(file)
    assert model.total_parameters == pytest.approx(671.03e9, rel=0.005)
    assert (model.attention, model.precision, model.kv_values_per_layer) == ("mla", "fp8", 576)


def test_sliding_layers_are_read_from_layer_types(tmp_path: Path) -> None:
    """gpt-oss says layer by layer which attention it has."""
    kinds = ["sliding_attention", "full_attention"] * 12
    file = write(tmp_path, num_hidden_layers=24, layer_types=kinds, sliding_window=128)
    model = read_config(file)
    assert (model.attention, model.window, model.full_layers) == ("sliding", 128, 12)
    assert model.kv_token_layers(1000) == 12 * 1000 + 12 * 128


@pytest.mark.parametrize(
    ("quantization", "precision"),
    [
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "awq", "bits": 4}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
            },
            "fp8",
        ),
        ({"quant_method": "unheard-of"}, "bf16"),
    ],
)
def test_the_weight_precision_is_read_from_the_quantization(
    quantization: dict[str, Any], precision: str, tmp_path: Path
) -> None:
    """Packed weights count at their packed size."""
    assert read_config(write(tmp_path, quantization_config=quantization)).precision == precision


def test_a_hybrid_of_linear_and_full_attention_inside_a_multimodal_config(tmp_path: Path) -> None:
    """Qwen3.5 keeps its text model in text_config; three of four layers have no KV cache."""
    text = {
        "model_type": "qwen3_5_text",
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "intermediate_size": 12288,
        "vocab_size": 248320,
        "max_position_embeddings": 262144,
        "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 8,
        "linear_num_key_heads": 16,
        "linear_key_head_dim": 128,
        "linear_num_value_heads": 32,
        "linear_value_head_dim": 128,
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "qwen3_5", "text_config": text}), encoding="utf-8")
    model, shipped = read_config(file), get_model("Qwen/Qwen3.5-9B")
    assert (model.linear_layers, model.context_layers) == (24, 8)
    assert model.total_parameters == shipped.total_parameters


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hidden_size": None}, "hidden_size"),
        ({"num_hidden_layers": None}, "num_hidden_layers"),
        ({"num_attention_heads": None}, "num_attention_heads"),
        ({"vocab_size": None}, "vocab_size"),
        ({"intermediate_size": None}, "intermediate_size"),
        ({"max_position_embeddings": None}, "max_position_embeddings"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"hidden_size": "4096"}, "hidden_size"),
        ({"vocab_size": 1.5}, "vocab_size"),
        ({"num_attention_heads": True}, "num_attention_heads"),
        ({"num_attention_heads": 31}, "num_attention_heads"),
        ({"num_key_value_heads": 5}, "kv_heads"),
        ({"num_key_value_heads": 64}, "kv_heads"),
        ({"num_local_experts": 8}, "num_experts_per_tok"),
        ({"num_local_experts": 8, "num_experts_per_tok": 9}, "active_experts"),
        ({"kv_lora_rank": 512}, "qk_nope_head_dim"),
        ({"torch_dtype": "int3"}, "torch_dtype"),
        ({"text_config": 3}, "text_config"),
        ({"head_dim": 0}, "head_dim"),
        ({"sliding_window": -5}, "sliding_window"),
    ],
)
def test_a_missing_or_impossible_field_is_refused_by_name(changes: dict[str, Any], field: str, tmp_path: Path) -> None:
    """One line that names the field."""
    with pytest.raises(ConfigurationError, match=field) as caught:
        read_config(write(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_config_that_is_no_json_object_is_refused(text: str, tmp_path: Path) -> None:
    """Broken files are a configuration error, not a traceback."""
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        read_config(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_config(tmp_path / "none.json")


def test_a_model_table_with_a_wrong_key_is_refused(tmp_path: Path) -> None:
    """A typing error in a user's table does not pass in silence."""
    file = tmp_path / "mine.toml"
    file.write_text('["a/b"]\nlayer = 3\n', encoding="utf-8")
    with pytest.raises(ProfileFormatError, match="unknown key 'layer'"):
        load_models(file)
    file.write_text('["a/b"]\nlayers = 3\n', encoding="utf-8")
    with pytest.raises(ProfileFormatError, match="hidden"):
        load_models(file)


def test_distinct_experts_read_grow_from_k_to_all() -> None:
    """E(1-(1-k/E)^b): k for one token, all of them for many, none in a dense model."""
    model = get_model("Qwen/Qwen3-30B-A3B")
    assert model.experts_read(1) == pytest.approx(8)
    assert 8 < model.experts_read(4) < 32
    assert model.experts_read(10_000) == pytest.approx(128)
    assert get_model(LLAMA).experts_read(100) == 0


NOVEMBER_2026 = {  # names as hosts write them: OpenRouter, Together, Fireworks, Groq, NVIDIA, SiliconFlow, DeepInfra, Ollama
    "deepseek/deepseek-v4-flash": "deepseek-ai/DeepSeek-V4-Flash",
    "deepseek-ai/DeepSeek-V4-Pro": "deepseek-ai/DeepSeek-V4-Pro",
    "deepseek-ai/deepseek-v4-pro-0813": "deepseek-ai/DeepSeek-V4-Pro",
    "deepseek/deepseek-v4-flash-0731": "deepseek-ai/DeepSeek-V4-Flash",
    "deepseek-ai/DeepSeek-V3.2-Exp": "deepseek-ai/DeepSeek-V3.2",
    "deepseek-ai/DeepSeek-V3.1-Terminus": "deepseek-ai/DeepSeek-V3",
    "deepseek/deepseek-r1-0528:free": "deepseek-ai/DeepSeek-R1",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-70B": "meta-llama/Llama-3.3-70B-Instruct",
    "moonshotai/kimi-k2.6:free": "moonshotai/Kimi-K2-Thinking",
    "moonshotai/Kimi-K2.5": "moonshotai/Kimi-K2-Thinking",
    "moonshotai/kimi-k2.7-code": "moonshotai/Kimi-K2-Thinking",
    "moonshotai/kimi-k2-instruct-0905": "moonshotai/Kimi-K2-Instruct",
    "zai-org/GLM-4.7-FP8": "zai-org/GLM-4.5",
    "zai-org/GLM-4.7-Flash": "zai-org/GLM-4.7-Flash",
    "z-ai/glm-4.6": "zai-org/GLM-4.5",
    "zai-org/GLM-4.5-Air": "zai-org/GLM-4.5-Air",
    "z-ai/glm-5.1": "zai-org/GLM-5",
    "zai-org/GLM-5.1-FP8": "zai-org/GLM-5",
    "minimaxai/minimax-m2.7": "MiniMaxAI/MiniMax-M2",
    "MiniMaxAI/MiniMax-M2.5": "MiniMaxAI/MiniMax-M2",
    "minimax/minimax-m3:free": "MiniMaxAI/MiniMax-M3",
    "MiniMaxAI/MiniMax-M3-MXFP8": "MiniMaxAI/MiniMax-M3",
    "qwen/qwen3.6-27b": "Qwen/Qwen3.5-27B",
    "qwen/qwen3.8-27b:free": "Qwen/Qwen3.5-27B",
    "Qwen/Qwen3.6-35B-A3B:deepinfra": "Qwen/Qwen3.5-35B-A3B",
    "qwen/qwen3.5-397b-a17b": "Qwen/Qwen3.5-397B-A17B",
    "qwen/qwen3.5-122b-a10b": "Qwen/Qwen3.5-122B-A10B",
    "Qwen/Qwen3-Coder-Next": "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "qwen/qwen3-next-80b-a3b-instruct": "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "Qwen/Qwen3-VL-235B-A22B-Instruct": "Qwen/Qwen3-235B-A22B",
    "Qwen/Qwen3-VL-30B-A3B-Thinking": "Qwen/Qwen3-30B-A3B",
    "accounts/fireworks/models/qwen3-vl-8b-instruct": "Qwen/Qwen3-8B",
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": "Qwen/Qwen3-30B-A3B",
    "Qwen/Qwen3-Coder-480B-A35B-Instruct:novita": "Qwen/Qwen3-Coder-480B-A35B-Instruct",
    "Qwen/Qwen3-235B-A22B-Thinking-2507": "Qwen/Qwen3-235B-A22B",
    "Qwen/Qwen2.5-VL-72B-Instruct": "Qwen/Qwen2.5-72B-Instruct",
    "google/gemma-4-31b-it:free": "google/gemma-4-31B-it",
    "google/gemma-4-26b-a4b-it:free": "google/gemma-4-26B-A4B-it",
    "google/gemma-3-27b-it": "google/gemma-3-27b-it",
    "mistralai/mistral-large-3-675b-instruct-2512": "mistralai/Mistral-Large-3-675B-Instruct-2512",
    "mistral-large-2512": "mistralai/Mistral-Large-3-675B-Instruct-2512",
    "mistralai/ministral-14b-instruct-2512": "mistralai/Ministral-3-14B-Instruct-2512",
    "mistralai/Ministral-3-8B-Instruct-2512": "mistralai/Ministral-3-8B-Instruct-2512",
    "mistralai/Devstral-Small-2-24B-Instruct-2512": "mistralai/Mistral-Small-3.2-24B-Instruct-2506",
    "mistralai/Mistral-Small-3.2-24B-Instruct-2506": "mistralai/Mistral-Small-3.2-24B-Instruct-2506",
    "ibm-granite/granite-4.0-h-small": "ibm-granite/granite-4.0-h-small",
    "ibm-granite/granite-4.0-h-tiny": "ibm-granite/granite-4.0-h-tiny",
    "nvidia/nemotron-3-nano-30b-a3b": "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "nvidia/nemotron-nano-9b-v2:free": "nvidia/NVIDIA-Nemotron-Nano-9B-v2",
    "openai/gpt-oss-120b": "openai/gpt-oss-120b",
    "openai/gpt-oss-safeguard-20b": "openai/gpt-oss-20b",
    "meta/llama-4-maverick-17b-128e-instruct": "meta-llama/Llama-4-Maverick-17B-128E-Instruct",
    "meta-llama/Llama-3.3-70B-Instruct-Turbo": "meta-llama/Llama-3.3-70B-Instruct",
    "nousresearch/hermes-4-70b": "meta-llama/Llama-3.1-70B-Instruct",
    "bytedance/seed-oss-36b-instruct": "ByteDance-Seed/Seed-OSS-36B-Instruct",
    "baidu/ernie-4.5-300b-a47b": "baidu/ERNIE-4.5-300B-A47B-PT",
    "allenai/Olmo-3.1-32B-Think": "allenai/Olmo-3-32B-Think",
    "CohereLabs/command-a-reasoning-08-2025": "CohereLabs/c4ai-command-a-03-2025",
    "mistralai/mistral-small-4-119b-2603": None,
    "nvidia/nemotron-3-super-120b-a12b": "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16",
}


@pytest.mark.parametrize(("name", "model"), NOVEMBER_2026.items())
def test_names_that_hosts_served_in_november_2026_resolve(name: str, model: str | None) -> None:
    """Sixty names: re-releases resolve to their shape; what has no public shape is refused with the nearest names."""
    assert resolve_model(name) == model
    if model is None:
        with pytest.raises(ProfileNotFoundError, match="nearest: "):
            get_model(name)


def test_of_sixty_names_at_least_55_resolve() -> None:
    """The list is as long, and as well known, as it says."""
    assert len(NOVEMBER_2026) == 60
    assert sum(model is not None for model in NOVEMBER_2026.values()) >= 55


@pytest.mark.parametrize(
    ("model", "billions", "active"),
    [
        ("zai-org/GLM-5", 744, 40),
        ("deepseek-ai/DeepSeek-V4-Flash", 284, 13),
        ("deepseek-ai/DeepSeek-V4-Pro", 1600, 49),
        ("google/gemma-4-26B-A4B-it", 25.2, 3.8),
        ("google/gemma-4-31B-it", 30.7, None),
        ("ibm-granite/granite-4.0-h-small", 32, 9),
        ("ibm-granite/granite-4.0-h-tiny", 7, 1),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 31.6, 3.2),
        ("nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16", 120, 12),
        ("nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16", 550, 55),
        ("XiaomiMiMo/MiMo-V2-Flash", 309, 15),
        ("inclusionAI/Ling-1T", 1000, 50),
        ("baidu/ERNIE-4.5-300B-A47B-PT", 300, 47),
        ("tencent/Hunyuan-A13B-Instruct", 80, 13),
        ("mistralai/Mistral-Large-3-675B-Instruct-2512", 673, 39),
    ],
)
def test_shapes_of_2026_count_to_what_their_makers_state(model: str, billions: float, active: float | None) -> None:
    """Weights in all to 3 percent; those used for a token to 10 (the 7B-A1B states one digit)."""
    shape = get_model(model)
    assert shape.total_parameters / 1e9 == pytest.approx(billions, rel=0.03)
    if active is not None and active > 1:
        assert shape.active_parameters / 1e9 == pytest.approx(active, rel=0.1)


NEMOTRON = {
    "model_type": "nemotron_h",
    "hidden_size": 2688,
    "num_hidden_layers": 52,
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "intermediate_size": 1856,
    "n_routed_experts": 128,
    "num_experts_per_tok": 6,
    "moe_intermediate_size": 1856,
    "moe_shared_expert_intermediate_size": 3712,
    "n_shared_experts": 1,
    "vocab_size": 131072,
    "max_position_embeddings": 262144,
    "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
    "mamba_num_heads": 64,
    "mamba_head_dim": 64,
    "ssm_state_size": 128,
    "n_groups": 8,
}
GRANITE = {
    "model_type": "granitemoehybrid",
    "hidden_size": 4096,
    "num_hidden_layers": 40,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 768,
    "shared_intermediate_size": 1536,
    "num_local_experts": 72,
    "num_experts_per_tok": 10,
    "vocab_size": 100352,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
    "layer_types": ["mamba"] * 5 + ["attention"] + ["mamba"] * 9 + ["attention"] + ["mamba"] * 24,
    "mamba_n_heads": 128,
    "mamba_d_head": 64,
    "mamba_n_groups": 1,
    "mamba_d_state": 128,
}
JAMBA = {
    "model_type": "jamba",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "num_experts": 16,
    "num_experts_per_tok": 2,
    "vocab_size": 65536,
    "max_position_embeddings": 262144,
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "mamba_d_state": 16,
    "mamba_expand": 2,
    "mamba_dt_rank": 256,
}


@pytest.mark.parametrize(
    ("config", "billions", "attention_layers"),
    [(NEMOTRON, 31.6, 6), ({**GRANITE, "layer_types": ["mamba"] * 36 + ["attention"] * 4}, 32.2, 4), (JAMBA, 51.6, 4)],
    ids=["nemotron-h", "granite-4", "jamba"],
)
def test_a_hybrid_configuration_counts_its_own_layers(
    tmp_path: Path, config: dict[str, Any], billions: float, attention_layers: int
) -> None:
    """State-space layers weigh what they weigh, keep no keys, and the total is the published one."""
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shape = read_config(tmp_path)
    assert shape.total_parameters / 1e9 == pytest.approx(billions, rel=0.02)
    assert shape.attention_layers == attention_layers
    assert shape.state_values > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba2"}, "model_type 'mamba2' is a state-space model"),
        ({"model_type": "llada"}, "'llada' is a diffusion model"),
        ({"model_type": "falcon_h1"}, "'falcon_h1' is a hybrid"),
        ({"compress_ratios": [4, 128]}, "'compress_ratios' means compressed attention"),
        ({"sparse_attention_config": {"sparse_index_dim": 128}}, "block-sparse attention"),
        ({"block_configs": [{}]}, "layers that differ"),
        ({"attn_type_list": [1, 0]}, "'attn_type_list' means attention that differs"),
        ({"hybrid_layer_pattern": [0, 1]}, "'hybrid_layer_pattern' means layers with other heads"),
        ({"mamba_d_state": 128}, "state-space layers, not modelled for model_type 'llama'"),
        ({"layer_types": ["full_attention", "linear_attention"]}, "layer_types has 'linear_attention'"),
    ],
)
def test_what_has_no_formula_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """A field that changes the cost and is not read makes the configuration refused, never a plain transformer."""
    with pytest.raises(ConfigurationError, match=message):
        read_config(write(tmp_path, **changes))


MIXTURE = {"num_experts": 64, "num_experts_per_tok": 6, "moe_intermediate_size": 1536, "intermediate_size": 1536}


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"shared_expert_intermediate_size": 0}, "shared_ffn", 0),
        ({"shared_intermediate_size": 0, "attn_type_list": [1, 1]}, "shared_ffn", 0),
        ({"moe_num_shared_experts": 2}, "shared_ffn", 3072),
        ({"num_shared_expert": [1, 1], "moe_topk": [6, 6], "moe_intermediate_size": [1536, 1536]}, "shared_ffn", 1536),
        ({"moe_latent_size": 1024}, "expert_hidden", 1024),
        ({"moe_intermediate_size": [1536, 1536]}, "expert_ffn", 1536),
    ],
    ids=["no shared width", "full attention listed", "ERNIE", "Hunyuan", "latent experts", "one width a layer"],
)
def test_what_published_mixtures_write_is_read(tmp_path: Path, changes: dict[str, Any], field: str, value: int) -> None:
    """Zero means none; a list with one value for every layer is that value; experts may work in a narrower space."""
    assert getattr(read_config(write(tmp_path, **{**MIXTURE, **changes})), field) == value


def test_experts_in_a_narrower_space_weigh_less_by_what_it_is_narrower(tmp_path: Path) -> None:
    """Each expert shrinks with the width; the two projections to it and back are paid once a layer."""
    plain = read_config(write(tmp_path, **MIXTURE))
    narrow = read_config(write(tmp_path, **MIXTURE, moe_latent_size=1024))
    assert narrow.expert_parameters * 4 == plain.expert_parameters
    assert narrow.shared_layer_parameters - plain.shared_layer_parameters == 32 * 2 * 4096 * 1024


def test_llama_4_reads_the_whole_context_in_its_layers_without_positions(tmp_path: Path) -> None:
    """Every fourth layer is not chunked, whether they are listed or left to the default."""
    llama_4: dict[str, Any] = {**MIXTURE, "model_type": "llama4_text", "attention_chunk_size": 8192}
    assert read_config(write(tmp_path, **llama_4)).full_layers == 8
    assert read_config(write(tmp_path, **llama_4, no_rope_layers=[1, 1, 1, 1, 0, 1, 1, 0] * 4)).full_layers == 8


def test_layers_that_share_an_index_read_it_once(tmp_path: Path) -> None:
    """GLM-5.2: the width of the index is that of a layer on average."""
    latent = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
    sparse = {**latent, "index_head_dim": 128, "index_topk": 2048, "indexer_types": ["full", "shared"] * 16}
    assert read_config(write(tmp_path, **sparse, layer_types=["deepseek_sparse_attention"] * 32)).index_dim == 64


def test_where_only_experts_are_packed_the_rest_counts_at_16_bits(tmp_path: Path) -> None:
    """Kimi K2.5's quantization leaves attention and shared experts out."""
    weights = {"config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}}}
    packed = {"quant_method": "compressed-tensors", **weights}
    every = read_config(write(tmp_path, **MIXTURE, quantization_config=packed))
    some = read_config(write(tmp_path, **MIXTURE, quantization_config={**packed, "ignore": ["re:.*self_attn.*"]}))
    assert (every.rest_precision, some.rest_precision) == ("", "bf16")
    extra = weight_bytes(some, "int4") - weight_bytes(every, "int4")
    assert extra == pytest.approx(some.shared_layer_parameters * (2 - BYTES_PER_VALUE["int4"]))


def test_a_shape_that_is_partly_assumed_says_so_and_is_wider() -> None:
    """Provenance, note and interval of an estimate show that no published configuration was found."""
    shape = get_model("inclusionAI/Ling-1T")
    gpu = get_gpu("h200")
    guess, known = estimate_profile(shape, gpu), estimate_profile(dataclasses.replace(shape, assumed=""), gpu)
    assert shape.assumed
    assert guess.provenance == "assumed"
    assert shape.assumed in guess.stack["note"]
    assert guess.interval.decode > known.interval.decode
    assert guess.runtime(1000, 100) == known.runtime(1000, 100)


def test_compressed_attention_keeps_little_for_a_token() -> None:
    """DeepSeek V4: a million tokens take a tenth of V3's bytes, and what is read stays below what is kept."""
    shape, before = get_model("deepseek-ai/DeepSeek-V4-Flash"), get_model("deepseek-ai/DeepSeek-V3")
    assert stored_kv_bytes(shape, 1e6) < 0.1 * stored_kv_bytes(before, 1e6)
    assert kv_bytes(shape, 1e6) < stored_kv_bytes(shape, 1e6)
