"""What training a model took: GPU hours as published, or computed at a stated utilisation; energy, dollars, and a served token's share.

    flops     = 6 * active_parameters * tokens
    gpu_hours = flops / (peak_flops * utilisation) / 3600
    energy_j  = gpu_hours * 3600 * watts * pue
    usd       = gpu_hours * usd_per_gpu_hour
    share     = (usd or energy_j) * tokens of the calls / served_tokens

Six operations a parameter and token: Kaplan et al., arXiv 2001.08361, section 2.1. Energy: HELM's formula, the power limit of each GPU
times a PUE of 1.1. ``reference_profiles/training.toml`` has what was published, with sources; a model that is not there has no figure.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from tracewrap.errors import ConfigurationError, ProfileFormatError, ProfileNotFoundError
from tracewrap.runtime.files import reference_folder
from tracewrap.runtime.roofline.architectures import load_models, resolve_model
from tracewrap.runtime.roofline.gpus import Gpu, load_gpus
from tracewrap.runtime.stack import Price
from tracewrap.runtime.toml_files import read_toml

PUE = 1.1
"""Power usage effectiveness where the source states none: HELM's."""
JOULES_PER_MWH = 3.6e9
_TRAINED_AGAIN = (
    *("distill", "0528", "hermes", "tulu", "nemotron", "guard", "coder", "-vl-", "reasoning"),
    "huggyllama",  # the first Llama has the shape of the second
)
"""In names of releases that have another model's shape and a training of their own."""
_KEYS = {
    *("gpu", "gpu_hours", "gpus", "days", "tokens", "flops", "utilisation", "assumed", "watts", "pue", "energy_mwh"),
    *("usd_per_gpu_hour", "g_per_kwh", "source", "date"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One model's training. ``provenance``: of the hours, or of the energy where it alone was published.

    ``utilisation``: stated where hours are computed, implied where hours and tokens were published; None: neither. ``price``: of one
    GPU-hour. ``g_per_kwh``: grams of CO2 equivalent that the source takes for the place of training.
    """

    model: str
    gpu: str
    gpu_hours: float | None
    provenance: Literal["published", "computed", "assumed"]
    energy_j: float | None
    price: Price | None
    tokens: float | None
    utilisation: float | None
    g_per_kwh: float | None
    assumed: str
    source: str
    date: str

    @property
    def usd(self) -> float | None:
        """Dollars of the GPU hours; None where hours or price are unknown."""
        known = self.gpu_hours is not None and self.price is not None
        return self.gpu_hours * self.price.usd_per_gpu_hour if known else None  # type: ignore[operator, union-attr]


def load_training() -> Mapping[str, Training]:
    """Every shipped training by model. Raises ProfileFormatError naming model and key for a table that cannot be read."""
    return _shipped()


def training_of(model: str) -> Training | None:
    """The training of *model*, by any host's name of it; None where none is published.

    A distillation, or another release that has a model's shape and was trained further, has none here.
    """
    found = load_training()
    if any(word in model.lower() for word in _TRAINED_AGAIN):
        return found.get(model)
    return found.get(model) or found.get(resolve_model(model) or "")


def served(text: str) -> float:
    """The number of served tokens in *text*, such as 1e12. Raises ConfigurationError for anything else, 0 included."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        raise ConfigurationError(
            f"training {text!r}: say over how many served tokens it is shared, a number such as 1e12"
        )
    return value


def share(whole: float | None, tokens: float, served_tokens: float) -> float | None:
    """What *tokens* of *served_tokens* bear of *whole*, dollars or joules; None for None."""
    return None if whole is None else whole * tokens / served_tokens


@functools.cache
def _shipped() -> Mapping[str, Training]:
    gpus, found = load_gpus(), {}
    for model, table in read_toml(reference_folder() / "training.toml").items():
        try:
            found[model] = parsed(model, table, gpus)
        except KeyError as error:
            raise ProfileFormatError(f"training.toml: model {model!r}: key {error.args[0]!r} is missing") from None
        except (TypeError, ValueError, ProfileNotFoundError) as error:
            raise ProfileFormatError(f"training.toml: model {model!r}: {error}") from None
    return MappingProxyType(found)


def parsed(model: str, table: Mapping[str, Any], gpus: Mapping[str, Gpu]) -> Training:
    """The training that one *table* tells. Raises KeyError for a missing key, ValueError for an unknown one."""
    if unknown := sorted(set(table) - _KEYS):
        raise ValueError(f"unknown key {unknown[0]!r}")
    gpu = gpus.get(table["gpu"])
    told = float(table["gpus"] * table["days"] * 24.0) if "gpus" in table else table.get("gpu_hours")
    published = told is not None or "energy_mwh" in table
    hours, utilisation = told, table.get("utilisation")
    if not published:
        hours = _flops(model, table) / (_peak(gpu, table) * table["utilisation"]) / 3600.0
    elif told is not None and gpu is not None and "tokens" in table:
        utilisation = _flops(model, table) / (_peak(gpu, table) * told * 3600.0)
    return Training(
        model=model,
        gpu=table["gpu"],
        gpu_hours=hours,
        provenance="assumed" if "assumed" in table else "published" if published else "computed",
        energy_j=_energy_j(gpu, table, hours),
        price=_price(gpu, table),
        tokens=table.get("tokens"),
        utilisation=utilisation,
        g_per_kwh=table.get("g_per_kwh"),
        assumed=table.get("assumed", ""),
        source=table["source"],
        date=table["date"],
    )


def _flops(model: str, table: Mapping[str, Any]) -> float:
    if "flops" in table:
        return float(table["flops"])
    return 6.0 * load_models()[model].active_parameters * float(table["tokens"])


def _peak(gpu: Gpu | None, table: Mapping[str, Any]) -> float:
    """Operations a second in 16 bits, the precision that utilisations are told in."""
    if gpu is None:
        raise ValueError(f"hours from operations need a GPU of gpus.toml, {table['gpu']!r} is none")
    return gpu.peak_flops("bf16")


def _energy_j(gpu: Gpu | None, table: Mapping[str, Any], hours: float | None) -> float | None:
    if "energy_mwh" in table:
        return float(table["energy_mwh"]) * JOULES_PER_MWH
    watts = table["watts"] if gpu is None else table.get("watts", gpu.tdp_w)
    return None if hours is None else hours * 3600.0 * float(watts) * float(table.get("pue", PUE))


def _price(gpu: Gpu | None, table: Mapping[str, Any]) -> Price | None:
    if "usd_per_gpu_hour" in table:
        return Price(table["usd_per_gpu_hour"], "as its source states", table["date"])
    return None if gpu is None else gpu.price
