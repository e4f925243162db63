"""Names of groupings: which there are, what a filter on them selects, and near ones for a name that no call has."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import get_args

from tracewrap.errors import ConfigurationError
from tracewrap.records import Outcome
from tracewrap.report.tables import queries
from tracewrap.report.tables.engines import DuckDBEngine, Engine
from tracewrap.report.tables.kinds import deployment_of
from tracewrap.report.tables.period import Span
from tracewrap.sources import EVER, load_all, open_source
from tracewrap.sources.table import quoted

GROUPINGS = (*queries.DIMENSION_KEYS, *queries.CALL_KEYS, *queries.TAGS)
"""Groupings with a name of their own; any other name is a span or resource attribute."""
CLOCK = ("day", "hour")
"""Groupings by when a call began."""
BUILT_IN = (*queries.DIMENSION_KEYS, *CLOCK)
"""Groupings that need no column of their own."""
ALIASES = {"status": "outcome"}
VALUES: dict[str, tuple[str, ...]] = {"outcome": get_args(Outcome), "stream": ("stream", "plain")}
"""Names that have these values alone."""


def parse_where(texts: Sequence[str]) -> dict[str, str]:
    """``["model=gpt-5,tenant=acme", "status=error"]`` as name to value; ConfigurationError for what is no NAME=VALUE."""
    out: dict[str, str] = {}
    for text in texts:
        for part in text.split(","):
            name, found, value = part.partition("=")
            name = ALIASES.get(name.strip(), name.strip())
            if not found or not name or name in CLOCK:
                raise ConfigurationError(
                    f"--where {text!r}: write NAME=VALUE, such as model=gpt-5,tenant=acme,status=error; days: --day, --since"
                )
            out[name] = value.strip()
    return out


def check_values(where: Mapping[str, str]) -> None:
    """ConfigurationError for a value that its name never has: ``status=success``."""
    said = {name: alias for alias, name in ALIASES.items()}
    for name, value in where.items():
        if name in VALUES and value not in VALUES[name]:
            shown = said.get(name, name)
            raise ConfigurationError(f"--where {shown}={value}: {shown} is one of {', '.join(VALUES[name])}")


def filtered_query(engine: Engine, table: str, where: Mapping[str, str], keys: Sequence[str]) -> str:
    """The calls of *table* whose names have the values of *where* ('' selects calls that lack the name)."""
    conditions = []
    for name, value in where.items():
        if name not in queries.DIMENSION_KEYS:
            column = f"key_{keys.index(name)}"
            conditions.append(f"{column} IS NULL" if value == "" else f"{column} = {quoted(value)}")
    wanted = {name: value for name, value in where.items() if name in queries.DIMENSION_KEYS}
    if not wanted:
        return f"SELECT * FROM {table} WHERE {' AND '.join(conditions)}"
    columns = {f"chosen_{name}": kind for name, kind in queries.DIMENSION_TYPES.items()}
    chosen = [row[:-1] for row in engine.rows(queries.dims_query(table)) if _matches(row, wanted)]
    engine.table("chosen", columns, chosen)
    match = " AND ".join(f"c.dim_{name} = m.chosen_{name}" for name in queries.DIMENSIONS)
    kept = ", ".join(f"c.{name}" for name in queries.loaded_columns(keys))
    return f"SELECT {kept} FROM {table} AS c JOIN chosen AS m ON {match} WHERE {' AND '.join(conditions) or '1 = 1'}"


def _matches(row: Sequence[object], wanted: Mapping[str, str]) -> bool:
    deployment = deployment_of(dict(zip(queries.DIMENSIONS, row, strict=False)))
    labels = {
        "provider": deployment.provider,
        "model": deployment.model or "",
        "deployment": deployment.key,
        "operation": deployment.operation,
        "stream": "stream" if deployment.stream else "plain",
    }
    return all(labels[name] == value for name, value in wanted.items())


def check_names(engine: Engine, table: str, sources: Sequence[str], span: Span | None, keys: Sequence[str]) -> None:
    """ConfigurationError, with near names, for one of *keys* that no call has and that is no grouping of ours."""
    unsure = [(i, name) for i, name in enumerate(keys) if name not in GROUPINGS]
    if not unsure:
        return
    found = ", ".join(f"count(key_{i}) AS n_{i}" for i, _ in unsure)
    counts = engine.rows(f"SELECT count(*) AS n, {found} FROM {table}")[0]
    for (_, name), n in zip(unsure, counts[1:], strict=True):
        if counts[0] and not n:
            there = _attributes(engine, sources, span)
            known = list(dict.fromkeys([*GROUPINGS, *CLOCK, *there]))
            near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
            named = f"do you mean {' or '.join(near)}?" if near else f"there is {', '.join(known)}"
            raise ConfigurationError(f"no call has an attribute {name!r}; {named}")


def _attributes(engine: Engine, sources: Sequence[str], span: Span | None) -> list[str]:
    """Names of the attributes that calls have, of all sources; none where another engine than DuckDB runs."""
    if not isinstance(engine, DuckDBEngine):
        return []
    first, last = EVER if span is None else (span.since_ns, span.until_ns)
    load_all(engine.connection, [open_source(text) for text in sources], "tagged", first, last, {"tags": "tags"})
    return [
        str(row[0]) for row in engine.rows("SELECT DISTINCT unnest(map_keys(tags)) AS name FROM tagged ORDER BY 1")
    ][:100]
