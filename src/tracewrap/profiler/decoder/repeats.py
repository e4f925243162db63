"""Values of repeated measurements whose noise only ever adds time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tracewrap.runtime.quantiles import quantile

Point = tuple[int, int]


def values_of(rows: Iterable[Mapping[str, str]], point: Point, column: str = "runtime_s") -> list[float]:
    """Values of *column* at *point*, in the order measured: the good ones, or all where every one was slowed."""
    wanted = (str(point[0]), str(point[1]))
    here = [row for row in rows if (row["input_tokens"], row["output_tokens"]) == wanted]
    return [float(row[column]) for row in [row for row in here if not row["slowed"]] or here]


def quiet_value(values: Sequence[float]) -> float:
    """Seconds of one point on a quiet machine: the lower quartile of its repeats."""
    return quantile(values, 0.25)


def points_of(rows: Iterable[Mapping[str, str]]) -> list[Point]:
    """The points in *rows*, in the order first measured."""
    return list(dict.fromkeys((int(row["input_tokens"]), int(row["output_tokens"])) for row in rows))
