"""Measuring a model on this machine: the points of a design, repeated in rounds, every sample kept.

A round visits every point, so that slow drift of the machine averages out and a run cut short has something of each.
Noise of an otherwise idle machine only ever adds time; the value of a point is the lower quartile of its repeats.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch

from tracewrap.errors import ConfigurationError
from tracewrap.profiler.decoder.blocks import check_precision
from tracewrap.profiler.decoder.blueprint import Blueprint
from tracewrap.profiler.decoder.decoder import Decoder
from tracewrap.profiler.decoder.depth import Depths, choose_depths
from tracewrap.profiler.decoder.device import Watch, cool_down, device_facts, free_memory, load_average, open_device
from tracewrap.profiler.decoder.generation import GRAPHED_PROMPT, Generation, Timer, Timing
from tracewrap.profiler.decoder.repeats import Point, quiet_value, values_of
from tracewrap.profiler.sample_file import SampleFile, setup_key
from tracewrap.runtime.quantiles import quantile

COLUMNS = (
    "input_tokens",
    "output_tokens",
    "runtime_s",
    "first_token_s",
    "repeat",
    "wall_s",
    "cpu_s",
    "energy_j",
    "sm_clock_mhz",
    "slowed",
    "power_capped",
    "load",
    "depth_runtimes_s",
    "measured_at",
)
MIN_REPEATS = 3
STEADY = 0.01
"""A point whose median lies this close above its lower quartile, relatively, needs no further repeat."""
PREEMPTED = 0.05
"""Share of a sample's time spent waiting for a core, above which it is marked and repeated (CPU, one thread)."""
_MAX_SLOWED = 3
_WARM_UP_TOKENS = 8

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What to measure and on what. ``clock``: ``wall``, or ``cpu`` for a busy machine (one thread, CPU device only).

    ``layers``: build at most so many and scale (None: all that fit). ``graphs``: CUDA graphs for decode steps.
    """

    blueprint: Blueprint
    device: str = "cpu"
    precision: str = "fp32"
    threads: int = 1
    clock: str = "wall"
    layers: int | None = None
    graphs: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """The facts of a finished (or cut short) measurement and its raw rows, as text by column."""

    stack: Mapping[str, Any]
    rows: Sequence[Mapping[str, str]]
    complete: bool


def measure(
    setup: Setup,
    points: Sequence[Point],
    samples_path: str,
    *,
    repeats: int = 5,
    budget_s: float | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Measure *points* (input tokens, output tokens), appending to *samples_path*; goes on where a former run stopped.

    Stops early, with ``complete`` False, when *budget_s* is over; at least one round is always made. Raises
    ConfigurationError for a device, precision, clock or model that cannot be measured here.
    """
    began = time.monotonic()
    _check_clock(setup)
    device = open_device(setup.device, setup.threads)
    check_precision(setup.precision, device)
    most = max(p + o for p, o in points) + _WARM_UP_TOKENS
    depths = choose_depths(setup.blueprint, setup.precision, most, free_memory(device), setup.layers)
    facts = _facts(setup, device, depths)
    identity = {name: value for name, value in facts.items() if name != "watch"}
    file = SampleFile(samples_path, COLUMNS, setup_key(identity | {"layers": setup.layers}))
    decoder = Decoder(
        setup.blueprint,
        max_tokens=most,
        device=device,
        precision=setup.precision,
        layers=depths.layers,
        seed=setup.seed,
    )
    if decoder.expert_method:
        facts["experts"] = decoder.expert_method
    generation = Generation(decoder, Timer(device, setup.clock), _graphs(setup, device), setup.seed + len(file.rows))
    bench = _Bench(generation, depths, Watch(device), file)
    deadline = None if budget_s is None else began + budget_s
    complete = bench.rounds(points, repeats, deadline, progress)
    watts = mean_watts(file.rows) if depths.whole else None
    return Measured(facts | ({} if watts is None else {"watts": watts}), file.rows, complete)


def _check_clock(setup: Setup) -> None:
    if setup.clock not in ("wall", "cpu"):
        raise ConfigurationError(f"clock is {setup.clock!r}, must be wall or cpu")
    if setup.clock == "cpu" and (setup.device != "cpu" or setup.threads != 1):
        raise ConfigurationError("clock cpu counts processor seconds: it needs --device cpu and --threads 1")


def _graphs(setup: Setup, device: torch.device) -> bool:
    return setup.graphs and device.type == "cuda"


def _facts(setup: Setup, device: torch.device, depths: Depths) -> dict[str, Any]:
    """What the numbers depend on, for the profile's ``stack``."""
    b = setup.blueprint
    facts = device_facts(device) | {
        "model": b.id,
        "precision": setup.precision,
        "batch_size": 1,
        "weights": "random",
        "clock": "cuda events" if device.type == "cuda" else setup.clock,
        "decode": "cuda graphs" if _graphs(setup, device) else "eager",
        "prompts": f"cuda graphs to {GRAPHED_PROMPT} tokens" if _graphs(setup, device) else "eager",
    }
    if not depths.whole:
        facts["layers"] = f"{sum(depths.built)} of {b.layers} layers measured, scaled to all"
    if b.notes:
        facts["notes"] = "; ".join(b.notes)
    return facts


class _Bench:
    """One measurement in progress."""

    def __init__(self, generation: Generation, depths: Depths, watch: Watch, file: SampleFile) -> None:
        self.generation = generation
        self.depths = depths
        self.watch = watch
        self.file = file

    def rounds(self, points: Sequence[Point], repeats: int, deadline: float | None, progress: Progress | None) -> bool:
        """Repeat every point until it is steady or has *repeats* good samples; False when time ran out first."""
        self._warm_up(points)
        warm: set[Point] = set()
        for number in range(repeats):
            for point in points:
                done = values_of(self.file.rows, point)
                if len(done) > number or steady(done):
                    continue
                late = deadline is not None and time.monotonic() > deadline
                if late and done:
                    return False
                if progress is not None:
                    progress(f"round {number + 1} of {repeats}: {point[0]} input, {point[1]} output tokens")
                if point not in warm and not late:
                    self._warm_point(point)
                    warm.add(point)
                self._sample(point, len(done), deadline)
        return True

    def _warm_up(self, points: Sequence[Point]) -> None:
        """Load kernels, raise clocks: the smallest point for a tenth of a second, at least twice."""
        p, o = min(points, key=sum)
        until = time.monotonic() + 0.1
        for i in range(100):
            self._run((p, min(o + 3, _WARM_UP_TOKENS)))
            if i and time.monotonic() > until:
                break

    def _warm_point(self, point: Point) -> None:
        """First use of a shape chooses kernels, allocates and captures graphs: a short run of it is thrown away."""
        for depth in self.depths.cuts():
            self.generation.prepare(*point, depth)
            self.generation.run(point[0], min(point[1], 2), depth)

    def _run(self, point: Point) -> list[Timing]:
        return [self.generation.run(*point, depth) for depth in self.depths.cuts()]

    def _preempted(self, wall: float, cpu: float) -> str:
        """Whether other work took the core: on a CPU with one thread, time that was not ours shows."""
        timer = self.generation.timer
        if timer.device.type != "cpu" or timer.clock != "wall" or torch.get_num_threads() != 1:
            return ""
        return "preempted" if wall - cpu > PREEMPTED * wall + 0.0005 else ""

    def _sample(self, point: Point, repeat: int, deadline: float | None) -> None:
        """One good sample of *point*; those taken while the device was slowed are kept, marked, and repeated."""
        for _ in range(_MAX_SLOWED):
            before, wall, cpu = self.watch.read(), time.perf_counter(), time.process_time()
            timings = self._run(point)
            wall, cpu, after = time.perf_counter() - wall, time.process_time() - cpu, self.watch.read()
            slowed = after.slowed or before.slowed or self._preempted(wall, cpu)
            energy = None
            if before.energy_j is not None and after.energy_j is not None and self.depths.whole:
                energy = after.energy_j - before.energy_j
            self.file.append(
                {
                    "input_tokens": point[0],
                    "output_tokens": point[1],
                    "runtime_s": self.depths.scaled([t.runtime_s for t in timings]),
                    "first_token_s": self.depths.scaled([t.first_token_s for t in timings]),
                    "repeat": repeat,
                    "wall_s": wall,
                    "cpu_s": cpu,
                    "energy_j": energy,
                    "sm_clock_mhz": after.sm_clock_mhz,
                    "slowed": slowed,
                    "power_capped": after.power_capped if self.watch.works else None,
                    "load": load_average(),
                    "depth_runtimes_s": "" if self.depths.whole else "+".join(f"{t.runtime_s:.9g}" for t in timings),
                    "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            )
            if not slowed or (deadline is not None and time.monotonic() > deadline):
                return
            cool_down(self.watch)


def steady(values: Sequence[float]) -> bool:
    """Whether another repeat would hardly change the point's value."""
    return len(values) >= MIN_REPEATS and quantile(values, 0.5) <= quiet_value(values) * (1.0 + STEADY)


def mean_watts(rows: Iterable[Mapping[str, str]], least_s: float = 0.2) -> float | None:
    """Mean power over samples of at least *least_s* seconds (energy counters move every 20 to 100 ms); None unknown.

    Where there are samples of several output tokens, those alone: a call mostly decodes, and a long prompt draws half as much again.
    """
    long = [row for row in rows if row["energy_j"] and float(row["wall_s"]) >= least_s]
    decoding = [row for row in long if int(row["output_tokens"]) > 1]
    used = [(float(row["energy_j"]), float(row["wall_s"])) for row in decoding or long]
    return sum(e for e, _ in used) / sum(t for _, t in used) if used else None
