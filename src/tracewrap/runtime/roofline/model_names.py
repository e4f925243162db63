"""From any host's name of a model to the id of its architecture.

A name is brought to a key: last path component, lower case, words that do not change the shape (instruct, turbo, fp8,
awq, gguf, ...) removed. Two names with the same key are the same architecture. Nothing is matched by likeness: a word
that is not known to be harmless makes the name unknown, so a fine-tune, a distillation or a closed model never
borrows another model's shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tracewrap.runtime.roofline.architecture import Architecture

# Words that say how the same shape was tuned, served or packed.
_TUNED = ("instruct", "inst", "chat", "it", "hf", "original", "base", "pt", "preview", "unsloth")
_SERVED = (
    *("turbo", "free", "versatile", "instant", "latency", "optimized", "fast", "serverless", "reference"),
    *("tput", "maas", "tee"),
)
_PACKED = (
    *(
        "fp4",
        "fp8",
        "fp16",
        "bf16",
        "nvfp4",
        "mxfp4",
        "mxfp8",
        "nf4",
        "int4",
        "int8",
        "4bit",
        "8bit",
        "w4a16",
        "w8a8",
        "w8a16",
        "g128",
    ),
    *("awq", "gptq", "gguf", "ggml", "exl2", "bnb", "mlx", "onnx", "ud", "dynamic", "block", "quantized"),
)
_HARMLESS = frozenset((*_TUNED, *_SERVED, *_PACKED))
_REGION_AND_VENDOR = re.compile(
    r"^(?:(?:us|eu|apac|global|au|jp|ca|us-gov)\.)?(?:(?:meta|mistral|qwen|openai|google|nvidia)\.)?"
)
_SERVING_VERSION = re.compile(r"(?:-v?\d+)?:\d+$")  # Bedrock: "-v1:0", "-1:0"
_ROUTER_SUFFIX = re.compile(  # which provider, or how to choose one
    r":(?:novita|together|fireworks-ai|groq|cerebras|sambanova|nebius|hyperbolic|featherless-ai|nscale|hf-inference|scaleway"
    r"|publicai|ovhcloud|deepinfra|baseten|parasail|siliconflow|chutes|atlas-cloud|phala|wandb|zai-org|fastest|cheapest|preferred|floor|nitro|free|exacto|extended)$"
)
_LLAMA_CPP_TAG = re.compile(r"(?<![a-z0-9])i?q[2-8](?:_[0-9a-z]+)*(?![a-z0-9])")
_VERSION_WORD = re.compile(r"^v(?=\d)")  # "v3p1" and "3.1" are one version
_SEPARATORS = re.compile(r"[-_:@ ]+")


def name_key(name: str) -> str:
    """The comparable form of a host's model *name*; empty when nothing is left."""
    parts = [part for part in name.strip().lower().replace("\\", "/").split("/") if part]
    last = parts[-1].removesuffix(".gguf") if parts else ""
    last = _REGION_AND_VENDOR.sub("", _ROUTER_SUFFIX.sub("", last)).removeprefix("databricks-")
    last = _SERVING_VERSION.sub("", last).removeprefix("meta-")
    last = _LLAMA_CPP_TAG.sub("", last).replace(".", "p")
    words = [word for word in _SEPARATORS.split(last) if word and word not in _HARMLESS]
    return "".join(_VERSION_WORD.sub("", word) for word in words)


def name_index(models: Mapping[str, Architecture]) -> dict[str, str]:
    """Key to model id, from ids and aliases; of two models with one key the first keeps it.

    An alias that starts with ``=`` matches only letter for letter (any case), not by key.
    """
    index: dict[str, str] = {}
    for model_id in models:
        index.setdefault(name_key(model_id), model_id)
    for model_id, architecture in models.items():
        for name in architecture.aliases:
            index.setdefault(name.lower() if name.startswith("=") else name_key(name), model_id)
    return index


def resolve(name: str, index: Mapping[str, str]) -> str | None:
    """The model id for *name* in *index*, or ``None``."""
    exact = index.get(f"={name.strip().lower()}")
    key = name_key(name)
    return exact or (index.get(key) if key else None)
