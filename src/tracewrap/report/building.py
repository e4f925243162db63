"""The report: sources in, figures out. ``build`` is what every format, ``compare``, ``whatif`` and ``check`` start from."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, cast

from tracewrap.errors import ConfigurationError
from tracewrap.estimate.catalog import Catalog, load_catalog
from tracewrap.prices.book import PriceBook
from tracewrap.report.figures import coverage, drift, hours
from tracewrap.report.figures import group as figures
from tracewrap.report.figures import slowest as worth
from tracewrap.report.figures.capability import capability, points, read_scores
from tracewrap.report.schema import DEFAULT_GROUPS, SCHEMA, Group, Grouping, Report, SourceStatus
from tracewrap.report.tables import kinds as profiles
from tracewrap.report.tables import queries
from tracewrap.report.tables.engines import DuckDBEngine, Engine, named_engine
from tracewrap.report.tables.kinds import Dim
from tracewrap.report.tables.period import HOUR_NS, Span, around, between, day_span
from tracewrap.sources import EVER, ReadStatus, load_all, open_source

MAX_ROWS = 500
"""Groups listed in one table; the report says how many more there are."""


@dataclasses.dataclass(frozen=True, slots=True)
class Joined:
    """A period loaded and joined in an engine: tables ``calls``, ``dims``, ``labels``, ``prices``, ``joined`` and ``cube``."""

    engine: Engine
    span: Span
    dims: Sequence[Dim]
    stacks: tuple[str, ...]
    keys: tuple[str, ...]
    n_segments: int
    now_ns: int
    statuses: tuple[ReadStatus, ...]

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Column prefixes of the estimates: ``d``, then ``i0``, ``i1``, ... for the stacks."""
        return ("d", *(f"i{i}" for i in range(len(self.stacks))))

    def columns(self, by: Sequence[str]) -> list[str]:
        """The SQL columns of a grouping."""
        return [name if name in queries.DIMENSION_KEYS else f"k{self.keys.index(name)}" for name in by]


def build(
    source: str | Sequence[str],
    *,
    day: str | None = None,
    since: str | None = None,
    until: str | None = None,
    timezone: str = "UTC",
    group_by: Sequence[str] = DEFAULT_GROUPS,
    references: Sequence[str] = (),
    catalog: Catalog | None = None,
    profile_paths: Sequence[str] = (),
    stand_ins: Mapping[str, str] | None = None,
    prices: str | None = None,
    engine: str = "duckdb",
    memory_limit: str | None = None,
    threads: int | None = None,
    top: int = 10,
    drift_days: int = 0,
    scores: str | None = None,
    score_column: str | None = None,
    now_ns: int | None = None,
) -> Report:
    """The report of *source* (one or several; see ``tracewrap.sources.open_source``), as ``report.model.Report``.

    Period: *day*, or *since*/*until* (dates or moments of *timezone*), or everything the source holds. *group_by*: one table a
    name; names joined by commas group together; any name that ``model.GROUPINGS`` lacks is a span or resource attribute. *references*:
    ids of reference stacks to set side by side; none: the first stack that has the model. *catalog*: instead of the shipped
    profiles and those in *profile_paths*. *prices*: a user's price file. *drift_days*: days before the period to
    look at for drift. *scores*: a CSV of the user's own score by model, *score_column* where it has several. *engine*: duckdb,
    or clickhouse or spark over a lake.

    Raises ConfigurationError, SourceError, ProfileFormatError, ProfileNotFoundError, MissingExtraError.
    """
    if scores is None and score_column is not None:
        raise ConfigurationError(f"--score {score_column!r} names a column of no file; give --capability FILE.csv too")
    scored = ("", {}) if scores is None else read_scores(scores, score_column)
    groupings = [_names(text) for text in group_by]
    keys = tuple(dict.fromkeys(name for names in groupings for name in names if name not in queries.DIMENSION_KEYS))
    span = period(day, since, until, timezone)
    options = load_options(references, catalog, profile_paths, stand_ins, prices, engine, memory_limit, now_ns) | {
        "timezone": timezone,
        "threads": threads,
    }
    sources = [source] if isinstance(source, str) else list(source)
    joined = load(sources, span, keys=keys, **options)
    report = assemble(joined, groupings, options["book"], top)
    history = None
    if drift_days > 0:
        before = Span(joined.span.since_ns - drift_days * 24 * HOUR_NS, joined.span.since_ns, timezone)
        history = load(sources, before, **options)
    report["drift"], report["drift_note"] = drift.events(joined, history)
    if scores is not None:
        stack, first = next(iter(options["catalogs"].items()))
        report["capability"] = capability(scores, *scored, first, points(joined), stack)
    return report


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise ConfigurationError(f"--group-by {text!r}: a name is empty; write model or route,model")
    return names


def period(day: str | None, since: str | None, until: str | None, timezone: str) -> Span | None:
    """The period that *day*, or *since* and *until*, say; None: everything. ConfigurationError for what is no period."""
    if day is not None:
        if since is not None or until is not None:
            raise ConfigurationError("--day and --since/--until exclude each other; give one of them")
        return day_span(day, timezone)
    if since is None and until is None:
        return None
    end = until or dt.datetime.now(dt.UTC).isoformat()
    return between(since or "1970-01-01", end, timezone)


def load_options(
    references: Sequence[str],
    catalog: Catalog | None,
    profile_paths: Sequence[str],
    stand_ins: Mapping[str, str] | None,
    prices: str | None,
    engine: str,
    memory_limit: str | None,
    now_ns: int | None,
) -> dict[str, Any]:
    """Keyword arguments of ``load`` from those of ``build``."""
    return {
        "catalogs": reference_catalogs(references, catalog, profile_paths, stand_ins),
        "denoised": catalog or load_catalog(*profile_paths, stand_ins=stand_ins),
        "book": PriceBook(prices),
        "engine": engine,
        "memory_limit": memory_limit,
        "now_ns": time.time_ns() if now_ns is None else now_ns,
    }


def reference_catalogs(
    references: Sequence[str], catalog: Catalog | None, paths: Sequence[str], stand_ins: Mapping[str, str] | None
) -> dict[str, Catalog]:
    """Label to the catalog that gives its idealized profiles; ``default``: the first stack that has the model."""
    if catalog is None:
        if not references:
            return {"default": load_catalog(*paths, stand_ins=stand_ins)}
        return {name: load_catalog(*paths, references=[name], stand_ins=stand_ins) for name in references}
    if not references:
        return {"default": catalog}
    by_id = {stack.id: stack for stack in catalog.stacks}
    for name in references:
        if name not in by_id:
            raise ConfigurationError(
                f"no reference stack {name!r} in the catalog; there is {', '.join(by_id) or 'none'}"
            )
    return {name: dataclasses.replace(catalog, stacks=(by_id[name],), analytic=(), _known={}) for name in references}


def load(
    sources: Sequence[str],
    span: Span | None,
    *,
    timezone: str = "UTC",
    keys: Sequence[str] = (),
    catalogs: Mapping[str, Catalog],
    denoised: Catalog,
    book: PriceBook,
    engine: str = "duckdb",
    memory_limit: str | None = None,
    threads: int | None = None,
    now_ns: int,
) -> Joined:
    """Load the calls of *span* (None: all) and join them; see ``build``."""
    columns = queries.loaded_columns(keys)
    first, last = EVER if span is None else (span.since_ns, span.until_ns)
    run: Engine
    if engine == "duckdb":
        run = DuckDBEngine(memory_limit=memory_limit, threads=threads)
        statuses = load_all(run.connection, [open_source(text) for text in sources], "calls", first, last, columns)
    else:
        if len(sources) != 1:
            raise ConfigurationError(f"--engine {engine} reads one lake, {len(sources)} sources were given")
        other = run = named_engine(engine, sources[0])
        other.load_calls("calls", first, last, columns)
        statuses = [ReadStatus("lake", sources[0])]
    span = span or _whole(run, timezone)
    return join_loaded(run, span, tuple(keys), catalogs, denoised, book, now_ns, statuses)


def _whole(engine: Engine, timezone: str) -> Span:
    first, last = engine.rows("SELECT min(start_time_ns) AS a, max(start_time_ns) AS b FROM calls")[0]
    return day_span("today", timezone) if first is None else around(int(first), int(last), timezone)


def join_loaded(
    engine: Engine,
    span: Span,
    keys: tuple[str, ...],
    catalogs: Mapping[str, Catalog],
    denoised: Catalog,
    book: PriceBook,
    now_ns: int,
    statuses: Sequence[ReadStatus],
) -> Joined:
    """Join the table ``calls`` of *engine*; see ``load``."""
    prefixes = ("d", *(f"i{i}" for i in range(len(catalogs))))
    dims = profiles.resolve(engine.rows(queries.dims_query()), catalogs, denoised, book, span.since_ns, span.until_ns)
    n_segments = profiles.write_tables(engine, dims, prefixes)
    engine.materialize("joined", queries.joined_query(prefixes, n_segments, len(keys), span.since_ns, now_ns))
    engine.materialize("cube", queries.cube_query(prefixes, len(keys)))
    return Joined(engine, span, dims, tuple(catalogs), keys, n_segments, now_ns, tuple(statuses))


def assemble(joined: Joined, groupings: Sequence[Sequence[str]], book: PriceBook, top: int) -> Report:
    """The report's parts, from the joined tables; drift is added by ``build``, which knows the days before."""
    totals = table(joined, ())[0]
    statuses: list[SourceStatus] = [cast(SourceStatus, dataclasses.asdict(status)) for status in joined.statuses]
    slowest, contended = worth.calls(joined, top)
    return {
        "schema": SCHEMA,
        "generated_at": dt.datetime.fromtimestamp(joined.now_ns / 1e9, dt.UTC).isoformat(timespec="seconds"),
        "tracewrap_version": version("tracewrap"),
        "period": joined.span.describe(),
        "sources": statuses,
        "notes": coverage.notes(joined, totals),
        "coverage": coverage.coverage(joined, totals),
        "references": coverage.references(joined),
        "denoised_profiles": coverage.denoised_profiles(joined),
        "prices": coverage.prices(joined, book),
        "totals": totals,
        "groups": [_grouping(joined, by) for by in groupings],
        "hours": hours.hours(joined),
        "slowest": slowest,
        "most_contended": contended,
        "error_types": [
            {"error_type": name, "calls": int(n)} for name, n in joined.engine.rows(queries.error_types_query())
        ],
        "unpriced": coverage.unpriced(joined),
        "unprofiled": coverage.unprofiled(joined),
        "drift": [],
        "drift_note": None,
        "capability": None,
    }


def _grouping(joined: Joined, by: Sequence[str]) -> Grouping:
    rows = table(joined, by)
    rows.sort(key=lambda row: (-(row["list_cost_usd"] or 0.0), -row["calls"], str(row["key"])))
    return {"by": list(by), "rows": rows[:MAX_ROWS], "more_rows": max(len(rows) - MAX_ROWS, 0)}


def table(joined: Joined, by: Sequence[str]) -> list[Group]:
    """Figures by the names of *by*; by nothing: one row, of all calls, also when there is none."""
    columns = joined.columns(by)
    names = [*columns, *queries.rollup_figures(joined.prefixes)]
    rows = [
        dict(zip(names, row, strict=True)) for row in joined.engine.rows(queries.rollup_query(joined.prefixes, columns))
    ]
    quantiles = _keyed(joined, queries.quantile_query(joined.prefixes, columns), len(columns))
    provenances: dict[tuple[Any, ...], dict[str, dict[str, int]]] = {}
    for prefix in joined.prefixes:
        for *named, name, n in joined.engine.rows(queries.provenance_query(prefix, columns)):
            provenances.setdefault(tuple(named), {}).setdefault(prefix, {})[name] = int(n)
    out = []
    for row in rows:
        key = tuple(row[column] for column in columns)
        row |= {
            f"q_{name}": value
            for name, value in zip(("raw", "ttfc", *joined.prefixes), quantiles.get(key, ()), strict=False)
        }
        labels = dict(zip(by, key, strict=True))
        if "outcome" in labels:
            labels["outcome"] = str(labels["outcome"])
        out.append(figures.group(labels, row, joined.stacks, provenances.get(key, {})))
    return out


def _keyed(joined: Joined, sql: str, n_keys: int) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    return {tuple(row[:n_keys]): tuple(row[n_keys:]) for row in joined.engine.rows(sql)}
