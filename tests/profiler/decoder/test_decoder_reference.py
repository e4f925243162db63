"""The decoder computes what transformers computes, family by family, with the same random weights."""

from __future__ import annotations

import os
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from reference_weights import copy_weights  # noqa: E402

from tracewrap.profiler.decoder.blueprint_config import blueprint_from_config  # noqa: E402
from tracewrap.profiler.decoder.decoder import Decoder  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

_SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
_NEOX = {name: value for name, value in _SMALL.items() if name != "num_key_value_heads"} | {"hidden_size": 64}
_GPT: dict[str, Any] = {"vocab_size": 97, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 1024}
_EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 24, "num_experts": 6}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
    "rope_theta": 500_000.0,
}
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256, "rope_theta": 10_000.0}
_LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}
_MIX = ["sliding_attention", "full_attention"]

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", _SMALL),
    "llama-biases": ("Llama", _SMALL | {"attention_bias": True, "mlp_bias": True, "head_dim": 16}),
    "llama-3.1-rope": ("Llama", _SMALL | {"rope_parameters": _LLAMA3}),
    "llama-yarn-rope": ("Llama", _SMALL | {"rope_parameters": _YARN}),
    "llama-linear-rope": ("Llama", _SMALL | {"rope_parameters": _LINEAR, "tie_word_embeddings": True}),
    "mistral-window": ("Mistral", _SMALL | {"sliding_window": 300}),
    "qwen2-bias": ("Qwen2", _SMALL),
    "qwen2-moe": ("Qwen2Moe", _SMALL | _EXPERTS | {"shared_expert_intermediate_size": 32, "decoder_sparse_step": 1}),
    "qwen3-qk-norm": ("Qwen3", _SMALL | {"head_dim": 16}),
    "qwen3-moe": ("Qwen3Moe", _SMALL | _EXPERTS | {"head_dim": 16, "norm_topk_prob": True, "mlp_only_layers": [1]}),
    "mixtral": ("Mixtral", _SMALL | {"num_local_experts": 6, "num_experts_per_tok": 2}),
    "gemma": ("Gemma", _SMALL | {"head_dim": 16}),
    "gemma2": ("Gemma2", _SMALL | {"head_dim": 16, "query_pre_attn_scalar": 20, "sliding_window": 300}),
    "gemma3": ("Gemma3", _SMALL | {"head_dim": 16, "sliding_window": 280, "layer_types": _MIX * 2}),
    "cohere": ("Cohere", _SMALL),
    "gpt-neox": ("GPTNeoX", _NEOX),
    "gpt-neox-sequential": ("GPTNeoX", _NEOX | {"use_parallel_residual": False}),
    "gptj": ("GPTJ", _GPT | {"rotary_dim": 8}),
    "gpt2": ("GPT2", _GPT),
}


def _reference(name: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    kind = {"Gemma3": "Gemma3Text"}.get(name, name)
    config = getattr(transformers, f"{kind}Config")(**options, attn_implementation="eager")
    config.eos_token_id = config.bos_token_id = config.pad_token_id = None
    torch.manual_seed(0)
    model = getattr(transformers, "GPT2LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * (0.3 if weight.dim() == 1 else 0.15))
    return model, config.to_dict()


@pytest.mark.parametrize("case", list(CASES))
def test_logits_equal_the_reference(case: str) -> None:
    """Every logit of a 400-token prompt and of 6 cached decode steps equals transformers' to 1 part in 10,000."""
    name, options = CASES[case]
    model, config = _reference(name, options)
    blueprint = blueprint_from_config(config, case)
    decoder = Decoder(blueprint, max_tokens=640, layers=None)
    with torch.no_grad():
        copy_weights(decoder, model.state_dict())
        tokens = torch.randint(0, 97, (406,), generator=torch.Generator().manual_seed(1))
        expected = model(tokens[None], use_cache=False).logits[0].float()
    got = decoder.prefill(tokens[:400], every=True)
    size = expected.abs().max().item()
    assert torch.allclose(got, expected[:400], atol=1e-4 * size, rtol=1e-4)
    for at in range(400, 406):
        logits = decoder.step(tokens[at : at + 1], torch.tensor([at]), decoder.blocks_for(at + 1))
        assert torch.allclose(logits, expected[at], atol=1e-4 * size, rtol=1e-4)


@pytest.mark.parametrize("case", ["llama", "mistral-window", "gemma3"])
def test_decode_from_the_first_token(case: str) -> None:
    """Steps alone, from an empty cache and beyond the window's ring, equal the whole prompt at once."""
    name, options = CASES[case]
    model, config = _reference(name, options)
    decoder = Decoder(blueprint_from_config(config, case), max_tokens=640)
    with torch.no_grad():
        copy_weights(decoder, model.state_dict())
        tokens = torch.randint(0, 97, (600,), generator=torch.Generator().manual_seed(2))
        expected = model(tokens[None], use_cache=False).logits[0].float()
    decoder.prefill(tokens[:1])
    for at in range(1, 600):
        logits = decoder.step(tokens[at : at + 1], torch.tensor([at]), decoder.blocks_for(at + 1))
    assert torch.allclose(logits, expected[-1], atol=1e-4 * expected.abs().max().item(), rtol=1e-4)
