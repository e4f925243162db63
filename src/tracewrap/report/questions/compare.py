"""Two periods, sources, providers, models or stacks beside each other at equal token counts: is the difference real?

Raw figures (runtime, time to first chunk, list cost) compare calls, cell by cell of token counts (``equal_tokens``); denoised and
idealized figures compare profiles, evaluated at the very same token counts, those of the cells that both sides have. Like is compared
with like: calls of one provider, model, operation and kind of stream, as far as the two sides do not differ in it on purpose.
``change`` is B over A (shares: B less A) with its 90% interval; of ten comparisons of equal things one lies outside its interval by chance.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypedDict

from tracewrap.estimate.catalog import Catalog
from tracewrap.report.questions import equal_tokens
from tracewrap.report.questions.equal_tokens import Shape, Sums
from tracewrap.report.questions.selection import Cell, Selection, Side, Weighted, open_side
from tracewrap.report.schema import Period
from tracewrap.report.tables.learning import LEARN_S
from tracewrap.report.tables.options import load_options

SCHEMA = "tracewrap.compare/1"
FINE_CALLS = 2000
"""With this many comparable calls on either side, cells are half an octave wide, else an octave."""

Verdict = Literal["higher", "lower", "no difference seen", "cannot tell", "one profile: not compared"]


class Measure(TypedDict):
    """One row: both sides at equal token counts and what changed. None: unknown, or too few calls for an interval."""

    measure: str
    kind: Literal["ratio", "difference"]
    a: float | None
    b: float | None
    change: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    n_a: int
    n_b: int
    """Calls compared; of profiles, the calls at whose token counts they were evaluated."""


class SideFacts(TypedDict):
    """One side as read."""

    name: str
    period: Period
    calls: int
    comparable_calls: int
    matched_share: float | None
    """Comparable calls that have a counterpart at equal token counts on the other side."""


class Comparison(TypedDict):
    """``tracewrap.compare/1``; ``notes`` are lines a reader must see before the figures."""

    schema: str
    a: SideFacts
    b: SideFacts
    notes: list[str]
    measures: list[Measure]


def compare(
    a: Selection,
    b: Selection,
    *,
    timezone: str = "UTC",
    references: Sequence[str] = (),
    catalog: Catalog | None = None,
    profile_paths: Sequence[str] = (),
    stand_ins: Mapping[str, str] | None = None,
    prices: str | None = None,
    learn: bool | None = None,
    learn_s: float = LEARN_S,
    engine: str = "duckdb",
    memory_limit: str | None = None,
    now_ns: int | None = None,
) -> Comparison:
    """The comparison of two selections. Other arguments as ``report.build``; a selection's own reference wins over *references*.

    Each side's denoised profiles are learned from its own calls, unless *learn* is False or the given profiles describe them.
    Raises what ``report.build`` raises, and ConfigurationError when a side selects no call; MissingExtraError without numpy.
    """

    def opened(side: Selection) -> Side:
        wanted = [side.reference] if side.reference else list(references)[:1]
        options = load_options(
            references=wanted,
            catalog=catalog,
            profile_paths=profile_paths,
            stand_ins=stand_ins,
            prices=prices,
            timezone=timezone,
            engine=engine,
            memory_limit=memory_limit,
            now_ns=now_ns,
            learn=learn,
            learn_s=learn_s,
        )
        return open_side(side, dataclasses.replace(options, look_back_days=0))

    return compare_sides(opened(a), opened(b))


def compare_sides(first: Side, second: Side) -> Comparison:
    """The comparison of two sides that are loaded."""
    per_octave = 2 if min(first.comparable, second.comparable) >= FINE_CALLS else 1
    across = _stratify(first, second, per_octave)
    cells = first.cells("raw_s", per_octave), second.cells("raw_s", per_octave)
    shared = cells[0].keys() & cells[1].keys()
    at = [_pooled(cells[0][cell], cells[1][cell]) for cell in sorted(shared)]
    matched = [int(sum(side[cell].n for cell in shared)) for side in cells]
    found = [
        _calls("raw_runtime_s", first, second, "raw_s", per_octave),
        _calls("raw_runtime_typical_s", first, second, "raw_s", per_octave, log=True),
        _calls("time_to_first_chunk_s", first, second, "first_chunk_s", per_octave),
        _profiles("denoised_runtime_s", first.denoised, second.denoised, at, matched, learned=True),
        _share(
            "contention_share", first, second, "last_attempt_s - denoised_s", "last_attempt_s", "denoised_s IS NOT NULL"
        ),
        _profiles("idealized_runtime_s", first.idealized, second.idealized, at, matched),
        _profiles("idealized_cost_usd", first.idealized_cost, second.idealized_cost, at, matched),
        _calls("list_cost_usd", first, second, "list_cost_usd", per_octave),
        _share("error_share", first, second, "CASE WHEN outcome = 3 THEN 1 ELSE 0 END", "1", "1 = 1"),
    ]
    facts = [_facts(side, n) for side, n in zip((first, second), matched, strict=True)]
    measures = [measure for measure in found if measure is not None]
    return {
        "schema": SCHEMA,
        "a": facts[0],
        "b": facts[1],
        "notes": _notes(first, second, facts, across),
        "measures": measures,
    }


def _stratify(a: Side, b: Side, per_octave: int) -> tuple[str, ...]:
    """Compare like with like: only calls of one provider, model, operation and kind of stream; what could not be held equal.

    A name that either side selects by is not held equal, nor is the provider where models are selected. Where no call is
    left to compare, providers are mixed, then models.
    """
    chosen = {name for side in (a, b) for name in side.where}
    free = chosen | ({"provider"} if "model" in chosen else set())
    free |= {"model", "provider", "stream", "operation"} if "deployment" in chosen else set()
    kept = [name for name in ("provider", "model", "operation", "stream") if name not in free]
    mixes: tuple[tuple[str, ...], ...] = ((), ("provider",), ("model",), ("provider", "model"), tuple(kept))
    for mixed in mixes:
        names = [name for name in kept if name not in mixed]
        kinds = [side.kinds(names) for side in (a, b)]
        ids = {kind: i for i, kind in enumerate(dict.fromkeys(kind for side in kinds for kind in side.values()))}
        for side, kind in zip((a, b), kinds, strict=True):
            side.stratify({dim: ids[found] for dim, found in kind.items()})
        if a.cells("raw_s", per_octave).keys() & b.cells("raw_s", per_octave).keys():
            return tuple(name for name in mixed if name in kept)
    return ()


def _pooled(a: Cell, b: Cell) -> Cell:
    """The mean token counts of both sides' calls in one cell, and what it weighs: its overlap."""
    n = a.n + b.n
    return Cell(a.stratum, (a.p * a.n + b.p * b.n) / n, (a.o * a.n + b.o * b.n) / n, 0.0, a.n * b.n / n)


def _facts(side: Side, matched: int) -> SideFacts:
    return {
        "name": side.name,
        "period": side.period,
        "calls": side.calls,
        "comparable_calls": side.comparable,
        "matched_share": matched / side.comparable if side.comparable else None,
    }


def _notes(a: Side, b: Side, facts: Sequence[SideFacts], across: Sequence[str]) -> list[str]:
    out = [f"{side.name}: {note}" for side in (a, b) for note in side.notes]
    for side in facts:
        share = side["matched_share"]
        if share is None or share == 0.0:
            out.append(
                f"{side['name']}: no comparable call has a counterpart with similar token counts on the other side"
            )
        elif share < 0.5:
            out.append(
                f"{side['name']}: only {share:.0%} of its comparable calls have a counterpart; the rest is left out"
            )
    if across:
        out.append(f"no call of one side has the {' and '.join(across)} of one of the other: compared across them")
    if a.models != b.models:
        out.append("the sides are of different models: equal token counts are not equal texts where tokenizers differ")
    return out


def _calls(name: str, a: Side, b: Side, column: str, per_octave: int, *, log: bool = False) -> Measure | None:
    """Compare the calls themselves; None when neither side has the figure."""
    cells = [side.cells(column, per_octave) for side in (a, b)]
    every = [cell for side in cells for cell in side.values()]
    if not every:
        return None
    shape = equal_tokens.fit_shape(*zip(*((c.p, c.o, c.value, c.n) for c in every), strict=True))
    sums = [_sums(side, column, per_octave, shape, log=log) for side in (a, b)]
    shared = cells[0].keys() & cells[1].keys()
    size = {}
    for cell in shared:
        at = _pooled(cells[0][cell], cells[1][cell])
        size[cell] = shape[0] + shape[1] * at.p + shape[2] * at.o
    ratio = equal_tokens.compare(sums[0], sums[1], size, log=log)
    if ratio is None:
        return _measure(name, "ratio", None, None, None, None, None, 0, 0)
    return _measure(name, "ratio", ratio.a, ratio.b, ratio.value, ratio.low, ratio.high, ratio.n_a, ratio.n_b)


def _sums(side: Side, column: str, per_octave: int, shape: Shape, *, log: bool) -> Sums:
    rows = side.sums(column, per_octave, shape, log=log)
    cell, block, n, total = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Sums(cell, block, n, total)


def _profiles(
    name: str,
    of_a: Callable[[], list[Weighted]],
    of_b: Callable[[], list[Weighted]],
    at: Sequence[Cell],
    matched: Sequence[int],
    *,
    learned: bool = False,
) -> Measure | None:
    """Compare profiles at the same token counts; None when neither side has one.

    *learned*: profiles that describe a service as its calls showed it: one and the same says nothing of what changed.
    """
    a, b = of_a(), of_b()
    if not a and not b:
        return None
    both = {found.stratum for found in a} & {found.stratum for found in b}
    known = [cell for cell in at if cell.stratum in both]
    first, second = _level(a, known), _level(b, known)
    if first is None or second is None:
        return _measure(
            name, "ratio", first and first[0], second and second[0], None, None, None, matched[0], matched[1]
        )
    change = second[0] / first[0]
    same = _as_compared(a) == _as_compared(b)
    if same and learned:
        return _measure(
            name, "ratio", first[0], second[0], None, None, None, matched[0], matched[1], "one profile: not compared"
        )
    # One profile errs on both sides alike: its error cancels in the ratio.
    half = 0.0 if same else math.hypot(first[1], second[1])
    low, high = change * math.exp(-half), change * math.exp(half)
    return _measure(name, "ratio", first[0], second[0], change, low, high, matched[0], matched[1])


def _as_compared(profiles: Sequence[Weighted]) -> set[tuple[object, ...]]:
    """Profiles by what they say, whatever they are called."""
    return {
        (f.stratum, f.unit, f.profile.prompt_knots, f.profile.d0, f.profile.d1, f.profile.overhead_s) for f in profiles
    }


def _level(profiles: Sequence[Weighted], at: Sequence[Cell]) -> tuple[float, float] | None:
    """(mean over *at*, half-width of its 90% interval on the log scale); each cell by the profiles of its stratum."""
    total = sum(cell.n for cell in at)
    of_stratum: dict[int, float] = {}
    for found in profiles:
        of_stratum[found.stratum] = of_stratum.get(found.stratum, 0.0) + found.weight
    if not total:
        return None
    mean = [0.0, 0.0, 0.0]
    for cell in at:
        for found in profiles:
            if found.stratum == cell.stratum:
                estimate = found.profile.estimate(cell.p, cell.o)
                share = found.unit * found.weight / of_stratum[found.stratum] * cell.n / total
                for i, value in enumerate((estimate.value, estimate.low, estimate.high)):
                    mean[i] += value * share
    value, low, high = mean
    return (value, max(math.log(value / low), math.log(high / value))) if low > 0 else None


def _share(name: str, a: Side, b: Side, part: str, whole: str, where: str) -> Measure | None:
    sides = [side.shares(part, whole, where) for side in (a, b)]
    if not any(sides):
        return None
    found = equal_tokens.share_difference(sides[0], sides[1])
    counts = [side.count(where) for side in (a, b)]
    return _measure(name, "difference", found.a, found.b, found.value, found.low, found.high, counts[0], counts[1])


def _measure(
    name: str,
    kind: Literal["ratio", "difference"],
    a: float | None,
    b: float | None,
    change: float | None,
    low: float | None,
    high: float | None,
    n_a: int,
    n_b: int,
    verdict: Verdict = "no difference seen",
) -> Measure:
    none = 1.0 if kind == "ratio" else 0.0
    if verdict == "no difference seen" and (change is None or low is None or high is None):
        verdict = "cannot tell"
    elif low is not None and high is not None and (low > none or high < none):
        verdict = "higher" if low > none else "lower"
    return {
        "measure": name,
        "kind": kind,
        "a": a,
        "b": b,
        "change": change,
        "low": low,
        "high": high,
        "verdict": verdict,
        "n_a": n_a,
        "n_b": n_b,
    }
