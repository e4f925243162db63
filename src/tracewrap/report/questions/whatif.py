"""What if: this traffic on other reference stacks, its cost there beside its list cost.

Two kinds of cost, never mixed. **Batch 1**: the idealized runtime, one call after another, as in the paper. **Amortised**: the same
calls in batches of a stated size on hardware busy for a stated share of the time:

    amortized_cost_usd = idealized_cost_usd x slowdown / (batch x utilisation)

A batch shares the reading of weights, not the computing of prompts: ``slowdown`` is 1 x batch for a call's prompt share and
``roofline.batch_slowdown`` for its decode share. Each kind has its own capacity of one replica (tokens a month) and its own break-even:
the tokens a month from which a replica rented around the clock costs less than the list price of this traffic's mix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from tracewrap.estimate.catalog import Catalog
from tracewrap.report.figures.capability import points
from tracewrap.report.figures.group import number
from tracewrap.report.figures.training import training as training_shares
from tracewrap.report.questions.hardware import Case, factors
from tracewrap.report.questions.rental import HOURS_A_MONTH, Rental, Swing, Use, tornado
from tracewrap.report.schema import Period
from tracewrap.report.tables.loading import Joined, load
from tracewrap.report.tables.options import load_options, period
from tracewrap.report.used import TrainingUsed
from tracewrap.runtime.cost import amortized_factor
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.stack import ReferenceStack

SCHEMA = "tracewrap.whatif/1"
STACKS: tuple[str, ...] = tuple(
    f"{gpu}:vllm" for gpu in ("l4", "l40s", "a100-sxm-80gb", "h100-sxm", "h200-sxm", "b200", "mi300x")
)
"""The reference stacks compared when none is named."""


class VendorPrice(TypedDict):
    """What one vendor asks, and when that was seen."""

    usd_per_gpu_hour: float
    source: str
    date: str


class Row(TypedDict):
    """One model on one stack. Costs and tokens are over the ``calls`` that have a profile there."""

    model: str | None
    stack: str
    n_gpus: int
    provenance: str
    calls: int
    input_tokens: int
    output_tokens: int
    idealized_runtime_s: float
    idealized_low_s: float
    idealized_high_s: float
    idealized_energy_j: float | None
    usd_per_gpu_hour: float | None
    price_source: str | None
    price_date: str | None
    vendor_prices: list[VendorPrice]
    """What vendors ask for the card, the cheapest first; empty: unknown."""
    power_share: float | None
    """Share of the card's power limit that it draws at the amortised batch."""
    parallel_efficiency: float | None
    """What n GPUs give of n times the speed of one that held the model, for one request; None where it has no formula."""
    sensitivity: list[Swing]
    """What moves the cost most (the amortised one where there is one), the largest first."""
    list_cost_usd: float | None
    list_usd_month: float | None
    """List cost of the period's traffic, kept up for a month."""
    tokens_month: float
    idealized_cost_low_usd: float | None
    idealized_cost_high_usd: float | None
    batch_1: Rental
    amortized: Rental | None
    slowdown: float | None
    amortized_reason: str | None
    """Why ``amortized`` is None."""


class Missing(TypedDict):
    """A model without a profile on a stack."""

    model: str | None
    stack: str
    calls: int


class WhatIf(TypedDict):
    """``tracewrap.whatif/1``."""

    schema: str
    period: Period
    calls: int
    comparable_calls: int
    batch: float
    utilisation: float
    rows: list[Row]
    missing: list[Missing]
    training: TrainingUsed | None
    """None unless a number of served tokens was stated."""
    notes: list[str]


@dataclass(frozen=True, slots=True)
class _Traffic:
    """One model's comparable calls on one stack, added up."""

    calls: int
    input_tokens: int
    output_tokens: int
    runtime_s: tuple[float, float, float]
    list_cost_usd: float | None
    listed_tokens: int


def whatif(
    source: str | Sequence[str],
    *,
    batch: float = 8.0,
    utilisation: float = 0.5,
    training: float | None = None,
    references: Sequence[str] = (),
    day: str | None = None,
    since: str | None = None,
    until: str | None = None,
    timezone: str = "UTC",
    catalog: Catalog | None = None,
    profile_paths: Sequence[str] = (),
    stand_ins: Mapping[str, str] | None = None,
    prices: str | None = None,
    engine: str = "duckdb",
    memory_limit: str | None = None,
    now_ns: int | None = None,
) -> WhatIf:
    """The comparable calls of *source* on each of *references* (none: ``STACKS``). Other arguments as ``report.build``.

    *batch*: calls in flight together on one replica; *utilisation*: share of the time it is busy, in (0, 1]. *training*: over how many
    served tokens each model's training is shared, beside; None: not told. Raises what ``report.build`` raises, and ConfigurationError
    for an impossible batch or utilisation.
    """
    amortized_factor(batch, utilisation)
    wanted = tuple(references) or (STACKS if catalog is None else tuple(stack.id for stack in catalog.stacks))
    options = load_options(
        references=wanted,
        catalog=catalog,
        profile_paths=profile_paths,
        stand_ins=stand_ins,
        prices=prices,
        timezone=timezone,
        engine=engine,
        memory_limit=memory_limit,
        now_ns=now_ns,
        learn=False,
    )
    sources = [source] if isinstance(source, str) else list(source)
    joined = load(sources, period(day, since, until, timezone), options)
    rows, missing = _rows(joined, batch, utilisation)
    calls, comparable = joined.engine.rows("SELECT count(*) AS n, sum(comparable) AS m FROM joined")[0]
    return {
        "schema": SCHEMA,
        "period": joined.span.describe(),
        "calls": int(calls),
        "comparable_calls": int(comparable or 0),
        "batch": batch,
        "utilisation": utilisation,
        "rows": sorted(
            rows, key=lambda row: (-row["calls"], str(row["model"]), row["batch_1"]["cost_usd"] or math.inf)
        ),
        "missing": missing,
        "training": None if training is None else training_shares(joined, training),
        "notes": [note for status in joined.statuses for note in status.notes],
    }


def _rows(joined: Joined, batch: float, utilisation: float) -> tuple[list[Row], list[Missing]]:
    rows: list[Row] = []
    missing: dict[tuple[str | None, str], int] = {}
    hours = (joined.span.until_ns - joined.span.since_ns) / 3.6e12
    for i, (prefix, name) in enumerate(zip(joined.prefixes[1:], joined.stacks, strict=True)):
        found: dict[tuple[str | None, str], tuple[ReferenceStack, RuntimeProfile, dict[int, _Traffic]]] = {}
        for dim, traffic in _traffic(joined, prefix).items():
            kind = joined.dims[dim]
            idealized = kind.idealized[i]
            if idealized is None:
                key = (kind.deployment.model, name)
                missing[key] = missing.get(key, 0) + traffic.calls
                continue
            stack, profile = idealized
            found.setdefault((kind.deployment.model, profile.id), (stack, profile, {}))[2][dim] = traffic
        rows += [
            _row(
                model,
                stack,
                profile,
                _added(list(parts.values())),
                points(joined, list(parts)),
                hours,
                batch,
                utilisation,
            )
            for (model, _), (stack, profile, parts) in found.items()
        ]
    return rows, [{"model": model, "stack": stack, "calls": n} for (model, stack), n in missing.items()]


def _traffic(joined: Joined, p: str) -> dict[int, _Traffic]:
    """Comparable calls by dim, with their estimates of prefix *p* where the stack has a profile."""
    tokens = "input_tokens + output_tokens"
    rows = joined.engine.rows(
        f"SELECT dim, count(*) AS n, sum(input_tokens) AS a, sum(output_tokens) AS b, sum({p}_s) AS x, sum({p}_low_s) AS l,"
        f" sum({p}_high_s) AS h, sum(list_cost_usd) AS u, count(list_cost_usd) AS k,"
        f" sum(CASE WHEN list_cost_usd IS NOT NULL THEN {tokens} ELSE 0 END) AS t"
        f" FROM joined WHERE comparable = 1 GROUP BY dim ORDER BY dim"
    )
    return {
        int(dim): _Traffic(
            int(n),
            int(a),
            int(b),
            (float(x or 0.0), float(low or 0.0), float(high or 0.0)),
            number(usd) if priced else None,
            int(listed),
        )
        for dim, n, a, b, x, low, high, usd, priced, listed in rows
    }


def _added(parts: Sequence[_Traffic]) -> _Traffic:
    listed = [part.list_cost_usd for part in parts if part.list_cost_usd is not None]
    return _Traffic(
        sum(part.calls for part in parts),
        sum(part.input_tokens for part in parts),
        sum(part.output_tokens for part in parts),
        (
            sum(part.runtime_s[0] for part in parts),
            sum(part.runtime_s[1] for part in parts),
            sum(part.runtime_s[2] for part in parts),
        ),
        sum(listed) if listed else None,
        sum(part.listed_tokens for part in parts),
    )


def _row(
    model: str | None,
    stack: ReferenceStack,
    profile: RuntimeProfile,
    traffic: _Traffic,
    at: Sequence[tuple[float, float, int]],
    hours: float,
    batch: float,
    utilisation: float,
) -> Row:
    case, price = Case(stack, profile, at), stack.price
    use = _use(case, traffic, hours)
    slowdown, reason = case.slowdown(batch)
    batch_1, shared = use.rental(1.0, case.watts(1.0), 1.0), None
    moved = factors(traffic.runtime_s, use)
    if slowdown is not None:
        shared = use.rental(amortized_factor(batch, utilisation, slowdown), case.watts(batch), slowdown / batch)
        moved |= case.shared_factors(batch, utilisation)
    runtime, low, high = traffic.runtime_s
    return {
        "model": model,
        "stack": stack.id,
        "n_gpus": case.n_gpus,
        "provenance": profile.provenance,
        "calls": traffic.calls,
        "input_tokens": traffic.input_tokens,
        "output_tokens": traffic.output_tokens,
        "idealized_runtime_s": runtime,
        "idealized_low_s": low,
        "idealized_high_s": high,
        "idealized_energy_j": batch_1["energy_j"],
        "usd_per_gpu_hour": None if price is None else price.usd_per_gpu_hour,
        "price_source": None if price is None else price.source,
        "price_date": None if price is None else price.date,
        "vendor_prices": [
            {"usd_per_gpu_hour": each.usd_per_gpu_hour, "source": each.source, "date": each.date}
            for each in case.vendors()
        ],
        "power_share": case.power_share(batch),
        "parallel_efficiency": case.efficiency(),
        "sensitivity": tornado((shared or batch_1)["cost_usd"], moved),
        "list_cost_usd": traffic.list_cost_usd,
        "list_usd_month": use.list_usd_month,
        "tokens_month": use.tokens_month,
        "idealized_cost_low_usd": None if use.usd_hour is None else low * use.usd_hour / 3600.0,
        "idealized_cost_high_usd": None if use.usd_hour is None else high * use.usd_hour / 3600.0,
        "batch_1": batch_1,
        "amortized": shared,
        "slowdown": slowdown,
        "amortized_reason": reason,
    }


def _use(case: Case, traffic: _Traffic, hours: float) -> Use:
    """What the costs of *traffic*, recorded in that many *hours*, are computed from."""
    price, vendors, n = case.stack.price, case.vendors(), case.n_gpus
    tokens = traffic.input_tokens + traffic.output_tokens
    listed = traffic.list_cost_usd / traffic.listed_tokens if traffic.list_cost_usd and traffic.listed_tokens else None
    return Use(
        tokens,
        traffic.runtime_s[0],
        None if price is None else n * price.usd_per_gpu_hour,
        (n * vendors[0].usd_per_gpu_hour, n * vendors[-1].usd_per_gpu_hour) if vendors else None,
        listed,
        tokens / hours * HOURS_A_MONTH,
    )
