"""Refit the paper's ten models on A100 and write reference_profiles/a100-sxm-80gb_megatron-fp16.json.

    python benchmarks/make_paper_profiles.py [--data ../shared/data/helm-efficiency] [-o FILE]

Input: the generation times that came with Narayanan et al., arXiv 2305.02440: 27 prompt sizes x 10 output sizes a model,
mean of 50 runs each. ``mt_nlg`` was profiled with 35 of its 105 layers on 8 GPUs and is served on 24: times 3. Models
that HELM's table has and the measurements do not are imported from that table.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import statistics
from collections.abc import Mapping
from pathlib import Path

from tracewrap.formats.helm import profile_from_helm, read_helm
from tracewrap.runtime.files import reference_folder
from tracewrap.runtime.fit.fitting import Sample, fit
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.stack import ReferenceStack, save_stack

STACK = "a100-sxm-80gb_megatron-fp16"
SOURCE = "Narayanan et al. 2023, arXiv 2305.02440, repository stanford-crfm/helm-efficiency"

# model id: (model in the measurements, factor on seconds, GPUs it is served on)
MEASURED: Mapping[str, tuple[str, float, int]] = {
    "openai/davinci": ("openai_davinci", 1.0, 8),
    "ai21/j1-jumbo": ("ai21_j1_jumbo", 1.0, 8),
    "ai21/j1-grande": ("ai21_j1_grande", 1.0, 1),
    "ai21/j1-large": ("ai21_j1_large", 1.0, 1),
    "cohere/xlarge-20220609": ("anthropic", 1.0, 4),
    "anthropic/stanford-online-all-v4-s3": ("anthropic", 1.0, 4),
    "microsoft/TNLGv2_530B": ("mt_nlg", 3.0, 24),
    "EleutherAI/gpt-j-6b": ("gptj_6b", 1.0, 1),
    "yandex/yalm-100b": ("yalm", 1.0, 4),
    "bigscience/bloom": ("bloom", 1.0, 8),
    # the same shapes under other names, as HELM's table has them
    "facebook/opt-175b": ("openai_davinci", 1.0, 8),
    "openai/curie": ("ai21_j1_large", 1.0, 1),
    "microsoft/TNLGv2_7B": ("ai21_j1_large", 1.0, 1),
}
# their own shape was never measured: HELM's table takes J1-Large's
ASSUMED = ("openai/curie", "microsoft/TNLGv2_7B")
SAME_SHAPE = ("facebook/opt-175b", *ASSUMED)
IMPORTED: Mapping[str, tuple[str, int]] = {
    "EleutherAI/gpt-neox-20b": ("together/gpt-neox-20b", 1),
    "facebook/opt-66b": ("together/opt-66b", 4),
}


def main() -> None:
    """Read, fit, write, print what was fitted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--data", type=Path, default=root.parent / "shared" / "data" / "helm-efficiency")
    parser.add_argument("-o", "--output", type=Path, default=reference_folder() / f"{STACK}.json")
    args = parser.parse_args()
    rows = list(csv.DictReader((args.data / "megatron_a100.csv").open(encoding="utf-8")))
    profiles = {model: refit(model, rows) for model in MEASURED}
    table = read_helm(args.data / "helm_inference_idealized_runtimes.json")
    for model, (name, n_gpus) in IMPORTED.items():
        measured = {"by": SOURCE, "source": "HELM's idealized runtime table, rounded to a millisecond"}
        profiles[model] = profile_from_helm(
            model, table[name], id=f"{STACK}/{model}", n_gpus=n_gpus, stack={"id": STACK}, measured=measured
        )
    save_stack(stack_of(profiles), args.output)
    print(f"{'model':<38}{'samples':>8}{'median':>9}{'p90':>9}{'p99':>9}")
    for model, profile in profiles.items():
        errors = [profile.fit.get(f"residual_{k}") for k in ("median", "p90", "p99")]
        cells = "".join(f"{'-':>9}" if e is None else f"{e:>9.2%}" for e in errors)
        print(f"{model:<38}{profile.fit.get('samples', '-'):>8}{cells}")


def refit(model: str, rows: list[dict[str, str]]) -> RuntimeProfile:
    """The profile of *model*, residuals kept in ``fit`` as [input tokens, output tokens, measured/predicted - 1]."""
    name, factor, n_gpus = MEASURED[model]
    samples = [
        Sample(
            input_tokens=int(row["input_tokens"]),
            output_tokens=int(row["output_tokens"]),
            runtime_s=factor * float(row["runtime_s"]),
        )
        for row in rows
        if row["model"] == name
    ]
    note = {} if factor == 1 else {"scaled": f"measured with 1/{factor:g} of the layers on 8 GPUs, times {factor:g}"}
    result = fit(
        samples,
        id=f"{STACK}/{model}",
        model=model,
        n_gpus=n_gpus,
        stack={
            "id": STACK,
            "gpu": "a100-sxm-80gb",
            "software": {"megatron-lm": "2022"},
            "precision": "fp16",
            "batch": 1,
        },
        measured={"by": SOURCE, "date": "2022", "command": f"benchmarks/make_paper_profiles.py ({name})", **note},
    )
    profile = dataclasses.replace(result.profile, provenance="assumed") if model in ASSUMED else result.profile
    return with_residuals(profile, samples, keep=model not in SAME_SHAPE)


def with_residuals(profile: RuntimeProfile, samples: list[Sample], keep: bool) -> RuntimeProfile:
    """*profile* with the 99th percentile of its residuals in ``fit``, and the residuals themselves if *keep*."""
    residuals = [
        [s.input_tokens, s.output_tokens, round(s.runtime_s / profile.runtime(s.input_tokens, s.output_tokens) - 1, 4)]
        for s in samples
    ]
    p99 = statistics.quantiles((abs(r[2]) for r in residuals), n=100, method="inclusive")[98]
    kept = {**profile.fit, "residual_p99": round(p99, 6)} | ({"residuals": residuals} if keep else {})
    return dataclasses.replace(profile, fit=kept)


def stack_of(profiles: Mapping[str, RuntimeProfile]) -> ReferenceStack:
    """The reference stack; price and power come from gpus.toml."""
    return ReferenceStack(
        id=STACK,
        gpu="a100-sxm-80gb",
        precision="fp16",
        software={"megatron-lm": "2022, as in arXiv 2305.02440"},
        description="A100-80GB, Megatron-LM, fp16, batch 1: the paper's reference, refitted from its measurements",
        profiles=profiles,
    )


if __name__ == "__main__":
    main()
