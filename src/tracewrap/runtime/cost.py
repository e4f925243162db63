"""Idealized cost and energy: seconds on a reference stack, times GPUs, times price or power.

    idealized_cost_usd = idealized_runtime_s * n_gpus * usd_per_gpu_hour / 3600
    idealized_energy_j = idealized_runtime_s * n_gpus * watts
    amortized_cost_usd = idealized_cost_usd / (batch * utilisation)

The first two: no contention, batch 1 (Narayanan et al., arXiv 2305.02440, section 4). Amortised values divide by a
stated batch and utilisation and are never mixed with them.
"""

from __future__ import annotations

from tracewrap.errors import ConfigurationError
from tracewrap.records import Estimate


def idealized_cost(runtime: Estimate, n_gpus: int, usd_per_gpu_hour: float) -> Estimate:
    """US dollars of *runtime* (seconds) on *n_gpus*, batch 1."""
    return runtime.scaled(n_gpus * usd_per_gpu_hour / 3600.0)


def idealized_energy(runtime: Estimate, n_gpus: int, watts: float) -> Estimate:
    """Joules of *runtime* (seconds) on *n_gpus* drawing *watts* each, batch 1."""
    return runtime.scaled(n_gpus * watts)


def amortized(batch_1: Estimate, batch: float, utilisation: float) -> Estimate:
    """Cost or energy shared by *batch* concurrent requests on hardware busy for *utilisation* of the time."""
    if not batch >= 1.0:
        raise ConfigurationError(f"batch is {batch}, must be at least 1")
    if not 0.0 < utilisation <= 1.0:
        raise ConfigurationError(f"utilisation is {utilisation}, must lie in (0, 1]")
    return batch_1.scaled(1.0 / (batch * utilisation))
