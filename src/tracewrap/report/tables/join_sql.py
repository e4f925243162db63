"""The join as SQL: RuntimeProfile's formula over a table, in DuckDB's dialect, plain arithmetic that sqlglot carries to other engines.

Profiles are rows of DOUBLE coefficients beside the key of the deployment they describe. Prompt time is ``y_i + (p~ - x_i) * slope_i`` of
the segment that p~ falls in, a CASE over the segments' ends (the last has none), so it is ``RuntimeProfile.prompt_time`` step by step.
Tests hold both forms, and DuckDB, ClickHouse and Spark, to 1e-9 relative.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from tracewrap.runtime.profile import RuntimeProfile

FAR = 1e300
"""Where the last segment of a prompt curve ends: beyond any token count."""


def dbl(value: float | str) -> str:
    """*value* as an SQL DOUBLE; a bare decimal literal would be a DECIMAL."""
    return f"CAST({value if isinstance(value, str) else repr(float(value))} AS DOUBLE)"


def segments(profile: RuntimeProfile) -> list[tuple[float, float, float]]:
    """(start in tokens, seconds there, slope in seconds per token) of each segment of the prompt curve; none for a constant one."""
    knots = profile.prompt_knots
    return [(x0, y0, (y1 - y0) / (x1 - x0)) for (x0, y0), (x1, y1) in itertools.pairwise(knots)]


def segment_count(profiles: Sequence[RuntimeProfile | None]) -> int:
    """Segments that a table of *profiles* needs."""
    return max((len(segments(profile)) for profile in profiles if profile is not None), default=0)


TERMS: Mapping[str, Callable[[RuntimeProfile], float | None]] = {
    "floor_s": lambda profile: profile.prompt_knots[0][1],
    "d0": lambda profile: profile.d0,
    "d1": lambda profile: profile.d1,
    "tile": lambda profile: float(profile.tile),
    "tile_fraction": lambda profile: profile.tile_fraction,
    "overhead_s": lambda profile: profile.overhead_s,
    "interval_base": lambda profile: profile.interval.base,
    "interval_prompt": lambda profile: profile.interval.prompt,
    "interval_decode": lambda profile: profile.interval.decode,
    "interval_extrapolation": lambda profile: profile.interval.extrapolation,
    "cached_time": lambda profile: profile.cached_time,
    "min_input_tokens": lambda profile: 0.0 if profile.region is None else profile.region.input_tokens[0],
    "max_input_tokens": lambda profile: float(profile.max_input_tokens),
    "min_output_tokens": lambda profile: 0.0 if profile.region is None else profile.region.output_tokens[0],
    "max_output_tokens": lambda profile: _most_output(profile),
    "max_cached_tokens": lambda profile: (
        None if profile.region is None or profile.cached_time is None else profile.region.cached_input_tokens or None
    ),
}
"""Column of a profile's coefficients, without its prefix, to what stands in it; the segments of the prompt curve follow."""


def _most_output(profile: RuntimeProfile) -> float | None:
    if profile.region is not None:
        return profile.region.output_tokens[1]
    return None if profile.max_output_tokens is None else float(profile.max_output_tokens)


def _segment_names(n_segments: int) -> list[str]:
    named = [f"{kind}_{i}" for i in range(n_segments) for kind in ("start", "start_s", "slope")]
    return [*named, f"start_{n_segments}"]


def profile_columns(prefix: str, n_segments: int) -> dict[str, str]:
    """Column name to SQL type of one profile's coefficients."""
    return {f"{prefix}_{name}": "DOUBLE" for name in (*TERMS, *_segment_names(n_segments))}


def profile_values(profile: RuntimeProfile | None, n_segments: int) -> list[float | None]:
    """The values of ``profile_columns``; all None when there is no profile.

    Unused segments start at ``FAR``, so one expression serves every profile; a curve of one knot is its floor.
    """
    if profile is None:
        return [None] * (len(TERMS) + len(_segment_names(n_segments)))
    out = [value(profile) for value in TERMS.values()]
    used = segments(profile)
    for index in range(n_segments):
        out += used[index] if index < len(used) else (FAR, 0.0, 0.0)
    return [*out, FAR]


def estimate_stages(prefix: str, n_segments: int, p: str = "p", o: str = "o", c: str = "c") -> list[dict[str, str]]:
    """Expressions to add to a relation, stage upon stage (each uses columns of the one before).

    Needs columns *p*, *o* (DOUBLE, NULL where there is nothing to estimate), *c* (never NULL), ``profile_columns``. The last stage leaves
    ``{prefix}_s``, ``{prefix}_low_s``, ``{prefix}_high_s`` (seconds) and ``{prefix}_extrapolated`` (0 or 1): NULL without a profile.
    """
    f = {name.removeprefix(f"{prefix}_"): name for name in profile_columns(prefix, n_segments)}
    one, zero, half = dbl(1), dbl(0), dbl(0.5)
    value, effective, prompt, decode = (f"{prefix}_{name}" for name in ("s", "effective", "prompt_s", "decode_s"))
    fraction, tile = f["tile_fraction"], f["tile"]
    fresh = f"CASE WHEN {f['cached_time']} IS NULL THEN {p} ELSE greatest({p} - {c}, {zero}) END"
    tiled = f"(({one} - {fraction}) * ({fresh}) + {fraction} * {tile} * ceil(({fresh}) / {tile}))"
    cached = f"coalesce({f['cached_time']} * least({c}, {p}), {zero})"
    later = f"({o} - {one}) * {f['d0']} + {f['d1']} * ({o} - {one}) * ({p} + {o} * {half})"
    outside = (
        f"{p} > {f['max_input_tokens']} OR coalesce({o} > {f['max_output_tokens']}, false)"
        f" OR greatest({p}, {one}) < {f['min_input_tokens']} OR greatest({o}, {one}) < {f['min_output_tokens']}"
        f" OR coalesce({c} > {f['max_cached_tokens']}, false)"
    )
    here = f"{f['floor_s']} IS NOT NULL AND {p} IS NOT NULL AND {o} IS NOT NULL"
    factor = f"{prefix}_factor"
    return [
        {
            effective: f"CASE WHEN {fraction} = {zero} THEN {fresh} ELSE {tiled} END",
            decode: f"CASE WHEN {o} > {one} THEN {later} ELSE {zero} END",
        },
        {prompt: f"CASE WHEN {here} THEN {_curve(f, effective, n_segments)} END"},
        {
            value: f"{f['overhead_s']} + {prompt} + {decode} + {cached}",
            # a logarithm only where it is not 0
            f"{prefix}_beyond": f"CASE WHEN {outside} THEN ln({_beyond(f, p, o, c)}) ELSE {zero} END",
        },
        {
            factor: f"CASE WHEN {value} > {zero} THEN exp(sqrt({_half_width_squared(f, prefix)}))"
            f" WHEN {value} IS NOT NULL THEN {one} END"
        },
        {
            f"{prefix}_low_s": f"{value} / {factor}",
            f"{prefix}_high_s": f"{value} * {factor}",
            f"{prefix}_extrapolated": f"CASE WHEN {value} IS NULL THEN NULL WHEN {outside} THEN 1 ELSE 0 END",
        },
    ]


def _curve(f: Mapping[str, str], x: str, n_segments: int) -> str:
    """Prompt seconds at the effective prompt length *x*: the segment that it falls in."""
    ends = "".join(
        f" WHEN {x} < {f[f'start_{i + 1}']} THEN {f[f'start_s_{i}']} + ({x} - {f[f'start_{i}']}) * {f[f'slope_{i}']}"
        for i in range(n_segments)
    )
    return f"CASE WHEN {x} <= {f['start_0']} THEN {f['floor_s']}{ends} END"


def _beyond(f: Mapping[str, str], p: str, o: str, c: str) -> str:
    """max(1, p / p_max, o / o_max, c / c_max, p_min / p, o_min / o): how far outside what was measured."""
    one = dbl(1)
    most = f"CASE WHEN {f['max_input_tokens']} > {dbl(0)} THEN greatest({one}, {p} / {f['max_input_tokens']}) ELSE {one} END"
    least = f"greatest({f['min_input_tokens']} / greatest({p}, {one}), {f['min_output_tokens']} / greatest({o}, {one}))"
    cached = f"coalesce({c} / {f['max_cached_tokens']}, {one})"
    return f"greatest({most}, coalesce({o} / {f['max_output_tokens']}, {one}), {least}, {cached})"


def _half_width_squared(f: Mapping[str, str], prefix: str) -> str:
    """r^2 of ``runtime.profile.Interval``."""
    share = f"({prefix}_decode_s / {prefix}_s)"
    prompt, decode = f"({f['interval_prompt']} * ({dbl(1)} - {share}))", f"({f['interval_decode']} * {share})"
    beyond = f"({f['interval_extrapolation']} * {prefix}_beyond)"
    base = f["interval_base"]
    return " + ".join(f"{part} * {part}" for part in (base, prompt, decode, beyond))


def stacked(relation: str, stages: Sequence[Mapping[str, str]]) -> str:
    """A relation with the expressions of *stages* added, one SELECT around another."""
    for stage in stages:
        added = ", ".join(f"{sql} AS {name}" for name, sql in stage.items())
        relation = f"SELECT *, {added} FROM ({relation}) AS t"
    return relation


def merged(stage_lists: Sequence[Sequence[Mapping[str, str]]]) -> list[dict[str, str]]:
    """Several profiles' stages side by side: fewer SELECTs around each other."""
    return [
        {name: sql for stages in group if stages for name, sql in stages.items()}
        for group in itertools.zip_longest(*stage_lists)
    ]
