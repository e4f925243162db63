"""What has no price or no profile, by name, and what would mend it: the next step stands beside every dash."""

from __future__ import annotations

from collections import defaultdict

from tracewrap.report.schema import Missing, Unprofiled
from tracewrap.report.tables.loading import Joined
from tracewrap.runtime.roofline.architectures import resolve_model

STAND_IN = "llama-3.1-8b"
"""The open model that advice names as an example."""


def unpriced(joined: Joined) -> list[Missing]:
    """Models with token counts and no price, most calls first."""
    counted = _calls(joined, "reported + estimated - priced")
    calls: dict[tuple[str, str | None, str], int] = defaultdict(int)
    for dim in joined.dims:
        if not dim.price.rates and counted.get(dim.dim):
            calls[dim.deployment.provider, dim.deployment.model, dim.price.reason] += counted[dim.dim]
    return [
        {"provider": provider, "model": model, "calls": n, "reason": reason, "next": "--prices FILE with its price"}
        for (provider, model, reason), n in sorted(calls.items(), key=lambda item: (-item[1], str(item[0])))
    ]


def unprofiled(joined: Joined) -> list[Unprofiled]:
    """Deployments without a denoised profile and models without an idealized one, by name; failed calls do not count."""
    comparable = _calls(joined, "comparable")
    calls: dict[tuple[str, str | None, str, str | None], int] = defaultdict(int)
    for dim in joined.dims:
        if not comparable.get(dim.dim):
            continue
        deployment = dim.deployment
        lacking: list[str | None] = [None] if dim.denoised is None else []
        lacking += [stack for stack, found in zip(joined.stacks, dim.idealized, strict=True) if found is None]
        for stack in lacking:
            calls[deployment.provider, deployment.model, deployment.key, stack] += comparable[dim.dim]
    return [
        {
            "provider": provider,
            "model": model,
            "deployment": key,
            "stack": stack,
            "calls": n,
            "reason": "no denoised profile" if stack is None else "no profile of this model on the reference stack",
            "next": _teach(joined, key) if stack is None else _stand_in(model),
        }
        for (provider, model, key, stack), n in sorted(calls.items(), key=lambda item: (-item[1], str(item[0])))
    ]


def _calls(joined: Joined, figure: str) -> dict[int, int]:
    """Dim to the sum of *figure* over its calls."""
    rows = joined.engine.rows(f"SELECT dim, sum({figure}) AS n FROM cube GROUP BY dim")
    return {int(dim): int(n or 0) for dim, n in rows}


def _teach(joined: Joined, key: str) -> str:
    """What a denoised profile of the deployment *key* still needs."""
    lesson = joined.lessons.get(key)
    if lesson is not None and lesson.why:
        return lesson.why
    return "--profiles FILE, or without --no-learn: it is learned from the calls themselves"


def _stand_in(model: str | None) -> str:
    if model is None:
        return "the calls name no model"
    if resolve_model(model) is not None:
        return "too large for this stack, or not built for it: name another with --reference"
    return f"--stand-in {model}=OPEN-MODEL, such as {STAND_IN}"


__all__ = ["unpriced", "unprofiled"]
