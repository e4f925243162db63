"""Measuring on the CPU: rounds, resuming, budget, scaling of layers, precision, and what the facts say."""

from __future__ import annotations

import csv
import time
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tracewrap.errors import ConfigurationError, SourceError  # noqa: E402
from tracewrap.profiler.decoder import device as devices  # noqa: E402
from tracewrap.profiler.decoder import measure as measuring  # noqa: E402
from tracewrap.profiler.decoder.attention import BLOCK  # noqa: E402
from tracewrap.profiler.decoder.blocks import Experts, Linear  # noqa: E402
from tracewrap.profiler.decoder.blueprint import (  # noqa: E402
    Blueprint,
    Rope,
    blueprint_from_architecture,
    not_in_the_decoder,
)
from tracewrap.profiler.decoder.decoder import Decoder  # noqa: E402
from tracewrap.profiler.decoder.depth import Depths, choose_depths, memory_needed  # noqa: E402
from tracewrap.profiler.decoder.generation import Generation, Steps, Timer  # noqa: E402
from tracewrap.profiler.decoder.machine_profile import gpu_id  # noqa: E402
from tracewrap.profiler.decoder.measure import Setup, mean_watts, measure, steady  # noqa: E402
from tracewrap.profiler.decoder.repeats import points_of, quiet_value, values_of  # noqa: E402
from tracewrap.runtime.roofline.architectures import load_models  # noqa: E402

TINY = Blueprint(
    id="tiny",
    layers=4,
    hidden=32,
    heads=4,
    kv_heads=2,
    head_dim=8,
    ffn=64,
    vocab=50,
    context=512,
    rope=Rope(dim=8),
    tied=True,
)
MIXED = replace(TINY, experts=4, active_experts=2, expert_ffn=16, dense=(True, False, False, False))
POINTS = [(1, 1), (40, 1), (8, 6)]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_what_an_earlier_decoder_held_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured one after another, a model is not cut to fewer layers by the memory that torch kept of the one before."""
    said: list[str] = []
    monkeypatch.setattr(devices.gc, "collect", lambda: said.append("collect"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: said.append("empty"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: said.append("ask") or (80, 100))
    assert devices.free_memory(torch.device("cuda", 0)) == 80
    assert said == ["collect", "empty", "ask"]


def test_every_point_is_measured_in_every_round(tmp_path: Path) -> None:
    """Each point has at least three and at most the asked repeats; runtimes are positive and hold the first token's time."""
    path = tmp_path / "s.csv"
    done = measure(Setup(blueprint=TINY, clock="cpu"), POINTS, str(path), repeats=4)
    assert done.complete
    for point in POINTS:
        assert 3 <= len(values_of(done.rows, point)) <= 4
    assert points_of(rows(path)) == POINTS
    assert all(0 < float(row["first_token_s"]) <= float(row["runtime_s"]) for row in rows(path))


def test_measuring_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Running again adds only the missing repeats; the same command a third time adds none."""
    path, setup = tmp_path / "s.csv", Setup(blueprint=TINY, clock="cpu")
    measure(setup, POINTS, str(path), repeats=1)
    first = rows(path)
    path.write_text(path.read_text() + "8,6,0.0")  # killed in the middle of a line
    measure(setup, POINTS, str(path), repeats=3)
    assert rows(path)[: len(first)] == first
    assert len(rows(path)) == 9
    measure(setup, POINTS, str(path), repeats=3)
    assert len(rows(path)) == 9


def test_samples_of_another_precision_are_not_continued(tmp_path: Path) -> None:
    """A samples file of another setup, or another file altogether, is refused."""
    path = tmp_path / "s.csv"
    measure(Setup(blueprint=TINY, clock="cpu"), POINTS[:1], str(path), repeats=1)
    with pytest.raises(ConfigurationError, match="another setup"):
        measure(Setup(blueprint=TINY, clock="cpu", precision="bf16"), POINTS[:1], str(path), repeats=1)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match="not a samples file"):
        measure(Setup(blueprint=TINY, clock="cpu"), POINTS[:1], str(path), repeats=1)


def test_a_budget_ends_the_measurement_after_one_round(tmp_path: Path) -> None:
    """With no time left every point still has its one sample, and the measurement says that it is not complete."""
    done = measure(Setup(blueprint=TINY, clock="cpu"), POINTS, str(tmp_path / "s.csv"), repeats=5, budget_s=0.0)
    assert not done.complete
    assert [len(values_of(done.rows, point)) for point in POINTS] == [1, 1, 1]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "fp8"])
def test_precisions_run_and_agree(precision: str) -> None:
    """Logits in each precision are those in fp32, to that precision; 8-bit ones keep their direction."""
    wide = replace(TINY, hidden=64, head_dim=16, ffn=128)
    exact = Decoder(wide, max_tokens=64, seed=3)
    other = Decoder(wide, max_tokens=64, seed=3, precision="bf16" if precision == "fp8" else precision)
    with torch.no_grad():
        other.embedding.copy_(exact.embedding)
        for mine, theirs in zip(other.layers, exact.layers, strict=True):
            for name in ("qkv", "out"):
                getattr(mine, name).weight.copy_(getattr(theirs, name).weight)
            mine.mlp.up.weight.copy_(theirs.mlp.up.weight)
            mine.mlp.down.weight.copy_(theirs.mlp.down.weight)
            if precision == "fp8":
                mine.qkv, mine.out = mine.qkv.quantized(), mine.out.quantized()
                mine.mlp.up, mine.mlp.down = mine.mlp.up.quantized(), mine.mlp.down.quantized()
    tokens = torch.arange(20) % 50
    a, b = exact.prefill(tokens), other.prefill(tokens)
    least = {"fp32": 0.999999, "fp16": 0.9999, "bf16": 0.999, "fp8": 0.98}[precision]
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) > least


def test_eight_bit_experts_are_refused() -> None:
    """fp8 with experts is an error that names the model, not a silent other precision."""
    with pytest.raises(ConfigurationError, match=r"'tiny'.*8-bit experts"):
        Decoder(MIXED, max_tokens=8, precision="fp8")


@pytest.mark.parametrize("method", ["gathered", "grouped"])
@pytest.mark.parametrize("tokens", [1, 7])
def test_ways_to_read_experts_agree(method: str, tokens: int) -> None:
    """Gathered and grouped experts compute what the loop over experts computes."""
    torch.manual_seed(0)
    dtype = torch.bfloat16 if method == "grouped" else torch.float32
    up, down = torch.randn(5, 64, 32).to(dtype) / 6, torch.randn(5, 32, 32).to(dtype) / 6
    router = Linear(torch.randn(5, 32).to(dtype))
    experts = Experts(router, up, down, active=2, normalize=True, activation="silu")
    x = torch.randn(tokens, 32).to(dtype)
    expected = experts(x)
    experts.method = method
    assert torch.allclose(experts(x), expected, atol=2e-2 if method == "grouped" else 1e-5)


def test_cached_generation_equals_the_whole_prompt_each_time() -> None:
    """Greedy tokens across a cache block's edge equal those of a fresh prompt pass for every token."""
    decoder = Decoder(TINY, max_tokens=BLOCK + 40, seed=1)
    generation = Generation(decoder, Timer(decoder.device), graphs=False)
    prompt = generation.prompt(BLOCK - 3)
    got, tokens = generation.generate(prompt, 8), prompt
    for token in got:
        assert int(decoder.prefill(tokens).argmax()) == token
        tokens = torch.cat((tokens, torch.tensor([token])))


def test_layers_are_scaled_by_kind() -> None:
    """With additive layer times the scaled runtime is the whole model's, for two kinds of layers in unequal number."""
    depths = Depths(layers=(0, 1, 2), built=(1, 2), wanted=(4, 10))
    base, dense, mixture = 3.0, 0.5, 2.0
    assert depths.cuts() == (0, 1, 3)
    measured = [base, base + dense, base + dense + 2 * mixture]
    assert depths.scaled(measured) == pytest.approx(base + 4 * dense + 10 * mixture)


def test_layers_built_are_those_that_fit() -> None:
    """Everything is built where there is room; with less, at least one layer of each kind; with too little, an error."""
    room = memory_needed(MIXED, "fp32", 64, range(4))
    assert choose_depths(MIXED, "fp32", 64, int(room / 0.9) + 1).whole
    fewer = choose_depths(MIXED, "fp32", 64, int(room * 0.9))
    assert not fewer.whole
    assert all(count >= 1 for count in fewer.built)
    with pytest.raises(ConfigurationError, match="one layer of each kind"):
        choose_depths(MIXED, "fp32", 64, 1000)


def test_sampled_layers_are_stated_and_scaled(tmp_path: Path) -> None:
    """Half the layers: the facts say so, and each runtime is at least that of the layers that ran."""
    done = measure(Setup(blueprint=TINY, clock="cpu", layers=2), [(16, 4)], str(tmp_path / "s.csv"), repeats=1)
    assert done.stack["layers"] == "2 of 4 layers measured, scaled to all"
    parts = [float(x) for x in done.rows[0]["depth_runtimes_s"].split("+")]
    assert len(parts) == 2
    assert float(done.rows[0]["runtime_s"]) >= parts[-1]


def test_slowed_samples_are_kept_but_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample taken while the device was throttled is written, marked, repeated, and left out of the value."""
    readings = iter([devices.Reading(), devices.Reading(slowed="hw_thermal")])
    monkeypatch.setattr(devices.Watch, "read", lambda self: next(readings, devices.Reading()))
    done = measure(Setup(blueprint=TINY, clock="cpu"), [(4, 2)], str(tmp_path / "s.csv"), repeats=1)
    assert [row["slowed"] for row in done.rows] == ["hw_thermal", ""]
    assert len(values_of(done.rows, (4, 2))) == 1


def test_energy_is_the_counters_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joules of a sample are what the counter moved; mean power leaves out samples too short for the counter."""
    counter = iter(range(0, 1000, 5))
    monkeypatch.setattr(devices.Watch, "read", lambda self: devices.Reading(energy_j=float(next(counter))))
    done = measure(Setup(blueprint=TINY, clock="cpu"), [(4, 2)], str(tmp_path / "s.csv"), repeats=1)
    assert float(done.rows[0]["energy_j"]) == 5.0
    one, short, decoding = (
        {"energy_j": joules, "wall_s": seconds, "output_tokens": tokens}
        for joules, seconds, tokens in (("100", "0.5", "1"), ("900", "0.01", "1"), ("90", "0.9", "64"))
    )
    assert mean_watts([one, short]) == 200.0
    assert mean_watts([one, short, decoding]) == 100.0  # 90 J / 0.9 s: a prompt alone draws more than a call does
    assert mean_watts([one | {"energy_j": ""}]) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"device": "cuda:99"}, "CUDA device"),
        ({"precision": "int3"}, "precision is 'int3'"),
        ({"clock": "sun"}, "clock is 'sun'"),
        ({"clock": "cpu", "threads": 2}, "--threads 1"),
    ],
)
def test_impossible_setups_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    """A device, precision or clock that is not there is one line that names it."""
    setup = replace(Setup(blueprint=TINY), **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=message):
        measure(setup, POINTS, str(tmp_path / "s.csv"))


def test_value_of_a_point_resists_late_samples() -> None:
    """One sample of five that took ten times as long moves the value by no more than the spread of the others."""
    assert quiet_value([1.0, 1.01, 1.02, 1.03, 10.0]) == pytest.approx(1.01)
    assert steady([1.0, 1.001, 1.002])
    assert not steady([1.0, 1.001])
    assert not steady([1.0, 1.2, 1.3])


def test_blueprints_of_shipped_models_have_their_parameters() -> None:
    """The decoder of every shipped model it can run has the architecture's weights to 1%; the others are refused by name."""
    built = 0
    for name, architecture in load_models().items():
        if missing := not_in_the_decoder(architecture):
            with pytest.raises(ConfigurationError, match=f"{name}.*{missing}"):
                blueprint_from_architecture(architecture)
            continue
        assert blueprint_from_architecture(architecture).parameters == pytest.approx(
            architecture.total_parameters, rel=0.01
        )
        built += 1
    assert built >= 60


@pytest.mark.parametrize("method", ["gathered", "grouped", "looped"])
def test_a_decode_step_never_waits_for_the_device(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step runs on tensors that have no values to read, as capture in a CUDA graph demands; the loop over experts cannot."""

    class NoGenerator:
        """Tensors without values need no random numbers."""

        def __init__(self, device: object) -> None:
            """*device* is not used."""

        def manual_seed(self, seed: int) -> None:
            """No generator."""

    monkeypatch.setattr(torch, "Generator", NoGenerator)
    windowed = replace(
        MIXED, hidden=64, head_dim=16, window=300, full=(True, False, True, False), attention_softcap=30.0
    )
    decoder = Decoder(windowed, max_tokens=1000, device="meta", precision="bf16")
    for layer in decoder.layers:
        if isinstance(layer.mlp, Experts):
            layer.mlp.method = method
    steps = Steps(decoder, graphs=False)
    if method == "looped":
        with pytest.raises(Exception, match=r"meta|item"):
            steps.advance(700, None)
    else:
        steps.advance(700, None)
        assert steps.token.device.type == "meta"


def test_samples_during_other_work_are_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the wall clock, a sample that waited for a core half its time is marked and repeated; if all did, all count."""
    monkeypatch.setattr(time, "process_time", lambda: 0.5 * time.perf_counter())
    monkeypatch.setattr(
        measuring, "PREEMPTED", -1.0
    )  # so that the fixed half millisecond of a tiny model does not matter
    done = measure(Setup(blueprint=TINY), [(4, 2)], str(tmp_path / "s.csv"), repeats=1)
    assert [row["slowed"] for row in done.rows] == ["preempted"] * 3
    assert len(values_of(done.rows, (4, 2))) == 3


@pytest.mark.parametrize(
    ("name", "memory_gb", "cores", "gpu"),
    [
        ("NVIDIA H100 80GB HBM3", 85.0, 132, "h100-sxm"),
        ("NVIDIA H100 PCIe", 85.0, 114, "h100-pcie"),
        ("NVIDIA A100-SXM4-80GB", 85.0, 108, "a100-sxm-80gb"),
        ("NVIDIA A100 80GB PCIe", 85.0, 108, "a100-pcie-80gb"),
        ("NVIDIA A100-SXM4-40GB", 42.3, 108, "a100-sxm-40gb"),
        ("NVIDIA H200", 150.1, 132, "h200-sxm"),
        ("NVIDIA L4", 23.5, 58, "l4"),
        ("NVIDIA L40S", 47.6, 142, "l40s"),
        ("Tesla T4", 15.6, 40, "t4"),
        ("Quadro of tomorrow", 8.0, 20, None),
    ],
)
def test_a_card_is_known_by_name_cores_and_memory(name: str, memory_gb: float, cores: int, gpu: str | None) -> None:
    """The card that CUDA names is the GPU of the shipped table; an unknown one is none of them."""
    facts = {"device_name": name, "memory_bytes": memory_gb * 1e9, "sm_count": cores}
    assert gpu_id(facts) == gpu
