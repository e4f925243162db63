"""Reading the measured data that the study starts from."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracewrap.formats.profile_drawing import COLOURS

# model in the measurements -> model on the reference stack, factor on seconds
LOGS = {
    "gptj_6b": ("EleutherAI/gpt-j-6b", 1.0),
    "ai21_j1_large": ("ai21/j1-large", 1.0),
    "ai21_j1_grande": ("ai21/j1-grande", 1.0),
    "anthropic": ("anthropic/stanford-online-all-v4-s3", 1.0),
    "yalm": ("yandex/yalm-100b", 1.0),
    "bloom": ("bigscience/bloom", 1.0),
    "openai_davinci": ("openai/davinci", 1.0),
    "ai21_j1_jumbo": ("ai21/j1-jumbo", 1.0),
    "mt_nlg": ("microsoft/TNLGv2_530B", 3.0),
}
# API model -> model on the reference stack, assumed or not. The instructed models stand on the shape of their base model, and
# curie, whose own was never measured, on J1-Large's, as in HELM's table: assumed.
SHAPES = {
    "openai/davinci": ("openai/davinci", False),
    "openai/curie": ("openai/curie", True),
    "ai21/j1-jumbo": ("ai21/j1-jumbo", False),
    "ai21/j1-grande": ("ai21/j1-grande", False),
    "ai21/j1-large": ("ai21/j1-large", False),
    "anthropic/stanford-online-helpful-v4-s3": ("anthropic/stanford-online-all-v4-s3", False),
    "openai/text-davinci-001": ("openai/davinci", True),
    "openai/text-davinci-002": ("openai/davinci", True),
    "openai/text-curie-001": ("openai/curie", True),
}
SHORT = {
    "EleutherAI/gpt-j-6b": "GPT-J 6B",
    "ai21/j1-large": "J1-Large 7.5B",
    "ai21/j1-grande": "J1-Grande 17B",
    "anthropic/stanford-online-all-v4-s3": "Anthropic 52B",
    "anthropic/stanford-online-helpful-v4-s3": "Anthropic 52B",
    "cohere/xlarge-20220609": "Cohere xlarge 52B",
    "yandex/yalm-100b": "YaLM 100B",
    "bigscience/bloom": "BLOOM 176B",
    "openai/davinci": "davinci 175B",
    "openai/curie": "curie",
    "ai21/j1-jumbo": "J1-Jumbo 178B",
    "microsoft/TNLGv2_530B": "TNLG v2 530B",
    "facebook/opt-175b": "OPT 175B",
}

PALETTE = (*COLOURS, "#f59e0b", "#14b8a6", "#a855f7", "#e11d48")


def short(model: str) -> str:
    """A model's name for tables and charts."""
    return SHORT.get(model, model.split("/")[-1])


def colour(model: str) -> str:
    """A model's colour, the same in every chart."""
    order = list(dict.fromkeys([*(m for m, _ in LOGS.values()), *SHAPES, "cohere/xlarge-20220609"]))
    names = list(dict.fromkeys(map(short, order)))
    return PALETTE[names.index(short(model)) % len(PALETTE)]


@dataclass(frozen=True, slots=True)
class Measured:
    """Mean seconds of one configuration."""

    model: str
    input_tokens: int
    output_tokens: int
    runtime_s: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """Mean over the instances of one scenario through one API; ``accuracy`` None: not in the data."""

    name: str
    model: str
    raw_s: float
    published_idealized_s: float | None
    input_tokens: float
    output_tokens: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Data:
    """Everything the study reads."""

    logs: list[Measured]
    calls: list[Measured]
    minima: list[Measured]
    scenarios: list[Scenario]
    batch1: list[dict[str, str]]
    denoised_json: Path
    idealized_json: Path
    published: dict[str, Any]


def load(folder: Path, accuracy: Path | None = None) -> Data:
    """Read the folder that holds ``helm-efficiency`` and ``argonne``; *accuracy* fills accuracies that are absent."""
    helm = folder / "helm-efficiency"
    return Data(
        logs=_logs(helm / "megatron_a100.csv"),
        calls=_api(helm / "api_calls.csv", "runtime_s"),
        minima=_api(helm / "api_minima.csv", "min_runtime_s"),
        scenarios=_filled(_scenarios(helm / "runtimes_and_accuracies.csv"), accuracy),
        batch1=rows(folder / "argonne" / "batch1.csv"),
        denoised_json=helm / "helm_inference_denoised_runtimes.json",
        idealized_json=helm / "helm_inference_idealized_runtimes.json",
        published=published(),
    )


def published() -> dict[str, Any]:
    """Numbers that the paper, its notebooks and its figures state; part of the project."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8"))
    return found


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _logs(path: Path) -> list[Measured]:
    found = []
    for row in rows(path):
        model, factor = LOGS[row["model"]]
        found.append(
            Measured(model, int(row["input_tokens"]), int(row["output_tokens"]), factor * float(row["runtime_s"]))
        )
    return found


def _api(path: Path, column: str) -> list[Measured]:
    return [
        Measured(api_model(row["model"]), int(row["input_tokens"]), int(row["output_tokens"]), float(row[column]))
        for row in rows(path)
        if row["input_tokens"]  # one curve a model was drawn in the paper without its prompt size
    ]


def api_model(name: str) -> str:
    """HELM's id of an API model from the forms used in the files: ai21_j1_grande, openai-davinci, openai_text-..."""
    vendor, rest = re.split(r"[_-]", name, maxsplit=1)
    rest = rest.replace("_", "-")
    return f"{vendor}/{'code-' + rest if rest.startswith('cushman') else rest}"


def _scenarios(path: Path) -> list[Scenario]:
    found = []
    for row in rows(path):
        match = re.match(r"(?P<name>.*?)[:,]model=(?P<model>[^,]+)$", row["scenario"])
        if match is None or not row["inference_runtime"]:
            continue
        vendor, _, model = match["model"].partition("_")
        found.append(
            Scenario(
                name=match["name"],
                model=f"{vendor}/{model}",
                raw_s=float(row["inference_runtime"]),
                published_idealized_s=_optional(row["inference_idealized_runtime"]),
                input_tokens=float(row["num_tokens_in_prompt"]),
                output_tokens=float(row["num_output_tokens"]),
                accuracy=_optional(row["exact_match"]),
            )
        )
    return found


def _filled(scenarios: list[Scenario], accuracy: Path | None) -> list[Scenario]:
    if accuracy is None:
        return scenarios
    given = {(row["scenario"], row["model"]): float(row["accuracy"]) for row in rows(accuracy)}
    return [
        dataclasses.replace(s, accuracy=given.get((s.name, s.model))) if s.accuracy is None else s for s in scenarios
    ]


def _optional(text: str) -> float | None:
    return float(text) if text.strip() else None
