"""Accelerators: peak rates, memory, power and dated prices.

``reference_profiles/gpus.toml``, tables by GPU id. A user's file of the same form overrides single fields of a shipped
GPU (a negotiated price, say) or adds GPUs.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tracewrap.errors import ProfileFormatError, ProfileNotFoundError
from tracewrap.runtime.files import reference_folder
from tracewrap.runtime.stack import Price
from tracewrap.runtime.toml_files import read_toml

DEFAULT_POWER_FRACTION = 0.55
"""Share of TDP drawn at batch 1 where nobody measured it: the middle of what A100 and H100 show."""
POWER_PER_DOUBLING = 0.045
"""Share of TDP that each doubling of the requests in flight adds: between the 0.52-0.59 that A100 and H100 draw for one request
and the 0.95 or so that H100 and B200 draw for more than a hundred."""
OLDEST_PRICE = "2025-01"
"""Prices seen before this month are history, not part of the range that vendors ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One accelerator as a serving rank sees it (an MI250 is two).

    ``flops``: dense peak operations per second by precision, without sparsity. ``bandwidth_bytes_s``: memory.
    ``link_bytes_s``: to the other accelerators of the node, one direction, all links together; ``link`` its kind.
    ``sm_count``: streaming multiprocessors or compute units; ``clock_hz`` their highest boost clock.
    ``node_gpus``: how many one node holds.
    ``power_fraction``: measured share of ``tdp_w`` drawn at batch 1 (None: not measured, see ``batch_1_watts``).
    ``matvec_bytes_s``: bandwidth reached while decoding, where it was measured to stay far below the peak.
    ``prices``: dollars per GPU-hour on demand, each with source and date; the first is the default.
    """

    id: str
    name: str
    vendor: str
    flops: Mapping[str, float]
    bandwidth_bytes_s: float
    memory_bytes: float
    sm_count: int
    clock_hz: float
    tdp_w: float
    link: str
    link_bytes_s: float
    generation: str = ""
    node_gpus: int = 8
    matvec_bytes_s: float = math.inf
    power_fraction: float | None = None
    prices: tuple[Price, ...] = ()
    aliases: tuple[str, ...] = ()
    source: str = ""

    @property
    def price(self) -> Price | None:
        """The default price: the first in the file; None when no price is known."""
        return self.prices[0] if self.prices else None

    @property
    def batch_1_watts(self) -> float:
        """Watts of one GPU while it serves one request at a time."""
        return self.tdp_w * (DEFAULT_POWER_FRACTION if self.power_fraction is None else self.power_fraction)

    def watts(self, batch: float = 1.0, batch_1: float | None = None) -> float:
        """Watts of one GPU with *batch* requests in flight, never above its limit; *batch_1*: what it draws for one, if known."""
        one = self.batch_1_watts if batch_1 is None else batch_1
        return min(max(self.tdp_w, one), one + POWER_PER_DOUBLING * self.tdp_w * math.log2(max(batch, 1.0)))

    @property
    def asked_prices(self) -> tuple[Price, ...]:
        """What vendors ask today: the prices seen since ``OLDEST_PRICE``, in the file's order."""
        return tuple(price for price in self.prices if price.date >= OLDEST_PRICE)

    def peak_flops(self, precision: str) -> float:
        """Dense peak operations per second when computing in *precision*, or in the widest below it that it has.

        Weight-only formats (int4, and fp8 on a GPU without fp8 units) are computed in 16 bits.
        """
        for key in (precision, "bf16", "fp16", "fp32"):
            if key in self.flops:
                return self.flops[key]
        raise ProfileFormatError(f"GPU {self.id!r}: flops has neither {precision!r} nor bf16, fp16, fp32")


def load_gpus(path: str | os.PathLike[str] | None = None) -> Mapping[str, Gpu]:
    """GPUs by id: the shipped ones, overlaid field by field with those of the TOML file *path* when given.

    Raises ProfileNotFoundError when *path* cannot be read, ProfileFormatError naming file and key otherwise.
    """
    if path is None:
        return _shipped()
    return _parse({key: dict(table) for key, table in _shipped_tables().items()}, read_toml(path), str(path))


def get_gpu(name: str, gpus: Mapping[str, Gpu] | None = None) -> Gpu:
    """The GPU whose id or alias is *name*, any case; raises ProfileNotFoundError listing the known ids."""
    known = _shipped() if gpus is None else gpus
    wanted = name.strip().lower().replace("_", "-").replace(" ", "-")
    for gpu in known.values():
        if wanted == gpu.id or wanted in gpu.aliases:
            return gpu
    raise ProfileNotFoundError(f"no GPU {name!r}; known: {', '.join(known)}")


@functools.cache
def _shipped() -> Mapping[str, Gpu]:
    return _parse({}, _shipped_tables(), "gpus.toml")


@functools.cache
def _shipped_tables() -> dict[str, dict[str, Any]]:
    return read_toml(reference_folder() / "gpus.toml")


def _parse(under: dict[str, dict[str, Any]], over: Mapping[str, Any], where: str) -> Mapping[str, Gpu]:
    tables = dict(under)
    for key, table in over.items():
        if not isinstance(table, dict):
            raise ProfileFormatError(f"{where}: {key} must be a table")
        tables[key] = {**tables.get(key, {}), **table}
    return MappingProxyType({key: _gpu(key, table, where) for key, table in tables.items()})


def _gpu(key: str, table: Mapping[str, Any], where: str) -> Gpu:
    name = f"{where}: GPU {key!r}"
    try:
        gpu = Gpu(
            id=key,
            name=str(table["name"]),
            vendor=str(table["vendor"]),
            flops={k: float(v) * 1e12 for k, v in table["tflops"].items()},
            bandwidth_bytes_s=float(table["bandwidth_gb_s"]) * 1e9,
            memory_bytes=float(table["memory_gb"]) * 1e9,
            sm_count=int(table["sm_count"]),
            clock_hz=float(table["clock_ghz"]) * 1e9,
            tdp_w=float(table["tdp_w"]),
            link=str(table["link"]),
            link_bytes_s=float(table["link_gb_s"]) * 1e9,
            generation=str(table.get("generation", key)),
            node_gpus=int(table.get("node_gpus", 8)),
            matvec_bytes_s=float(table.get("matvec_gb_s", math.inf)) * 1e9,
            power_fraction=None if table.get("power_fraction") is None else float(table["power_fraction"]),
            prices=tuple(
                Price(float(p["usd_per_gpu_hour"]), p["source"], str(p["date"])) for p in table.get("prices", ())
            ),
            aliases=tuple(table.get("aliases", ())),
            source=str(table.get("source", "")),
        )
    except KeyError as error:
        raise ProfileFormatError(f"{name}: key {error.args[0]!r} is missing") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ProfileFormatError(f"{name}: {error}") from None
    _check(gpu, name)
    return gpu


def _check(gpu: Gpu, name: str) -> None:
    positive = {
        "bandwidth_gb_s": gpu.bandwidth_bytes_s / 1e9,
        "memory_gb": gpu.memory_bytes / 1e9,
        "sm_count": gpu.sm_count,
        "clock_ghz": gpu.clock_hz / 1e9,
        "tdp_w": gpu.tdp_w,
        "link_gb_s": gpu.link_bytes_s / 1e9,
        "node_gpus": gpu.node_gpus,
        **{f"tflops.{k}": v / 1e12 for k, v in gpu.flops.items()},
        **{f"prices[{i}].usd_per_gpu_hour": p.usd_per_gpu_hour for i, p in enumerate(gpu.prices)},
    }
    for field, value in positive.items():
        if not (math.isfinite(value) and value > 0):
            raise ProfileFormatError(f"{name}: {field} is {value:g}, must be finite and above 0")
    if not gpu.matvec_bytes_s > 0:
        raise ProfileFormatError(f"{name}: matvec_gb_s is {gpu.matvec_bytes_s / 1e9:g}, must be above 0")
    if gpu.power_fraction is not None and not 0 < gpu.power_fraction <= 1:
        raise ProfileFormatError(f"{name}: power_fraction is {gpu.power_fraction}, must lie in (0, 1]")
    gpu.peak_flops("bf16")
