"""What the figures rest on: coverage, profiles and prices used, models that have none, and the notes a reader must see first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, TypedDict

from tracewrap import words
from tracewrap.prices.book import PriceBook
from tracewrap.records import Verdict
from tracewrap.report.schema import Coverage, Group
from tracewrap.report.tables import queries
from tracewrap.report.tables.learning import NO_TIME
from tracewrap.report.tables.loading import Joined
from tracewrap.report.used import Prices, ProfileUsed, ReferenceUsed
from tracewrap.sources import ReadStatus

_COUNTS = (
    *("comparable", "reported", "estimated", "answered_uncounted", "answered_priced"),
    *("prompt_cached", "extrapolated", "foreign_scope", "future"),
)


def coverage(joined: Joined, totals: Group) -> Coverage:
    """Counts and shares of the whole period."""
    names = list(queries.sums(joined.prefixes))
    row = dict(zip(names, joined.engine.rows(_sum_all(joined))[0], strict=True))
    count = {name: int(row[name] or 0) for name in _COUNTS}
    calls = totals["calls"]
    answered = calls - totals["failed_calls"]
    idealized = {figures["stack"]: figures["idealized"]["n"] for figures in totals["references"]}
    return {
        "calls": calls,
        "complete_calls": totals["complete_calls"],
        "partial_calls": totals["partial_calls"],
        "cancelled_calls": totals["cancelled_calls"],
        "failed_calls": totals["failed_calls"],
        "usage_reported_calls": count["reported"],
        "usage_estimated_calls": count["estimated"],
        "usage_missing_calls": count["answered_uncounted"],
        "priced_calls": totals["priced_calls"],
        "unpriced_calls": totals["unpriced_calls"],
        "generation_calls": sum(dim.calls for dim in joined.dims if dim.generation),
        "comparable_calls": count["comparable"],
        "denoised_calls": totals["denoised"]["n"],
        "denoised_verdicts": totals["denoised"]["verdicts"],
        "idealized_calls": idealized,
        "extrapolated_calls": count["extrapolated"],
        "prompt_cached_calls": count["prompt_cached"],
        "wrong_clock_calls": count["future"],
        "other_instrumentation_calls": count["foreign_scope"],
        "priced_share": _share(count["answered_priced"], answered),
        "denoised_share": _share(totals["denoised"]["n"], answered),
        "idealized_share": {name: _share(n, answered) for name, n in idealized.items()},
        "usage_share": _share(answered - count["answered_uncounted"], answered),
        **_unlearned(joined),
        "lost_calls": sum(sum(status.lost.get("span_log", {}).values()) for status in joined.statuses),
        "dropped_spans": sum(status.dropped for status in joined.statuses),
    }


def _unlearned(joined: Joined) -> _Unlearned:
    late = {key for key, lesson in joined.lessons.items() if lesson.why == NO_TIME}
    dims = {dim.dim: dim.deployment.key for dim in joined.dims if dim.generation and dim.deployment.key in late}
    rows = joined.engine.rows("SELECT dim, sum(comparable) AS n FROM cube GROUP BY dim") if dims else []
    calls = sum(int(n or 0) for dim, n in rows if dim in dims)
    return {"unlearned_deployments": len(set(dims.values())), "unlearned_calls": calls}


class _Unlearned(TypedDict):
    unlearned_deployments: int
    unlearned_calls: int


def _sum_all(joined: Joined) -> str:
    return f"SELECT {', '.join(f'sum({name}) AS {name}' for name in queries.sums(joined.prefixes))} FROM cube"


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def notes(joined: Joined, totals: Group, where: Mapping[str, str]) -> list[str]:
    """Lines a reader must see before the figures."""
    out = []
    if not totals["calls"]:
        span, those = joined.span.describe(), words.chosen(where)
        out.append(f"no calls{those} between {span['since']} and {span['until']}")
    for status in joined.statuses:
        out += _source_notes(status)
    return out + _call_notes(coverage(joined, totals))


def _source_notes(status: ReadStatus) -> list[str]:
    where, out = words.clean(status.location), []
    if not status.complete:
        out.append(f"{where}: incomplete: part of the period could not be read; totals are too low")
    skipped = (
        (status.torn_lines, "torn line", "torn lines", "skipped"),
        (status.foreign_lines, "line that is no OTLP trace", "lines that are no OTLP traces", "skipped"),
        (status.duplicates, "repeated span", "repeated spans", "left out"),
    )
    out += [f"{where}: {words.counted(n, one, many)} {done}" for n, one, many, done in skipped if n]
    return out + _lost_notes(where, status) + [words.printable(note) for note in status.notes]


def _lost_notes(where: str, status: ReadStatus) -> list[str]:
    out = []
    for place, reasons in status.lost.items():
        why = ", ".join(f"{words.clean(reason)} {words.count(n)}" for reason, n in reasons.items())
        calls = words.counted(sum(reasons.values()), "call")
        if place == "span_log":
            out.append(f"{where}: {calls} could not be written to it ({why}): not counted, totals are too low")
        else:
            out.append(f"{where}: {calls} did not reach {words.clean(place)} ({why}); counted here")
    return out


def _call_notes(cover: Coverage) -> list[str]:
    said = (
        ("wrong_clock_calls", "with a start in the future: a clock was wrong; counted in the day they claim"),
        ("usage_missing_calls", "without token counts: not priced, not compared"),
        ("unpriced_calls", "with token counts but no price: list cost is too low by what they cost"),
        (
            "prompt_cached_calls",
            "compared though part of the prompt was cached: estimates, which assume none, are upper bounds",
        ),
        ("extrapolated_calls", "compared beyond what a profile measured"),
    )
    counts: Mapping[str, Any] = cover
    late = cover["unlearned_deployments"]
    learning = f"{words.counted(late, 'deployment')} with {words.counted(cover['unlearned_calls'], 'call')} not denoised: {NO_TIME}"
    return ([learning] if late else []) + [
        f"{words.counted(counts[name], 'call')} {what}" for name, what in said if counts[name]
    ]


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
    calls: dict[tuple[str, str, str, Verdict | None], int] = defaultdict(int)
    for dim in joined.dims:
        if dim.denoised is not None:
            profile = dim.denoised
            calls[dim.deployment.key, profile.id, profile.provenance, profile.verdict] += dim.calls
    return [
        {"deployment": key, "profile_id": profile, "provenance": provenance, "verdict": verdict, "calls": n}
        for (key, profile, provenance, verdict), n in sorted(calls.items(), key=lambda item: (-item[1], item[0][:2]))
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
            "usd_per_million_input_tokens": _per_million(rate.usd["input"]),
            "usd_per_million_output_tokens": _per_million(rate.usd["output"]),
        }
    return {
        "source": book.source,
        "version": book.version,
        "user_file": book.user_file,
        "as_of": "call time",
        "models": [models[key] for key in sorted(models)],
    }


def _per_million(usd: float | None) -> float | None:
    return None if usd is None else usd * 1e6
