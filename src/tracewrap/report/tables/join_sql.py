"""The join as SQL: RuntimeProfile's formula over a table, in DuckDB's dialect, plain arithmetic that sqlglot carries to other engines.

Profiles are rows of DOUBLE coefficients beside the key of the deployment they describe. Prompt time is ``y_i + (p~ - x_i) * slope_i`` of
the segment that p~ falls in, a CASE over the segments' ends (the last has none), so it is ``RuntimeProfile.prompt_time`` step by step.
Tests hold both forms, and DuckDB, ClickHouse and Spark, to 1e-9 relative.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

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


def profile_columns(prefix: str, n_segments: int) -> dict[str, str]:
    """Column name to SQL type of one profile's coefficients."""
    names = ["floor", "d0", "d1", "tile", "tf", "overhead", "base", "wp", "wd", "we", "p_max", "o_max"]
    names += [f"{kind}{i}" for i in range(n_segments) for kind in ("x", "y", "s")] + [f"x{n_segments}"]
    return {f"{prefix}_{name}": "DOUBLE" for name in names}


def profile_values(profile: RuntimeProfile | None, n_segments: int) -> list[float | None]:
    """The values of ``profile_columns``; all None when there is no profile.

    Unused segments start at ``FAR``, so one expression serves every profile; a curve of one knot is its floor.
    """
    if profile is None:
        return [None] * (13 + 3 * n_segments)
    i = profile.interval
    out: list[float | None] = [
        *(
            profile.prompt_knots[0][1],
            profile.d0,
            profile.d1,
            float(profile.tile),
            profile.tile_fraction,
            profile.overhead_s,
        ),
        *(i.base, i.prompt, i.decode, i.extrapolation, float(profile.max_input_tokens)),
        None if profile.max_output_tokens is None else float(profile.max_output_tokens),
    ]
    used = segments(profile)
    for index in range(n_segments):
        out += used[index] if index < len(used) else (FAR, 0.0, 0.0)
    return [*out, FAR]


def estimate_stages(prefix: str, n_segments: int, p: str = "p", o: str = "o") -> list[dict[str, str]]:
    """Expressions to add to a relation, stage upon stage (each uses columns of the one before).

    Needs columns *p*, *o* (DOUBLE, NULL where there is nothing to estimate) and ``profile_columns``. The last stage leaves
    ``{prefix}``, ``{prefix}_low``, ``{prefix}_high`` (seconds) and ``{prefix}_out`` (extrapolated): NULL without a profile.
    """
    f = {name.removeprefix(f"{prefix}_"): name for name in profile_columns(prefix, n_segments)}
    one, zero, half = dbl(1), dbl(0), dbl(0.5)
    x, prompt, decode = f"{prefix}_eff", f"{prefix}_prompt", f"{prefix}_decode"
    tiled = f"(({one} - {f['tf']}) * {p} + {f['tf']} * {f['tile']} * ceil({p} / {f['tile']}))"
    ends = "".join(
        f" WHEN {x} < {f[f'x{i + 1}']} THEN {f[f'y{i}']} + ({x} - {f[f'x{i}']}) * {f[f's{i}']}"
        for i in range(n_segments)
    )
    curve = f"CASE WHEN {x} <= {f['x0']} THEN {f['floor']}{ends} END"
    share, over = f"({decode} / {prefix})", f"{prefix}_over"
    beyond_p = f"CASE WHEN {f['p_max']} > {zero} THEN greatest({one}, {p} / {f['p_max']}) ELSE {one} END"
    beyond = f"CASE WHEN {f['o_max']} IS NULL THEN {beyond_p} ELSE greatest({beyond_p}, {o} / {f['o_max']}) END"
    squares = (
        f"{f['base']} * {f['base']} + ({f['wp']} * ({one} - {share})) * ({f['wp']} * ({one} - {share}))"
        f" + ({f['wd']} * {share}) * ({f['wd']} * {share}) + ({f['we']} * {over}) * ({f['we']} * {over})"
    )
    later = f"({o} - {one}) * {f['d0']} + {f['d1']} * ({o} - {one}) * ({p} + {o} * {half})"
    outside = f"{p} > {f['p_max']} OR coalesce({o} > {f['o_max']}, false)"
    here = f"{f['floor']} IS NOT NULL AND {p} IS NOT NULL AND {o} IS NOT NULL"
    return [
        {
            x: f"CASE WHEN {f['tf']} = {zero} THEN {p} ELSE {tiled} END",
            decode: f"CASE WHEN {o} > {one} THEN {later} ELSE {zero} END",
        },
        {prompt: f"CASE WHEN {here} THEN {curve} END"},
        {
            prefix: f"{f['overhead']} + {prompt} + {decode}",
            over: f"CASE WHEN {outside} THEN ln({beyond}) ELSE {zero} END",  # a logarithm only where it is not 0
        },
        {
            f"{prefix}_factor": f"CASE WHEN {prefix} > {zero} THEN exp(sqrt({squares})) WHEN {prefix} IS NOT NULL THEN {one} END"
        },
        {
            f"{prefix}_low": f"{prefix} / {prefix}_factor",
            f"{prefix}_high": f"{prefix} * {prefix}_factor",
            f"{prefix}_out": f"CASE WHEN {prefix} IS NULL THEN NULL WHEN {outside} THEN 1 ELSE 0 END",
        },
    ]


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
