"""The report's queries, once, in DuckDB's dialect: what is loaded, the joined table, and the figures over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracewrap.prices.rates import KINDS
from tracewrap.prices.terms import sql_stages
from tracewrap.report.tables import join_sql, split_sql
from tracewrap.semconv import SCOPE, USAGE_COLUMNS
from tracewrap.sources.table import quoted

DIMENSIONS: Mapping[str, str] = {
    "provider": "provider",
    "server_address": "coalesce(server_address, '')",
    "server_port": "coalesce(server_port, -1)",
    "response_model": "coalesce(response_model, '')",
    "request_model": "coalesce(request_model, '')",
    "operation": "operation",
    "stream": "coalesce(stream, false)",
    "service_tier": "coalesce(service_tier, '')",
    "speed": "coalesce(speed, '')",
    "region": "coalesce(region, '')",
}
"""What profiles and prices depend on, absent as '' or -1; each distinct combination is a row of ``dims``."""

DIMENSION_TYPES: Mapping[str, str] = dict.fromkeys(DIMENSIONS, "VARCHAR") | {
    "server_port": "INTEGER",
    "stream": "BOOLEAN",
}

TAGS: Mapping[str, tuple[str, ...]] = {
    "route": ("route", "http.route", "url.path"),
    "tenant": ("tenant", "tenant.id", "tenant_id"),
}
CALL_KEYS: Mapping[str, str] = {"service": "service_name", "outcome": "outcome"}
DIMENSION_KEYS = ("provider", "model", "deployment", "operation", "stream")
"""Groupings that follow from ``dims``; every other one is read from the call."""

_NUMBERS = (
    *USAGE_COLUMNS,
    *("raw_runtime_s", "time_to_first_chunk_s", "consumer_s", "retry_s", "attempts"),
    *split_sql.SIDE_NUMBERS,
)
_SUMMED_TOKENS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_output_tokens")
MEASURED = ("raw", "first_chunk", "per_token")
"""Column prefixes of what was measured of each call."""
DENOISED = "denoised"
"""Column prefix of the denoised estimates; those of the reference stacks are ``idealized_0``, ``idealized_1``, ..."""


def call_key_sql(name: str) -> str:
    """SQL over the calls table of a grouping that is not one of ``DIMENSION_KEYS``: text, NULL where absent."""
    if name in CALL_KEYS:
        return f"nullif({CALL_KEYS[name]}, '')"
    tags = [f"nullif(tags[{quoted(tag)}], '')" for tag in TAGS.get(name, (name,))]
    return tags[0] if len(tags) == 1 else f"coalesce({', '.join(tags)})"


def loaded_columns(keys: Sequence[str]) -> dict[str, str]:
    """Column to SQL over ``CALL_COLUMNS``: all that the report reads of a call; *keys* become ``key_0``, ``key_1``, ..."""
    columns = {
        "trace_id": "trace_id",
        "span_id": "span_id",
        "parent_span_id": "parent_span_id",
        "service": "service_name",
        "start_time_ns": "start_time_ns",
    } | {f"dim_{name}": sql for name, sql in DIMENSIONS.items()}
    columns |= {name: name for name in _NUMBERS}
    columns |= {name: name for name in ("usage_source", "client_lag_kind")}
    columns |= {"outcome": "outcome", "error_type": "error_type"}
    columns |= {name: name for name in ("sampled", "sampling_probability")}
    columns["foreign_scope"] = f"CASE WHEN scope_name = {quoted(SCOPE)} THEN 0 ELSE 1 END"
    return columns | {f"key_{i}": call_key_sql(name) for i, name in enumerate(keys)}


def dims_query(table: str = "calls") -> str:
    """The distinct dimensions of the calls, in the order of ``DIMENSIONS``, with the number of calls."""
    names = ", ".join(f"dim_{name}" for name in DIMENSIONS)
    return f"SELECT {names}, count(*) AS n FROM {table} GROUP BY {names} ORDER BY {names}"


def dims_columns(prefixes: Sequence[str], n_segments: int) -> dict[str, str]:
    """Columns of the ``dims`` table: id, keys, price id, and one set of profile coefficients a prefix."""
    columns = (
        {"dim": "INTEGER"}
        | {f"dims_{name}": kind for name, kind in DIMENSION_TYPES.items()}
        | {"price": "INTEGER", "generation": "INTEGER"}
    )
    for prefix in prefixes:
        columns |= join_sql.profile_columns(prefix, n_segments)
    return columns


def price_columns() -> dict[str, str]:
    """Columns of the ``prices`` table: one row a rate."""
    columns = {
        "price_id": "INTEGER",
        "from_ns": "BIGINT",
        "until_ns": "BIGINT",
        "above": "BIGINT",
        "upto": "BIGINT",
        "usd_request": "DOUBLE",
    }
    return columns | {f"usd_{kind}": "DOUBLE" for kind in KINDS}


def joined_query(
    prefixes: Sequence[str],
    n_segments: int,
    n_keys: int,
    since_ns: int,
    now_ns: int,
    *,
    ids: bool = False,
    floor_s: float | None = None,
    unknown_kinds: bool = False,
) -> str:
    """One row a call beside its estimates; ``prefixes``: ``denoised``, then ``idealized_0``, ... (reference stacks).

    *unknown_kinds*: calls of a kind that ``dims`` does not have are rows too, without estimates.
    ``comparable``: a complete generation call with both token counts and a runtime; only such calls have estimates here.
    """
    comparable = "generation = 1 AND outcome = 'complete' AND input_tokens >= 0 AND output_tokens >= 0 AND raw_runtime_s IS NOT NULL"
    first = {
        "comparable": f"CASE WHEN {comparable} THEN 1 ELSE 0 END",
        "p": f"CASE WHEN {comparable} THEN {join_sql.dbl('input_tokens')} END",
        "o": f"CASE WHEN {comparable} THEN {join_sql.dbl('output_tokens')} END",
        "c": join_sql.dbl("coalesce(cached_input_tokens, 0)"),
        "list_cost_usd": _list_cost(),
    }
    charged = sql_stages("charged_input_tokens", "charged_output_tokens")
    cached = {prefix: "c" if prefix == "denoised" else join_sql.dbl(0) for prefix in prefixes}  # no stack has a cache
    estimates = join_sql.merged([join_sql.estimate_stages(prefix, n_segments, c=cached[prefix]) for prefix in prefixes])
    chosen = _joined_columns(since_ns, now_ns)
    for prefix in prefixes:
        chosen |= {name: name for name in (f"{prefix}_{part}" for part in ("s", "low_s", "high_s", "extrapolated"))}
    chosen |= {f"key_{i}": f"key_{i}" for i in range(n_keys)}
    if ids:
        chosen |= {name: name for name in ("trace_id", "span_id", "start_time_ns", "service")}
        chosen |= {
            "outcome_text": "outcome",
            "any_raw_s": "raw_runtime_s",
            "sampling_probability": "sampling_probability",
        }
    out = ", ".join(f"{sql} AS {name}" for name, sql in chosen.items())
    stages = [*charged, first, *estimates, *split_sql.split_stages()]
    return f"SELECT {out} FROM ({join_sql.stacked(_priced(floor_s, unknown_kinds), stages)}) AS j"


def _priced(floor_s: float | None, unknown_kinds: bool) -> str:
    """The calls (those that took at least *floor_s*), each beside its dim and the rate in force when it was made."""
    table = "calls" if floor_s is None else f"(SELECT * FROM calls WHERE raw_runtime_s >= {join_sql.dbl(floor_s)})"
    match = " AND ".join(f"c.dim_{name} = m.dims_{name}" for name in DIMENSIONS)
    billed = (
        "coalesce(c.billed_input_tokens, c.input_tokens) AS charged_input_tokens,"
        " coalesce(c.billed_output_tokens, c.output_tokens) AS charged_output_tokens"
    )
    source = f"SELECT c.*, m.*, {billed} FROM {table} AS c {'LEFT ' if unknown_kinds else ''}JOIN dims AS m ON {match}"
    return f"SELECT * FROM ({source}) AS s LEFT JOIN prices AS r ON s.price = r.price_id" + (
        " AND s.start_time_ns >= r.from_ns AND s.start_time_ns < r.until_ns"
        " AND coalesce(s.charged_input_tokens, 0) > r.above AND coalesce(s.charged_input_tokens, 0) <= r.upto"
    )


def _joined_columns(since_ns: int, now_ns: int) -> dict[str, str]:
    """Columns of ``joined`` that every report has, estimates and keys aside."""
    counts = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_output_tokens", "attempts", "retry_s")
    return {
        "dim": "dim",
        "hour": f"CAST(floor({join_sql.dbl(f'start_time_ns - {since_ns}')} / {join_sql.dbl(3.6e12)}) AS INTEGER)",
        "outcome": "CASE WHEN outcome = 'complete' THEN 0 WHEN outcome IN ('partial', 'background') THEN 1"
        " WHEN outcome = 'cancelled' THEN 2 ELSE 3 END",
        "usage": "CASE WHEN usage_source IS NULL THEN 0 WHEN usage_source = 'estimated' THEN 2 ELSE 1 END",
        **{name: name for name in counts},
        "raw_s": "CASE WHEN outcome = 'complete' THEN raw_runtime_s END",
        "first_chunk_s": "CASE WHEN outcome = 'complete' THEN time_to_first_chunk_s END",
        "per_token_s": "CASE WHEN comparable = 1 AND output_tokens > 1 AND time_to_first_chunk_s <= raw_runtime_s THEN"
        f" (raw_runtime_s - time_to_first_chunk_s) / ({join_sql.dbl('output_tokens')} - {join_sql.dbl(1)}) END",
        **{
            name: name
            for name in (
                *("last_attempt_s", "comparable", "held_s", "verdict", "us_kind", "list_cost_usd"),
                *(f"split_{part}_s" for part in split_sql.PARTS),
            )
        },
        "future": f"CASE WHEN start_time_ns > {now_ns} THEN 1 ELSE 0 END",
        "foreign_scope": "foreign_scope",
    }


def _list_cost() -> str:
    """US dollars of the billed tokens; NULL when tokens or price are unknown, or a generation call lacks one of its counts."""
    known = "(charged_input_tokens >= 0 OR search_units > 0) AND (charged_output_tokens >= 0 OR generation = 0)"
    return f"CASE WHEN {known} THEN charged_usd END"


def _count(condition: str) -> str:
    return f"sum(CASE WHEN {condition} THEN 1 ELSE 0 END)"


def sums(prefixes: Sequence[str]) -> dict[str, str]:
    """Name to aggregate over ``joined``: additive figures of any group of calls."""
    estimated = " OR ".join(f"{p}_s IS NOT NULL" for p in prefixes)
    out = {
        "calls": "count(*)",
        **{name: _count(f"outcome = {i}") for i, name in enumerate(("complete", "partial", "cancelled", "failed"))},
        "reported": _count("usage = 1"),
        "estimated": _count("usage = 2"),
        "answered_uncounted": _count("outcome <> 3 AND usage = 0"),
        "answered_priced": _count("outcome <> 3 AND list_cost_usd IS NOT NULL"),
        **{name: f"sum(coalesce({name}, 0))" for name in _SUMMED_TOKENS},
        "attempts": "sum(attempts)",
        "retried": _count("attempts > 1"),
        "retry_s": "sum(retry_s)",
        "raw_n": "count(raw_s)",
        "raw_sum_s": "sum(raw_s)",
        "first_chunk_n": "count(first_chunk_s)",
        "first_chunk_sum_s": "sum(first_chunk_s)",
        "per_token_n": "count(per_token_s)",
        "per_token_sum_s": "sum(per_token_s)",
        "speed_tokens": "sum(CASE WHEN comparable = 1 THEN output_tokens END)",
        "speed_s": "sum(CASE WHEN comparable = 1 THEN last_attempt_s END)",
        "comparable": "sum(comparable)",
        "priced": "count(list_cost_usd)",
        "list_cost_usd": "sum(list_cost_usd)",
        "prompt_cached": _count(f"comparable = 1 AND cached_input_tokens > 0 AND ({estimated})"),
        "extrapolated": _count(" OR ".join(f"{p}_extrapolated = 1" for p in prefixes)),
        "foreign_scope": "sum(foreign_scope)",
        "future": "sum(future)",
        **split_sql.split_sums(),
    }
    for prefix in prefixes:
        out |= _estimate_sums(prefix)
        if prefix != DENOISED:
            out |= _reference_sums(prefix)
    return out


def _estimate_sums(p: str) -> dict[str, str]:
    return {
        f"{p}_n": f"count({p}_s)",
        f"{p}_sum_s": f"sum({p}_s)",
        f"{p}_low_sum_s": f"sum({p}_low_s)",
        f"{p}_high_sum_s": f"sum({p}_high_s)",
        f"{p}_extrapolated": f"sum({p}_extrapolated)",
    }


def _reference_sums(p: str) -> dict[str, str]:
    """One reference beside the denoised estimates (calls that have both) and beside list cost (calls that are priced)."""
    both = f"CASE WHEN denoised_s IS NOT NULL AND {p}_s IS NOT NULL THEN"
    priced = f"CASE WHEN list_cost_usd IS NOT NULL AND {p}_s IS NOT NULL THEN"
    out = {f"{p}_both_n": f"count({both} 1 END)"}
    for name, column in (("denoised", DENOISED), ("idealized", p)):
        out |= {f"{p}_both_{name}_{part}": f"sum({both} {column}_{part} END)" for part in ("s", "low_s", "high_s")}
    return out | {
        f"{p}_priced_n": f"count({priced} 1 END)",
        f"{p}_priced_usd": f"sum({priced} list_cost_usd END)",
        f"{p}_priced_s": f"sum({priced} {p}_s END)",
    }


def cube_query(prefixes: Sequence[str], n_keys: int) -> str:
    """Additive figures by (dim, hour, keys): what every table of the report adds up."""
    keys = ["dim", "hour", *(f"key_{i}" for i in range(n_keys))]
    figures = ", ".join(f"{sql} AS {name}" for name, sql in sums(prefixes).items())
    return f"SELECT {', '.join(keys)}, {figures} FROM joined GROUP BY {', '.join(keys)}"


def label_columns(prefixes: Sequence[str]) -> dict[str, str]:
    """Columns of ``labels``: names of a dim, provenance and verdict of its profiles, dollars and joules per second on each stack."""
    columns = {"label_dim": "INTEGER"} | dict.fromkeys(DIMENSION_KEYS, "VARCHAR")
    for prefix in prefixes:
        columns[f"{prefix}_provenance"] = "VARCHAR"
        if prefix == DENOISED:
            columns["denoised_verdict"] = "VARCHAR"
        else:
            columns |= {f"{prefix}_usd_per_s": "DOUBLE", f"{prefix}_j_per_s": "DOUBLE"}
    return columns


def rollup_figures(prefixes: Sequence[str]) -> dict[str, str]:
    """Name to aggregate over the cube beside its labels: the sums again, and dollars and joules of each stack."""
    out = {name: f"sum({name})" for name in sums(prefixes)}
    for p in prefixes[1:]:
        for what, rate in (("cost", f"{p}_usd_per_s"), ("energy", f"{p}_j_per_s")):
            out[f"{p}_{what}_n"] = f"sum(CASE WHEN {rate} IS NOT NULL THEN {p}_n ELSE 0 END)"
            out |= {f"{p}_{what}{tail}": f"sum({p}{tail}_sum_s * {rate})" for tail in ("", "_low", "_high")}
        known = f"CASE WHEN {p}_usd_per_s IS NOT NULL THEN"
        out[f"{p}_beside_n"] = f"sum({known} {p}_priced_n ELSE 0 END)"
        out[f"{p}_beside_list_usd"] = f"sum({known} {p}_priced_usd END)"
        out[f"{p}_beside_cost_usd"] = f"sum({p}_priced_s * {p}_usd_per_s)"
    return out


def _beside_labels(table: str, keys: Sequence[str]) -> str:
    """*table* (``cube`` or ``joined``) beside the names of its calls and, where *keys* ask for them, its days and hours."""
    clock = " JOIN clock AS k ON t.hour = k.clock_hour" if any(key.startswith("clock_") for key in keys) else ""
    return f"{table} AS t JOIN labels AS l ON t.dim = l.label_dim{clock}"


def rollup_query(prefixes: Sequence[str], keys: Sequence[str]) -> str:
    """Figures of the cube added up by *keys*: columns of the cube, of its labels or of the clock."""
    figures = ", ".join(f"{sql} AS {name}" for name, sql in rollup_figures(prefixes).items())
    return f"SELECT {', '.join([*keys, figures])} FROM {_beside_labels('cube', keys)}{_grouped(keys)}"


def classes_query(prefix: str, what: str, keys: Sequence[str]) -> str:
    """Calls estimated by class of *what* (provenance; of the denoised ones, verdict) and *keys*."""
    listed = [*keys, f"{prefix}_{what}"]
    return (
        f"SELECT {', '.join(listed)}, sum({prefix}_n) AS n FROM {_beside_labels('cube', keys)}"
        f" WHERE {prefix}_n > 0{_grouped(listed)}"
    )


def quantile_query(prefixes: Sequence[str], keys: Sequence[str]) -> str:
    """Quantiles of raw, time to first chunk, time per output token and each estimate, by *keys* as ``rollup_query`` takes them."""
    figures = ", ".join(f"quantiles4({name}_s) AS {name}_quantiles" for name in (*MEASURED, *prefixes))
    named = any(key in DIMENSION_KEYS or key.startswith("clock_") for key in keys)
    return f"SELECT {', '.join([*keys, figures])} FROM {_beside_labels('joined', keys) if named else 'joined'}{_grouped(keys)}"


def hour_medians_query() -> str:
    """Medians of raw and denoised runtime by hour, over the calls that have both."""
    raw = "quantiles4(CASE WHEN denoised_s IS NOT NULL THEN raw_s END)"
    return (
        f"SELECT hour, {raw} AS raw_quantiles, quantiles4(denoised_s) AS denoised_quantiles FROM joined GROUP BY hour"
    )


def error_types_query() -> str:
    """Calls by error type, failed and cancelled ones."""
    return (
        "SELECT error_type, count(*) AS n FROM calls WHERE error_type IS NOT NULL"
        " GROUP BY error_type ORDER BY count(*) DESC, error_type LIMIT 50"
    )


def _grouped(keys: Sequence[str]) -> str:
    return f" GROUP BY {', '.join(keys)}" if keys else ""
