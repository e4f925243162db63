"""RuntimeProfile: T(p, o) of one model somewhere, with its interval and provenance.

    T(p, o)        = overhead + prompt_time(p) + (o-1)*d0 + d1*(o-1)*(p + o/2)      o >= 1
    T(p, 0)        = overhead + prompt_time(p)
    prompt_time(p) = piecewise linear through the knots, in the effective prompt length p~
    p~             = (1-f)*p + f*tile*ceil(p/tile)

A deployment's profile may know two things more: ``prompt_time(p - c) + cached_time*c`` in place of prompt_time(p), c of the p tokens having
been read from the provider's cache, and ``image_time`` seconds an image. A reference stack's never does.

p: input tokens; o: output tokens; everything in seconds. Below the first knot prompt time is constant; beyond
the last knot the last slope continues and the estimate says ``extrapolated``. Source of the two-term form:
Narayanan et al., arXiv 2305.02440, section 3; the tile and context terms are tracewrap's.

The 90% interval is T*exp(-r) .. T*exp(r) with r from ``Interval``, simple arithmetic again, so that Python, numpy
and SQL evaluate the same profile to the same number. This module needs nothing but the standard library;
``predict`` imports numpy when it is called.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tracewrap.errors import ProfileFormatError
from tracewrap.records import PROVENANCES, VERDICTS, Estimate, Provenance, Verdict
from tracewrap.runtime.region import Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

SCHEMA = "tracewrap.profile/1"
_EMPTY: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Interval:
    """Half-width r of the 90% interval, on the log scale.

        r^2 = base^2 + (prompt*(1 - D/T))^2 + (decode*D/T)^2 + (extrapolation*ln(beyond))^2
        beyond = max(1, p/p_max, o/o_max, c/c_max, p_min/p, o_min/o)

    D is decode time, so a share-weighted sum; p_max and o_max are the largest counts measured (the last knot and
    ``max_output_tokens``), or the ends of ``Region`` where the profile has one; only then there are c_max and the two least counts.
    """

    base: float = 0.0
    prompt: float = 0.0
    decode: float = 0.0
    extrapolation: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeProfile:
    """Fitted T(p, o). Immutable and validated: building one with impossible values raises ProfileFormatError.

    ``n_gpus``: accelerators the model ran on (None for a black-box API). ``stack``: GPU, software versions,
    precision, batch. ``fit``: sample count, quality, residuals. ``measured``: who, when, with what command.
    ``covariance``: of the fitted coefficients, relative scale, as ``fit`` orders them; information only.
    ``cached_time``: seconds per cached input token; None: not known, cached tokens count as others. ``image_time``: seconds per image.
    ``verdict``: of a denoised profile, how far it can be believed; None: not judged (a reference stack's, an older file's).
    """

    id: str
    model: str
    prompt_knots: tuple[tuple[float, float], ...]
    d0: float = 0.0
    d1: float = 0.0
    tile: int = 1
    tile_fraction: float = 0.0
    overhead_s: float = 0.0
    interval: Interval = Interval()
    max_output_tokens: int | None = None
    provenance: Provenance = "measured"
    n_gpus: int | None = None
    stack: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    fit: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    measured: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    covariance: tuple[tuple[float, ...], ...] | None = None
    cached_time: float | None = None
    image_time: float = 0.0
    region: Region | None = None
    verdict: Verdict | None = None

    def __post_init__(self) -> None:
        _check(self)

    def effective_prompt(self, p: float) -> float:
        """Effective prompt length p~ in tokens (tile quantization)."""
        f = self.tile_fraction
        if f == 0.0:
            return float(p)
        return (1.0 - f) * p + f * self.tile * math.ceil(p / self.tile)

    def prompt_time(self, p: float) -> float:
        """Seconds of the prompt pass over *p* input tokens, without overhead."""
        x, knots = self.effective_prompt(p), self.prompt_knots
        if len(knots) == 1 or x <= knots[0][0]:
            return knots[0][1]
        i = min(bisect_right(knots, (x, math.inf)), len(knots) - 1)
        (x0, y0), (x1, y1) = knots[i - 1], knots[i]
        return y0 + (x - x0) * ((y1 - y0) / (x1 - x0))

    def decode_time(self, p: float, o: float) -> float:
        """Seconds to generate the output tokens after the first."""
        if o <= 1:
            return 0.0
        return (o - 1) * self.d0 + self.d1 * (o - 1) * (p + o / 2)

    def fresh(self, p: float, c: float) -> float:
        """Of *p* input tokens, those that count as read anew when *c* came from the cache."""
        return p if self.cached_time is None else max(p - c, 0.0)

    def runtime(self, p: float, o: float, c: float = 0.0, images: float = 0.0) -> float:
        """T(p, o) in seconds; *c* of the p tokens read from the provider's cache, with *images* images."""
        return self._parts(p, o, c, images)[0]

    def _parts(self, p: float, o: float, c: float, images: float) -> tuple[float, float]:
        """(T, its decode part) in seconds."""
        decode = self.decode_time(p, o)
        total = self.overhead_s + self.prompt_time(self.fresh(p, c)) + decode
        if c and self.cached_time is not None:
            total += self.cached_time * min(c, p)
        if images:
            total += self.image_time * images
        return total, decode

    @property
    def max_input_tokens(self) -> float:
        """The most input tokens that were measured or learned on: the region's, else the last knot."""
        return self.prompt_knots[-1][0] if self.region is None else self.region.input_tokens[1]

    def extrapolated(self, p: float, o: float, c: float = 0.0) -> bool:
        """Whether (p, o), or *c* cached tokens, lies beyond what was measured."""
        return self._beyond(p, o, c) > 1.0 or (self.region is None and p > self.max_input_tokens)

    def _beyond(self, p: float, o: float, c: float) -> float:
        if self.region is not None:
            return self.region.beyond(p, o, 0.0 if self.cached_time is None else c)
        last, most = self.prompt_knots[-1][0], self.max_output_tokens
        beyond = p / last if p > last > 0 else 1.0
        return max(beyond, o / most) if most else beyond

    def half_width(self, p: float, o: float, c: float = 0.0, images: float = 0.0) -> float:
        """r of the 90% interval, log scale; see ``Interval``."""
        return self._half_width(*self._parts(p, o, c, images), self._beyond(p, o, c))

    def _half_width(self, total: float, decode: float, beyond: float) -> float:
        """r, given T, its decode part and how far outside it lies."""
        if total <= 0.0:
            return 0.0
        i, share = self.interval, decode / total
        square = i.base * i.base + (i.prompt * (1.0 - share)) ** 2 + (i.decode * share) ** 2
        if beyond > 1.0:
            square += (i.extrapolation * math.log(beyond)) ** 2
        return math.sqrt(square)

    def estimate(self, p: float, o: float, c: float = 0.0, images: float = 0.0) -> Estimate:
        """T in seconds with its interval and provenance; arguments as ``runtime``."""
        value, decode = self._parts(p, o, c, images)
        beyond = self._beyond(p, o, c)
        factor = math.exp(self._half_width(value, decode, beyond))
        outside = beyond > 1.0 or (self.region is None and p > self.prompt_knots[-1][0])
        return Estimate(value, value / factor, value * factor, self.provenance, self.id, outside, self.verdict)

    def cached_estimate(self, p: float, o: float, c: float, whole: Estimate | None = None) -> Estimate:
        """What a reference stack would take had it *c* of the p input tokens in a cache: prompt_time(p) - prompt_time(c) in its place.

        *whole*: ``estimate(p, o)``, where it is known already.
        """
        whole = self.estimate(p, o) if whole is None else whole
        saved = self.prompt_time(min(c, p)) if c > 0 else 0.0
        return whole.scaled((whole.value - saved) / whole.value) if whole.value > 0.0 else whole

    def predict(
        self, p: ArrayLike, o: ArrayLike, c: ArrayLike = 0.0, images: ArrayLike = 0.0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Arrays (runtime, low, high, extrapolated) for arrays of tokens and images; needs numpy."""
        import numpy as np

        p, o, c, images = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (p, o, c, images)))
        total, decode = self._arrays(p, o, c, images)
        beyond, outside = self._beyond_arrays(p, o, c)
        i = self.interval
        share = np.divide(decode, total, out=np.zeros_like(total), where=total > 0)
        factor = np.exp(
            np.sqrt(
                i.base**2
                + (i.prompt * (1.0 - share)) ** 2
                + (i.decode * share) ** 2
                + (i.extrapolation * np.log(beyond)) ** 2
            )
        )
        return total, total / factor, total * factor, outside

    def _beyond_arrays(
        self, p: NDArray[np.float64], o: NDArray[np.float64], c: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(how many times outside, whether outside at all) of each point, as ``_beyond``."""
        import numpy as np

        if self.region is None:
            last, most = self.prompt_knots[-1][0], self.max_output_tokens
            beyond = np.maximum(1.0, p / last if last > 0 else 1.0)
            return (np.maximum(beyond, o / most), (p > last) | (o > most)) if most else (beyond, p > last)
        (p_min, p_max), (o_min, o_max) = self.region.input_tokens, self.region.output_tokens
        beyond = np.maximum(np.maximum(1.0, p / p_max), o / o_max)
        beyond = np.maximum(np.maximum(beyond, p_min / np.maximum(p, 1.0)), o_min / np.maximum(o, 1.0))
        if self.cached_time is not None and self.region.cached_input_tokens > 0:
            beyond = np.maximum(beyond, c / self.region.cached_input_tokens)
        return beyond, beyond > 1.0

    def runtimes(self, p: ArrayLike, o: ArrayLike, c: ArrayLike = 0.0, images: ArrayLike = 0.0) -> NDArray[np.float64]:
        """Array of T in seconds, without intervals; needs numpy."""
        import numpy as np

        return self._arrays(*(np.asarray(x, dtype=np.float64) for x in (p, o, c, images)))[0]

    def _arrays(
        self, p: NDArray[np.float64], o: NDArray[np.float64], c: NDArray[np.float64], images: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        import numpy as np

        f = self.tile_fraction
        fresh = p if self.cached_time is None else np.maximum(p - c, 0.0)
        x = fresh if f == 0.0 else (1.0 - f) * fresh + f * self.tile * np.ceil(fresh / self.tile)
        xs = np.array([k[0] for k in self.prompt_knots])
        ys = np.array([k[1] for k in self.prompt_knots])
        prompt = np.interp(x, xs, ys)
        if len(xs) > 1 and x.size and x.max() > xs[-1]:
            slope = (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
            prompt = prompt + slope * np.maximum(x - xs[-1], 0.0)
        decode = np.maximum(o - 1.0, 0.0)
        decode = decode * (self.d0 + self.d1 * (p + o / 2)) if self.d1 else decode * self.d0
        total = prompt + decode
        if self.cached_time is not None:
            total = total + self.cached_time * np.minimum(c, p)
        if self.image_time:
            total = total + self.image_time * images
        return total + self.overhead_s if self.overhead_s else total, decode

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, exact round trip through ``from_dict``."""
        out: dict[str, Any] = {
            "schema": SCHEMA,
            "id": self.id,
            "model": self.model,
            "provenance": self.provenance,
            "prompt_knots": [list(k) for k in self.prompt_knots],
            "d0": self.d0,
            "d1": self.d1,
            "tile": self.tile,
            "tile_fraction": self.tile_fraction,
            "overhead_s": self.overhead_s,
            "interval": {
                "level": 0.9,
                "base": self.interval.base,
                "prompt": self.interval.prompt,
                "decode": self.interval.decode,
                "extrapolation": self.interval.extrapolation,
            },
        }
        optional = {
            "max_output_tokens": self.max_output_tokens,
            "n_gpus": self.n_gpus,
            "stack": dict(self.stack) or None,
            "fit": dict(self.fit) or None,
            "measured": dict(self.measured) or None,
            "covariance": None if self.covariance is None else [list(r) for r in self.covariance],
            "cached_time": self.cached_time,
            "image_time": self.image_time or None,
            "region": None if self.region is None else self.region.to_dict(),
            "verdict": self.verdict,
        }
        return out | {k: v for k, v in optional.items() if v is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "profile") -> RuntimeProfile:
        """A profile from plain JSON values; *where* names the file in error messages."""
        schema = data.get("schema")
        if schema != SCHEMA:
            raise ProfileFormatError(f"{where}: schema is {schema!r}, this version reads {SCHEMA!r}")
        try:
            interval = {k: _number(v) for k, v in dict(data.get("interval", {})).items() if k != "level"}
            covariance = data.get("covariance")
            return cls(
                id=str(data["id"]),
                model=str(data["model"]),
                prompt_knots=tuple((_number(x), _number(y)) for x, y in data["prompt_knots"]),
                d0=_number(data.get("d0", 0.0)),
                d1=_number(data.get("d1", 0.0)),
                tile=int(data.get("tile", 1)),
                tile_fraction=_number(data.get("tile_fraction", 0.0)),
                overhead_s=_number(data.get("overhead_s", 0.0)),
                interval=Interval(**interval),
                max_output_tokens=data.get("max_output_tokens"),
                provenance=data.get("provenance", "measured"),
                n_gpus=data.get("n_gpus"),
                stack=dict(data.get("stack", {})),
                fit=dict(data.get("fit", {})),
                measured=dict(data.get("measured", {})),
                covariance=None if covariance is None else tuple(tuple(_number(v) for v in row) for row in covariance),
                cached_time=None if data.get("cached_time") is None else _number(data["cached_time"]),
                image_time=_number(data.get("image_time", 0.0)),
                region=None if data.get("region") is None else Region.from_dict(data["region"]),
                verdict=data.get("verdict"),
            )
        except KeyError as error:
            raise ProfileFormatError(f"{where}: key {error.args[0]!r} is missing") from None
        except (TypeError, ValueError) as error:
            raise ProfileFormatError(f"{where}: {error}") from None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _check(profile: RuntimeProfile) -> None:
    """Raise ProfileFormatError for the first impossible value."""
    knots = profile.prompt_knots
    name = f"profile {profile.id!r}"
    if not knots:
        raise ProfileFormatError(f"{name}: prompt_knots is empty; give at least one [tokens, seconds] pair")
    interval = profile.interval
    for key, value in (
        ("d0", profile.d0),
        ("d1", profile.d1),
        ("overhead_s", profile.overhead_s),
        ("cached_time", profile.cached_time or 0.0),
        ("image_time", profile.image_time),
        ("interval.base", interval.base),
        ("interval.prompt", interval.prompt),
        ("interval.decode", interval.decode),
        ("interval.extrapolation", interval.extrapolation),
        *((f"prompt_knots[{i}]", v) for i, knot in enumerate(knots) for v in knot),
    ):
        if not (math.isfinite(value) and value >= 0.0):
            raise ProfileFormatError(f"{name}: {key} is {value}, must be finite and not negative")
    for (x0, y0), (x1, y1) in itertools.pairwise(knots):
        if x1 <= x0:
            raise ProfileFormatError(f"{name}: prompt_knots must increase in tokens, {x0:g} is followed by {x1:g}")
        if y1 < y0:
            raise ProfileFormatError(f"{name}: prompt_knots must not decrease in seconds, at {x1:g} tokens")
    if profile.tile < 1:
        raise ProfileFormatError(f"{name}: tile is {profile.tile}, must be at least 1")
    if not 0.0 <= profile.tile_fraction <= 1.0:
        raise ProfileFormatError(f"{name}: tile_fraction is {profile.tile_fraction}, must lie in 0..1")
    if profile.provenance not in PROVENANCES:
        raise ProfileFormatError(f"{name}: provenance is {profile.provenance!r}, must be one of {PROVENANCES}")
    if profile.n_gpus is not None and (not isinstance(profile.n_gpus, int) or profile.n_gpus < 1):
        raise ProfileFormatError(f"{name}: n_gpus is {profile.n_gpus!r}, must be a whole number of at least 1")
    if profile.region is not None:
        profile.region.check(name)
    if profile.verdict is not None and profile.verdict not in VERDICTS:
        raise ProfileFormatError(f"{name}: verdict is {profile.verdict!r}, must be one of {VERDICTS}")
    most = profile.max_output_tokens
    if most is not None and (not isinstance(most, int) or most < 1):
        raise ProfileFormatError(f"{name}: max_output_tokens is {most!r}, must be a whole number of at least 1")
