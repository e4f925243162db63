"""ReferenceStack: a GPU, a software stack and the profiles of the models measured (or computed) on it.

A stack file is JSON, schema ``tracewrap.stack/1``:

    {"schema": "tracewrap.stack/1", "id": ..., "gpu": key of gpus.toml, "software": {...}, "precision": ...,
     "batch_size": 1, "profiles": {model: tracewrap.profile/1 object, ...}}

Price and power come from gpus.toml (``tracewrap.runtime.roofline.gpus``) unless the file or the user overrides them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tracewrap.errors import ProfileFormatError
from tracewrap.runtime.files import read_json, to_json, write_whole
from tracewrap.runtime.profile import RuntimeProfile

SCHEMA = "tracewrap.stack/1"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per GPU-hour with where and when it was seen."""

    usd_per_gpu_hour: float
    source: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceStack:
    """GPU + software + precision, uncontended, batch 1 unless stated, and its profiles by model id.

    ``watts``: power of one GPU while serving at this batch, joules per second. ``None``: unknown, so no energy. A profile whose
    own power was measured (``stack["watts"]``) keeps it: see ``watts_for``.
    """

    id: str
    gpu: str
    precision: str
    software: Mapping[str, str] = field(default_factory=dict)
    batch_size: int = 1
    price: Price | None = None
    watts: float | None = None
    description: str = ""
    profiles: Mapping[str, RuntimeProfile] = field(default_factory=dict)

    def watts_for(self, profile: RuntimeProfile) -> float | None:
        """Watts of one GPU while it serves *profile*'s model: measured with the profile where it was, else the stack's."""
        own = profile.stack.get("watts")
        return float(own) if isinstance(own, int | float) and own > 0 else self.watts

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, exact round trip through ``from_dict``."""
        out: dict[str, Any] = {
            "schema": SCHEMA,
            "id": self.id,
            "description": self.description,
            "gpu": self.gpu,
            "software": dict(self.software),
            "precision": self.precision,
            "batch_size": self.batch_size,
        }
        if self.price is not None:
            out["price"] = {
                "usd_per_gpu_hour": self.price.usd_per_gpu_hour,
                "source": self.price.source,
                "date": self.price.date,
            }
        if self.watts is not None:
            out["watts"] = self.watts
        out["profiles"] = {name: profile.to_dict() for name, profile in self.profiles.items()}
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "stack") -> ReferenceStack:
        """A stack from plain JSON values; *where* names the file in error messages."""
        if data.get("schema") != SCHEMA:
            raise ProfileFormatError(f"{where}: schema is {data.get('schema')!r}, this version reads {SCHEMA!r}")
        try:
            price = data.get("price")
            return cls(
                id=str(data["id"]),
                gpu=str(data["gpu"]),
                precision=str(data["precision"]),
                software=dict(data.get("software", {})),
                batch_size=int(data.get("batch_size", 1)),
                price=None if price is None else Price(**price),
                watts=data.get("watts"),
                description=str(data.get("description", "")),
                profiles={
                    name: RuntimeProfile.from_dict(profile, f"{where}: profiles[{name!r}]")
                    for name, profile in data["profiles"].items()
                },
            )
        except KeyError as error:
            raise ProfileFormatError(f"{where}: key {error.args[0]!r} is missing") from None
        except (TypeError, AttributeError) as error:
            raise ProfileFormatError(f"{where}: {error}") from None


def load_stack(path: str | os.PathLike[str]) -> ReferenceStack:
    """The stack in a ``tracewrap.stack/1`` file."""
    return ReferenceStack.from_dict(read_json(path), where=str(path))


def save_stack(stack: ReferenceStack, path: str | os.PathLike[str]) -> None:
    """Write *stack* to *path*, whole or not at all."""
    write_whole(path, to_json(stack.to_dict()))
