"""Which profile and which price belong to each distinct kind of call of the day: resolved once in Python, joined by key in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracewrap.estimate.catalog import Catalog
from tracewrap.prices.book import PriceBook
from tracewrap.prices.list_cost import purchase_of
from tracewrap.prices.rates import KINDS, ListPrice
from tracewrap.records import Deployment
from tracewrap.report.tables import join_sql, queries
from tracewrap.report.tables.engines import Engine
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.stack import ReferenceStack
from tracewrap.semconv import GENERATION_OPERATIONS


@dataclass(frozen=True, slots=True)
class Dim:
    """One distinct kind of call of the period, and what is known of it."""

    dim: int
    row: tuple[Any, ...]
    """Values in the order of ``queries.DIMENSIONS``."""
    calls: int
    deployment: Deployment
    denoised: RuntimeProfile | None
    idealized: tuple[tuple[ReferenceStack, RuntimeProfile] | None, ...]
    """One entry a reference."""
    price: ListPrice

    @property
    def generation(self) -> bool:
        """Whether a profile describes calls of this kind at all."""
        return self.deployment.operation in GENERATION_OPERATIONS

    @property
    def models(self) -> list[str]:
        """Names of the model: the one that answered first."""
        return models_of(dict(zip(queries.DIMENSIONS, self.row, strict=True)))


_PRICED_BY = ("request_model", "response_model", "service_tier", "speed", "region")


def resolve(
    rows: Sequence[tuple[Any, ...]],
    references: Mapping[str, Catalog],
    denoised: Catalog,
    book: PriceBook,
    since_ns: int,
    until_ns: int,
) -> list[Dim]:
    """A ``Dim`` for each row of ``queries.dims_query``."""
    out = []
    for index, (*values, calls) in enumerate(rows):
        named = dict(zip(queries.DIMENSIONS, values, strict=True))
        deployment, models = deployment_of(named), models_of(named)
        generation = deployment.operation in GENERATION_OPERATIONS
        out.append(
            Dim(
                dim=index,
                row=tuple(values),
                calls=int(calls),
                deployment=deployment,
                denoised=denoised.denoised_for(deployment, until_ns / 1e9) if generation else None,
                idealized=tuple(_idealized(catalog, models) if generation else None for catalog in references.values()),
                price=book.find(
                    purchase_of(named["provider"], *(named[name] or None for name in _PRICED_BY)), since_ns, until_ns
                ),
            )
        )
    return out


def models_of(named: Mapping[str, Any]) -> list[str]:
    """Names of the model by *named* values of ``queries.DIMENSIONS``: the one that answered first."""
    return [name for name in dict.fromkeys((named["response_model"], named["request_model"])) if name]


def deployment_of(named: Mapping[str, Any]) -> Deployment:
    """The deployment that *named* values of ``queries.DIMENSIONS`` describe."""
    server = named["server_address"] or None
    if server is not None and named["server_port"] >= 0:
        server = f"{server}:{named['server_port']}"
    model = next(iter(models_of(named)), None)
    chosen = (named[name] or None for name in ("service_tier", "speed", "region"))
    return Deployment(named["provider"], server, model, named["operation"], bool(named["stream"]), *chosen)


def _idealized(catalog: Catalog, models: Sequence[str]) -> tuple[ReferenceStack, RuntimeProfile] | None:
    return next((found for model in models if (found := catalog.idealized(model)) is not None), None)


def write_tables(engine: Engine, dims: Sequence[Dim], prefixes: Sequence[str], room_for: int = 0) -> int:
    """Make ``dims``, ``labels`` and ``prices`` in *engine*; the number of prompt-curve segments that there is room for.

    That are those in use, and no fewer than *room_for*.
    """
    by_prefix = [[dim.denoised, *(found[1] if found else None for found in dim.idealized)] for dim in dims]
    n_segments = max(room_for, join_sql.segment_count([profile for row in by_prefix for profile in row]))
    rows, prices = [], []
    for dim, profiles in zip(dims, by_prefix, strict=True):
        coefficients = [value for profile in profiles for value in join_sql.profile_values(profile, n_segments)]
        rows.append((dim.dim, *dim.row, dim.dim, int(dim.generation), *coefficients))
        for rate in dim.price.rates:
            usd = (rate.usd[kind] for kind in KINDS)
            prices.append((dim.dim, rate.from_ns, rate.until_ns, rate.above, rate.upto, rate.usd_request, *usd))
    engine.table("dims", queries.dims_columns(prefixes, n_segments), rows)
    engine.table("prices", queries.price_columns(), prices)
    engine.table("labels", queries.label_columns(prefixes), [_label(dim) for dim in dims])
    return n_segments


def _label(dim: Dim) -> tuple[Any, ...]:
    deployment = dim.deployment
    stream = "stream" if deployment.stream else "plain"
    out: list[Any] = [dim.dim, deployment.provider, deployment.model, deployment.key, deployment.operation, stream]
    out += [None, None] if dim.denoised is None else [dim.denoised.provenance, dim.denoised.verdict]
    for found in dim.idealized:
        if found is None:
            out += [None, None, None]
            continue
        stack, profile = found
        n_gpus = profile.n_gpus or 1
        usd = None if stack.price is None else n_gpus * stack.price.usd_per_gpu_hour / 3600.0
        out += [profile.provenance, usd, None if (watts := stack.watts_for(profile)) is None else n_gpus * watts]
    return tuple(out)
