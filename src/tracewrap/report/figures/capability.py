"""Capability against efficiency: the user's own score of each model beside what the model takes at this traffic's token counts.

Every model is put through the same token counts, those of the period's comparable calls, whether it was called or not, so
that models differ in the model alone (tokenizers aside: the counts are those of the models that were called).
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence

from tracewrap.errors import ConfigurationError
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.joiner import cost_and_energy
from tracewrap.records import Estimate
from tracewrap.report.scores import Capability, ScoredModel
from tracewrap.report.tables.join_sql import dbl
from tracewrap.report.tables.loading import Joined

MEASURES = ("idealized_runtime_s", "idealized_cost_usd", "idealized_energy_j")
CELLS_AN_OCTAVE = 8
"""Token counts are averaged over cells an eighth of an octave wide; the runtime is linear nearly everywhere inside one."""

Points = Sequence[tuple[float, float, int]]
"""(input tokens, output tokens, calls)."""


def read_scores(path: str | os.PathLike[str], column: str | None = None) -> tuple[str, dict[str, float]]:
    """(column, score by model) of a CSV with a column ``model`` and one of scores, *column* where there are several.

    Raises ConfigurationError naming file, row and column for what is wrong.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path}: not a CSV file ({error})") from None
    if not rows:
        raise ConfigurationError(f"{path}: holds no rows; write a header model,score and a row a model")
    named = [name for name in rows[0] if name]
    if "model" not in named:
        raise ConfigurationError(f"{path}: no column 'model'; there is {', '.join(named)}")
    others = [name for name in named if name != "model"]
    if column is None and len(others) != 1:
        raise ConfigurationError(f"{path}: which column is the score? name one of {', '.join(others) or 'none'}")
    chosen = column or others[0]
    if chosen not in others:
        raise ConfigurationError(f"{path}: no column {chosen!r}; there is {', '.join(others)}")
    return chosen, _scores(path, rows, chosen)


def _scores(path: object, rows: Sequence[dict[str, str]], column: str) -> dict[str, float]:
    out: dict[str, float] = {}
    for number, row in enumerate(rows, start=2):
        model, text = (row["model"] or "").strip(), (row[column] or "").strip()
        try:
            score = float(text)
        except ValueError:
            score = math.nan
        if not model or not math.isfinite(score):
            what = "'model' is empty" if not model else f"{column!r} is {text!r}, must be a number"
            raise ConfigurationError(f"{path}: row {number}: {what}")
        if model in out:
            raise ConfigurationError(f"{path}: row {number}: model {model!r} is there twice; keep one row a model")
        out[model] = score
    return out


def points(joined: Joined, dims: Sequence[int] | None = None) -> list[tuple[float, float, int]]:
    """Token counts of the comparable calls (of *dims* only, where given), cell by cell."""

    def cell(name: str) -> str:
        return f"floor({CELLS_AN_OCTAVE} * ln({dbl(name)} + 1) / {math.log(2)!r})"

    p, o = "input_tokens", "output_tokens"
    chosen = "" if dims is None else f"AND dim IN ({', '.join(map(str, dims))})"
    rows = joined.engine.rows(
        f"SELECT {cell(p)} AS a, {cell(o)} AS b, avg({dbl(p)}) AS p, avg({dbl(o)}) AS o, count(*) AS n"
        f" FROM joined WHERE comparable = 1 {chosen} GROUP BY {cell(p)}, {cell(o)}"
    )
    return sorted((float(p), float(o), int(n)) for _, _, p, o, n in rows)


def capability(
    path: str, column: str, scores: Mapping[str, float], catalog: Catalog, at: Points, stack: str
) -> Capability:
    """The models of *scores*, each on the reference stack of *catalog*; what no profile knows is in ``unknown_models``."""
    rows: list[ScoredModel] = []
    unknown = []
    for model, score in scores.items():
        row = _row(model, score, catalog, at)
        if row is None:
            unknown.append(model)
        else:
            rows.append(row)
    for measure in MEASURES:
        _mark_frontier(rows, measure)
    rows.sort(key=lambda row: (-row["score"], row["model"]))
    return {
        "file": path,
        "score": column,
        "stack": stack,
        "calls": sum(n for _, _, n in at),
        "rows": rows,
        "unknown_models": unknown,
    }


def _row(model: str, score: float, catalog: Catalog, at: Points) -> ScoredModel | None:
    found = catalog.idealized(model)
    if found is None:
        return None
    stack, profile = found
    calls = sum(n for _, _, n in at)
    runtime = cost = energy = None
    if calls:
        each = [(profile.estimate(p, o), n) for p, o, n in at]
        mean = [sum(getattr(e, part) * n for e, n in each) / calls for part in ("value", "low", "high")]
        runtime = Estimate(mean[0], mean[1], mean[2], profile.provenance, profile.id)
        cost, energy = cost_and_energy(runtime, stack, profile)
    return {
        "model": model,
        "score": score,
        "stack": stack.id,
        "profile_id": profile.id,
        "provenance": profile.provenance,
        "idealized_runtime_s": None if runtime is None else runtime.value,
        "idealized_runtime_low_s": None if runtime is None else runtime.low,
        "idealized_runtime_high_s": None if runtime is None else runtime.high,
        "idealized_cost_usd": None if cost is None else cost.value,
        "idealized_energy_j": None if energy is None else energy.value,
        "frontier": [],
    }


def _mark_frontier(rows: list[ScoredModel], measure: str) -> None:
    """Name *measure* in the rows that no other row beats in score without taking more of it."""

    def taken(row: ScoredModel) -> float:
        value = row[measure]  # type: ignore[literal-required]
        return math.inf if value is None else float(value)

    best = -math.inf
    for row in sorted(rows, key=lambda row: (taken(row), -row["score"])):
        if math.isfinite(taken(row)) and row["score"] > best:
            best = row["score"]
            row["frontier"].append(measure)
