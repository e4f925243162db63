"""The report's queries, once, in DuckDB's dialect: what is loaded, the joined table, and the figures over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracewrap.estimate.split import PROVIDER_SHARE, US_SHARE
from tracewrap.prices.book import KINDS
from tracewrap.report.tables import join_sql
from tracewrap.semconv import SCOPE

DIMENSIONS: Mapping[str, str] = {
    "provider": "provider",
    "server_address": "coalesce(server_address, '')",
    "server_port": "coalesce(server_port, -1)",
    "response_model": "coalesce(response_model, '')",
    "request_model": "coalesce(request_model, '')",
    "operation": "operation",
    "stream": "coalesce(stream, false)",
    "service_tier": "coalesce(service_tier, '')",
}
"""What profiles and prices depend on, absent as '' or -1; each distinct combination is a row of ``dims``."""

DIMENSION_TYPES: Mapping[str, str] = dict.fromkeys(DIMENSIONS, "VARCHAR") | {
    "server_port": "INTEGER",
    "stream": "BOOLEAN",
}

_TAGS: Mapping[str, tuple[str, ...]] = {
    "route": ("route", "http.route", "url.path"),
    "tenant": ("tenant", "tenant.id", "tenant_id"),
}
CALL_KEYS: Mapping[str, str] = {"service": "service_name", "outcome": "outcome"}
DIMENSION_KEYS = ("provider", "model", "deployment", "operation", "stream")
"""Groupings that follow from ``dims``; every other one is read from the call."""

_NUMBERS = (
    *("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens"),
    *("audio_input_tokens", "audio_output_tokens", "image_input_tokens", "billed_input_tokens", "billed_output_tokens"),
    *("raw_runtime_s", "time_to_first_chunk_s", "consumer_s", "retry_s", "attempts"),
)
VERDICTS = ("unknown", "us", "provider", "model")
"""Who made a call slow, as ``joined.verdict`` numbers them; the rules are those of ``join.split``."""


def quoted(text: str) -> str:
    """*text* as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def call_key_sql(name: str) -> str:
    """SQL over the calls table of a grouping that is not one of ``DIMENSION_KEYS``: text, NULL where absent."""
    if name in CALL_KEYS:
        return f"nullif({CALL_KEYS[name]}, '')"
    tags = [f"nullif(tags[{quoted(tag)}], '')" for tag in _TAGS.get(name, (name,))]
    return tags[0] if len(tags) == 1 else f"coalesce({', '.join(tags)})"


def loaded_columns(keys: Sequence[str]) -> dict[str, str]:
    """Column to SQL over ``CALL_COLUMNS``: all that the report reads of a call; *keys* become ``k0``, ``k1``, ..."""
    columns = {
        "trace_id": "trace_id",
        "span_id": "span_id",
        "service": "service_name",
        "start_time_ns": "start_time_ns",
    } | {f"dim_{name}": sql for name, sql in DIMENSIONS.items()}
    columns |= {name: name for name in _NUMBERS}
    columns["usage_source"] = "usage_source"
    columns |= {"outcome": "outcome", "error_type": "error_type"}
    columns["foreign_scope"] = f"CASE WHEN scope_name = {quoted(SCOPE)} THEN 0 ELSE 1 END"
    return columns | {f"k{i}": call_key_sql(name) for i, name in enumerate(keys)}


def dims_query() -> str:
    """The distinct dimensions of the calls, in the order of ``DIMENSIONS``, with the number of calls."""
    names = ", ".join(f"dim_{name}" for name in DIMENSIONS)
    return f"SELECT {names}, count(*) AS n FROM calls GROUP BY {names} ORDER BY {names}"


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
) -> str:
    """One row a call beside its estimates; ``prefixes``: d (denoised), i0, i1, ... (reference stacks).

    Comparable (``cmp``): a complete generation call with both token counts and a runtime; only such calls have estimates here.
    """
    comparable = "generation = 1 AND outcome = 'complete' AND input_tokens >= 0 AND output_tokens >= 0 AND raw_runtime_s IS NOT NULL"
    first = {
        "cmp": f"CASE WHEN {comparable} THEN 1 ELSE 0 END",
        "p": f"CASE WHEN {comparable} THEN {join_sql.dbl('input_tokens')} END",
        "o": f"CASE WHEN {comparable} THEN {join_sql.dbl('output_tokens')} END",
        "usd": _list_cost(),
    }
    estimates = join_sql.merged([join_sql.estimate_stages(prefix, n_segments) for prefix in prefixes])
    chosen = _joined_columns(since_ns, now_ns)
    for prefix in prefixes:
        chosen |= {name: name for name in (prefix, f"{prefix}_low", f"{prefix}_high", f"{prefix}_out")}
    chosen |= {f"k{i}": f"k{i}" for i in range(n_keys)}
    if ids:
        chosen |= {name: name for name in ("trace_id", "span_id", "start_time_ns", "service")}
        chosen |= {"outcome_text": "outcome", "raw_all": "raw_runtime_s"}
    out = ", ".join(f"{sql} AS {name}" for name, sql in chosen.items())
    return f"SELECT {out} FROM ({join_sql.stacked(_priced(floor_s), [first, *estimates, *_split_stages()])}) AS j"


def _priced(floor_s: float | None) -> str:
    """The calls (those that took at least *floor_s*), each beside its dim and the rate in force when it was made."""
    table = "calls" if floor_s is None else f"(SELECT * FROM calls WHERE raw_runtime_s >= {join_sql.dbl(floor_s)})"
    match = " AND ".join(f"c.dim_{name} = m.dims_{name}" for name in DIMENSIONS)
    billed = (
        "coalesce(c.billed_input_tokens, c.input_tokens) AS b_in,"
        " coalesce(c.billed_output_tokens, c.output_tokens) AS b_out"
    )
    source = f"SELECT c.*, m.*, {billed} FROM {table} AS c JOIN dims AS m ON {match}"
    return f"SELECT * FROM ({source}) AS s LEFT JOIN prices AS r ON s.price = r.price_id" + (
        " AND s.start_time_ns >= r.from_ns AND s.start_time_ns < r.until_ns"
        " AND coalesce(s.b_in, 0) > r.above AND coalesce(s.b_in, 0) <= r.upto"
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
        "raw": "CASE WHEN outcome = 'complete' THEN raw_runtime_s END",
        "ttfc": "CASE WHEN outcome = 'complete' THEN time_to_first_chunk_s END",
        **{name: name for name in ("last", "cmp", "consumer", "admission", "verdict")},
        "usd": "usd",
        "future": f"CASE WHEN start_time_ns > {now_ns} THEN 1 ELSE 0 END",
        "foreign_scope": "foreign_scope",
    }


def _split_stages() -> list[dict[str, str]]:
    """Last attempt, consumer and admission of comparable calls, and who made them slow: ``join.split`` as SQL."""
    zero = join_sql.dbl(0)
    held = f"consumer > {join_sql.dbl(US_SHARE)} * (raw_runtime_s + consumer)"
    lost = f"(raw_runtime_s - last) + greatest(coalesce(last - d, {zero}), {zero})"
    slow = f"raw_runtime_s > {zero} AND {lost} > {join_sql.dbl(PROVIDER_SHARE)} * raw_runtime_s"
    known = "WHEN d IS NULL THEN 0 ELSE 3"
    return [
        {
            "last": f"CASE WHEN cmp = 1 THEN greatest(raw_runtime_s - retry_s, {zero}) END",
            "consumer": f"CASE WHEN cmp = 1 THEN coalesce(consumer_s, {zero}) END",
            "admission": f"CASE WHEN d IS NOT NULL AND d_overhead > {zero} THEN d_overhead END",
        },
        {"verdict": f"CASE WHEN cmp = 0 THEN -1 WHEN {held} THEN 1 WHEN {slow} THEN 2 {known} END"},
    ]


def _list_cost() -> str:
    """US dollars of the billed tokens; NULL when tokens or price are unknown, or a generation call lacks one of its counts."""

    def count(name: str) -> str:
        return f"coalesce({join_sql.dbl(name)}, {join_sql.dbl(0)})"

    special = ("cached_input_tokens", "cache_write_input_tokens", "audio_input_tokens", "image_input_tokens")
    plain_in = " - ".join(map(count, ("b_in", *special)))
    plain_out = f"{count('b_out')} - {count('reasoning_output_tokens')} - {count('audio_output_tokens')}"
    terms = {
        "input": f"greatest({plain_in}, {join_sql.dbl(0)})",
        "cached": count("cached_input_tokens"),
        "cache_write": count("cache_write_input_tokens"),
        "audio_input": count("audio_input_tokens"),
        "image_input": count("image_input_tokens"),
        "output": f"greatest({plain_out}, {join_sql.dbl(0)})",
        "reasoning": count("reasoning_output_tokens"),
        "audio_output": count("audio_output_tokens"),
    }
    total = " + ".join(f"usd_{kind} * ({terms[kind]})" for kind in KINDS)
    known = "b_in >= 0 AND (b_out >= 0 OR generation = 0)"
    return f"CASE WHEN usd_request IS NOT NULL AND {known} THEN usd_request + {total} END"


def sums(prefixes: Sequence[str]) -> dict[str, str]:
    """Name to aggregate over ``joined``: additive figures of any group of calls."""

    def count(condition: str) -> str:
        return f"sum(CASE WHEN {condition} THEN 1 ELSE 0 END)"

    out = {
        "calls": "count(*)",
        "complete": count("outcome = 0"),
        "partial": count("outcome = 1"),
        "cancelled": count("outcome = 2"),
        "failed": count("outcome = 3"),
        "reported": count("usage = 1"),
        "estimated": count("usage = 2"),
        **{
            name: f"sum(coalesce({name}, 0))"
            for name in ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_output_tokens")
        },
        "attempts": "sum(attempts)",
        "retried": count("attempts > 1"),
        "retry_s": "sum(retry_s)",
        "raw_n": "count(raw)",
        "raw_sum": "sum(raw)",
        "ttfc_n": "count(ttfc)",
        "ttfc_sum": "sum(ttfc)",
        "cmp": "sum(cmp)",
        "usd_n": "count(usd)",
        "usd_sum": "sum(usd)",
        "cached_n": count(
            "cmp = 1 AND cached_input_tokens > 0 AND (" + " OR ".join(f"{p} IS NOT NULL" for p in prefixes) + ")"
        ),
        "out_n": count(" OR ".join(f"{p}_out = 1" for p in prefixes)),
        "foreign_scope": "sum(foreign_scope)",
        "future": "sum(future)",
        "last_sum": "sum(CASE WHEN d IS NOT NULL THEN last END)",
        "split_raw": "sum(CASE WHEN d IS NOT NULL THEN raw END)",
        "split_consumer": "sum(CASE WHEN d IS NOT NULL THEN consumer END)",
        "split_admission_n": "count(admission)",
        "split_admission": "sum(admission)",
    } | {f"verdict_{name}": count(f"verdict = {i}") for i, name in enumerate(VERDICTS)}
    for p in prefixes:
        out |= {
            f"{p}_n": f"count({p})",
            f"{p}_sum": f"sum({p})",
            f"{p}_low": f"sum({p}_low)",
            f"{p}_high": f"sum({p}_high)",
            f"{p}_out": f"sum({p}_out)",
        }
        if p != "d":
            both = f"CASE WHEN d IS NOT NULL AND {p} IS NOT NULL THEN"
            out |= {
                f"{p}_both_n": f"count({both} 1 END)",
                f"{p}_both_d": f"sum({both} d END)",
                f"{p}_both_i": f"sum({both} {p} END)",
            }
            out |= {
                f"{p}_both_{s}_{b}": f"sum({both} {c}_{b} END)"
                for s, c in (("d", "d"), ("i", p))
                for b in ("low", "high")
            }
            priced = f"CASE WHEN usd IS NOT NULL AND {p} IS NOT NULL THEN"
            out |= {
                f"{p}_usd_n": f"count({priced} 1 END)",
                f"{p}_usd": f"sum({priced} usd END)",
                f"{p}_usd_i": f"sum({priced} {p} END)",
            }
    return out


def cube_query(prefixes: Sequence[str], n_keys: int) -> str:
    """Additive figures by (dim, hour, keys): what every table of the report adds up."""
    keys = ["dim", "hour", *(f"k{i}" for i in range(n_keys))]
    figures = ", ".join(f"{sql} AS {name}" for name, sql in sums(prefixes).items())
    return f"SELECT {', '.join(keys)}, {figures} FROM joined GROUP BY {', '.join(keys)}"


def label_columns(prefixes: Sequence[str]) -> dict[str, str]:
    """Columns of ``labels``: names of a dim, provenance of its profiles, dollars and joules per second on each stack."""
    columns = {"label_dim": "INTEGER"} | dict.fromkeys(DIMENSION_KEYS, "VARCHAR")
    for prefix in prefixes:
        columns[f"{prefix}_prov"] = "VARCHAR"
        if prefix != "d":
            columns |= {f"{prefix}_usd_rate": "DOUBLE", f"{prefix}_j_rate": "DOUBLE"}
    return columns


def rollup_figures(prefixes: Sequence[str]) -> dict[str, str]:
    """Name to aggregate over the cube beside its labels: the sums again, and dollars and joules of each stack."""
    out = {name: f"sum({name})" for name in sums(prefixes)}
    for p in prefixes[1:]:
        for what, rate in (("cost", f"{p}_usd_rate"), ("energy", f"{p}_j_rate")):
            out[f"{p}_{what}_n"] = f"sum(CASE WHEN {rate} IS NOT NULL THEN {p}_n ELSE 0 END)"
            out |= {
                f"{p}_{what}{tail}": f"sum({p}_{column} * {rate})"
                for tail, column in (("", "sum"), ("_low", "low"), ("_high", "high"))
            }
        out[f"{p}_beside_n"] = f"sum(CASE WHEN {p}_usd_rate IS NOT NULL THEN {p}_usd_n ELSE 0 END)"
        out[f"{p}_beside_list"] = f"sum(CASE WHEN {p}_usd_rate IS NOT NULL THEN {p}_usd END)"
        out[f"{p}_beside_cost"] = f"sum({p}_usd_i * {p}_usd_rate)"
    return out


def rollup_query(prefixes: Sequence[str], keys: Sequence[str]) -> str:
    """Figures of the cube added up by *keys*: columns of the cube or of its labels."""
    figures = ", ".join(f"{sql} AS {name}" for name, sql in rollup_figures(prefixes).items())
    return (
        f"SELECT {', '.join([*keys, figures])} FROM cube AS c JOIN labels AS l ON c.dim = l.label_dim{_grouped(keys)}"
    )


def provenance_query(prefix: str, keys: Sequence[str]) -> str:
    """Calls estimated by class of provenance and *keys*."""
    listed = [*keys, f"{prefix}_prov"]
    return (
        f"SELECT {', '.join(listed)}, sum({prefix}_n) AS n FROM cube AS c JOIN labels AS l ON c.dim = l.label_dim"
        f" WHERE {prefix}_n > 0{_grouped(listed)}"
    )


def quantile_query(prefixes: Sequence[str], keys: Sequence[str]) -> str:
    """Quantiles of raw, time to first chunk and each estimate, by *keys*: columns of ``joined`` or of its labels."""
    figures = ", ".join(f"quantiles4({name}) AS q_{name}" for name in ("raw", "ttfc", *prefixes))
    table = "joined AS j JOIN labels AS l ON j.dim = l.label_dim" if set(keys) & set(DIMENSION_KEYS) else "joined"
    return f"SELECT {', '.join([*keys, figures])} FROM {table}{_grouped(keys)}"


def hour_medians_query() -> str:
    """Medians of raw and denoised runtime by hour, over the calls that have both."""
    raw = "quantiles4(CASE WHEN d IS NOT NULL THEN raw END)"
    return f"SELECT hour, {raw} AS q_raw, quantiles4(d) AS q_d FROM joined GROUP BY hour"


def error_types_query() -> str:
    """Calls by error type, failed and cancelled ones."""
    return (
        "SELECT error_type, count(*) AS n FROM calls WHERE error_type IS NOT NULL"
        " GROUP BY error_type ORDER BY count(*) DESC, error_type LIMIT 50"
    )


def _grouped(keys: Sequence[str]) -> str:
    return f" GROUP BY {', '.join(keys)}" if keys else ""
