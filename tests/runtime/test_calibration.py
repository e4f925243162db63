"""The calibration: what the shipped constants say of the rows they were fitted to, and that its script gives them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tracewrap.runtime.files import reference_folder
from tracewrap.runtime.roofline.estimating import prepare
from tracewrap.runtime.roofline.gpus import get_gpu
from tracewrap.runtime.roofline.stacks import UNKNOWN, find_stack, load_stacks
from tracewrap.runtime.roofline.terms import decode_step_s, first_token_s, prefill_s, token_s
from tracewrap.runtime.toml_files import read_toml

pytest.importorskip("scipy")
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def analytic() -> Iterator[ModuleType]:
    """The benchmark as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import analytic as module

        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))


def estimated(row: Any) -> tuple[float, float]:
    """Seconds of a measured row by the shipped constants, and the 90% half-width, log scale."""
    stack = find_stack(row.stack) if row.stack else load_stacks()[UNKNOWN]
    gpu = get_gpu(row.gpu)
    s, _ = prepare(
        row.architecture,
        gpu,
        n_gpus=row.n_gpus,
        stack=stack,
        precision=row.precision,
        concurrency=row.concurrency,
    )
    p = -(-row.p // s.constants.tile) * s.constants.tile
    kind = "first" if row.quantity == "first" else "token"
    width = stack.half_width(kind, stack.distances(row.architecture, gpu, row.precision))
    if row.quantity == "first":
        return first_token_s(s, p, row.concurrency), width
    if row.quantity == "token":
        return token_s(s, p, row.o, row.concurrency), width
    return prefill_s(s, p) + (row.o - 1) * decode_step_s(s, row.p + row.o / 2), width


def test_shipped_constants_describe_what_they_were_fitted_to(analytic: ModuleType, shared_data: Path) -> None:
    """Set by set: error at the median and the 90th percentile, and the interval holds at least 85% of the rows."""
    limits = {
        "serving: time per token, dense": (8, 27),
        "serving: time per token, mixtures": (14, 38),
        "serving: first token, 1k or more, one user": (15, 40),
        "serving: first token, 1k or more, 4 in flight": (25, 60),
        "argonne: vLLM and TensorRT-LLM of 2024, A100, H100": (4, 10),
        "Qwen2.5 to 32k, vLLM": (4, 8),
        "Megatron-LM, A100 (the paper's)": (4, 13),
    }
    rows = analytic.training_rows(shared_data)
    for name, (median, p90) in limits.items():
        own = [row for row in rows if analytic.SETS[name][0](row)]
        values = [estimated(row) for row in own]
        off = [abs(value / row.seconds - 1) * 100 for row, (value, _) in zip(own, values, strict=True)]
        held = [abs(np.log(v / row.seconds)) <= width for row, (v, width) in zip(own, values, strict=True)]
        assert np.median(off) <= median, name
        assert np.quantile(off, 0.9) <= p90, name
        assert np.mean(held) >= 0.85, name


def test_the_calibration_and_the_product_read_stack_names_alike(analytic: ModuleType, shared_data: Path) -> None:
    """A row's constants come from the nodes that ``find_stack`` gives its stack."""
    from engines import path_of

    for stack in {row.stack for row in analytic.training_rows(shared_data) if row.stack}:
        assert tuple(node.id for node in find_stack(stack).nodes) == path_of(stack)


def test_shipped_constants_are_those_that_the_calibration_gives(analytic: ModuleType, shared_data: Path) -> None:
    """The file of constants is what its script writes from the data, to what the optimisation's tolerance allows."""
    from calibrate_stacks import document

    table = analytic.tabulate(analytic.training_rows(shared_data))
    again = document(table, analytic.fit(table))
    shipped = read_toml(reference_folder() / "stacks.toml")
    for key, value in again["general"]["constants"].items():
        assert value == pytest.approx(shipped["general"]["constants"][key], rel=0.1), key
    for node in ("vllm-v1", "trtllm-1", "vllm-v0"):
        for key, value in again[node]["factors"]["all"].items():
            assert value == pytest.approx(shipped[node]["factors"]["all"].get(key, 1.0), rel=0.1), (node, key)


def test_single_streams_of_current_vllm_are_predicted_without_being_fitted(analytic: ModuleType) -> None:
    """Seven published figures of vLLM 0.23 and 0.30: within 10% each, and within the interval."""
    for line in analytic.published():
        assert line["estimated_ms"] == pytest.approx(line["measured_ms"], rel=0.1), line["case"]
        assert line["within_interval"], line["case"]


def test_servers_that_draft_tokens_are_known_by_their_times(analytic: ModuleType) -> None:
    """A longer output that takes a tenth less a token, and what repeats another row with more GPUs, are left out; no other row."""
    from measured import left_out

    def row(stack: str, n_gpus: int, output: int, token_s: float) -> dict[str, str]:
        named = {"source": "s", "model": "m", "gpu": "g", "stack": stack, "precision": "fp8", "concurrency": "4"}
        sizes = {"n_gpus": str(n_gpus), "input_tokens": "1024", "output_tokens": str(output)}
        return {**named, **sizes, "ttft_s": "0.1", "time_per_output_token_s": str(token_s), "end_to_end_s": ""}

    plain = [row("plain", 8, 1024, 0.010), row("plain", 8, 8192, 0.0096)]
    drafting = [row("drafts", 8, 1024, 0.006), row("drafts", 8, 8192, 0.005), row("drafts", 4, 1024, 0.007)]
    both = [row("both", 8, 1024, 0.010), row("both", 8, 1024, 0.006), row("both", 8, 8192, 0.0101)]
    both.append(row("both", 8, 8192, 0.005))
    several, twice = left_out([*plain, *drafting, *both, row("plain", 64, 1024, 0.010)])
    assert several == {2, 3, 4, 6, 8}
    assert twice == {9}
