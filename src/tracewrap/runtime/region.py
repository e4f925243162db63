"""The token counts that a profile was learned on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracewrap.errors import ProfileFormatError


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The token counts that a profile was learned on, least and most; outside it an estimate is extrapolated."""

    input_tokens: tuple[float, float]
    output_tokens: tuple[float, float]
    cached_input_tokens: float = 0.0
    """Most cached tokens; 0: none were seen."""

    def beyond(self, p: float, o: float, c: float) -> float:
        """How many times outside (p, o, c) lies; 1 inside."""
        (p_min, p_max), (o_min, o_max) = self.input_tokens, self.output_tokens
        found = max(1.0, p / p_max, o / o_max, p_min / max(p, 1.0), o_min / max(o, 1.0))
        return max(found, c / self.cached_input_tokens) if self.cached_input_tokens > 0 else found

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "input_tokens": list(self.input_tokens),
            "output_tokens": list(self.output_tokens),
            "cached_input_tokens": self.cached_input_tokens,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Region:
        """A region from plain JSON values; KeyError, TypeError or ValueError for others."""
        (p_min, p_max), (o_min, o_max) = data["input_tokens"], data["output_tokens"]
        return cls(
            input_tokens=(float(p_min), float(p_max)),
            output_tokens=(float(o_min), float(o_max)),
            cached_input_tokens=float(data.get("cached_input_tokens", 0.0)),
        )

    def check(self, name: str) -> None:
        """Raise ProfileFormatError, naming the profile *name*, for the first impossible value."""
        for key, (low, high) in (("input_tokens", self.input_tokens), ("output_tokens", self.output_tokens)):
            if not 0.0 <= low <= high < math.inf or high < 1.0:
                raise ProfileFormatError(f"{name}: region.{key} is [{low}, {high}], must increase, to at least 1")
        if not 0.0 <= self.cached_input_tokens < math.inf:
            value = self.cached_input_tokens
            raise ProfileFormatError(f"{name}: region.cached_input_tokens is {value}, must be at least 0")
