"""How sensitive results are to the reference stack: rank changes over five stacks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from tracewrap.records import Estimate
from tracewrap.runtime.roofline.estimating import estimate_by_name, reference_stack
from tracewrap.study.mixes import MIXES
from tracewrap.study.questions.answer import Answer, Row
from tracewrap.study.suite import over_mix

QUESTION = "How sensitive are results to the reference stack?"
STACKS = ("h100-sxm:vllm", "a100-sxm-80gb:vllm", "b200:vllm", "mi300x:vllm", "h100-sxm:trtllm")
MODELS = (
    "meta-llama/Llama-3.2-1B-Instruct",
    "Qwen/Qwen2.5-7B-Instruct",
    "meta-llama/Llama-3.1-8B-Instruct",
    "mistralai/Mistral-Small-24B-Instruct-2501",
    "Qwen/Qwen3-30B-A3B",
    "mistralai/Mixtral-8x7B-Instruct-v0.1",
    "meta-llama/Llama-3.3-70B-Instruct",
    "openai/gpt-oss-120b",
    "Qwen/Qwen3-235B-A22B",
    "deepseek-ai/DeepSeek-V3",
)


def answer(data: Path | None) -> Answer:
    """Ranks of ten models by runtime and by cost of a chat call on five stacks."""
    runtime, cost = {}, {}
    for stack in STACKS:
        price = reference_stack(stack).price
        for model in MODELS:
            profile = estimate_by_name(model, stack)
            found = over_mix(MIXES["chat"], lambda s, p=profile: p.estimate(s.input_tokens, s.output_tokens))  # type: ignore[misc]
            runtime[stack, model] = found
            usd = (price.usd_per_gpu_hour if price else 0.0) * (profile.n_gpus or 1) / 3600.0
            cost[stack, model] = found.scaled(usd)
    rows = [_row(stack, runtime, cost) for stack in STACKS]
    ranks = _ranks(runtime)
    moved = max(MODELS, key=lambda m: max(ranks[s][m] for s in STACKS) - min(ranks[s][m] for s in STACKS))
    places = sorted(ranks[s][moved] for s in STACKS)
    worst = min(rows, key=lambda r: float(r["tau"]))
    clear = sum(int(r["clear"]) for r in rows)
    return Answer(
        QUESTION,
        f"Ten open models of 1B to 671B parameters, mean idealized seconds and dollars of a chat call "
        f"({MIXES['chat'].source.split(',')[0]}), "
        f"each on the fewest GPUs that hold it. Ranks are compared with those on {STACKS[0]}; a swap of two models is clear when their "
        "90% intervals do not overlap on either stack.",
        "stack=stack;tau=Kendall's tau|3;moved=models that move|#;farthest=farthest|#;swaps=pairs swapped|#;clear=clearly|#;"
        "cost_tau=tau by cost|3;cost_moved=move by cost|#",
        rows,
        [
            f"By runtime the least agreement is on {worst['stack']}: tau {worst['tau']:.2f}. {moved.split('/')[1]} moves most, between "
            f"place "
            f"{places[0]} and {places[-1]}.",
            f"Of all swaps {clear} are clear: the others lie within what the estimates can be wrong by. Mixtures move, dense models keep "
            "their order, since time per token follows active weights and layers on every stack.",
        ],
        "Compare models on the stack you would run them on; between stacks trust an order only where the intervals do not overlap.",
        "analytic profiles from the project's model and GPU tables",
    )


Found = dict[tuple[str, str], Estimate]


def _ranks(found: Found) -> dict[str, dict[str, int]]:
    out = {}
    for stack in STACKS:
        order = sorted(MODELS, key=lambda m: found[stack, m].value)
        out[stack] = {model: order.index(model) + 1 for model in order}
    return out


def _row(stack: str, runtime: Found, cost: Found) -> Row:
    first = STACKS[0]
    ranks, dollars = _ranks(runtime), _ranks(cost)
    moves = [abs(ranks[stack][m] - ranks[first][m]) for m in MODELS]
    swapped = _swapped(ranks[first], ranks[stack])
    clear = sum(_apart(runtime, first, pair) and _apart(runtime, stack, pair) for pair in swapped)
    row: Row = {"stack": stack, "tau": _tau(swapped), "moved": sum(move > 0 for move in moves), "farthest": max(moves)}
    row |= {"swaps": len(swapped), "clear": clear, "cost_tau": _tau(_swapped(dollars[first], dollars[stack]))}
    return row | {"cost_moved": sum(dollars[stack][m] != dollars[first][m] for m in MODELS)}


def _swapped(a: dict[str, int], b: dict[str, int]) -> list[tuple[str, str]]:
    return [(x, y) for x, y in itertools.combinations(MODELS, 2) if (a[x] - a[y]) * (b[x] - b[y]) < 0]


def _tau(swapped: Sequence[tuple[str, str]]) -> float:
    pairs = len(MODELS) * (len(MODELS) - 1) / 2
    return 1.0 - 2.0 * len(swapped) / pairs


def _apart(found: Found, stack: str, pair: tuple[str, str]) -> bool:
    a, b = (found[stack, model] for model in pair)
    return a.high < b.low or b.high < a.low
