"""What the figures rest on: coverage, profiles and prices used, models that have none, and the notes a reader must see first."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tracewrap.prices.book import PriceBook
from tracewrap.report.schema import Coverage, Group, Missing, Prices, ProfileUsed, ReferenceUsed, Unprofiled
from tracewrap.report.tables import queries
from tracewrap.report.tables.loading import Joined


def coverage(joined: Joined, totals: Group) -> Coverage:
    """Counts and shares of the whole period."""
    names = list(queries.sums(joined.prefixes))
    row = dict(zip(names, joined.engine.rows(_sum_all(joined))[0], strict=True))
    count = {
        name: int(row[name] or 0)
        for name in ("comparable", "reported", "estimated", "prompt_cached", "extrapolated", "foreign_scope", "future")
    }
    calls, usage = totals["calls"], count["reported"] + count["estimated"]
    idealized = {figures["stack"]: figures["idealized"]["n"] for figures in totals["references"]}
    return {
        "calls": calls,
        "complete_calls": totals["complete_calls"],
        "partial_calls": totals["partial_calls"],
        "cancelled_calls": totals["cancelled_calls"],
        "failed_calls": totals["failed_calls"],
        "usage_reported_calls": count["reported"],
        "usage_estimated_calls": count["estimated"],
        "usage_missing_calls": calls - usage,
        "priced_calls": totals["priced_calls"],
        "unpriced_calls": totals["unpriced_calls"],
        "generation_calls": sum(dim.calls for dim in joined.dims if dim.generation),
        "comparable_calls": count["comparable"],
        "denoised_calls": totals["denoised"]["n"],
        "idealized_calls": idealized,
        "extrapolated_calls": count["extrapolated"],
        "prompt_cached_calls": count["prompt_cached"],
        "wrong_clock_calls": count["future"],
        "other_instrumentation_calls": count["foreign_scope"],
        "priced_share": _share(totals["priced_calls"], calls),
        "denoised_share": _share(totals["denoised"]["n"], calls),
        "idealized_share": {name: _share(n, calls) for name, n in idealized.items()},
        "usage_share": _share(usage, calls),
        "dropped_spans": sum(status.dropped for status in joined.statuses),
    }


def _sum_all(joined: Joined) -> str:
    return f"SELECT {', '.join(f'sum({name}) AS {name}' for name in queries.sums(joined.prefixes))} FROM cube"


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def notes(joined: Joined, totals: Group) -> list[str]:
    """Lines a reader must see before the figures."""
    out = []
    if not totals["calls"]:
        out.append(f"no calls between {joined.span.describe()['since']} and {joined.span.describe()['until']}")
    for status in joined.statuses:
        if not status.complete:
            out.append(f"{status.location}: incomplete: part of the period could not be read; totals are too low")
        if status.torn_lines:
            out.append(f"{status.location}: {status.torn_lines} torn lines were skipped")
        if status.foreign_lines:
            out.append(f"{status.location}: {status.foreign_lines} lines that are no OTLP traces were skipped")
        if status.duplicates:
            out.append(f"{status.location}: {status.duplicates} repeated spans were left out")
        out += status.notes
    cover = coverage(joined, totals)
    if cover["wrong_clock_calls"]:
        out.append(
            f"{cover['wrong_clock_calls']} calls start in the future: a clock was wrong; they are counted in the day they claim"
        )
    missing = cover["usage_missing_calls"]
    if missing:
        out.append(f"{missing} of {cover['calls']} calls came without token counts: not priced, not compared")
    if cover["unpriced_calls"]:
        out.append(
            f"{cover['unpriced_calls']} calls with token counts are unpriced: list cost is too low by what they cost"
        )
    if cover["prompt_cached_calls"]:
        out.append(
            f"{cover['prompt_cached_calls']} compared calls had a cached prompt: their estimates, which assume none, are upper bounds"
        )
    if cover["extrapolated_calls"]:
        out.append(f"{cover['extrapolated_calls']} compared calls lie beyond what a profile measured")
    return out


def references(joined: Joined) -> list[ReferenceUsed]:
    """Every reference stack used, with the profiles used on it."""
    used: dict[str, tuple[Any, dict[tuple[str, str], dict[str, Any]]]] = {}
    for dim in joined.dims:
        for found in dim.idealized:
            if found is None:
                continue
            stack, profile = found
            _, models = used.setdefault(stack.id, (stack, {}))
            entry = models.setdefault(
                (dim.deployment.model or "", profile.id),
                {
                    "model": dim.deployment.model,
                    "profile_model": profile.model,
                    "profile_id": profile.id,
                    "n_gpus": profile.n_gpus or 1,
                    "provenance": profile.provenance,
                    "calls": 0,
                },
            )
            entry["calls"] += dim.calls
    return [
        {
            "id": stack.id,
            "gpu": stack.gpu,
            "precision": stack.precision,
            "software": dict(stack.software),
            "batch_size": stack.batch_size,
            "usd_per_gpu_hour": stack.price.usd_per_gpu_hour if stack.price else None,
            "price_source": stack.price.source if stack.price else None,
            "price_date": stack.price.date if stack.price else None,
            "watts": stack.watts,
            "models": sorted(models.values(), key=lambda entry: (-entry["calls"], str(entry["model"]))),
        }
        for stack, models in used.values()
    ]


def denoised_profiles(joined: Joined) -> list[ProfileUsed]:
    """Every denoised profile used."""
    calls: dict[tuple[str, str, str], int] = defaultdict(int)
    for dim in joined.dims:
        if dim.denoised is not None:
            calls[dim.deployment.key, dim.denoised.id, dim.denoised.provenance] += dim.calls
    return [
        {"deployment": key, "profile_id": profile, "provenance": provenance, "calls": n}
        for (key, profile, provenance), n in sorted(calls.items(), key=lambda item: (-item[1], item[0]))
    ]


def prices(joined: Joined, book: PriceBook) -> Prices:
    """Where list prices came from, and the price of each model at the period's end (short prompts)."""
    models: dict[tuple[str, str, str], dict[str, Any]] = {}
    for dim in joined.dims:
        if not dim.price.rates:
            continue
        newest = max(rate.from_ns for rate in dim.price.rates)
        rate = min((rate for rate in dim.price.rates if rate.from_ns == newest), key=lambda rate: rate.above)
        key = (dim.deployment.provider, dim.deployment.model or "", dim.price.priced_as)
        models[key] = {
            "provider": dim.deployment.provider,
            "model": dim.deployment.model,
            "priced_as": dim.price.priced_as,
            "source": dim.price.source,
            "usd_per_million_input_tokens": rate.usd["input"] * 1e6,
            "usd_per_million_output_tokens": rate.usd["output"] * 1e6,
        }
    return {
        "source": book.source,
        "version": book.version,
        "user_file": book.user_file,
        "as_of": "call time",
        "models": [models[key] for key in sorted(models)],
    }


def unpriced(joined: Joined) -> list[Missing]:
    """Models with token counts and no price, by name, most calls first."""
    calls: dict[tuple[str, str | None, str], int] = defaultdict(int)
    for dim in joined.dims:
        if not dim.price.rates:
            calls[dim.deployment.provider, dim.deployment.model, dim.price.reason] += dim.calls
    ordered = sorted(calls.items(), key=lambda item: (-item[1], str(item[0])))
    return [
        {"provider": provider, "model": model, "calls": n, "reason": reason} for (provider, model, reason), n in ordered
    ]


def unprofiled(joined: Joined) -> list[Unprofiled]:
    """Deployments without a denoised profile and models without an idealized one, by name."""
    calls: dict[tuple[str, str | None, str, str | None], int] = defaultdict(int)
    for dim in joined.dims:
        if not dim.generation:
            continue
        deployment = dim.deployment
        if dim.denoised is None:
            calls[deployment.provider, deployment.model, deployment.key, None] += dim.calls
        for stack, found in zip(joined.stacks, dim.idealized, strict=True):
            if found is None:
                calls[deployment.provider, deployment.model, deployment.key, stack] += dim.calls
    return [
        {
            "provider": provider,
            "model": model,
            "deployment": key,
            "stack": stack,
            "calls": n,
            "reason": "no denoised profile: learn one with tracewrap denoise"
            if stack is None
            else "no profile of this model on the reference stack",
        }
        for (provider, model, key, stack), n in sorted(calls.items(), key=lambda item: (-item[1], str(item[0])))
    ]
