"""The report: sources in, figures out. ``build`` is what every format, ``compare``, ``whatif`` and ``check`` start from."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Literal, cast

from tracewrap.errors import ConfigurationError
from tracewrap.estimate.catalog import Catalog
from tracewrap.prices.book import PriceBook
from tracewrap.records import DAY_NS
from tracewrap.report.figures import coverage, drift, emissions, grouping, hours, missing, sampling, slowest
from tracewrap.report.figures.capability import capability, points, read_scores
from tracewrap.report.figures.hours import days
from tracewrap.report.figures.training import training as training_shares
from tracewrap.report.figures.verdict import verdict
from tracewrap.report.render.notebook import BuiltReport
from tracewrap.report.schema import DEFAULT_GROUPS, SCHEMA, Report, SourceStatus
from tracewrap.report.tables import queries
from tracewrap.report.tables.learning import LEARN_S
from tracewrap.report.tables.loading import Joined, load
from tracewrap.report.tables.names import ALIASES
from tracewrap.report.tables.options import Options, load_options, period
from tracewrap.report.tables.period import Span
from tracewrap.runtime.grid import load_grid


def build(
    source: str | Sequence[str],
    *,
    day: str | None = None,
    since: str | None = None,
    until: str | None = None,
    timezone: str = "UTC",
    group_by: Sequence[str] = DEFAULT_GROUPS,
    where: Mapping[str, str] | None = None,
    references: Sequence[str] = (),
    catalog: Catalog | None = None,
    profile_paths: Sequence[str] = (),
    stand_ins: Mapping[str, str] | None = None,
    prices: str | None = None,
    grid: str | None = None,
    training: float | None = None,
    learn: bool | None = None,
    learn_s: float = LEARN_S,
    engine: str = "duckdb",
    memory_limit: str | None = None,
    threads: int | None = None,
    top: int = 10,
    drift_days: int = 0,
    scores: str | None = None,
    score_column: str | None = None,
    sampled: float | Literal["tail"] | None = None,
    now_ns: int | None = None,
) -> BuiltReport:
    """The report of *source* (one or several; see ``tracewrap.sources.open_source``), as ``report.schema.Report``.

    Period: *day*, or *since*/*until* (dates or moments of *timezone*), or everything the source holds. *group_by*: one table a
    name; names joined by commas group together; day, hour, ``tables.names.GROUPINGS``, or any span or resource attribute. *where*: only
    the calls whose names have these values. *references*: ids of reference stacks to set side by side; none: the first stack that has
    the model. *catalog*: instead of the shipped profiles and those in *profile_paths*. *learn*: denoised profiles from the calls of the
    period and of the fortnight before, for deployments that no given profile describes; None: unless a *catalog* is given. *learn_s*:
    seconds after which no other deployment is learned, the most used ones being first; the report says how many are left. *prices*: a
    user's price file. *grid*: a country (DEU) or grams of CO2e a kWh: emissions of the idealized energy. *training*: over how many
    served tokens each model's training is shared, what the calls bear of it; None: not told. *drift_days*: days before the period to
    look at for drift. *scores*: a CSV of the user's own score by model, *score_column* where it has several. *engine*: duckdb,
    or clickhouse or spark over a lake. *sampled*: the sources hold a sample of the traces: each was kept with this probability (where
    the records do not say), or slow and failed ones were (tail).

    Raises ConfigurationError, SourceError, ProfileFormatError, ProfileNotFoundError, MissingExtraError.
    """
    if scores is None and score_column is not None:
        raise ConfigurationError(f"--score {score_column!r} names a column of no file; give --capability FILE.csv too")
    scored = ("", {}) if scores is None else read_scores(scores, score_column)
    _refuse_negative(top=top, drift_days=drift_days)
    groupings = [_names(text) for text in group_by]
    electricity = None if grid is None else load_grid(grid)
    span = period(day, since, until, timezone)
    options = load_options(
        references=references,
        catalog=catalog,
        profile_paths=profile_paths,
        stand_ins=stand_ins,
        prices=prices,
        timezone=timezone,
        engine=engine,
        memory_limit=memory_limit,
        threads=threads,
        now_ns=now_ns,
        learn=learn,
        learn_s=learn_s,
    )
    where = None if where is None else {ALIASES.get(name, name): value for name, value in where.items()}
    sources = [source] if isinstance(source, str) else list(source)
    joined = load(sources, span, options, keys=[name for names in groupings for name in names], where=where)
    report = assemble(joined, groupings, options.book, top, where or {})
    if electricity is not None:
        emissions.add(report, electricity)
    if training is not None:
        report["training"] = training_shares(joined, training)
    report["sample"] = found = sampling.sample(joined, sampled)
    report["notes"] = sampling.notes(found, report["totals"]["calls"]) + report["notes"]
    if sampled == "tail":
        sampling.refuse_tail(report)
    history = _history(sources, joined, options, where, drift_days) if drift_days > 0 else None
    report["drift"], report["drift_note"] = drift.events(joined, history)
    if scores is not None:
        stack, first = next(iter(options.catalogs.items()))
        report["capability"] = capability(scores, *scored, first, points(joined), stack)
    report["verdict"] = verdict(report)
    return BuiltReport(report)


def _refuse_negative(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 0:
            raise ConfigurationError(f"--{name.replace('_', '-')} is {number}, must be at least 0")


def _history(
    sources: Sequence[str], joined: Joined, options: Options, where: Mapping[str, str] | None, days: int
) -> Joined:
    """The *days* before, beside the very profiles of the period: what moved is the service, not the yardstick."""
    before = Span(joined.span.since_ns - days * DAY_NS, joined.span.since_ns, joined.span.timezone)
    yardstick = dataclasses.replace(joined.denoised, earlier={})
    return load(sources, before, dataclasses.replace(options, denoised=yardstick, learn=False), where=where)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(ALIASES.get(name.strip(), name.strip()) for name in text.split(",")))
    if not all(names):
        raise ConfigurationError(f"--group-by {text!r}: a name is empty; write model or route,model")
    return names


def assemble(
    joined: Joined, groupings: Sequence[Sequence[str]], book: PriceBook, top: int, where: Mapping[str, str]
) -> Report:
    """The report's parts, from the joined tables; drift and verdict are added by ``build``."""
    totals = grouping.table(joined, ())[0]
    statuses: list[SourceStatus] = [cast(SourceStatus, status.facts()) for status in joined.statuses]
    slow, contended = slowest.calls(joined, top)
    return {
        "schema": SCHEMA,
        "verdict": "",
        "generated_at": dt.datetime.fromtimestamp(joined.now_ns / 1e9, dt.UTC).isoformat(timespec="seconds"),
        "tracewrap_version": version("tracewrap"),
        "period": joined.span.describe(),
        "where": dict(where),
        "sources": statuses,
        "notes": coverage.notes(joined, totals, where),
        "coverage": coverage.coverage(joined, totals),
        "references": coverage.references(joined),
        "denoised_profiles": coverage.denoised_profiles(joined),
        "prices": coverage.prices(joined, book),
        "grid": None,
        "training": None,
        "totals": totals,
        "groups": [grouping.grouping(joined, by) for by in groupings],
        "days": days(joined),
        "hours": hours.hours(joined),
        "slowest": slow,
        "most_contended": contended,
        "error_types": [
            {"error_type": name, "calls": int(n)} for name, n in joined.engine.rows(queries.error_types_query())
        ],
        "unpriced": missing.unpriced(joined),
        "unprofiled": missing.unprofiled(joined),
        "drift": [],
        "drift_note": None,
        "capability": None,
        "sample": None,
    }
