"""One report, three engines: DuckDB, ClickHouse's engine (chdb) and Spark give equal figures on the same lake."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from made_days import DAY_NS, call, write_log
from tracewrap import report
from tracewrap.errors import ConfigurationError
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import TokenUsage
from tracewrap.report.tables import queries
from tracewrap.report.tables.drawing import Wanted, drawn_calls
from tracewrap.report.tables.engines import ChdbEngine, DuckDBEngine, SparkEngine, transpile
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.stack import Price, ReferenceStack
from tracewrap.sources import EVER, load_all, open_source
from tracewrap.sources.compact import compact


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake of 600 calls of every kind."""
    rng = random.Random(3)
    folder = tmp_path_factory.mktemp("engines")
    calls = [
        call(
            i,
            rng.uniform(0, 24),
            request_model=rng.choice(("gpt-4o", "m-x")),
            response_model=None,
            service_name=rng.choice(("a", "b's", None)),
            stream=rng.random() < 0.5,
            usage=rng.choice(
                (
                    None,
                    TokenUsage(
                        input_tokens=rng.randrange(1, 9000), output_tokens=rng.randrange(1, 900), cached_input_tokens=3
                    ),
                )
            ),
            raw_runtime_s=rng.uniform(0.1, 60),
            attempts=rng.choice((1, 1, 3)),
            retry_s=rng.choice((0.0, 0.05)),
            outcome=rng.choice(("complete", "complete", "complete", "error", "partial")),
            tags={"tenant": f"t{rng.randrange(3)}"} if rng.random() < 0.9 else {},
        )
        for i in range(1, 601)
    ]
    log = write_log(folder / "log.jsonl", calls)
    compact([str(log)], folder / "lake")
    return str(folder / "lake")


@pytest.mark.parametrize("engine", ["duckdb", "clickhouse"])
def test_a_table_of_thousands_of_wide_rows_holds_every_value(engine: str, tmp_path: Path) -> None:
    """As many models as fine-tunes and hosts make: each with its profiles' 70 columns, names of any kind, absent values absent."""
    if engine == "clickhouse":
        pytest.importorskip("chdb")
    dice = random.Random(0)
    kinds = {"dim": "INTEGER", "name": "VARCHAR", "until_ns": "BIGINT", "generation": "BOOLEAN"} | {
        f"c{i}": "DOUBLE" for i in range(66)
    }
    rows = [
        (
            i,
            dice.choice((f'it\'s "{i}" é\\n', "", None)),
            dice.choice((1 << 62, -1, None)),
            i % 2 == 0,
            *(dice.choice((dice.gauss(0.0, 1e6), 1e-12, None)) for _ in range(66)),
        )
        for i in range(3000)
    ]
    made = DuckDBEngine() if engine == "duckdb" else ChdbEngine(tmp_path)
    try:
        made.table("given", kinds, rows)
        held = made.rows("SELECT * FROM given ORDER BY dim")
        assert [row[:4] for row in held] == [row[:4] for row in rows]
        pairs = [pair for got, given in zip(held, rows, strict=True) for pair in zip(got[4:], given[4:], strict=True)]
        assert all(got == given or math.isclose(got, given, rel_tol=1e-15) for got, given in pairs)
    finally:
        if isinstance(made, ChdbEngine):
            made.close()


def test_a_number_that_is_none_is_no_coefficient() -> None:
    """Not a number, infinite: refused by name, before an engine sees it."""
    with pytest.raises(ConfigurationError, match="nan cannot be a coefficient"):
        DuckDBEngine().table("given", {"a": "DOUBLE"}, [(1.0,), (float("nan"),)])


def profile(name: str, factor: float, model: str = "gpt-4o") -> RuntimeProfile:
    """A profile with every term of the formula in use."""
    return RuntimeProfile(
        id=name, model=model, prompt_knots=((1.0, 0.1 * factor), (2000.0, 0.4 * factor), (8000.0, 2.0 * factor)), d0=0.01 * factor, d1=1e-7,
        tile=128, tile_fraction=0.4, overhead_s=0.05, interval=Interval(0.02, 0.1, 0.05, 0.3), max_output_tokens=500, n_gpus=2,
    )  # fmt: skip


def catalog() -> Catalog:
    """Denoised profiles of the streaming deployments, two stacks."""
    stacks = tuple(
        ReferenceStack(
            id=name,
            gpu="g",
            precision="bf16",
            price=Price(2.0 * factor, "t", "2026-11-01"),
            watts=300.0,
            profiles={"gpt-4o": profile(name, factor)},
        )
        for name, factor in (("one", 1.0), ("two", 0.3))
    )
    return Catalog(stacks=stacks, denoised={"openai|api.openai.com:443|gpt-4o|chat|stream": profile("quiet", 1.5)})


GROUPS = ("provider", "model", "service,stream", "tenant", "outcome", "day", "hour,model")


def build(lake: str, engine: str, groups: tuple[str, ...] = GROUPS) -> report.Report:
    """The report of the lake by one engine."""
    return report.build(
        lake,
        day="2026-11-20",
        catalog=catalog(),
        references=["one", "two"],
        group_by=groups,
        engine=engine,
        now_ns=DAY_NS + 10**15,
    )


def differences(a: Any, b: Any, path: str = "") -> Iterator[str]:
    """Paths at which two reports differ by more than 1e-9 relative."""
    if isinstance(a, dict):
        assert set(a) == set(b), path
        for key in a:
            yield from differences(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from differences(x, y, f"{path}/{i}")
    elif isinstance(a, float) and isinstance(b, int | float):
        if abs(a - b) > 1e-9 * max(abs(a), abs(b)):
            yield f"{path}: {a} and {b}"
    elif a != b:
        yield f"{path}: {a} and {b}"


def assert_equal(one: report.Report, other: report.Report) -> None:
    """Equal but for what the source says of its files."""
    a, b = dict(one), dict(other)
    assert a.pop("sources")
    assert b.pop("sources")
    assert list(differences(a, b)) == []


def assert_same_calls_drawn(lake: str, other: ChdbEngine | SparkEngine) -> None:
    """Of each deployment, and with a bound that leaves many out, the very calls that DuckDB draws."""
    ours, columns = DuckDBEngine(), queries.loaded_columns(())
    load_all(ours.connection, [open_source(lake)], "calls", *EVER, columns)
    other.load_calls("calls", *EVER, columns)
    wanted = Wanted(50, 10_000, 10)
    drawn = drawn_calls(ours, ["calls"], wanted)
    assert max(len(one.rows) for one in drawn.values()) == 50
    assert drawn_calls(other, ["calls"], wanted) == drawn
    key, one = next(iter(drawn.items()))
    assert drawn_calls(other, ["calls"], wanted, known=[name for name in drawn if name != key]) == {key: one}


def test_clickhouse_equals_duckdb(lake: str) -> None:
    """The whole report, queries transpiled to ClickHouse and run by its engine, equals DuckDB's to 1e-9; so do the calls learned from."""
    pytest.importorskip("chdb")
    engine = ChdbEngine(lake)
    try:
        assert_same_calls_drawn(lake, engine)
    finally:
        engine.close()
    ours = build(lake, "duckdb")
    assert ours["totals"]["denoised"]["n"] > 30
    assert_equal(ours, build(lake, "clickhouse"))


@pytest.mark.slow
def test_spark_equals_duckdb(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole report, queries transpiled to Spark and run by it, equals DuckDB's to 1e-9."""
    pyspark = pytest.importorskip("pyspark.sql")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    settings = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
        "spark.ui.showConsoleProgress": "false",
        # Small data: compiling every query would take most of the time.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
    }
    builder = pyspark.SparkSession.builder.master("local[1]")
    for key, setting in settings.items():
        builder = builder.config(key, setting)
    session = builder.getOrCreate()
    try:
        session.sparkContext.setLogLevel("ERROR")
        groups = ("service,stream", "tenant")  # each table costs Spark seconds
        assert_equal(build(lake, "duckdb", groups), build(lake, "spark", groups))
        assert_same_calls_drawn(lake, SparkEngine(session, lake))
    finally:
        session.stop()


def test_quantiles_are_the_exact_ones_of_each_dialect() -> None:
    """quantiles4 becomes each engine's exact, interpolating quantile, nested calls and all."""
    sql = "SELECT quantiles4(CASE WHEN f(x) > 1 THEN g(y, (z)) END) AS q, quantiles4(x) AS r FROM t"
    assert "quantilesExactInclusive(0.5, 0.9, 0.99, 0.95)(x)" in transpile(sql, "clickhouse")
    assert transpile(sql, "spark").count("percentile(") == 2
    assert "quantiles4" not in transpile(sql, "spark") + transpile(sql, "clickhouse")
