"""Architectures: counts, names, configuration files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tracewrap.errors import ConfigurationError, ProfileFormatError, ProfileNotFoundError
from tracewrap.runtime.roofline.architecture import Architecture
from tracewrap.runtime.roofline.architectures import get_model, load_models, read_config, resolve_model

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


def test_at_least_sixty_models_of_the_named_vendors_each_with_its_source() -> None:
    """The shipped table covers the vendors that people call, and says where each shape comes from."""
    models = load_models()
    assert len(models) >= 60
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
        "NousResearch/Hermes-3-Llama-3.1-8B",
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
