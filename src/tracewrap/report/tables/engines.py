"""Where report queries run: DuckDB in this process; the same text, transpiled by sqlglot, on ClickHouse's engine (chdb) or Spark.

An engine knows four things: make a table of a few rows, make a table from a query, say what a query gives, and show a lake as the
table ``calls``. Queries use plain SQL in DuckDB's dialect and one function of our own, ``quantiles4(x)``: the array of the exact
50%, 90%, 99% and 95% quantiles of x, linearly interpolated, NULLs left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tracewrap.errors import ConfigurationError, SourceError, missing_extra
from tracewrap.sources import CALL_COLUMNS, connect

if TYPE_CHECKING:
    import duckdb

QUANTILES: Mapping[str, str] = {
    "duckdb": "quantile_cont({}, [0.5, 0.9, 0.99, 0.95])",
    "clickhouse": "quantilesExactInclusive(0.5, 0.9, 0.99, 0.95)({})",
    "spark": "percentile({}, array(0.5, 0.9, 0.99, 0.95))",
}
_TYPES: Mapping[str, Mapping[str, str]] = {
    "clickhouse": {
        "DOUBLE": "Nullable(Float64)",
        "BIGINT": "Nullable(Int64)",
        "INTEGER": "Nullable(Int32)",
        "VARCHAR": "Nullable(String)",
    },
    "spark": {"VARCHAR": "STRING", "INTEGER": "INT"},
    "bigquery": {"VARCHAR": "STRING", "INTEGER": "INT64", "BIGINT": "INT64", "DOUBLE": "FLOAT64", "BOOLEAN": "BOOL"},
}


def typed_columns(columns: Mapping[str, str], dialect: str) -> str:
    """The columns of a CREATE TABLE, DuckDB's types in the words of *dialect*."""
    types = _TYPES.get(dialect, {})
    return ", ".join(f"{name} {types.get(kind, kind)}" for name, kind in columns.items())


_SHUFFLE, _STOCK_SHUFFLE = "spark.sql.shuffle.partitions", "200"
_OR_NULL: Mapping[str, str] = {"DOUBLE": "toFloat64OrNull", "BIGINT": "toInt64OrNull"}


class Engine(Protocol):
    """What a report needs of a query engine."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query in DuckDB's dialect."""
        ...

    def table(self, name: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """Make a small table; *columns*: name to DuckDB type (DOUBLE, BIGINT, INTEGER, VARCHAR, BOOLEAN)."""
        ...

    def materialize(self, name: str, sql: str) -> None:
        """Make a table from a query; it is read several times."""
        ...


def transpile(sql: str, dialect: str, *, tables: Mapping[str, str] | None = None) -> str:
    """*sql* (DuckDB's dialect, with ``quantiles4``) in another dialect; *tables*: other names of tables in it."""
    if dialect == "duckdb" and not tables:
        return sql
    return _transpile(sql, dialect, tuple((tables or {}).items()))


@lru_cache(maxsize=256)
def _transpile(sql: str, dialect: str, tables: tuple[tuple[str, str], ...] = ()) -> str:
    try:
        import sqlglot
        from sqlglot import exp
    except ImportError:
        raise missing_extra("another query engine", "report") from None
    tree = sqlglot.parse_one(sql, read="duckdb")
    names = dict(tables)

    def ours(node: Any) -> Any:
        if isinstance(node, exp.Table) and node.name in names:
            return exp.to_table(names[node.name], alias=node.alias or None)
        if dialect == "clickhouse" and isinstance(node, exp.TryCast) and isinstance(node.this, exp.Column):
            # its CAST of a text that is no number is an error
            return exp.Anonymous(this=_OR_NULL[node.to.sql("duckdb")], expressions=[node.this])
        if isinstance(node, exp.Anonymous) and node.name.lower() == "quantiles4":
            return exp.Anonymous(this="quantiles4", expressions=node.expressions)
        return node

    text = tree.transform(ours).sql(dialect=dialect)
    return _with_quantiles(text, dialect)


def _with_quantiles(sql: str, dialect: str) -> str:
    """*sql* with ``quantiles4(...)`` in the dialect's own words."""
    lower = sql.lower()
    while (at := lower.rfind("quantiles4(")) >= 0:
        depth, end = 0, at + len("quantiles4")
        for end in range(at + len("quantiles4"), len(sql)):
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            if depth == 0:
                break
        inner = sql[at + len("quantiles4(") : end]
        sql = sql[:at] + QUANTILES[dialect].format(inner) + sql[end + 1 :]
        lower = sql.lower()
    return sql


class DuckDBEngine:
    """DuckDB in this process; ``calls`` comes from any source."""

    dialect = "duckdb"

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection | None = None,
        *,
        memory_limit: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.connection = connection or connect(memory_limit, threads)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """See ``Engine``."""
        rows: list[tuple[Any, ...]] = self.connection.execute(_with_quantiles(sql, "duckdb")).fetchall()
        return rows

    def table(self, name: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """See ``Engine``."""
        typed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({typed})")
        if not rows:
            return
        given = ", ".join(f"CASE WHEN {column}_known THEN {column} END" for column in columns)
        self.connection.register("given_rows", _arrays(columns, _checked(rows)))
        try:
            self.connection.execute(f"INSERT INTO {name} SELECT {given} FROM given_rows")
        finally:
            self.connection.unregister("given_rows")

    def materialize(self, name: str, sql: str) -> None:
        """See ``Engine``."""
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {_with_quantiles(sql, 'duckdb')}")


class ChdbEngine:
    """ClickHouse's engine in this process (package ``chdb``), over a lake."""

    dialect = "clickhouse"

    def __init__(self, lake: str | Path) -> None:
        try:
            from chdb import session
        except ImportError:
            raise missing_extra("the ClickHouse engine", "clickhouse-engine") from None
        self._session = session.Session()
        self._lake = Path(lake)

    def close(self) -> None:
        """Free the engine; one session lives at a time."""
        self._session.close()

    def load_calls(self, table: str, since_ns: int, until_ns: int, columns: Mapping[str, str]) -> None:
        """*table* of the lake's calls in the period, as ``Source.load``."""
        pattern = str(self._lake.resolve() / "**" / "*.parquet").replace("'", "\\'")
        chosen = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
        sql = transpile(
            f"SELECT {chosen} FROM lake_files AS l WHERE l.start_time_ns >= {since_ns} AND l.start_time_ns < {until_ns}",
            "clickhouse",
        )
        self._create(table, sql.replace("lake_files", f"file('{pattern}', Parquet)"))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """See ``Engine``."""
        answer = self._session.query(self._settings(transpile(sql, "clickhouse")), "JSONCompactEachRow")
        return [tuple(json.loads(line)) for line in str(answer).splitlines() if line]

    def table(self, name: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """See ``Engine``."""
        self._session.query(f"DROP TABLE IF EXISTS {name}")
        self._session.query(f"CREATE TABLE {name} ({typed_columns(columns, self.dialect)}) ENGINE = Memory")
        if rows:
            lines = "\n".join(json.dumps(row) for row in _checked(rows))
            self._session.query(f"INSERT INTO {name} FORMAT JSONCompactEachRow {lines}")

    def materialize(self, name: str, sql: str) -> None:
        """See ``Engine``."""
        self._create(name, transpile(sql, "clickhouse"))

    def _create(self, name: str, sql: str) -> None:
        self._session.query(f"DROP TABLE IF EXISTS {name}")
        self._session.query(self._settings(f"CREATE TABLE {name} ENGINE = Memory AS {sql}"))

    def _settings(self, sql: str) -> str:
        # NULLs of an outer join stay NULLs, and 64-bit numbers come as numbers.
        return f"{sql} SETTINGS join_use_nulls = 1, prefer_column_name_to_alias = 1, output_format_json_quote_64bit_integers = 0"


class SparkEngine:
    """An open Spark session (``pyspark.sql.SparkSession``), over a lake: for days that outgrow one machine."""

    dialect = "spark"

    def __init__(self, spark: Any, lake: str | Path) -> None:
        self._spark = spark
        self._lake = str(lake)

    def load_calls(self, table: str, since_ns: int, until_ns: int, columns: Mapping[str, str]) -> None:
        """*table* of the lake's calls in the period, as ``Source.load``."""
        self._spark.read.option("mergeSchema", "true").parquet(self._lake).createOrReplaceTempView("lake_files")
        chosen = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
        sql = (
            f"SELECT {chosen} FROM lake_files AS l WHERE l.start_time_ns >= {since_ns} AND l.start_time_ns < {until_ns}"
        )
        self._spark.sql(transpile(sql, "spark")).createOrReplaceTempView(table)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """See ``Engine``."""
        return [tuple(row) for row in self._spark.sql(transpile(sql, "spark")).collect()]

    def table(self, name: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """See ``Engine``."""
        types = _TYPES["spark"]
        if rows:
            self._spark.sql(_select_rows(columns, _checked(rows), types)).createOrReplaceTempView(name)
            return
        empty = ", ".join(f"CAST(NULL AS {types.get(kind, kind)}) AS {column}" for column, kind in columns.items())
        self._spark.sql(f"SELECT {empty} WHERE false").createOrReplaceTempView(name)

    def materialize(self, name: str, sql: str) -> None:
        """See ``Engine``."""
        frame = self._spark.sql(transpile(sql, "spark")).cache()
        frame.createOrReplaceTempView(name)


def _arrays(columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """*rows* as numpy arrays, a column and ``COLUMN_known`` of each: DuckDB plans text of thousands of rows for minutes, in gigabytes."""
    import numpy as np

    types: dict[str, tuple[Any, Any]] = {
        "DOUBLE": (np.float64, 0.0),
        "VARCHAR": (object, ""),
        "BOOLEAN": (np.bool_, False),
    }
    arrays: dict[str, Any] = {}
    for (name, kind), cells in zip(columns.items(), zip(*rows, strict=True), strict=True):
        dtype, absent = types.get(kind, (np.int64, 0))
        values = [absent if cell is None else cell for cell in cells]
        arrays[name] = np.array([str(value) for value in values] if kind == "VARCHAR" else values, dtype=dtype)
        arrays[f"{name}_known"] = np.array([cell is not None for cell in cells], dtype=np.bool_)
    return arrays


def _select_rows(columns: Mapping[str, str], rows: Sequence[Sequence[Any]], types: Mapping[str, str]) -> str:
    """``SELECT ... UNION ALL SELECT ...`` of literal *rows*, in Spark's spelling."""
    selects = []
    for row in rows:
        cells = (
            f"CAST({_literal(value)} AS {types.get(kind, kind)}) AS {name}"
            for (name, kind), value in zip(columns.items(), row, strict=True)
        )
        selects.append("SELECT " + ", ".join(cells))
    return " UNION ALL ".join(selects)


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if "e" in repr(value) else repr(value) + "e0"
    if isinstance(value, int):
        return str(value)
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def _checked(rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """*rows*; ConfigurationError for a number that no table can hold."""
    for row in rows:
        for value in row:
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigurationError(f"{value} cannot be a coefficient")
    return rows


def named_engine(name: str, lake: str) -> ChdbEngine | SparkEngine:
    """The engine called *name* (``clickhouse`` or ``spark``) over a lake folder; ConfigurationError for another name."""
    if not Path(lake).is_dir():
        raise SourceError(
            f"{lake}: --engine {name} reads a Parquet lake; compact the logs first: tracewrap lake compact LOGS LAKE"
        )
    if name == "clickhouse":
        return ChdbEngine(lake)
    if name != "spark":
        raise ConfigurationError(f"engine is {name!r}; there is duckdb, clickhouse and spark")
    return SparkEngine(_spark_session(), lake)


def _spark_session() -> Any:
    """The Spark session of the environment. One on this machine gets as many shuffle partitions as cores where nobody chose their number.

    The stock 200 are for a cluster: each query of a report would be 200 tasks of a few rows.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise missing_extra("the Spark engine", "spark") from None
    # its progress bar would draw into the report
    spark = SparkSession.builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    if spark.sparkContext.master.startswith("local") and spark.conf.get(_SHUFFLE) == _STOCK_SHUFFLE:
        spark.conf.set(_SHUFFLE, str(spark.sparkContext.defaultParallelism))
    return spark


__all__ = ["CALL_COLUMNS", "ChdbEngine", "DuckDBEngine", "Engine", "SparkEngine", "named_engine", "transpile"]
