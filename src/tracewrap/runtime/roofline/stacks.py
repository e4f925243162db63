"""Software stacks with fitted constants: ``reference_profiles/stacks.toml``.

A stack is an engine, its generation and how it launches work. The file is a tree: every node multiplies the constants of its
parent by factors, for all cases or for those with a tag (maker, generation or id of the card, its link, precision of the
weights). ``benchmarks/calibrate_stacks.py`` fits the factors and writes beside them what they were fitted to.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tracewrap.errors import ProfileFormatError, ProfileNotFoundError
from tracewrap.runtime.files import reference_folder
from tracewrap.runtime.roofline.architecture import BYTES_PER_VALUE, Architecture
from tracewrap.runtime.roofline.gpus import Gpu
from tracewrap.runtime.roofline.terms import Constants
from tracewrap.runtime.toml_files import read_toml

DEFAULT_STACK = "vllm"
ROOT = "general"
UNKNOWN = "current"
"""The node of an engine that nobody names: what the engines since 2025 have in common."""
MOST: Mapping[str, float] = {
    "bandwidth_efficiency": 0.97,
    "kv_efficiency": 0.97,
    "flop_efficiency": 0.95,
    "attention_efficiency": 0.95,
    "link_efficiency": 0.95,
}
"""The largest value of each efficiency, whatever the factors say: nothing is faster than the hardware."""
PROMPT_LAUNCHES = ("prompt_layer_s", "prompt_moe_layer_s", "prompt_latent_layer_s")
"""Constants of launching a prompt's kernels where decoding runs in captured graphs; an eager engine launches both alike."""
QUANTITIES = ("first", "token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node of the tree: an engine, a generation or a version of it, or what several engines share.

    ``factors``: by tag (``all``: every case) the factors on the constants of the parent. ``since``: the first version that is
    of this generation. ``versions``: those that were measured. ``seen``: ids of cards, generations of cards, precisions and
    kinds of models (``dense``, ``mixture``, ``latent``, ``linear``) and models that its rows have.
    """

    id: str
    parent: str
    framework: str
    generation: str
    since: str
    versions: tuple[str, ...]
    mode: str
    pipeline: bool
    ring: bool
    tile: int
    factors: Mapping[str, Mapping[str, float]]
    seen: Mapping[str, frozenset[str]]
    fit: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One engine as named by the caller: the nodes it inherits from, the widest first, and the constants of the root.

    ``version``: the one asked for, or the generation's name. ``note``: whose constants a version that was not measured takes.
    ``spread``: by quantity (``first`` token, per ``token``) the 90% half-widths, log scale, that each distance adds.
    """

    id: str
    framework: str
    version: str
    mode: str
    nodes: tuple[Node, ...]
    root: Mapping[str, float]
    spread: Mapping[str, Mapping[str, float]]
    measured_version: bool = True
    note: str = ""
    fit: Mapping[str, Any] = field(default_factory=dict)

    @property
    def calibrated(self) -> bool:
        """Whether rows of this very engine were measured, and of this version where one is asked for."""
        return bool(self.nodes[-1].seen.get("gpus")) and self.measured_version

    @property
    def pipeline(self) -> bool:
        """Whether several GPUs hold consecutive layers instead of slices of each."""
        return self.nodes[-1].pipeline

    def constants_for(self, gpu: Gpu, precision: str) -> Constants:
        """The constants for weights in *precision* on *gpu*: the root's times the factors of every node and tag that apply."""
        values = dict(self.root)
        tags = ("all", *case_tags(gpu, precision).values())
        for node in self.nodes:
            for tag in tags:
                for name, factor in node.factors.get(tag, {}).items():
                    values[name] *= factor
        for name, most in MOST.items():
            values[name] = min(values[name], most)
        for name, most in relative_limits(values, gpu, precision).items():
            values[name] = min(values[name], most)
        for name in PROMPT_LAUNCHES if self.mode == "eager" else ("launch_s", "expert_launch_s"):
            values[name] = 0.0
        last = self.nodes[-1]
        how = {"tile": last.tile, "tile_fraction": 1.0 if last.tile > 1 else 0.0}
        every: dict[str, Any] = {**values, **how, "pipeline": last.pipeline, "ring": last.ring}
        return Constants(**every)

    def distances(self, model: Architecture, gpu: Gpu, precision: str) -> tuple[str, ...]:
        """In which ways the case is unlike what this engine's constants were fitted to, or of a kind that scatters more.

        Names of ``spread``'s entries. Engines since 2025 scatter more: each is many versions, measured by many people.
        """
        seen = self.nodes[-1].seen
        kinds = kinds_of(model)
        narrow = case_tags(gpu, precision)["precision"]
        unlike = {
            "model": model.id not in seen.get("models", ()),
            "version": bool(seen.get("gpus")) and not self.measured_version,
            "engine": not seen.get("gpus"),
            "gpu": gpu.id not in seen.get("gpus", ()),
            "generation": gpu.generation not in seen.get("generations", ()),
            "precision": narrow not in seen.get("precisions", ()),
            "mixture": "mixture" in kinds and f"mixture {narrow}" not in seen.get("kinds", ()),
            "kind": not kinds - {"mixture"} <= seen.get("kinds", frozenset()),
            "mixtures": "mixture" in kinds,
            "current": any(node.id == UNKNOWN for node in self.nodes),
            "narrow": BYTES_PER_VALUE[precision] < 2.0,
            "eager": self.mode == "eager" and not self.nodes[-1].ring,
        }
        return ("base", *(name for name, holds in unlike.items() if holds))

    def half_width(self, quantity: str, distances: tuple[str, ...]) -> float:
        """90% half-width on the log scale of *quantity* at these *distances*."""
        widths = self.spread.get(quantity, {})
        return math.sqrt(sum(widths.get(name, 0.0) ** 2 for name in distances))


def relative_limits(values: Mapping[str, float], gpu: Gpu, precision: str) -> dict[str, float]:
    """The largest value of the constants that are relative to another one: no product exceeds the hardware's rate."""
    bandwidth = MOST["bandwidth_efficiency"] / values["bandwidth_efficiency"]
    gain = gpu.peak_flops(precision) / gpu.peak_flops("bf16")
    flops = MOST["flop_efficiency"] * max(1.0, gain) / values["flop_efficiency"]
    return {
        "narrow_efficiency": bandwidth,
        "expert_efficiency": bandwidth,
        "narrow_flop_gain": flops,
        "expert_flop_efficiency": flops,
    }


def kinds_of(model: Architecture) -> frozenset[str]:
    """What sort of decoder *model* is: ``dense`` or ``mixture``, and ``latent``, ``linear`` or ``sparse`` attention."""
    kinds = {"mixture" if model.is_moe else "dense"}
    if model.attention == "mla":
        kinds.add("latent")
    if model.linear_layers:
        kinds.add("linear")
    if model.index_top:
        kinds.add("sparse")
    return frozenset(kinds)


def case_tags(gpu: Gpu, precision: str) -> dict[str, str]:
    """What a case is called in the ``factors`` of a node, by kind of tag."""
    return {
        "maker": gpu.vendor,
        "generation": gpu.generation,
        "gpu": gpu.id,
        "link": "host link" if gpu.link == "pcie" else "direct link",
        "precision": "bf16" if precision == "fp16" else precision,
    }


def load_stacks(path: str | os.PathLike[str] | None = None) -> Mapping[str, Stack]:
    """Stacks by id: the shipped ones, or those of the TOML file *path*."""
    return _shipped() if path is None else parse_document(read_toml(path), str(path))


def find_stack(name: str | None = None, stacks: Mapping[str, Stack] | None = None) -> Stack:
    """The stack called *name*: an id, a framework (its newest generation), or a framework with a version.

    A version takes the constants of its generation (``vllm-0.11.2`` those of the V1 engine), and of the very version where that
    was fitted by itself. Raises ProfileNotFoundError listing the known ids.
    """
    known = _shipped() if stacks is None else stacks
    wanted = (name or DEFAULT_STACK).strip().lower().replace(" ", "-").replace("_", "-").replace("==", "-")
    wanted = wanted.replace("tensorrt-llm", "trtllm").replace("trt-llm", "trtllm").replace("llama.cpp", "llamacpp")
    if wanted in known:
        return known[wanted]
    frameworks = sorted({stack.framework for stack in known.values() if stack.framework}, key=len, reverse=True)
    framework = next((each for each in frameworks if wanted == each or wanted.startswith(f"{each}-")), "")
    version = wanted.removeprefix(framework).lstrip("-v")
    generations = sorted((s for s in known.values() if s.framework == framework and s.nodes[-1].since), key=_since)
    if not framework or not generations or (version and not re.match(r"b?\d", version)):
        raise ProfileNotFoundError(f"no stack {name!r}; known: {', '.join(known)}")
    if not version:
        return generations[-1]
    fitting = [stack for stack in generations if _since(stack) <= _version(version)] or generations[:1]
    return _versioned(fitting[-1], version, known)


def _versioned(generation: Stack, version: str, known: Mapping[str, Stack]) -> Stack:
    """The stack of one *version* of a *generation*, saying whose constants it takes."""
    own = [
        stack
        for stack in known.values()
        if len(stack.nodes) > len(generation.nodes)
        and stack.nodes[-1].parent == generation.id
        and _begins(_version(version), _version(stack.version))
    ]
    found = own[0] if own else generation
    measured = any(_begins(_version(version), _version(v)[:2]) for v in found.nodes[-1].versions)
    node = generation.nodes[-1]
    note = (
        ""
        if measured
        else f"{generation.framework} {version} was not measured: constants of {node.generation or node.id} "
        f"(measured: {', '.join(node.versions) or 'none'})"
    )
    return dataclasses.replace(found, version=version, measured_version=measured, note=note)


def _since(stack: Stack) -> tuple[int, ...]:
    return _version(stack.nodes[-1].since)


def _begins(version: tuple[int, ...], prefix: tuple[int, ...]) -> bool:
    return bool(prefix) and version[: len(prefix)] == prefix


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


@functools.cache
def _shipped() -> Mapping[str, Stack]:
    return parse_document(read_toml(reference_folder() / "stacks.toml"), "stacks.toml")


def parse_document(document: Mapping[str, Any], where: str) -> Mapping[str, Stack]:
    """The stacks of a parsed file; *where* names it in error messages."""
    root = document.get(ROOT, {}).get("constants")
    if not isinstance(root, Mapping):
        raise ProfileFormatError(f"{where}: stack {ROOT!r}: key 'constants' is missing")
    values = _constants(root, f"{where}: stack {ROOT!r}")
    nodes = {key: _node(key, table, f"{where}: stack {key!r}") for key, table in document.items() if key != "spread"}
    spread = {quantity: dict(document.get("spread", {}).get(quantity, {})) for quantity in QUANTITIES}
    stacks = {}
    for key, node in nodes.items():
        if key not in (ROOT, "early"):
            path = tuple(reversed(tuple(_path(node, nodes, f"{where}: stack {key!r}"))))
            stacks[key] = Stack(
                id=key,
                framework=node.framework,
                version=node.versions[0] if node.versions and not node.since else node.generation or node.since,
                mode=node.mode,
                nodes=path,
                root=values,
                spread=spread,
                fit=node.fit,
            )
    return MappingProxyType(stacks)


def _path(node: Node, nodes: Mapping[str, Node], name: str) -> Iterator[Node]:
    for _ in range(len(nodes)):
        yield node
        if not node.parent:
            return
        if node.parent not in nodes:
            raise ProfileFormatError(f"{name}: parent {node.parent!r} is not in the file")
        node = nodes[node.parent]
    raise ProfileFormatError(f"{name}: its parents form a circle")


def _node(key: str, table: Any, name: str) -> Node:
    try:
        factors = {
            tag: {field_: _factor(field_, value, name) for field_, value in each.items()}
            for tag, each in table.get("factors", {}).items()
        }
        return Node(
            id=key,
            parent=str(table.get("parent", "" if key == ROOT else ROOT)),
            framework=str(table.get("framework", "")),
            generation=str(table.get("generation", "")),
            since=str(table.get("since", "")),
            versions=tuple(str(version) for version in table.get("versions", ())),
            mode=str(table.get("mode", "graph")),
            pipeline=bool(table.get("pipeline", False)),
            ring=bool(table.get("ring", False)),
            tile=int(table.get("tile", 1)),
            factors=factors,
            seen={kind: frozenset(each) for kind, each in table.get("seen", {}).items()},
            fit=dict(table.get("fit", {})),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ProfileFormatError(f"{name}: {error}") from None


def _factor(field_: str, value: Any, name: str) -> float:
    if field_ not in CONSTANT_NAMES:
        raise ProfileFormatError(f"{name}: unknown constant {field_!r}")
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise ProfileFormatError(f"{name}: factor {field_} is {value!r}, must be finite and above 0")
    return float(value)


CONSTANT_NAMES = tuple(
    each.name
    for each in dataclasses.fields(Constants)
    if each.name not in ("tile", "tile_fraction", "pipeline", "ring")
)


def _constants(table: Mapping[str, Any], name: str) -> dict[str, float]:
    """Constants from a table in the file's units: microseconds (``_us``), nanoseconds (``_ns``), shares."""
    values: dict[str, float] = {}
    for key, value in table.items():
        target, factor = key, 1.0
        for suffix, scale in {"_us": 1e-6, "_ns": 1e-9}.items():
            if key.endswith(suffix):
                target, factor = key.removesuffix(suffix) + "_s", scale
        if target not in CONSTANT_NAMES:
            raise ProfileFormatError(f"{name}: unknown constant {key!r}")
        if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            raise ProfileFormatError(f"{name}: {key} is {value!r}, must be finite and above 0")
        values[target] = float(value) * factor
    missing = [each for each in CONSTANT_NAMES if each not in values]
    if missing:
        raise ProfileFormatError(f"{name}: constant {missing[0]!r} is missing")
    return values
