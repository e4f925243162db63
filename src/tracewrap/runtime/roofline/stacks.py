"""Software stacks with fitted constants: ``reference_profiles/stacks.toml``.

A stack is a framework, its version and how it launches work. ``benchmarks/calibrate_stacks.py`` fits the constants and
writes the errors beside them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tracewrap.errors import ProfileFormatError, ProfileNotFoundError
from tracewrap.runtime.files import reference_folder
from tracewrap.runtime.roofline.gpus import Gpu, load_gpus
from tracewrap.runtime.roofline.terms import Constants
from tracewrap.runtime.toml_files import read_toml

DEFAULT_STACK = "vllm"
VERSION_SPREAD = 0.12
"""Further 90% half-width for a version that was not measured: vLLM gained 18% on an 8B model over thirteen minor versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Constants of one framework version, for GPUs in general and for those it was fitted on.

    ``constants``: fitted over all GPUs of the data together. ``by_gpu``: fitted to one GPU each.
    ``spread_known``, ``spread_new_model``, ``spread_new_gpu``: 90% half-widths on the log scale of the error for a model
    and GPU of the data, an unseen model on a GPU of the data, and an unseen GPU.
    ``fit``: what was fitted to what, with which error.
    """

    id: str
    framework: str
    version: str
    mode: str
    constants: Constants
    by_gpu: Mapping[str, Constants] = field(default_factory=dict)
    spread_new_model: float
    spread_new_gpu: float
    spread_prompt: float
    calibrated: bool
    fit: Mapping[str, Any] = field(default_factory=dict)

    def constants_for(self, gpu: Gpu) -> tuple[Constants, bool]:
        """The constants for *gpu* and whether they were fitted on that very GPU.

        A GPU that was not measured takes those of one with the same chip (H200 those of H100) before the general ones.
        """
        own = self.by_gpu.get(gpu.id)
        if own is not None:
            return own, True
        gpus = load_gpus()
        chip = (gpu.vendor, gpu.sm_count, gpu.clock_hz)
        for key, constants in self.by_gpu.items():
            other = gpus.get(key)
            if other is not None and chip == (other.vendor, other.sm_count, other.clock_hz):
                return constants, False
        return self.constants, False


def load_stacks(path: str | os.PathLike[str] | None = None) -> Mapping[str, Stack]:
    """Stacks by id: the shipped ones, or those of the TOML file *path*."""
    return _shipped() if path is None else _parse(read_toml(path), str(path))


def find_stack(name: str | None = None, stacks: Mapping[str, Stack] | None = None) -> Stack:
    """The stack called *name*: an id, a framework (its newest version), or a framework with the nearest version.

    Raises ProfileNotFoundError listing the known ids.
    """
    known = _shipped() if stacks is None else stacks
    wanted = (name or DEFAULT_STACK).strip().lower().replace(" ", "-").replace("_", "-").replace("==", "-")
    wanted = wanted.replace("tensorrt-llm", "trtllm").replace("trt-llm", "trtllm")
    wanted = wanted.replace("llama.cpp", "llamacpp")
    if wanted in known:
        return known[wanted]
    frameworks = sorted({stack.framework for stack in known.values()}, key=len, reverse=True)
    framework = next((each for each in frameworks if wanted == each or wanted.startswith(f"{each}-")), "")
    version = wanted.removeprefix(framework).lstrip("-v")
    same = [stack for stack in known.values() if stack.framework == framework]
    if not same or (version and not re.match(r"\d", version)):
        raise ProfileNotFoundError(f"no stack {name!r}; known: {', '.join(known)}")
    newest = max(same, key=lambda stack: _version(stack.version))
    if not version:
        return newest
    nearest = min(same, key=lambda stack: _distance(_version(stack.version), _version(version)))
    if _version(version) > _version(newest.version):
        nearest = newest
    return nearest if _version(nearest.version) == _version(version) else _unmeasured(nearest)


def _unmeasured(nearest: Stack) -> Stack:
    """A version that was not measured: the constants of the *nearest*, wider intervals, no calibration claimed."""
    return dataclasses.replace(
        nearest,
        spread_new_model=math.hypot(nearest.spread_new_model, VERSION_SPREAD),
        spread_new_gpu=math.hypot(nearest.spread_new_gpu, VERSION_SPREAD),
        calibrated=False,
    )


def _version(text: str) -> tuple[int, ...]:
    parts = [int(part) for part in re.findall(r"\d+", text)[:3]]
    while parts and parts[-1] == 0:  # 0.20.0 is 0.20
        parts.pop()
    return tuple(parts)


def _distance(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    length = max(len(a), len(b))
    pad = (0,) * length
    return tuple(abs(x - y) for x, y in zip((*a, *pad)[:length], (*b, *pad)[:length], strict=True))


@functools.cache
def _shipped() -> Mapping[str, Stack]:
    return _parse(read_toml(reference_folder() / "stacks.toml"), "stacks.toml")


def _parse(document: Mapping[str, Any], where: str) -> Mapping[str, Stack]:
    return MappingProxyType({key: _stack(key, table, f"{where}: stack {key!r}") for key, table in document.items()})


def _stack(key: str, table: Any, name: str) -> Stack:
    try:
        general = dict(table["constants"])
        by_gpu = {gpu: _constants({**general, **own}, name) for gpu, own in table.get("by_gpu", {}).items()}
        return Stack(
            id=key,
            framework=str(table["framework"]),
            version=str(table["version"]),
            mode=str(table["mode"]),
            constants=_constants(general, name),
            by_gpu=by_gpu,
            spread_new_model=float(table["spread_new_model"]),
            spread_new_gpu=float(table["spread_new_gpu"]),
            spread_prompt=float(table["spread_prompt"]),
            calibrated=bool(table["calibrated"]),
            fit=dict(table.get("fit", {})),
        )
    except KeyError as error:
        raise ProfileFormatError(f"{name}: key {error.args[0]!r} is missing") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ProfileFormatError(f"{name}: {error}") from None


def _constants(table: Mapping[str, Any], name: str) -> Constants:
    """Constants from a table in the file's units: microseconds (``_us``), nanoseconds (``_ns``), GB/s."""
    values: dict[str, Any] = {}
    scales = {"_us": 1e-6, "_ns": 1e-9}
    for key, value in table.items():
        target, factor = key, 1.0
        for suffix, scale in scales.items():
            if key.endswith(suffix):
                target, factor = key.removesuffix(suffix) + "_s", scale
        if key == "sm_gb_s":
            target, factor = "sm_bytes_s", 1e9
        values[target] = value if isinstance(value, bool) or target == "tile" else float(value) * factor
    constants = Constants(**values)
    for field_ in dataclasses.fields(constants):
        value = getattr(constants, field_.name)
        if not (math.isfinite(value) and value >= 0) or (field_.name.endswith("efficiency") and value == 0):
            raise ProfileFormatError(f"{name}: {field_.name} is {value!r}, must be finite and not negative")
    return constants
