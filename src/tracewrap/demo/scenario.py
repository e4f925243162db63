"""What the demo does: measure the model alone, call it through the wrapped SDK beside a competing client, learn, join, tabulate."""

from __future__ import annotations

import dataclasses
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tracewrap import systems
from tracewrap.capture.wrap import wrap
from tracewrap.demo.rival import competing
from tracewrap.demo.server import MODEL, serving
from tracewrap.errors import TracewrapError
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.joiner import join_call
from tracewrap.pipeline import configure, shutdown
from tracewrap.records import Call, JoinedCall
from tracewrap.runtime.files import to_json, write_whole
from tracewrap.runtime.fit.fitting import fit
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.quiet.denoise import denoise
from tracewrap.runtime.quiet.usable import Observation
from tracewrap.runtime.samples import Sample
from tracewrap.runtime.stack import Price, ReferenceStack

INPUT_TOKENS = (16, 64, 128)
OUTPUT_TOKENS = (1, 8, 32)
STACK_ID = "this-machine_llama.cpp_alone"
PRICE = Price(0.0816, "AWS EC2 m7g.large, 2 vCPU, on demand, us-east-1; factualminds.com", "2026-06-17")
"""A stand-in for what this machine costs; ``--usd-per-hour`` replaces it."""
Progress = Callable[[str, float], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """One (input tokens, output tokens, streaming) of the demo's grid: medians over its calls, seconds."""

    input_tokens: int
    output_tokens: int
    stream: bool
    calls: int
    raw_s: float
    denoised_s: float | None
    idealized_s: float
    alone_s: float
    """Median of the exclusive measurements of the same point: what the estimates should come near to."""


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """Everything the demo found."""

    cells: tuple[Cell, ...]
    joined: tuple[JoinedCall, ...]
    reference: ReferenceStack
    catalog: Catalog
    verdicts: Mapping[str, str]
    folder: Path
    load_before: float | None
    seconds: float


def play(folder: Path, *, repeats: int = 3, seed: int = 0, price: Price = PRICE, progress: Progress) -> Outcome:
    """Run the demo and write ``FOLDER/calls`` (span log) and ``FOLDER/reference.json``; about 90 seconds.

    *repeats*: calls per cell and mode under load. Raises TracewrapError when the server does not start.
    """
    started, load_before = time.monotonic(), systems.load()
    folder.mkdir(parents=True, exist_ok=True)
    calls_folder = folder / "calls"
    already = {path.name for path in calls_folder.glob("*")} if calls_folder.is_dir() else set()
    progress("starting llama.cpp", 0.0)
    with serving() as url:
        samples = list(measure_alone(url, progress))
        reference = reference_stack(samples, price)
        write_whole(folder / "reference.json", to_json(reference.to_dict()))
        with competing(url, seed=seed):
            call_under_load(url, calls_folder, folder / "reference.json", repeats, seed, progress)
    progress("learning denoised profiles from the recorded calls", 0.97)
    calls = [call for call in _read(calls_folder, already) if call.scope_name == "tracewrap"]
    denoised, verdicts = learn(calls)
    catalog = Catalog(stacks=(reference,), denoised=denoised)
    joined = tuple(join_call(call, catalog) for call in calls)
    return Outcome(
        cells=tuple(_cells(joined, samples)),
        joined=joined,
        reference=reference,
        catalog=catalog,
        verdicts=verdicts,
        folder=folder,
        load_before=load_before,
        seconds=time.monotonic() - started,
    )


def measure_alone(url: str, progress: Progress, repeats: int = 2) -> Iterator[Sample]:
    """The reference: every cell *repeats* times with nobody else on the server, by an unwrapped client."""
    points = [(p, o) for _ in range(repeats) for p in INPUT_TOKENS for o in OUTPUT_TOKENS]
    dice = random.Random(7)
    with closing(_client(url)) as client:
        complete(client, 16, 4, False, dice)  # warm-up, discarded
        for number, (p, o) in enumerate(points):
            progress("measuring the model alone (reference)", 0.02 + 0.2 * number / len(points))
            start = time.perf_counter()
            complete(client, p, o, False, dice)
            yield Sample(input_tokens=p, output_tokens=o, runtime_s=time.perf_counter() - start)


def call_under_load(url: str, calls_folder: Path, reference: Path, repeats: int, seed: int, progress: Progress) -> None:
    """Every cell *repeats* times, streaming and not, through a wrapped client; spans go to the span log (and OTLP if configured)."""
    dice = random.Random(seed)
    grid = [(p, o, stream) for p in INPUT_TOKENS for o in OUTPUT_TOKENS for stream in (False, True)]
    plan = [cell for _ in range(repeats) for cell in dice.sample(grid, len(grid))]
    configure(span_log=str(calls_folder), profiles=(str(reference),), denoise=False)
    try:
        with closing(wrap(_client(url))) as client:
            for number, (p, o, stream) in enumerate(plan):
                progress("calling it beside a competing client", 0.24 + 0.72 * number / len(plan))
                complete(client, p, o, stream, dice)
    finally:
        shutdown()


def _client(url: str) -> Any:
    import openai

    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120)


def complete(client: Any, p: int, o: int, stream: bool, dice: random.Random) -> Any:
    """One completion of exactly *p* prompt and *o* output tokens: token ids in, end of text ignored, no prompt cache."""
    answer = client.completions.create(
        model=MODEL,
        prompt=[dice.randint(1000, 20000) for _ in range(p)],
        max_tokens=o,
        stream=stream,
        extra_body={"ignore_eos": True, "cache_prompt": False},
    )
    if stream:
        for _ in answer:
            pass
    return answer


def reference_stack(samples: Sequence[Sample], price: Price) -> ReferenceStack:
    """This machine with nobody else on it, as a reference stack with one fitted profile."""
    from importlib.metadata import version

    software = {"llama.cpp (xllamacpp)": version("xllamacpp"), "weights": "Q4_1", "threads": "1"}
    machine = platform.processor() or platform.machine()
    stack = {"id": STACK_ID, "gpu": f"CPU {machine}", "software": software, "precision": "int4"}
    result = fit(samples, id=f"{MODEL}@{STACK_ID}", model=MODEL, n_gpus=1, stack=stack)
    return ReferenceStack(
        id=STACK_ID,
        gpu=f"CPU {machine}",
        precision="int4",
        software=software,
        price=price,
        description="this machine, this server, nobody else on it",
        profiles={MODEL: result.profile},
    )


def learn(calls: Iterable[Call]) -> tuple[dict[str, RuntimeProfile], dict[str, str]]:
    """Denoised profile and verdict of each deployment, from the recorded calls alone."""
    groups: dict[str, list[Observation]] = {}
    for call in calls:
        observation = Observation.of(call)
        if observation is not None:
            groups.setdefault(call.deployment.key, []).append(observation)
    profiles: dict[str, RuntimeProfile] = {}
    verdicts: dict[str, str] = {}
    for key, observations in groups.items():
        result = denoise(observations, id=key, model=MODEL)
        verdicts[key] = result.verdict
        if result.profile is not None:
            profiles[key] = result.profile
    return profiles, verdicts


def _read(folder: Path, already: set[str]) -> list[Call]:
    """The calls of the files that this run has written."""
    from tracewrap.sources import read_calls

    files = sorted(str(path) for path in folder.glob("*.jsonl") if path.name not in already)
    if not files:
        raise TracewrapError(f"{folder}: no span log was written; is the disk full?")
    return [call for file in files for call in read_calls(file)]


def _cells(joined: Sequence[JoinedCall], samples: Sequence[Sample]) -> Iterator[Cell]:
    groups: dict[tuple[int, int, bool], list[JoinedCall]] = {}
    for item in joined:
        usage = item.call.usage
        if usage is not None and usage.input_tokens is not None and usage.output_tokens is not None:
            key = (usage.input_tokens, usage.output_tokens, item.call.stream)
            groups.setdefault(key, []).append(item)
    for (p, o, stream), items in sorted(groups.items()):
        denoised, idealized = items[0].denoised_runtime, items[0].idealized_runtime
        assert idealized is not None
        yield Cell(
            input_tokens=p,
            output_tokens=o,
            stream=stream,
            calls=len(items),
            raw_s=statistics.median(item.call.raw_runtime_s or 0.0 for item in items),
            denoised_s=None if denoised is None else denoised.value,
            idealized_s=idealized.value,
            alone_s=statistics.median(s.runtime_s for s in samples if (s.input_tokens, s.output_tokens) == (p, o)),
        )
