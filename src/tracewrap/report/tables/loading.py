"""Sources in, a joined period out: the tables that every report, comparison and question is asked of."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.errors import ConfigurationError
from tracewrap.estimate.catalog import Catalog, load_catalog
from tracewrap.prices.book import PriceBook
from tracewrap.report.tables import kinds, queries
from tracewrap.report.tables.engines import DuckDBEngine, Engine, named_engine
from tracewrap.report.tables.kinds import Dim
from tracewrap.report.tables.period import Span, around, between, day_span
from tracewrap.sources import EVER, ReadStatus, load_all, open_source


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
        """Column prefixes of the estimates: ``denoised``, then ``idealized_0``, ... for the stacks."""
        return prefixes_of(self.stacks)

    def columns(self, by: Sequence[str]) -> list[str]:
        """The SQL columns of a grouping."""
        return [name if name in queries.DIMENSION_KEYS else f"key_{self.keys.index(name)}" for name in by]


def prefixes_of(stacks: Sequence[str]) -> tuple[str, ...]:
    """Column prefixes of the estimates: the denoised one, then one a reference stack."""
    return (queries.DENOISED, *(f"idealized_{i}" for i in range(len(stacks))))


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
    prefixes = prefixes_of(tuple(catalogs))
    dims = kinds.resolve(engine.rows(queries.dims_query()), catalogs, denoised, book, span.since_ns, span.until_ns)
    n_segments = kinds.write_tables(engine, dims, prefixes)
    engine.materialize("joined", queries.joined_query(prefixes, n_segments, len(keys), span.since_ns, now_ns))
    engine.materialize("cube", queries.cube_query(prefixes, len(keys)))
    return Joined(engine, span, dims, tuple(catalogs), keys, n_segments, now_ns, tuple(statuses))
