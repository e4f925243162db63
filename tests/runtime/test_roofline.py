"""Analytic profiles: terms, fits in memory, intervals, accuracy on measured data."""

from __future__ import annotations

import csv
import dataclasses
import math
import random
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracewrap.errors import ConfigurationError, ProfileFormatError, ProfileNotFoundError
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.roofline.architecture import BYTES_PER_VALUE, Architecture
from tracewrap.runtime.roofline.architectures import get_model, load_models
from tracewrap.runtime.roofline.estimating import (
    default_stack_ids,
    estimate_by_name,
    estimate_profile,
    make_setup,
    prepare,
    reference_stack,
    resolve_precision,
    server_times,
)
from tracewrap.runtime.roofline.gpus import get_gpu, load_gpus
from tracewrap.runtime.roofline.memory import USABLE_MEMORY, minimum_gpus
from tracewrap.runtime.roofline.stacks import find_stack, load_stacks
from tracewrap.runtime.roofline.terms import (
    Constants,
    Setup,
    attention_flops,
    decode_step_s,
    kv_bytes,
    prefill_s,
    read_bytes,
    stored_kv_bytes,
    weight_bytes,
)

IDEAL = Constants(
    bandwidth_efficiency=1.0,
    flop_efficiency=1.0,
    attention_efficiency=1.0,
    layer_s=0.0,
    step_s=0.0,
    first_s=0.0,
    all_reduce_s=0.0,
    kv_efficiency=1.0,
    scan_s=0.0,
    moe_layer_s=0.0,
)


def ideal(model: str, gpu: str = "h100-sxm", n: int = 1, precision: str = "bf16") -> Setup:
    """A setup at peak rates without overheads."""
    return make_setup(get_model(model), get_gpu(gpu), n, precision, IDEAL)


def test_every_shipped_model_on_every_shipped_gpu_is_sane() -> None:
    """No NaN, no negative, nothing that does not fit, no interval that misses its centre."""
    made = 0
    for model in load_models().values():
        for gpu in load_gpus().values():
            try:
                profile = estimate_profile(model, gpu)
            except ProfileNotFoundError:  # on no supported number of these GPUs
                assert weight_bytes(model, model.precision) > USABLE_MEMORY * gpu.memory_bytes * gpu.node_gpus
                continue
            made += 1
            assert weight_bytes(model, model.precision) <= USABLE_MEMORY * gpu.memory_bytes * (profile.n_gpus or 0)
            for p, o in ((1, 0), (1, 1), (1000, 100), (model.context, 1000)):
                estimate = profile.estimate(p, o)
                assert math.isfinite(estimate.high)
                assert 0 < estimate.low < estimate.value < estimate.high
    assert made > 2000


def test_at_peak_rates_a_step_is_the_bytes_over_the_bandwidth() -> None:
    """Weights without the embedding table, plus keys and values, over 3.35 TB/s."""
    setup = ideal("llama-3.1-8b")
    model = setup.model
    bytes_read = 2 * (model.total_parameters - model.head_parameters) + kv_bytes(model, 1000)
    assert decode_step_s(setup, 1000) == pytest.approx(bytes_read / 3.35e12)


def test_at_peak_rates_a_prompt_takes_its_operations_beside_the_weight_read() -> None:
    """Prefill is additive: products, attention and one read of the weights."""
    setup = ideal("llama-3.1-8b")
    layers = setup.model.active_parameters - setup.model.head_parameters
    flops = 2 * 4096 * layers + 2 * setup.model.head_parameters
    attention = 2 * 32 * 256 * 32 * 4096**2 / 2
    weights = 2 * (layers + setup.model.head_parameters) / 3.35e12
    assert prefill_s(setup, 4096) == pytest.approx((flops + attention) / 989e12 + weights, rel=1e-6)


def test_a_latent_cache_and_few_kv_heads_are_not_split() -> None:
    """The KV read per GPU stops shrinking at kv_heads, and never shrinks for MLA."""
    for model, widths in (("Qwen/Qwen3-30B-A3B", (4, 8)), ("deepseek-ai/DeepSeek-V2.5", (1, 8))):
        slopes = [decode_step_s(ideal(model, n=n), 9000) - decode_step_s(ideal(model, n=n), 1000) for n in widths]
        assert slopes[0] == pytest.approx(slopes[1])


def test_sliding_layers_stop_reading_at_their_window() -> None:
    """Beyond the window only the full layers add to the step."""
    setup = ideal("openai/gpt-oss-20b", precision="mxfp4")
    per_token = 12 * 2 * 8 * 64 * 2 / 3.35e12
    assert decode_step_s(setup, 9000) - decode_step_s(setup, 8000) == pytest.approx(1000 * per_token)


def test_more_experts_are_read_for_more_sequences() -> None:
    """A dense step reads the same weights for any batch, a mixture more of them."""
    dense, mixture = ideal("llama-3.1-8b"), ideal("Qwen/Qwen3-30B-A3B")
    assert decode_step_s(dense, 0, 16) == pytest.approx(decode_step_s(dense, 0, 1))
    assert decode_step_s(mixture, 0, 16) > 3 * decode_step_s(mixture, 0, 1)


def test_narrow_weights_leave_embedding_and_output_layer_wide() -> None:
    """An fp8 8B model weighs its layers once and its two tables twice."""
    model = get_model("llama-3.1-8b")
    tables = 2 * model.head_parameters
    assert weight_bytes(model, "fp8") == model.total_parameters + tables
    oss = get_model("gpt-oss-120b")
    assert weight_bytes(oss, "mxfp4") / 1e9 == pytest.approx(65.2, rel=0.03)


@given(
    layers=st.integers(1, 200),
    heads=st.sampled_from((1, 2, 8, 40, 128)),
    head_dim=st.sampled_from((32, 64, 128, 256)),
    hidden=st.integers(1, 40_000),
    ffn=st.integers(1, 200_000),
    vocab=st.integers(1, 500_000),
    context=st.integers(1, 2_000_000),
    experts=st.sampled_from((0, 1, 8, 512)),
    precision=st.sampled_from(sorted(BYTES_PER_VALUE)),
    gpu=st.sampled_from(sorted(load_gpus())),
    stack=st.sampled_from(sorted(load_stacks())),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_shape_on_any_gpu_gives_a_sane_profile_or_one_line(
    experts: int, precision: str, gpu: str, stack: str, **shape: int
) -> None:
    """Whatever the shape: finite, positive, never cheaper for more tokens, or refused because it does not fit."""
    mixture = {"experts": experts, "active_experts": min(experts, 2), "expert_ffn": shape["ffn"]} if experts else {}
    model = Architecture(id="any", kv_heads=1, precision=precision, **shape, **mixture)
    try:
        profile = estimate_profile(model, load_gpus()[gpu], stack=stack)
    except ProfileNotFoundError:  # too large for every supported number of these GPUs
        assert (
            weight_bytes(model, precision) > USABLE_MEMORY * load_gpus()[gpu].memory_bytes * load_gpus()[gpu].node_gpus
        )
        return
    few, many = profile.estimate(1, 1), profile.estimate(shape["context"], 100)
    assert 0 < few.low < few.value < few.high <= many.high < math.inf


def test_more_gpus_are_faster_and_longer_contexts_slower() -> None:
    """Directions hold for a dense model under the shipped constants."""
    model, gpu = get_model("llama-3.3-70b"), get_gpu("h100")
    one, two, four = (estimate_profile(model, gpu, n_gpus=n).runtime(2000, 200) for n in (2, 4, 8))
    assert one > two > four
    profile = estimate_profile(model, gpu, n_gpus=4)
    assert profile.d1 > 0
    assert profile.runtime(100_000, 200) > profile.runtime(1000, 200)


@pytest.mark.parametrize(
    ("model", "gpu", "precision", "least"),
    [
        ("llama-3.1-8b", "l4", None, 1),
        ("llama-3.3-70b", "h100", None, 2),
        ("qwen3-32b", "l4", None, 4),
        ("Qwen/Qwen2.5-72B-Instruct", "h100", "bf16", 2),
        ("gpt-oss-120b", "h100", None, 1),
        ("llama-3.1-405b", "h100", "fp8", 8),
        ("deepseek-ai/DeepSeek-R1", "h200", "fp8", 8),
        ("deepseek-ai/DeepSeek-R1", "b200", "fp8", 4),
    ],
)
def test_the_fewest_gpus_that_hold_weights_and_cache_are_taken(
    model: str, gpu: str, precision: str | None, least: int
) -> None:
    """Without n_gpus the profile is for the smallest power of two that fits: what these models are served on in public."""
    assert estimate_profile(get_model(model), get_gpu(gpu), precision=precision).n_gpus == least


def test_of_what_is_kept_sparse_attention_reads_a_part() -> None:
    """DeepSeek-V3.2 keeps every token's latent and reads 2,048 of them and a narrow index."""
    sparse, full = get_model("deepseek-ai/DeepSeek-V3.2"), get_model("deepseek-ai/DeepSeek-V3")
    assert stored_kv_bytes(sparse, 100_000) > stored_kv_bytes(full, 100_000)
    assert kv_bytes(sparse, 100_000) < 0.2 * kv_bytes(full, 100_000)


def test_nothing_is_faster_than_the_hardware() -> None:
    """Over stacks, precisions, cards and models: a step takes the bytes over the bandwidth, a prompt its operations over the peak."""
    dice = random.Random(15)
    models, gpus, stacks = list(load_models().values()), list(load_gpus().values()), list(load_stacks())
    made = 0
    for stack in stacks:
        for gpu in gpus:
            for precision in BYTES_PER_VALUE:
                model = dice.choice(models)
                try:
                    setup, _ = prepare(model, gpu, stack=stack, precision=precision)
                except (ConfigurationError, ProfileNotFoundError):
                    continue
                made += 1
                read = read_bytes(setup, 1) + kv_bytes(model, 2000) / setup.width
                assert decode_step_s(setup, 2000) >= read / gpu.bandwidth_bytes_s
                peak = max(gpu.peak_flops(precision), gpu.peak_flops("bf16")) * setup.width
                operations = 2 * 4000 * (model.active_parameters - model.head_parameters)
                assert prefill_s(setup, 4000) >= (operations + attention_flops(model, 4000)) / peak
    assert made > 2000


def test_more_requests_in_flight_slow_each_but_less_than_their_number() -> None:
    """First token and time per token grow with concurrency; a batch is served faster than one after another."""
    for model in ("llama-3.3-70b", "gpt-oss-120b", "deepseek-ai/DeepSeek-R1"):
        setup, stack = prepare(get_model(model), get_gpu("h200"), n_gpus=8)
        alone, four = (server_times(setup, stack, 1024, 1024, n) for n in (1, 4))
        assert alone.first_s.value < four.first_s.value < 4 * alone.first_s.value
        assert alone.token_s.value < four.token_s.value < 2 * alone.token_s.value


def test_a_profile_for_several_requests_says_so() -> None:
    """The profile's id and stack name the concurrency, and its parts are those of a server that has it."""
    model, gpu = get_model("llama-3.1-8b"), get_gpu("h100")
    alone, eight = (estimate_profile(model, gpu, concurrency=n) for n in (1, 8))
    assert (alone.stack["batch"], eight.stack["batch"]) == (1, 8)
    assert eight.id == f"{alone.id}:concurrency-8"
    assert eight.d0 > alone.d0
    assert eight.prompt_time(1024) > alone.prompt_time(1024)
    with pytest.raises(ConfigurationError, match=r"concurrency is 0\.5, must be at least 1"):
        estimate_profile(model, gpu, concurrency=0.5)


def test_too_few_gpus_and_impossible_counts_are_refused_by_name() -> None:
    """The error says what is needed."""
    model, gpu = get_model("llama-3.3-70b"), get_gpu("h100")
    with pytest.raises(ConfigurationError, match=r"n_gpus is 1.*does not fit on 1 x h100-sxm; 2 are needed"):
        estimate_profile(model, gpu, n_gpus=1)
    with pytest.raises(ConfigurationError, match=r"n_gpus is 3: 64 attention heads"):
        estimate_profile(model, gpu, n_gpus=3)
    for count in (0, -1, True, 2.0, 12):
        with pytest.raises(ConfigurationError, match="n_gpus is"):
            estimate_profile(model, gpu, n_gpus=count)  # type: ignore[arg-type]
    with pytest.raises(ProfileNotFoundError, match="does not fit on 128 x t4"):
        minimum_gpus(dataclasses.replace(get_model("Kimi-K2"), experts=4000), get_gpu("t4"), "bf16")


def test_unknown_stack_and_precision_are_refused() -> None:
    """Names that mean nothing are errors with what there is."""
    model, gpu = get_model("llama-3.1-8b"), get_gpu("h100")
    with pytest.raises(ProfileNotFoundError, match=r"no stack 'foo'; known: .*vllm"):
        estimate_profile(model, gpu, stack="foo")
    with pytest.raises(ConfigurationError, match="precision is 'int3', must be one of"):
        estimate_profile(model, gpu, precision="int3")
    assert resolve_precision(model, "GPTQ-Int4") == "int4"


@pytest.mark.parametrize(
    ("name", "stack"),
    [
        ("vllm", "vllm-v1"),
        ("vLLM 0.11.2", "vllm-v1"),
        ("vllm-v0.8", "vllm-v1"),
        ("vllm-9.9", "vllm-v1"),
        ("vllm==0.6.3", "vllm-0.6"),
        ("vllm-0.4", "vllm-v0"),
        ("vllm-rocm", "vllm-rocm"),
        ("TensorRT-LLM", "trtllm-1"),
        ("trtllm-1.2.0rc6.post3", "trtllm-1"),
        ("trtllm-0.10.0", "trtllm-0.10"),
        ("trtllm-0.17", "trtllm-0"),
        ("sglang-0.5.9", "sglang-0.5"),
        ("llama.cpp", "llamacpp"),
        ("llama.cpp-b7000", "llamacpp"),
        ("transformers-5.1", "transformers"),
        ("atom-0.1.1-rocm", "atom"),
    ],
)
def test_a_version_takes_the_constants_of_its_generation(name: str, stack: str) -> None:
    """A framework alone is its newest generation; a version its own constants, or those of its generation."""
    assert find_stack(name).id == stack


def test_a_version_that_was_not_measured_says_whose_constants_it_takes() -> None:
    """The note names the generation and the measured versions; nothing is claimed to be calibrated, and the interval grows."""
    measured, other = find_stack("vllm-0.13.0"), find_stack("vllm-0.9.1")
    assert measured.calibrated
    assert measured.note == ""
    assert not other.calibrated
    assert "vllm 0.9.1 was not measured: constants of V1 engine" in other.note
    model, gpu = get_model("gpt-oss-120b"), get_gpu("h100")
    near, far = (estimate_profile(model, gpu, stack=each) for each in (measured, other))
    assert far.interval.decode > near.interval.decode
    assert far.stack["note"] == other.note
    assert far.stack["software"]["vllm"] == "0.9.1"


def test_provenance_and_interval_say_how_far_the_case_is_from_what_was_measured() -> None:
    """Measured GPU: calibrated and narrow; unseen GPU, mixture and other maker: wider and wider."""
    model = get_model("llama-3.1-8b")

    def width(profile: RuntimeProfile) -> float:
        estimate = profile.estimate(500, 500)
        return estimate.high / estimate.value

    near = estimate_profile(model, get_gpu("h100"), stack="vllm-0.5")
    unseen = estimate_profile(model, get_gpu("b200"), stack="vllm-0.5")
    mixture = estimate_profile(get_model("qwen3-30b-a3b"), get_gpu("b200"), stack="vllm-0.5")
    other = estimate_profile(model, get_gpu("mi300x"), stack="vllm-0.5")
    assert (near.provenance, unseen.provenance) == ("analytic_calibrated", "analytic")
    assert width(near) < width(unseen) < width(mixture)
    assert width(near) < width(other)


def test_knots_reach_the_context_that_fits_and_prompts_are_never_cheaper() -> None:
    """The prompt curve rises out to the model's context, or to what memory holds of it."""
    full = estimate_profile(get_model("llama-3.1-8b"), get_gpu("h100"))
    assert full.max_input_tokens == 131072
    small = estimate_profile(get_model("llama-3.1-8b"), get_gpu("l4"))
    assert 8192 <= small.max_input_tokens < 131072
    seconds = [y for _, y in full.prompt_knots]
    assert seconds == sorted(seconds)
    assert full.extrapolated(200_000, 1)


def test_the_default_reference_is_a_current_h100_stack() -> None:
    """A call to Llama 3.1 8B under a host's name has a profile, a price and a power out of the box."""
    (stack_id,) = default_stack_ids()
    stack = reference_stack(stack_id)
    assert stack.gpu == "h100-sxm"
    assert stack.price is not None
    assert stack.watts == pytest.approx(385)
    profile = estimate_by_name("meta-llama/Llama-3.1-8B-Instruct", stack_id)
    assert estimate_by_name("llama-3.1-8b-instant", stack_id).prompt_knots == profile.prompt_knots
    assert 1e3 * profile.d0 == pytest.approx(6.8, rel=0.15)
    with pytest.raises(ProfileNotFoundError, match="gpt-4o"):
        estimate_by_name("gpt-4o", stack_id)


def test_profiles_need_only_the_standard_library() -> None:
    """Making and evaluating an analytic profile loads no numpy."""
    code = (
        "import sys; from tracewrap.runtime.roofline.estimating import estimate_by_name as e;"
        "e('llama-3.1-8b', 'h100-sxm:vllm').estimate(10, 10); sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_profile_survives_its_file_form() -> None:
    """What is written is what is read."""
    profile = estimate_profile(get_model("gpt-oss-20b"), get_gpu("b200"))
    assert RuntimeProfile.from_dict(profile.to_dict()) == profile


def test_a_broken_stacks_file_is_refused_by_name(tmp_path: Path) -> None:
    """Missing keys, unknown constants and impossible factors name the stack."""
    file = tmp_path / "stacks.toml"
    file.write_text('[mine]\nframework = "x"\nversion = "1"\nmode = "graph"\n', encoding="utf-8")
    with pytest.raises(ProfileFormatError, match=r"stack 'general': key 'constants' is missing"):
        load_stacks(file)


def test_shipped_constants_predict_the_measured_served_times(shared_data: Path) -> None:
    """H100 rows of the published benchmark: 5% at the median, 12% at the 90th percentile, most within the interval."""
    off, inside = [], []
    with open(shared_data / "argonne" / "batch1.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["gpu"] != "Nvidia H100 GPU" or row["framework"] != "TensorRT-LLM" or int(row["input_tokens"]) <= 128:
                continue
            seconds, o = float(row["e2e_s"]), int(row["output_tokens"])
            if seconds / o < 1e-3:  # a cold or torn row: throughput and latency disagree
                continue
            name = row["model"].replace("Mistral-7B-v0.1", "Mistral-7B-Instruct-v0.2")
            profile = estimate_profile(
                get_model(name), get_gpu("h100"), n_gpus=int(row["n_gpus"]), stack="trtllm-0.10", precision="fp16"
            )
            estimate = profile.estimate(int(row["input_tokens"]), o)
            off.append(abs(estimate.value / seconds - 1))
            inside.append(estimate.low <= seconds <= estimate.high)
    assert len(off) > 40
    assert statistics.median(off) < 0.05
    assert statistics.quantiles(off, n=10)[-1] < 0.12
    assert sum(inside) / len(inside) >= 0.85
