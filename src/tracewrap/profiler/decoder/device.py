"""What a measurement ran on: names and versions, memory, and a watch over clocks, throttling and energy."""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tracewrap.errors import ConfigurationError

# Bits of NVML's clocksEventReasons (NVIDIA, nvml.h).
_SLOWDOWNS = {0x08: "hw_slowdown", 0x20: "sw_thermal", 0x40: "hw_thermal", 0x80: "hw_power_brake"}
_POWER_CAP = 0x04


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the device: energy counter, clock, what slows it (``+``-joined, empty when nothing)."""

    energy_j: float | None = None
    sm_clock_mhz: int | None = None
    slowed: str = ""
    power_capped: bool = False


class Watch:
    """NVML's view of a CUDA device; on a CPU, or without the ``pynvml`` module or its rights, readings are empty."""

    def __init__(self, device: torch.device) -> None:
        self._nvml: Any = None
        self._handle: Any = None
        if device.type == "cuda":
            self._open(device)

    @property
    def works(self) -> bool:
        """Whether readings say anything."""
        return self._handle is not None

    def _open(self, device: torch.device) -> None:
        try:
            import pynvml

            pynvml.nvmlInit()
            uuid = str(torch.cuda.get_device_properties(device).uuid)
            name = uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"
            self._handle, self._nvml = pynvml.nvmlDeviceGetHandleByUUID(name), pynvml
        except Exception:  # noqa: BLE001 - no module, no driver library, no rights: measured without the watch, which facts say
            self._handle = None

    def read(self) -> Reading:
        """A reading now; fields the device does not report are None."""
        nvml, handle = self._nvml, self._handle
        if handle is None:
            return Reading()
        energy = self._ask(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        clock = self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
        reasons = self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)) or 0
        slowed = "+".join(name for bit, name in _SLOWDOWNS.items() if reasons & bit)
        return Reading(None if energy is None else energy / 1000.0, clock, slowed, bool(reasons & _POWER_CAP))

    @staticmethod
    def _ask(question: Any) -> Any:
        try:
            return question()
        except Exception:  # noqa: BLE001 - a card that does not report this
            return None


def open_device(name: str, threads: int | None) -> torch.device:
    """The device called *name* (``cpu``, ``cuda``, ``cuda:1``); sets the number of CPU threads."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigurationError(f"device is {name!r}, must be cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigurationError(f"device is {name!r}, must be cpu, cuda or cuda:N")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigurationError(
                f"device {name!r}: torch {torch.__version__} sees no CUDA device; use --device cpu"
            )
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise ConfigurationError(f"device {name!r}: torch sees {torch.cuda.device_count()} CUDA devices, from 0")
        device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(threads or 1)
    return device


def device_facts(device: torch.device) -> dict[str, Any]:
    """Device name, software versions and threads, for a profile's ``stack``."""
    facts: dict[str, Any] = {"device": device.type, "framework": "torch", "torch": torch.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "device_name": properties.name,
            "cuda": torch.version.cuda,
            "memory_bytes": properties.total_memory,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "sm_count": properties.multi_processor_count,
        }
        return facts
    return facts | {"device_name": _cpu_name(), "threads": torch.get_num_threads()}


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated on *device*, once what an earlier decoder of this process left is given back."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info(device)[0])
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))


def load_average() -> float | None:
    """Processes that wanted a core in the last minute; None where the system does not say."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def cool_down(watch: Watch, seconds: float = 2.0, most: float = 60.0) -> None:
    """Wait until nothing slows the device, at most *most* seconds."""
    until = time.monotonic() + most
    while watch.read().slowed and time.monotonic() < until:
        time.sleep(seconds)


def software(facts: Mapping[str, Any]) -> str:
    """One line that names the software of *facts*."""
    cuda = f", CUDA {facts['cuda']}" if facts.get("cuda") else ""
    return f"torch {facts['torch']}{cuda}"
