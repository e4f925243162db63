"""The quiet-day profile of a probed API: its samples through the same denoiser as recorded traffic.

Calls whose prompt was partly cached by the provider are left out. The profile's id is the deployment's key, so that a catalog
uses it for that deployment's calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from tracewrap.errors import FitError
from tracewrap.profiler.decoder.machine_profile import run_facts
from tracewrap.profiler.probe.probe import ProbePlan
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.quiet.denoise import DenoiseResult, denoise
from tracewrap.runtime.quiet.usable import Observation

Rows = Sequence[Mapping[str, str]]


def observations(rows: Rows) -> list[Observation]:
    """The usable samples as the denoiser takes them."""
    found = []
    for row in rows:
        first = row["time_to_first_chunk_s"]
        found.append(
            Observation(
                input_tokens=int(row["input_tokens"]),
                output_tokens=int(row["output_tokens"]),
                runtime_s=float(row["runtime_s"]),
                time_to_first_chunk_s=float(first) if first else None,
                cached_input_tokens=int(row["cached_input_tokens"] or 0),
                start_time_s=datetime.fromisoformat(row["measured_at"]).timestamp(),
            )
        )
    return found


def api_profile(
    plan: ProbePlan, rows: Rows, *, command: str, samples_file: str
) -> tuple[RuntimeProfile, DenoiseResult]:
    """The profile of *plan*'s API and what the denoiser says of it; raises FitError when the samples give none."""
    key = Counter(row["deployment"] for row in rows).most_common(1)[0][0] if rows else plan.model
    result = denoise(observations([row for row in rows if row["deployment"] == key]), id=key, model=plan.model)
    if result.profile is None:
        raise FitError(
            f"{samples_file}: {'; '.join(result.messages)}; run the probe again to go on, or with more --repeats"
        )
    stack: dict[str, Any] = {"provider": plan.provider, "mode": "stream" if plan.stream else "plain"}
    if plan.server:
        stack["server"] = plan.server
    profile = replace(
        result.profile,
        stack={**result.profile.stack, **stack},
        measured={**result.profile.measured, **run_facts(rows, command, None, samples_file), "how": "probed"},
    )
    return profile, result
