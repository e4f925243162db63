"""From raw samples to profiles: what was measured on a machine, and what an API takes on a quiet day."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tracewrap.profiler.decoder.repeats import points_of, quiet_value, values_of
from tracewrap.runtime.fit.fitting import fit
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.roofline.gpus import Gpu, load_gpus
from tracewrap.runtime.samples import Sample

Rows = Sequence[Mapping[str, str]]


def quiet_samples(rows: Rows) -> list[Sample]:
    """One sample a point: the quiet value of its runtimes, and of its times to the first token as (p, 1)."""
    found: dict[tuple[int, int], list[float]] = {}
    for p, o in points_of(rows):
        found.setdefault((p, o), []).extend(values_of(rows, (p, o)))
        if o > 1:
            found.setdefault((p, 1), []).extend(values_of(rows, (p, o), "first_token_s"))
    return [Sample(p, o, quiet_value(seconds), len(seconds)) for (p, o), seconds in found.items() if seconds]


def who_measured() -> str:
    """The user and machine that measure."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()


def gpu_id(stack: Mapping[str, Any]) -> str | None:
    """The id in gpus.toml of the card in *stack* (``device_facts``); None when none fits name, cores and memory."""
    name = set(re.split(r"[^a-z0-9]+", str(stack.get("device_name", "")).lower()))
    memory, cores = stack.get("memory_bytes"), stack.get("sm_count")
    if memory is None:
        return None

    same = [gpu for gpu in load_gpus().values() if gpu.sm_count == cores and _model_words(gpu.id) <= name]
    best = min(
        same, key=lambda gpu: (_form(set(gpu.id.split("-"))) != _form(name), _off(gpu, float(memory))), default=None
    )
    return best.id if best is not None and _off(best, float(memory)) < 0.15 else None


def _off(gpu: Gpu, memory: float) -> float:
    return abs(gpu.memory_bytes / memory - 1.0)


def _form(words: set[str]) -> set[str]:
    """How a card is built, where its name says that it is not the usual module."""
    return words & {"pcie", "nvl"}


def _model_words(gpu: str) -> set[str]:
    """The words of a GPU's id that name the chip: ``a100-sxm-80gb`` -> {a100}."""
    return {word for word in gpu.split("-") if not re.fullmatch(r"sxm|pcie|nvl|gcd|\d+gb", word)}


def measured_profile(
    model: str, stack: Mapping[str, Any], rows: Rows, *, command: str, who: str | None, samples_file: str
) -> RuntimeProfile:
    """The profile of *model* from the raw *rows* of a measurement on *stack*.

    Raises FitError when the rows do not determine one, saying which points to add.
    """
    facts = dict(stack)
    gpu = gpu_id(facts)
    if gpu is not None:
        facts["gpu"] = gpu
    name = gpu or re.sub(r"[^a-z0-9]+", "-", str(facts.get("device_name", "device")).lower()).strip("-")
    version = str(facts["torch"]).split("+")[0]
    return fit(
        quiet_samples(rows),
        id=f"{model}@{name}-torch-{version}-{facts['precision']}",
        model=model,
        n_gpus=1 if facts["device"] == "cuda" else None,
        provenance="measured",
        stack=facts,
        measured=run_facts(rows, command, who, samples_file),
    ).profile


def run_facts(rows: Rows, command: str, who: str | None, samples_file: str) -> dict[str, Any]:
    """When, by whom and with what command *rows* were measured, for a profile's ``measured``."""
    times = sorted(row["measured_at"] for row in rows)
    return {
        "when": times[0] if times else datetime.now(UTC).isoformat(timespec="seconds"),
        "until": times[-1] if times else None,
        "who": who or who_measured(),
        "command": command,
        "samples": len(rows),
        "samples_file": Path(samples_file).name,
    }
