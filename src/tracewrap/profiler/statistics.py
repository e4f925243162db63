"""Values of repeated measurements whose noise only ever adds time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Point = tuple[int, int]


def values_of(rows: Iterable[Mapping[str, str]], point: Point, column: str = "runtime_s") -> list[float]:
    """Values of *column* at *point*, in the order measured: the good ones, or all where every one was slowed."""
    wanted = (str(point[0]), str(point[1]))
    here = [row for row in rows if (row["input_tokens"], row["output_tokens"]) == wanted]
    return [float(row[column]) for row in [row for row in here if not row["slowed"]] or here]


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which *share* of *values* lie, linear between neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def quiet_value(values: Sequence[float]) -> float:
    """Seconds of one point on a quiet machine: the lower quartile of its repeats."""
    return quantile(values, 0.25)


def points_of(rows: Iterable[Mapping[str, str]]) -> list[Point]:
    """The points in *rows*, in the order first measured."""
    return list(dict.fromkeys((int(row["input_tokens"]), int(row["output_tokens"])) for row in rows))
