"""Opening sources by name, reading several as one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracewrap.errors import SourceError
from tracewrap.records import Call
from tracewrap.sources import clickhouse, jaeger, lake, otlp_json
from tracewrap.sources.table import CALL_COLUMNS, EVER, ReadStatus, Source, call_from_row, connect, drop_duplicates

if TYPE_CHECKING:
    import duckdb


def open_source(text: str) -> Source:
    """The source that *text* names; SourceError when there is nothing there or it is of no known kind."""
    if text.startswith(("jaeger://", "jaegers://")):
        return jaeger.JaegerSource(text)
    if text.startswith(("clickhouse://", "clickhouses://")):
        return clickhouse.ClickHouseSource(text)
    if "://" in text:
        text = re.sub(r"//.*@", "//", text)
        raise SourceError(
            f"{text}: no such kind of source; there is a folder, a file, jaeger://host:port, clickhouse://host:port"
        )
    path = Path(text)
    if not path.exists():
        raise SourceError(
            f"{text}: no such file or folder; give a span-log folder, OTLP-JSON files, a lake or jaeger://host:port"
        )
    if lake.is_lake(path):
        return lake.LakeSource(text)
    return otlp_json.OtlpJsonSource(text)


def load_all(
    connection: duckdb.DuckDBPyConnection,
    sources: Sequence[Source],
    table: str,
    since_ns: int,
    until_ns: int,
    columns: Mapping[str, str],
) -> list[ReadStatus]:
    """*table* over all *sources* together, unique by (trace id, span id) across them."""
    if len(sources) == 1:
        return [sources[0].load(connection, table, since_ns, until_ns, columns)]
    keyed = {"trace_id": "trace_id", "span_id": "span_id"} | dict(columns)
    statuses: list[ReadStatus] = []
    parts, known = [], set[tuple[str, str]]()
    for index, source in enumerate(sources):
        part = f"{table}_{index}"
        status = source.load(connection, part, since_ns, until_ns, keyed)
        status.losses = [loss for loss in status.losses if loss.ids not in known]
        known.update(loss.ids for loss in status.losses)
        statuses.append(status)
        parts.append(f"SELECT * FROM {part}")
    connection.execute(f"CREATE OR REPLACE TABLE {table} AS {' UNION ALL BY NAME '.join(parts)}")
    statuses[-1].duplicates += drop_duplicates(connection, table)
    return statuses


def read_calls(
    text: str | Sequence[str],
    *,
    since_ns: int = EVER[0],
    until_ns: int = EVER[1],
    statuses: list[ReadStatus] | None = None,
) -> Iterator[Call]:
    """The calls of one or several sources as records, in order of start; *statuses* receives what was skipped."""
    with connect() as connection:
        sources = [open_source(one) for one in ([text] if isinstance(text, str) else text)]
        found = load_all(connection, sources, "calls", since_ns, until_ns, {name: name for name in CALL_COLUMNS})
        if statuses is not None:
            statuses.extend(found)
        result = connection.execute(
            f"SELECT {', '.join(CALL_COLUMNS)} FROM calls ORDER BY start_time_ns, trace_id, span_id"
        )
        while rows := result.fetchmany(10_000):
            yield from map(call_from_row, rows)
