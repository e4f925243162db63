"""HELM's runtime tables, both directions, and HELM's own formula.

HELM (stanford-crfm/helm, ``efficiency_data/inference_*_runtimes.json``) keeps, by model, ``runtime_per_output_token``,
``runtime_for_prompt_tokens`` {prompt tokens: seconds} and, for API models, ``overhead``. Its formula takes the next
larger key and scales its seconds by p/key; beyond the last key it scales that one. tracewrap interpolates through the
same keys instead, so the two agree

* exactly at every key, for o = 0, o = 1 and any o when ``d1`` is 0;
* for ``d1`` above 0 exactly at the output length and prompt the table was written for (``at``), elsewhere up to
  d1*(o-1)*(p + o/2 - context) seconds, context being p + o/2 at that point;
* between keys only as far as prompt time is proportional to p: HELM's rule is a saw-tooth. A table written with
  ``step=1`` has no "between".
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracewrap.errors import ConfigurationError, ProfileFormatError
from tracewrap.records import Provenance
from tracewrap.runtime.files import read_json
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.quantiles import Z90

PROMPT_TOKENS = (
    *(1, 16, 32, 64, 128, 192, 256, 320, 384, 428, 472, 512, 576, 640, 704, 768, 832, 896, 960, 1024),
    *(1152, 1280, 1408, 1536, 1664, 1792, 1920),
)
"""The prompt sizes of HELM's idealized table."""

ROUNDING_S = 0.001
"""HELM's tables are rounded to a millisecond."""
"""Standard deviations in half a 90% interval."""


@dataclass(frozen=True, slots=True)
class HelmRuntime:
    """One model of a HELM table: seconds per output token, seconds by prompt tokens (ascending), constant overhead."""

    runtime_per_output_token: float
    runtime_for_prompt_tokens: tuple[tuple[int, float], ...]
    overhead: float | None = None

    def runtime(self, p: int, o: int) -> float:
        """Seconds by HELM's own formula: next larger key scaled by p/key, plus (o-1) slopes, plus overhead."""
        keys = self.runtime_for_prompt_tokens
        key, seconds = next((pair for pair in keys if p <= pair[0]), keys[-1])
        total = seconds * (p / key)
        if o > 0:
            total += self.runtime_per_output_token * (o - 1)
        return total + (self.overhead or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """HELM's JSON object of one model."""
        out: dict[str, Any] = {
            "runtime_per_output_token": self.runtime_per_output_token,
            "runtime_for_prompt_tokens": {str(p): seconds for p, seconds in self.runtime_for_prompt_tokens},
        }
        return out if self.overhead is None else out | {"overhead": self.overhead}

    @classmethod
    def from_dict(cls, data: Any, where: str) -> HelmRuntime:
        """From HELM's JSON object; *where* names file and model in error messages."""
        if not isinstance(data, Mapping):
            raise ProfileFormatError(f"{where}: is {data!r}, an object with runtime_for_prompt_tokens was expected")
        prompt = data.get("runtime_for_prompt_tokens")
        if not isinstance(prompt, Mapping) or not prompt:
            raise ProfileFormatError(f"{where}: runtime_for_prompt_tokens must map prompt tokens to seconds")
        pairs = sorted((_tokens(p, where), _seconds(s, f"{where}: {p} prompt tokens")) for p, s in prompt.items())
        if "runtime_per_output_token" not in data:
            raise ProfileFormatError(f"{where}: key 'runtime_per_output_token' is missing")
        overhead = data.get("overhead")
        return cls(
            _seconds(data["runtime_per_output_token"], f"{where}: runtime_per_output_token"),
            tuple(pairs),
            None if overhead is None else _seconds(overhead, f"{where}: overhead"),
        )


def read_helm(path: str | os.PathLike[str]) -> dict[str, HelmRuntime]:
    """The models of a HELM runtime table; ProfileFormatError names file, model and key."""
    table = {model: HelmRuntime.from_dict(entry, f"{path}: {model}") for model, entry in read_json(path).items()}
    if not table:
        raise ProfileFormatError(f"{path}: holds no model")
    return table


def helm_json(table: Mapping[str, HelmRuntime]) -> dict[str, Any]:
    """A HELM runtime table as plain JSON values."""
    return {model: entry.to_dict() for model, entry in table.items()}


def profile_from_helm(
    model: str,
    entry: HelmRuntime,
    *,
    id: str | None = None,
    n_gpus: int | None = None,
    stack: Mapping[str, Any] | None = None,
    measured: Mapping[str, Any] | None = None,
    provenance: Provenance = "measured",
) -> RuntimeProfile:
    """A profile through HELM's keys. Keys whose seconds fall while prompts grow are pooled to their mean (isotonic
    regression): a prompt pass never gets faster by getting longer. ``fit`` says how many were changed and by how much.

    The interval holds what the table itself shows: rounding to a millisecond, the changes just named, and how far each key
    is from the line between its neighbours.
    """
    seconds = [s for _, s in entry.runtime_for_prompt_tokens]
    monotone = _pooled(seconds)
    changes = [abs(new - old) / max(old, ROUNDING_S) for new, old in zip(monotone, seconds, strict=True)]
    return RuntimeProfile(
        id=id or f"helm/{model}",
        model=model,
        prompt_knots=tuple((float(p), s) for (p, _), s in zip(entry.runtime_for_prompt_tokens, monotone, strict=True)),
        d0=entry.runtime_per_output_token,
        overhead_s=entry.overhead or 0.0,
        interval=_interval(entry, monotone, changes),
        provenance=provenance,
        n_gpus=n_gpus,
        stack=dict(stack or {}),
        fit={
            "method": "imported from a HELM runtime table",
            "prompt_keys": len(seconds),
            "keys_made_monotone": sum(change > 0 for change in changes),
            "largest_change": max(changes),
        },
        measured={"format": "helm", **(measured or {})},
    )


def _interval(entry: HelmRuntime, monotone: Sequence[float], changes: Sequence[float]) -> Interval:
    rounding = ROUNDING_S / math.sqrt(12) / max(monotone[len(monotone) // 2], ROUNDING_S)
    return Interval(
        prompt=Z90 * math.hypot(_rms(changes), _bend(entry.runtime_for_prompt_tokens), rounding),
        decode=0.9 * ROUNDING_S / 2 / max(entry.runtime_per_output_token, ROUNDING_S),
        extrapolation=0.2,
    )


def helm_from_profile(
    profile: RuntimeProfile,
    *,
    prompt_tokens: Iterable[int] | None = None,
    step: int | None = None,
    at: tuple[int, int] | None = None,
) -> HelmRuntime:
    """HELM's three values for *profile*, in full precision.

    ``prompt_tokens``: the keys; default: the keys of an imported table, else HELM's 27 sizes up to the last knot and
    the last knot itself. ``step``: 1 and every multiple of *step* instead. ``at``: the (input, output) tokens at which
    the slope is right if ``d1`` is above 0; default: the middle of what was measured.
    """
    keys = _keys(profile, prompt_tokens, step)
    p, o = at or (int(profile.max_input_tokens) // 2, profile.max_output_tokens or 64)
    return HelmRuntime(
        profile.d0 + profile.d1 * (p + o / 2),
        tuple((key, profile.prompt_time(key)) for key in keys),
        profile.overhead_s or None,
    )


def agreement(
    profile: RuntimeProfile, entry: HelmRuntime, points: Iterable[tuple[int, int]]
) -> tuple[float, tuple[int, int] | None]:
    """Largest relative difference between the two formulas over *points* (p, o), and where it is."""
    worst: tuple[float, tuple[int, int] | None] = (0.0, None)
    for p, o in points:
        ours = profile.runtime(p, o)
        difference = abs(entry.runtime(p, o) - ours) / ours if ours > 0 else 0.0
        if difference > worst[0]:
            worst = (difference, (p, o))
    return worst


def _keys(profile: RuntimeProfile, prompt_tokens: Iterable[int] | None, step: int | None) -> Sequence[int]:
    last = max(1, math.floor(profile.max_input_tokens))
    if step is not None:
        if step < 1:
            raise ConfigurationError(f"step is {step}, must be at least 1")
        return sorted({1, *range(step, last + 1, step), last})
    if prompt_tokens is None:
        if profile.measured.get("format") == "helm":
            prompt_tokens = (int(p) for p, _ in profile.prompt_knots)
        else:
            prompt_tokens = (*(p for p in PROMPT_TOKENS if p <= last), last)
    keys = sorted(set(prompt_tokens))
    if not keys or keys[0] < 1:
        raise ConfigurationError("prompt_tokens must name at least one size, each at least 1")
    return keys


def _pooled(values: Sequence[float]) -> list[float]:
    """The nearest non-decreasing sequence in least squares (pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, count = value, 1
        while blocks and blocks[-1][0] > mean:
            other, size = blocks.pop()
            mean, count = (mean * count + other * size) / (count + size), count + size
        blocks.append((mean, count))
    return [mean for mean, count in blocks for _ in range(count)]


def _bend(pairs: Sequence[tuple[int, float]]) -> float:
    """Root mean square of each inner key's relative distance from the line between its neighbours."""
    found = []
    for (p0, s0), (p1, s1), (p2, s2) in zip(pairs, pairs[1:], pairs[2:], strict=False):
        found.append((s0 + (s2 - s0) * (p1 - p0) / (p2 - p0)) / max(s1, ROUNDING_S) - 1.0)
    return _rms(found) if found else 0.0


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(sum(v * v for v in values) / len(values))


def _tokens(text: Any, where: str) -> int:
    try:
        tokens = int(text)
    except (TypeError, ValueError):
        tokens = 0
    if tokens < 1:
        raise ProfileFormatError(f"{where}: runtime_for_prompt_tokens has key {text!r}, must be a whole number above 0")
    return tokens


def _seconds(value: Any, where: str) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    if not good:
        raise ProfileFormatError(f"{where}: {value!r} is not a number of seconds")
    return float(value)
