"""The join in a warehouse: the script runs on DuckDB and ClickHouse's engine, and its view says what ``tracewrap.join`` says."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from made_days import call, write_log
from tracewrap.cli import main
from tracewrap.errors import ConfigurationError
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.joiner import join
from tracewrap.prices.list_cost import load_pricer
from tracewrap.records import Call, JoinedCall, TokenUsage
from tracewrap.report.tables import warehouse
from tracewrap.report.tables.loading import load
from tracewrap.report.tables.options import load_options
from tracewrap.report.tables.warehouse import Warehouse
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.stack import Price, ReferenceStack
from tracewrap.semconv import call_attributes

duckdb = pytest.importorskip("duckdb")
pytest.importorskip("sqlglot")


def profile(name: str, factor: float) -> RuntimeProfile:
    """A profile with every term of the formula in use."""
    return RuntimeProfile(
        id=name, model="gpt-4o", prompt_knots=((1.0, 0.1 * factor), (2000.0, 0.4 * factor), (8000.0, 2.0 * factor)), d0=0.01 * factor,
        d1=1e-7, tile=128, tile_fraction=0.4, overhead_s=0.05, interval=Interval(0.02, 0.1, 0.05, 0.3), max_output_tokens=500, n_gpus=2,
    )  # fmt: skip


def catalog() -> Catalog:
    """A quiet day of the streams and one reference stack."""
    stack = ReferenceStack(
        id="one",
        gpu="g",
        precision="bf16",
        price=Price(2.0, "t", "2026-11-01"),
        watts=300.0,
        profiles={"gpt-4o": profile("one", 1.0)},
    )
    return Catalog(stacks=(stack,), denoised={"openai|api.openai.com:443|gpt-4o|chat|stream": profile("quiet", 1.5)})


def made_calls() -> list[Call]:
    """Two hundred calls of every kind, a service with a quote in its name among them."""
    dice = random.Random(5)
    usages: Sequence[TokenUsage | None] = (None, TokenUsage(5, 3), TokenUsage(1))
    return [
        call(
            i,
            dice.uniform(0, 24),
            request_model=dice.choice(("gpt-4o", "m-'x")),
            response_model=None,
            service_name=dice.choice(("a", "b's")),
            stream=dice.random() < 0.7,
            usage=dice.choice((*usages, *[TokenUsage(dice.randrange(1, 9000), dice.randrange(1, 900), 1)] * 5)),
            raw_runtime_s=dice.uniform(0.1, 60),
            attempts=dice.choice((1, 3)),
            retry_s=dice.choice((0.0, 0.05)),
            outcome=dice.choice(("complete", "complete", "complete", "error", "partial")),
        )
        for i in range(1, 201)
    ]


def expected(calls: Sequence[Call]) -> dict[str, dict[str, Any]]:
    """What ``tracewrap.join`` says, by span id, in the view's words; as in reports no estimates of calls that were left unread."""
    return {one.call.span_id: _row(one) for one in join(calls, catalog(), load_pricer())}


def _row(one: JoinedCall) -> dict[str, Any]:
    quiet, ideal = one.denoised_runtime, one.idealized_runtime
    cost, energy = one.idealized_cost, one.idealized_energy
    if one.call.outcome == "partial":
        quiet = ideal = cost = energy = None
    return {
        "denoised_runtime_s": quiet and quiet.value,
        "denoised_runtime_low_s": quiet and quiet.low,
        "denoised_runtime_high_s": quiet and quiet.high,
        "contention_s": quiet and one.contention_s,
        "idealized_runtime_s": ideal and ideal.value,
        "idealized_runtime_low_s": ideal and ideal.low,
        "idealized_cost_usd": cost and cost.value,
        "idealized_energy_j": energy and energy.value,
        "list_cost_usd": one.list_cost_usd,
        "raw_runtime_s": one.call.raw_runtime_s,
        "input_tokens": one.call.usage and one.call.usage.input_tokens,
    }


def differences(rows: dict[str, dict[str, Any]], right: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Where the view's rows are not what they should be, to 1e-9."""
    assert set(rows) == set(right)
    for span_id, values in right.items():
        for name, value in values.items():
            found = rows[span_id][name]
            if found != value and (found is None or value is None or not math.isclose(found, value, rel_tol=1e-9)):
                yield f"{span_id} {name}: {found}, not {value}"


def statements(to: Warehouse, log: Path, **more: Any) -> list[str]:
    """The script for the calls of *log*."""
    joined = load([str(log)], None, load_options(catalog=catalog()))
    return list(warehouse.script(to, joined.dims, joined.stacks, **more))


SPANS_COLUMNS = [
    "TraceId",
    "SpanId",
    "ParentSpanId",
    "ServiceName",
    "ScopeName",
    "StatusCode",
    "Timestamp",
    "Duration",
    "SpanAttributes",
]


def span_rows(calls: Sequence[Call]) -> list[dict[str, Any]]:
    """The calls as rows of ``otel_traces``, attributes as text; a span that is no call among them."""
    rows = [
        {
            "TraceId": one.trace_id,
            "SpanId": one.span_id,
            "ParentSpanId": one.parent_span_id or "",
            "ServiceName": one.service_name or "",
            "ScopeName": one.scope_name or "tracewrap",
            "StatusCode": "Error" if one.outcome == "error" else "Unset",
            "Timestamp": one.start_time_ns,
            "Duration": int((one.raw_runtime_s or 0) * 1e9),
            "SpanAttributes": {
                name: json.dumps(value) if isinstance(value, bool | tuple) else str(value)
                for name, value in call_attributes(one).items()
            },
        }
        for one in calls
    ]
    other = rows[0] | {"SpanId": "f" * 16, "SpanAttributes": {"http.route": "/"}}
    tool = rows[0] | {
        "SpanId": "e" * 16,
        "SpanAttributes": rows[0]["SpanAttributes"] | {"gen_ai.operation.name": "execute_tool"},
    }
    return [*rows, other, tool]


def in_duckdb(
    made: Sequence[str], prepare: Sequence[str], rows: Sequence[dict[str, Any]] = ()
) -> dict[str, dict[str, Any]]:
    """The view's rows, by span id, after the script ran in DuckDB."""
    connection = duckdb.connect()
    for statement in prepare:
        connection.execute(statement)
    for row in rows:
        connection.execute(
            "INSERT INTO otel_traces VALUES (?, ?, ?, ?, ?, ?, make_timestamp_ns(?), ?, ?)", list(row.values())
        )
    for statement in made:
        connection.execute(statement)
    found = connection.execute("SELECT * FROM tracewrap_joined")
    names = [column[0] for column in found.description]
    return {row[1]: dict(zip(names, row, strict=True)) for row in found.fetchall()}


DUCKDB_TRACES = (
    "CREATE TABLE otel_traces (TraceId VARCHAR, SpanId VARCHAR, ParentSpanId VARCHAR, ServiceName VARCHAR, ScopeName VARCHAR,"
    " StatusCode VARCHAR, Timestamp TIMESTAMP_NS, Duration UBIGINT, SpanAttributes MAP(VARCHAR, VARCHAR))"
)
CLICKHOUSE_TRACES = (
    "CREATE TABLE default.otel_traces (TraceId String, SpanId String, ParentSpanId String, ServiceName LowCardinality(String),"
    " ScopeName String,"
    " StatusCode LowCardinality(String), Timestamp DateTime64(9), Duration UInt64, SpanAttributes Map(LowCardinality(String), String))"
    " ENGINE = MergeTree ORDER BY (ServiceName, toDateTime(Timestamp))"
)


def test_a_lake_in_duckdb(tmp_path: Path) -> None:
    """The view over a lake: every estimate, cost and interval of every call as ``tracewrap.join`` has it."""
    from tracewrap.sources.compact import compact

    calls = made_calls()
    log = write_log(tmp_path / "log.jsonl", calls)
    compact([str(log)], tmp_path / "lake")
    lake = f"CREATE VIEW calls AS SELECT * FROM read_parquet('{tmp_path}/lake/**/*.parquet')"
    rows = in_duckdb(statements(Warehouse("duckdb"), log), [lake])
    assert list(differences(rows, expected(calls))) == []
    assert {row["model"] for row in rows.values()} == {"gpt-4o", "m-'x"}


def test_the_collectors_table_in_duckdb(tmp_path: Path) -> None:
    """The view over ``otel_traces``: spans that are no calls are not in it, nor a framework's span round a call."""
    calls = made_calls()
    outer = call(900, usage=TokenUsage(3, 4), scope_name="framework")
    inner = call(
        901, trace_id=outer.trace_id, parent_span_id=outer.span_id, usage=TokenUsage(3, 4), operation="text_completion"
    )
    log = write_log(tmp_path / "log.jsonl", [*calls, inner])
    made = statements(Warehouse("duckdb", "otel_traces", collector=True), log)
    rows = in_duckdb(made, [DUCKDB_TRACES], span_rows([*calls, outer, inner]))
    assert list(differences(rows, expected([*calls, inner]))) == []


def test_a_kind_that_came_up_since_is_a_row(tmp_path: Path) -> None:
    """A call of a model that the tables do not know yet stands in the view without estimates; writing the tables again gives it some."""
    known = [call(1, request_model="m-x", response_model=None)]
    new = call(2, request_model="gpt-4o", response_model=None, stream=True, usage=TokenUsage(100, 10))
    spans = Warehouse("duckdb", "otel_traces", collector=True)
    old = statements(spans, write_log(tmp_path / "old.jsonl", known))
    row = in_duckdb(old, [DUCKDB_TRACES], span_rows([*known, new]))[new.span_id]
    assert (row["input_tokens"], row["denoised_runtime_s"], row["list_cost_usd"]) == (100, None, None)
    refreshed = statements(spans, write_log(tmp_path / "new.jsonl", [*known, new]), tables_only=True)
    row = in_duckdb([*old, *refreshed], [DUCKDB_TRACES], span_rows([*known, new]))[new.span_id]
    assert row["denoised_runtime_s"] == pytest.approx(expected([new])[new.span_id]["denoised_runtime_s"], rel=1e-9)


def test_views_that_know_too_few_segments_are_not_left_behind(tmp_path: Path) -> None:
    """A profile with more segments than every script has room for: the tables alone are refused, the whole script has room."""
    knots = tuple((float(i), 0.01 * i) for i in range(1, 12))
    stack = ReferenceStack(
        id="one", gpu="g", precision="bf16", profiles={"gpt-4o": replace(profile("x", 1.0), prompt_knots=knots)}
    )
    log = write_log(tmp_path / "log.jsonl", [call(1, request_model="gpt-4o", response_model=None)])
    joined = load([str(log)], None, load_options(catalog=Catalog(stacks=(stack,))))
    with pytest.raises(ConfigurationError, match="10 segments"):
        list(warehouse.script(Warehouse("duckdb"), joined.dims, joined.stacks, tables_only=True))
    made = list(warehouse.script(Warehouse("duckdb"), joined.dims, joined.stacks))
    assert "idealized_0_slope_9" in made[0]


@pytest.mark.parametrize("materialized", [False, True])
def test_the_collectors_table_in_clickhouse(materialized: bool, tmp_path: Path) -> None:
    """ClickHouse: a view, or a table that is filled as the spans arrive."""
    sessions = pytest.importorskip("chdb.session")
    calls = made_calls()
    log = write_log(tmp_path / "log.jsonl", calls)
    made = statements(Warehouse("clickhouse", "default.otel_traces", collector=True, materialized=materialized), log)
    rows = [
        row
        | {
            "SpanAttributes": row["SpanAttributes"],
            "Timestamp": f"{row['Timestamp'] // 10**9}.{row['Timestamp'] % 10**9:09d}",
        }
        for row in span_rows(calls)
    ]
    fill = "INSERT INTO default.otel_traces FORMAT JSONEachRow " + "\n".join(map(json.dumps, rows))
    session = sessions.Session()
    try:
        for statement in [CLICKHOUSE_TRACES, *([*made, fill] if materialized else [fill, *made])]:
            session.query(statement)
        answer = session.query(
            "SELECT * FROM tracewrap_joined SETTINGS output_format_json_quote_64bit_integers = 0", "JSONEachRow"
        )
        found = {row["span_id"]: row for row in map(json.loads, str(answer).splitlines())}
    finally:
        session.close()
    assert list(differences(found, expected(calls))) == []


@pytest.mark.parametrize("dialect", ["spark", "bigquery", "snowflake"])
def test_other_dialects_parse(dialect: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is transpiled parses in its own dialect, and says that it was not run there."""
    log = write_log(tmp_path / "log.jsonl", made_calls())
    assert main(["sql", str(log), "--engine", dialect, "--no-learn"]) == 0
    text, told = capsys.readouterr()
    assert f"Transpiled to {dialect} and parsed, not run there." in text.splitlines()[0]
    assert "CREATE OR REPLACE VIEW tracewrap_joined" in text
    assert "kinds of calls" in told


def test_the_command_writes_a_script_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``tracewrap sql LOG -o FILE``: the whole file runs; its first lines say what it is and what it knows."""
    from tracewrap.sources.compact import compact

    log = write_log(tmp_path / "log.jsonl", made_calls())
    compact([str(log)], tmp_path / "lake")
    assert main(["sql", str(tmp_path / "lake"), "--no-learn", "-o", str(tmp_path / "join.sql")]) == 0
    assert "with a list price" in capsys.readouterr().err
    connection = duckdb.connect()
    connection.execute(f"CREATE VIEW calls AS SELECT * FROM read_parquet('{tmp_path}/lake/**/*.parquet')")
    connection.execute((tmp_path / "join.sql").read_text())
    assert connection.execute("SELECT count(*) FROM tracewrap_joined").fetchone() == (200,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"dialect": "snowflake", "collector": True}, "Collector has no table for snowflake"),
        ({"dialect": "duckdb", "materialized": True}, "ClickHouse's"),
        ({"dialect": "duckdb", "rows": "calls; DROP TABLE x"}, "no name of a table"),
    ],
)
def test_what_an_engine_does_not_have_is_said(arguments: dict[str, Any], said: str) -> None:
    """One line that names the thing and the next step."""
    with pytest.raises(ConfigurationError, match=said):
        Warehouse(**arguments)


def test_statements_stay_small(tmp_path: Path) -> None:
    """Rows go in a few at a time: a thousand kinds of calls are no statement of megabytes."""
    calls = [call(i, request_model=f"m-{i}", response_model=None) for i in range(1, 450)]
    made = statements(Warehouse("duckdb"), write_log(tmp_path / "log.jsonl", calls))
    inserts = [statement for statement in made if statement.startswith("INSERT INTO tracewrap_dims")]
    assert [one.count("'m-") for one in inserts] == [200, 200, 49]
    assert len(list(itertools.takewhile(lambda one: "VIEW" not in one, made))) == len(made) - 2
