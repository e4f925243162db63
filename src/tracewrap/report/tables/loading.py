"""Sources in, a joined period out: the tables that every report, comparison and question is asked of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from tracewrap.errors import ConfigurationError, SourceError
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import DAY_NS
from tracewrap.report.tables import kinds, queries
from tracewrap.report.tables.drawing import Drawn, Wanted, drawn_calls
from tracewrap.report.tables.engines import ChdbEngine, DuckDBEngine, Engine, SparkEngine, named_engine
from tracewrap.report.tables.kinds import Dim
from tracewrap.report.tables.learning import Lessons, learn, with_lessons
from tracewrap.report.tables.names import BUILT_IN, check_names, check_values, filtered_query
from tracewrap.report.tables.options import Options, load_options
from tracewrap.report.tables.period import Span, around, day_span
from tracewrap.sources import EVER, ReadStatus, load_all, open_source
from tracewrap.sources.otlp_json import SUFFIXES


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
    lessons: Lessons
    """What was learned for it."""
    denoised: Catalog
    """The denoised profiles it was joined with."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Column prefixes of the estimates: ``denoised``, then ``idealized_0``, ... for the stacks."""
        return prefixes_of(self.stacks)

    def columns(self, by: Sequence[str]) -> list[str]:
        """The SQL columns of a grouping."""
        clock = {"day": "clock_day", "hour": "clock_start"}
        known = dict(zip(queries.DIMENSION_KEYS, queries.DIMENSION_KEYS, strict=True)) | clock
        return [known.get(name) or f"key_{self.keys.index(name)}" for name in by]


def prefixes_of(stacks: Sequence[str]) -> tuple[str, ...]:
    """Column prefixes of the estimates: the denoised one, then one a reference stack."""
    return (queries.DENOISED, *(f"idealized_{i}" for i in range(len(stacks))))


def load(
    sources: Sequence[str],
    span: Span | None,
    options: Options,
    *,
    keys: Sequence[str] = (),
    where: Mapping[str, str] | None = None,
) -> Joined:
    """Load the calls of *span* (None: all) that are as *where* says, learn what they tell, and join them; see ``build``.

    Raises SourceError, and ConfigurationError for a name of *keys* or *where* that no call has.
    """
    where = where or {}
    check_values(where)
    named = tuple(name for name in dict.fromkeys([*keys, *where]) if name not in BUILT_IN)
    run, statuses = _loaded(sources, span, options, queries.loaded_columns(named), "loaded" if where else "calls")
    table = "loaded" if where else "calls"
    check_names(run, table, sources, span, named)
    span = span or _whole(run, table, options.timezone)
    lessons = _lessons(run, table, sources, span, options) if options.learn else {}
    if where:
        run.materialize("calls", filtered_query(run, table, where, named))
    return _joined(run, span, named, options, lessons, statuses)


def _loaded(
    sources: Sequence[str], span: Span | None, options: Options, columns: Mapping[str, str], table: str
) -> tuple[Engine, list[ReadStatus]]:
    """An engine with *table* of the calls of *span*, and how reading went."""
    first, last = EVER if span is None else (span.since_ns, span.until_ns)
    if options.engine == "duckdb":
        run = DuckDBEngine(memory_limit=options.memory_limit, threads=options.threads)
        statuses = load_all(run.connection, [open_source(text) for text in sources], table, first, last, columns)
        for status in statuses:
            foreign = Path(status.location).is_file() and not status.location.endswith(SUFFIXES)
            if foreign and status.lines and status.torn_lines == status.lines:
                raise SourceError(f"{status.location}: no line of it is JSON; name a span log, or a folder of them")
        return run, statuses
    if len(sources) != 1:
        raise ConfigurationError(f"--engine {options.engine} reads one lake, {len(sources)} sources were given")
    other = named_engine(options.engine, sources[0])
    other.load_calls(table, first, last, columns)
    return other, [ReadStatus("lake", sources[0])]


def learned_catalog(source: str, now_ns: int | None = None) -> Catalog:
    """The denoised profiles, and nothing else, that a report of today's calls of *source* would be joined with."""
    options = dataclasses.replace(load_options(catalog=Catalog(), now_ns=now_ns), learn=True)
    span = Span(options.now_ns - DAY_NS, options.now_ns, options.timezone)
    run, _ = _loaded([source], span, options, queries.loaded_columns(()), "calls")
    return with_lessons(options.denoised, _lessons(run, "calls", [source], span, options))


def drawn_of(source: str, period_ns: tuple[int, int], wanted: Wanted, model: str | None = None) -> dict[str, Drawn]:
    """The calls of *source* that begin in *period_ns* to learn from, *wanted* of each deployment, by its key, the most used one first."""
    options = load_options(catalog=Catalog())
    span = Span(*period_ns, options.timezone)
    run, _ = _loaded([source], span, options, queries.loaded_columns(()), "calls")
    drawn = drawn_calls(run, ["calls"], wanted, model)
    return dict(sorted(drawn.items(), key=lambda item: (-item[1].calls, item[0])))


def catalog_of(sources: Sequence[str], span: Span | None, options: Options) -> Catalog:
    """What one call of *sources* is joined with as a report of *span* joins all: the first reference, what was given, what calls tell."""
    idealized, denoised = next(iter(options.catalogs.values())), options.denoised
    if options.learn:
        run, _ = _loaded(sources, span, options, queries.loaded_columns(()), "calls")
        span = span or _whole(run, "calls", options.timezone)
        denoised = with_lessons(denoised, _lessons(run, "calls", sources, span, options))
    return dataclasses.replace(idealized, denoised=denoised.denoised, earlier=denoised.earlier)


def _lessons(run: Engine, table: str, sources: Sequence[str], span: Span, options: Options) -> Lessons:
    """What the calls of the period and of the days before tell; a source that is slow to ask is not asked for more days."""
    tables, columns = [table], queries.loaded_columns(())
    first = span.since_ns - options.look_back_days * DAY_NS
    near = [text for text in sources if not text.startswith("jaeger")]
    if options.look_back_days and near and isinstance(run, DuckDBEngine):
        load_all(run.connection, [open_source(text) for text in near], "days_before", first, span.since_ns, columns)
        tables.append("days_before")
    elif options.look_back_days and isinstance(run, ChdbEngine | SparkEngine):
        run.load_calls("days_before", first, span.since_ns, columns)
        tables.append("days_before")
    folders = [Path(text) for text in sources if Path(text).is_dir()]
    return learn(run, tables, folders, options.denoised, options.learn_s)


def _whole(engine: Engine, table: str, timezone: str) -> Span:
    first, last = engine.rows(f"SELECT min(start_time_ns) AS a, max(start_time_ns) AS b FROM {table}")[0]
    return day_span("today", timezone) if first is None else around(int(first), int(last), timezone)


def _joined(
    engine: Engine,
    span: Span,
    keys: tuple[str, ...],
    options: Options,
    lessons: Lessons,
    statuses: Sequence[ReadStatus],
) -> Joined:
    """Join the table ``calls`` of *engine*."""
    prefixes = prefixes_of(tuple(options.catalogs))
    denoised = with_lessons(options.denoised, lessons)
    dims = kinds.resolve(
        engine.rows(queries.dims_query()), options.catalogs, denoised, options.book, span.since_ns, span.until_ns
    )
    n_segments = kinds.write_tables(engine, dims, prefixes)
    engine.materialize("joined", queries.joined_query(prefixes, n_segments, len(keys), span.since_ns, options.now_ns))
    engine.materialize("cube", queries.cube_query(prefixes, len(keys)))
    hours = [int(row[0]) for row in engine.rows("SELECT DISTINCT hour FROM cube ORDER BY 1")]
    labels = [(hour, span.day_label(hour), span.hour_label(hour)) for hour in hours]
    engine.table("clock", {"clock_hour": "INTEGER", "clock_day": "VARCHAR", "clock_start": "VARCHAR"}, labels)
    return Joined(
        engine,
        span,
        dims,
        tuple(options.catalogs),
        keys,
        n_segments,
        options.now_ns,
        tuple(statuses),
        lessons,
        denoised,
    )
