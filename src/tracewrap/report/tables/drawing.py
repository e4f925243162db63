"""Calls to learn from, drawn where they lie: a bounded number of each deployment, the same whenever it is asked, quiet hours kept.

Of a deployment with more calls than are wanted every hour gives the same number, and an hour with fewer gives all of its calls: the
traffic of a busy hour cannot crowd out the calls of a quiet one. Which calls of an hour follows from the times of their starts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from tracewrap.records import COMMON_REGIONS, COMMON_TIERS, deployment_key
from tracewrap.report.tables.engines import Engine
from tracewrap.report.tables.join_sql import dbl
from tracewrap.runtime.quiet.usable import GENERATION, Row, usable_row
from tracewrap.sources.table import quoted

DRAWN_COLUMNS = (
    *("dim_provider", "dim_server_address", "dim_server_port", "dim_response_model", "dim_request_model"),
    *("dim_operation", "dim_stream", "dim_service_tier", "dim_speed", "dim_region"),
    *("start_time_ns", "raw_runtime_s", "input_tokens", "output_tokens", "cached_input_tokens"),
    *("accepted_prediction_output_tokens", "time_to_first_chunk_s", "retry_s", "consumer_s"),
    *("outcome", "usage_source", "span_id"),
)
"""The columns of ``queries.loaded_columns`` that are read here."""
_NUMBERS = DRAWN_COLUMNS[DRAWN_COLUMNS.index("start_time_ns") : DRAWN_COLUMNS.index("outcome")]
_PRIME = 1_000_003
"""Starts modulo this prime, in nanoseconds, are spread evenly, whether clocks tick in nanoseconds or in seconds."""
_HOUR_NS = 3_600_000_000_000
_MOST_NAMED = 100
"""Up to so many deployments are asked for by name; of more, all are drawn."""
_MORE = 1.25
"""So much more than wanted is drawn by chance, then cut to what is wanted."""


class Wanted(NamedTuple):
    """How many calls are drawn: of each deployment *most*, of all *altogether*; of many deployments each gives fewer, not under *least*."""

    most: int
    altogether: int
    least: int

    def each(self, deployments: int) -> int:
        """Of each of so many *deployments*."""
        return max(min(self.most, self.altogether // max(deployments, 1)), self.least)


class Drawn(NamedTuple):
    """One deployment: its model, how many calls there are, usable or not, and the usable ones drawn, in the order of their starts."""

    model: str
    calls: int
    rows: list[Row]


def drawn_calls(
    engine: Engine, tables: Sequence[str], wanted: Wanted, model: str | None = None, known: Collection[str] = ()
) -> dict[str, Drawn]:
    """By deployment key, *wanted* calls of *tables* that a profile may be learned from; *model*: of this one alone.

    *known*: keys of deployments that are left out.
    """
    keyed = _deployments(engine, tables, model)
    new = {parts: name for parts in keyed if (name := _named(parts)) not in known}
    if not new:
        return {}
    only = new if len(new) < min(len(keyed), _MOST_NAMED) else ()
    for *parts, start_ns, raw_s, p, o, cached, predicted, first_s, retry_s, consumer_s in engine.rows(
        draw_query(tables, wanted.each(len(keyed)), model, only)
    ):
        if tuple(parts) not in new:
            continue
        row = usable_row(
            parts[4],
            start_ns,
            raw_s,
            p,
            o,
            cached_input_tokens=cached,
            predicted_tokens=predicted,
            first_chunk_s=first_s,
            retry_s=retry_s,
            consumer_s=consumer_s,
        )
        if row is not None:
            keyed[tuple(parts)].rows.append(row)
    return {name: keyed[parts] for parts, name in new.items()}


def _deployments(engine: Engine, tables: Sequence[str], model: str | None) -> dict[tuple[Any, ...], Drawn]:
    """By the parts of its key, each deployment with its number of calls and none drawn."""
    names = ", ".join(_key())
    named = ", ".join(f"{sql} AS {name}" for name, sql in _key().items())
    every = " UNION ALL ".join(f"SELECT {named} FROM {table} WHERE {_of_model(model)}" for table in tables)
    rows = engine.rows(f"SELECT {names}, count(*) AS n FROM ({every}) AS e GROUP BY {names}")
    return {tuple(parts): Drawn(str(parts[3]), int(n), []) for *parts, n in rows}


def draw_query(
    tables: Sequence[str], most: int, model: str | None = None, only: Collection[tuple[Any, ...]] = ()
) -> str:
    """The query of ``drawn_calls``: parts of the key, then what ``usable_row`` takes; its conditions leave out what never is usable.

    *only*: parts of the keys that are drawn; none: all are.
    """
    names, numbers = ", ".join(_key()), ", ".join(_NUMBERS)
    named = ", ".join(f"{sql} AS {name}" for name, sql in _key().items())
    chance = f"{dbl(f'start_time_ns % {_PRIME}')} / {dbl(_PRIME)}"
    hour = f"CAST(floor({dbl('start_time_ns')} / {dbl(_HOUR_NS)}) AS BIGINT)"
    operations = ", ".join(quoted(one) for one in sorted(GENERATION))
    usable = (
        f"dim_operation IN ({operations}) AND outcome = 'complete' AND usage_source = 'reported'"
        f" AND output_tokens >= 1 AND raw_runtime_s > 0 AND {_of_model(model)}"
    )
    read = ", ".join(DRAWN_COLUMNS)
    every = " UNION ALL ".join(f"SELECT {read} FROM {table} WHERE {usable}" for table in tables)
    calls = f"SELECT {named}, {numbers}, span_id, {hour} AS start_hour, {chance} AS chance FROM ({every}) AS e"
    if only:
        calls = f"SELECT * FROM ({calls}) AS k WHERE {' OR '.join(map(_is_deployment, only))}"
    drawn = (
        f"SELECT {', '.join(f'c.{name} AS {name}' for name in (*_key(), *_NUMBERS, 'span_id'))},"
        f" c.chance * {dbl('h.n')} / h.share AS place FROM ({calls}) AS c JOIN ({_hours(calls, most)}) AS h ON "
        + " AND ".join(f"c.{name} = h.{name}" for name in (*_key(), "start_hour"))
    )
    ordered = (
        f"SELECT *, row_number() OVER (PARTITION BY {names} ORDER BY place, span_id) AS nth"
        f" FROM ({drawn}) AS d WHERE place <= {dbl(_MORE)}"
    )
    return f"SELECT {names}, {numbers} FROM ({ordered}) AS o WHERE nth <= {int(most)} ORDER BY start_time_ns, span_id"


def _is_deployment(parts: Sequence[Any]) -> str:
    values = (quoted(part) if isinstance(part, str) else str(part).lower() for part in parts)
    return "(" + " AND ".join(f"{name} = {value}" for name, value in zip(_key(), values, strict=True)) + ")"


def _hours(calls: str, most: int) -> str:
    """Each hour of each deployment with its calls, and how many of an hour are wanted so that all hours together give *most*."""
    names = ", ".join(_key())
    counted = f"SELECT {names}, start_hour, count(*) AS n FROM ({calls}) AS h GROUP BY {names}, start_hour"
    by_size = f"PARTITION BY {names} ORDER BY n, start_hour"
    ranked = (
        f"SELECT {names}, start_hour, n, sum(n) OVER ({by_size} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS so_far,"
        f" row_number() OVER ({by_size}) AS nth, count(*) OVER (PARTITION BY {names}) AS hours FROM ({counted}) AS s"
    )
    # What the smaller hours leave, shared by this one and the larger: the largest such share is the level at which hours are cut.
    share = f"({dbl(most)} - {dbl('so_far - n')}) / {dbl('hours - nth + 1')}"
    return f"SELECT {names}, start_hour, n, max({share}) OVER (PARTITION BY {names}) AS share FROM ({ranked}) AS r"


def _key() -> dict[str, str]:
    """The parts of ``records.deployment_key`` as SQL, in its order; absent as '' or -1, what everybody gets as ''."""
    common, everywhere = (", ".join(map(quoted, sorted(names))) for names in (COMMON_TIERS, COMMON_REGIONS))
    in_address = "dim_server_address LIKE concat('%', dim_region, '%')"
    return {
        "k_provider": "dim_provider",
        "k_address": "dim_server_address",
        "k_port": "dim_server_port",
        "k_model": "CASE WHEN dim_response_model = '' THEN dim_request_model ELSE dim_response_model END",
        "k_operation": "dim_operation",
        "k_stream": "dim_stream",
        "k_tier": f"CASE WHEN dim_service_tier IN ({common}) THEN '' ELSE dim_service_tier END",
        "k_speed": f"CASE WHEN dim_speed IN ({common}) THEN '' ELSE dim_speed END",
        "k_region": f"CASE WHEN dim_region IN ({everywhere}) OR {in_address} THEN '' ELSE dim_region END",
    }


def _named(parts: Sequence[Any]) -> str:
    provider, address, port, model, operation, stream, *chosen = parts
    server = address or None, None if port < 0 else port
    return deployment_key(provider, *server, model or None, operation, bool(stream), *(name or None for name in chosen))


def _of_model(model: str | None) -> str:
    """The condition that a call is of *model*, by the name it was asked by or the one that answered."""
    return "1 = 1" if model is None else f"{quoted(model)} IN (dim_response_model, dim_request_model)"
