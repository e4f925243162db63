"""What a report is loaded and joined with: period, catalogs, prices, engine. Checked once, before anything is read."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Mapping, Sequence

from tracewrap.errors import ConfigurationError
from tracewrap.estimate.catalog import Catalog, load_catalog
from tracewrap.prices.book import PriceBook
from tracewrap.report.tables.learning import LEARN_S, LOOK_BACK_DAYS
from tracewrap.report.tables.period import Span, between, day_span, zone
from tracewrap.runtime.roofline.architectures import resolve_model


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How calls are loaded and joined. ``catalogs``: label of a reference to the catalog of its idealized profiles."""

    catalogs: Mapping[str, Catalog]
    denoised: Catalog
    book: PriceBook
    timezone: str = "UTC"
    engine: str = "duckdb"
    memory_limit: str | None = None
    threads: int | None = None
    now_ns: int = 0
    learn: bool = True
    """Whether denoised profiles are learned from the calls."""
    look_back_days: int = LOOK_BACK_DAYS
    learn_s: float = LEARN_S
    """Seconds after which no other deployment is learned."""


def load_options(
    *,
    references: Sequence[str] = (),
    catalog: Catalog | None = None,
    profile_paths: Sequence[str] = (),
    stand_ins: Mapping[str, str] | None = None,
    prices: str | None = None,
    timezone: str = "UTC",
    engine: str = "duckdb",
    memory_limit: str | None = None,
    threads: int | None = None,
    now_ns: int | None = None,
    learn: bool | None = None,
    learn_s: float = LEARN_S,
) -> Options:
    """``Options`` from the arguments of ``build``; *learn* None: unless a *catalog* is given.

    Raises ConfigurationError, ProfileFormatError, ProfileNotFoundError.
    """
    catalogs = reference_catalogs(references, catalog, profile_paths, stand_ins)
    for closed, stand_in in (stand_ins or {}).items():
        if resolve_model(stand_in) is None and not any(one.idealized(closed) for one in catalogs.values()):
            raise ConfigurationError(
                f"--stand-in {closed}={stand_in}: nothing is known of {stand_in!r}; name a model that"
                " 'tracewrap profile list' shows, or give its profile with --profiles"
            )
    return Options(
        catalogs=catalogs,
        denoised=catalog or load_catalog(*profile_paths, stand_ins=stand_ins),
        book=PriceBook(prices),
        timezone=timezone,
        engine=engine,
        memory_limit=memory_limit,
        threads=threads,
        now_ns=time.time_ns() if now_ns is None else now_ns,
        learn=catalog is None if learn is None else learn,
        learn_s=learn_s,
    )


def period(day: str | None, since: str | None, until: str | None, timezone: str) -> Span | None:
    """The period that *day*, or *since* and *until*, say; None: everything.

    Raises ConfigurationError for what is no period or no time zone: an empty text is not "everything".
    """
    zone(timezone)
    if day is not None:
        if since is not None or until is not None:
            raise ConfigurationError("--day and --since/--until exclude each other; give one of them")
        return day_span(day, timezone)
    if since is None and until is None:
        return None
    end = dt.datetime.now(dt.UTC).isoformat() if until is None else until
    return between("1970-01-01" if since is None else since, end, timezone)


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
