"""Idealized cost and energy: seconds on a reference stack, times GPUs, times price or power.

    idealized_cost_usd = idealized_runtime_s * n_gpus * usd_per_gpu_hour / 3600
    idealized_energy_j = idealized_runtime_s * n_gpus * watts
    wall_watts         = (gpu_watts + server_share_w) * pue
    amortized_cost_usd = idealized_cost_usd * slowdown / (batch * utilisation)

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


def wall_watts(gpu_watts: float, server_share_w: float = 0.0, pue: float = 1.0) -> float:
    """Watts at the wall for one GPU: its own draw, its share of the server's other parts, and the building's overhead.

    The two terms beside the GPU are explicit and off by default: a GPU drawing 385 W with a 150 W share of its server in a
    building of power usage effectiveness 1.2 draws 642 W. Raises ConfigurationError for impossible values.
    """
    if not gpu_watts > 0.0:
        raise ConfigurationError(f"gpu_watts is {gpu_watts}, must be above 0")
    if not server_share_w >= 0.0:
        raise ConfigurationError(f"server_share_w is {server_share_w}, must not be negative")
    if not 1.0 <= pue < 10.0:
        raise ConfigurationError(f"pue is {pue}, must lie in [1, 10)")
    return (gpu_watts + server_share_w) * pue


def amortized(batch_1: Estimate, batch: float, utilisation: float, slowdown: float = 1.0) -> Estimate:
    """Cost or energy shared by *batch* concurrent requests on hardware busy for *utilisation* of the time.

    See ``amortized_factor``.
    """
    return batch_1.scaled(amortized_factor(batch, utilisation, slowdown))


def amortized_factor(batch: float, utilisation: float, slowdown: float = 1.0) -> float:
    """What an idealized cost is multiplied by when *batch* requests share hardware that is busy for *utilisation* of the time.

    *slowdown*: how much longer a request takes in that batch than alone (``roofline.batch_slowdown`` computes it); 1 is
    the lower bound of the cost. Raises ConfigurationError for impossible values.
    """
    if not batch >= 1.0:
        raise ConfigurationError(f"batch is {batch}, must be at least 1")
    if not 0.0 < utilisation <= 1.0:
        raise ConfigurationError(f"utilisation is {utilisation}, must lie in (0, 1]")
    if not 1.0 <= slowdown <= batch:
        raise ConfigurationError(f"slowdown is {slowdown}, must lie in 1..batch ({batch:g})")
    return slowdown / (batch * utilisation)
