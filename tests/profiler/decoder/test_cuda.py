"""Measuring on a CUDA device, where there is one: same tokens as on the CPU, captured steps, energy, a whole profile."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch sees no CUDA device", allow_module_level=True)

from tracewrap.cli import main  # noqa: E402
from tracewrap.errors import ConfigurationError  # noqa: E402
from tracewrap.profiler.decoder.blueprint import Blueprint, Rope  # noqa: E402
from tracewrap.profiler.decoder.decoder import Decoder  # noqa: E402
from tracewrap.profiler.decoder.generation import Generation, Timer  # noqa: E402
from tracewrap.profiler.decoder.measure import Setup, mean_watts, measure  # noqa: E402
from tracewrap.runtime.files import load_profile  # noqa: E402

DENSE = Blueprint(
    id="small",
    layers=4,
    hidden=256,
    heads=8,
    kv_heads=2,
    head_dim=32,
    ffn=512,
    vocab=512,
    context=4096,
    rope=Rope(dim=32),
    tied=True,
    qk_norm=True,
)
EXPERTS = replace(DENSE, experts=8, active_experts=2, expert_ffn=128, dense=(True, False, False, False))
WINDOWED = replace(DENSE, window=300, full=(True, False, True, False))
CAPPED = replace(WINDOWED, attention_softcap=30.0, logit_softcap=30.0)
KINDS = {"dense": DENSE, "experts": EXPERTS, "windowed": WINDOWED, "capped": CAPPED}


def on_cuda_as_on(cpu: Decoder, precision: str) -> Decoder:
    """A decoder on the GPU with the weights of *cpu*."""
    gpu = Decoder(cpu.blueprint, max_tokens=cpu.max_tokens, device="cuda", precision=precision)
    _copy(cpu, gpu)
    return gpu


def _copy(source: object, target: object) -> None:
    for name in getattr(source, "__slots__", ()) or vars(source):
        mine, its = getattr(source, name), getattr(target, name)
        if isinstance(mine, torch.Tensor):
            its.copy_(mine)
        elif isinstance(mine, list):
            for one, other in zip(mine, its, strict=True):
                _copy(one, other)
        elif type(mine).__module__.startswith("tracewrap.profiler.decoder.blocks"):
            _copy(mine, its)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_gives_the_logits_of_the_cpu(kind: str) -> None:
    """In fp32 and with the same weights, the logits of every prompt token agree to what rounding leaves."""
    torch.backends.cuda.matmul.allow_tf32 = False
    cpu = Decoder(KINDS[kind], max_tokens=1000, precision="fp32")
    gpu = on_cuda_as_on(cpu, "fp32")
    prompt = torch.arange(700) * 7 % 512
    mine, its = cpu.prefill(prompt, every=True), gpu.prefill(prompt.cuda(), every=True).cpu()
    assert torch.allclose(mine, its, rtol=1e-3, atol=1e-3 * float(mine.abs().max()))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_captured_steps_generate_what_eager_ones_do(kind: str, precision: str) -> None:
    """The same tokens with CUDA graphs of prompt and steps and without, again and again, over the edge of a cache block and of a window."""
    decoder = Decoder(KINDS[kind], max_tokens=1000, device="cuda", precision=precision)
    prompt = (torch.arange(480) * 7 % 512).cuda()
    timer = Timer(decoder.device)
    eager = Generation(decoder, timer, graphs=False).generate(prompt, 60)
    captured = Generation(decoder, timer, graphs=True)
    assert captured.generate(prompt, 60) == eager
    assert captured.generate(prompt.flip(0), 60) != eager
    assert captured.generate(prompt, 60) == eager
    assert len(set(eager)) > 1


def test_times_and_energy_are_read(tmp_path: Path) -> None:
    """Runtimes are positive, a longer answer takes longer, and the watch, where it works, reads clocks and joules."""
    done = measure(
        Setup(blueprint=DENSE, device="cuda", precision="bf16"), [(64, 1), (64, 200)], str(tmp_path / "s.csv")
    )
    assert done.complete
    short, long = (min(float(r["runtime_s"]) for r in done.rows if r["output_tokens"] == str(o)) for o in (1, 200))
    assert 0 < short < long
    assert done.stack["clock"] == "cuda events"
    assert done.stack["decode"] == "cuda graphs"
    if done.rows[0]["sm_clock_mhz"]:
        assert int(done.rows[0]["sm_clock_mhz"]) > 0
        assert (mean_watts(done.rows, 0.0) or 1.0) > 0


def test_fp8_is_measured_or_refused_in_one_line(tmp_path: Path) -> None:
    """A card with 8-bit products measures fp8; another says that it has none."""
    setup = Setup(blueprint=DENSE, device="cuda", precision="fp8")
    if torch.cuda.get_device_capability() < (8, 9):
        with pytest.raises(ConfigurationError, match="8-bit"):
            measure(setup, [(64, 1)], str(tmp_path / "s.csv"), repeats=1)
    else:
        assert measure(setup, [(64, 4)], str(tmp_path / "s.csv"), repeats=1).complete


def test_a_profile_is_measured_with_the_command(tmp_path: Path) -> None:
    """``profile measure --device cuda`` writes a profile that names the card, its software and the command."""
    file = tmp_path / "p.json"
    command = ["profile", "measure", "--model", "Qwen/Qwen3-0.6B", "--device", "cuda", "--n", "6"]
    assert main([*command, "--max-input-tokens", "2048", "--repeats", "2", "-o", str(file)]) == 0
    profile = load_profile(file)
    assert profile.provenance == "measured"
    assert profile.stack["device"] == "cuda"
    assert json.loads(file.read_text())["measured"]["samples"] >= 12
    assert profile.runtime(512, 33) > profile.runtime(512, 1) > 0
