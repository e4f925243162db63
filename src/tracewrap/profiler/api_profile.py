"""The quiet-day profile of a probed API.

Noise of an API only ever adds time (queueing, neighbours, network), so the value of a point is a low quantile of its repeats: the
10% quantile, which lies near the smallest of few and is not dragged by one lucky sample of many. Calls whose prompt was
partly cached by the provider are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.errors import FitError
from tracewrap.profiler.probe import ProbePlan
from tracewrap.profiler.profiles import run_facts
from tracewrap.profiler.statistics import quantile
from tracewrap.runtime.fit import fit
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.samples import Sample

QUIET_SHARE = 0.1

Rows = Sequence[Mapping[str, str]]


def quiet_samples(rows: Rows) -> list[Sample]:
    """One sample a wanted point, at the mean of the counts the vendor reported for it."""
    points: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for row in rows:
        if row["cached_input_tokens"] in ("", "0"):
            points.setdefault((row["wanted_input_tokens"], row["wanted_output_tokens"]), []).append(row)
    return [_sample(members) for members in points.values()]


def _sample(rows: Rows) -> Sample:
    p = round(sum(int(row["input_tokens"]) for row in rows) / len(rows))
    most = max(int(row["output_tokens"]) for row in rows)
    whole = [row for row in rows if int(row["output_tokens"]) == most]  # the vendor may stop some answers early
    seconds = quantile([float(row["runtime_s"]) for row in whole], QUIET_SHARE)
    return Sample(p, most, seconds, len(whole))


def api_profile(plan: ProbePlan, rows: Rows, *, command: str, samples_file: str) -> RuntimeProfile:
    """The profile of *plan*'s API from its samples; raises FitError, naming the points to add, when they are too few."""
    samples = quiet_samples(rows)
    if not samples:
        raise FitError(f"{samples_file}: no usable sample yet; run the probe again to go on")
    server = f"@{plan.server}" if plan.server else ""
    stack: dict[str, Any] = {
        "provider": plan.provider,
        "mode": "stream" if plan.stream else "plain",
        "response_models": "+".join(sorted({row["response_model"] for row in rows} - {""})) or None,
        "server": plan.server,
    }
    return fit(
        samples,
        id=f"{plan.provider}/{plan.model}{server} probed",
        model=plan.model,
        provenance="measured",
        stack={name: value for name, value in stack.items() if value is not None},
        measured=run_facts(rows, command, None, samples_file),
    ).profile
