"""A selection of calls: where they come from, which of them, and what SQL says of them cell by cell of token counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tracewrap.errors import ConfigurationError
from tracewrap.records import DAY_NS
from tracewrap.report.questions.equal_tokens import Shape
from tracewrap.report.schema import Period
from tracewrap.report.tables import queries
from tracewrap.report.tables.join_sql import dbl
from tracewrap.report.tables.loading import Joined, load
from tracewrap.report.tables.options import Options, period
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.roofline.architectures import resolve_model
from tracewrap.runtime.stack import ReferenceStack
from tracewrap.sources.table import quoted

BLOCKS = 24
"""Blocks of time that a side's calls are cut into: as few as can be told apart, because contention outlasts short ones."""
_OWN_KEYS = ("day", "since", "until", "reference")


@dataclass(frozen=True, slots=True)
class Selection:
    """One side: where its calls come from, which of them, and the reference stack they are idealized on."""

    sources: tuple[str, ...]
    day: str | None = None
    since: str | None = None
    until: str | None = None
    reference: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    """Grouping name to value; '' selects calls that lack it."""
    text: str = ""

    @classmethod
    def parse(cls, text: str, sources: Sequence[str], **elsewhere: str | None) -> Selection:
        """``day=2026-11-21``, ``provider=openai,model=gpt-5`` or ``reference=a100``, over *sources*.

        *elsewhere*: its period unless it says one itself. Raises ConfigurationError for what is no NAME=VALUE.
        """
        values: dict[str, str] = {}
        for part in text.split(","):
            name, found, value = part.partition("=")
            if not found or not name.strip():
                raise ConfigurationError(
                    f"{text!r} selects nothing; write NAME=VALUE, such as day=2026-11-21 or provider=openai"
                )
            values[name.strip()] = value.strip()
        own = {name: values.pop(name) for name in _OWN_KEYS if name in values}
        if own.keys() & {"day", "since", "until"}:
            elsewhere = {}
        return cls(tuple(sources), where=values, text=text, **{**elsewhere, **own})


class Cell(NamedTuple):
    """Calls of one stratum and similar token counts: mean input tokens, mean output tokens, mean of a figure, number of calls."""

    stratum: int
    p: float
    o: float
    value: float
    n: float


class Weighted(NamedTuple):
    """A profile with the comparable calls it stands for, and what a second counts."""

    stratum: int
    profile: RuntimeProfile
    weight: float
    unit: float


class Side:
    """A selection, loaded: the table ``side`` in an engine of its own, and questions about it."""

    def __init__(self, selection: Selection, joined: Joined) -> None:
        self._joined, self._rows = joined, joined.engine.rows
        self.name, self.where = selection.text, selection.where
        self.period: Period = joined.span.describe()
        joined.engine.materialize("side", _side_query(joined, selection.where))
        first, last, calls, comparable = self._rows(
            "SELECT min(start_time_ns) AS a, max(start_time_ns) AS b, count(*) AS n, sum(comparable) AS m FROM side"
        )[0]
        self.calls, self.comparable = int(calls), int(comparable or 0)
        if not self.calls:
            between = f"{self.period['since']} and {self.period['until']}"
            raise ConfigurationError(f"{selection.text!r} selects no call between {between}; widen it or name another")
        self._first = int(first)
        self._block = min(
            DAY_NS,  # no block is longer than a day
            max((int(last) - int(first)) // BLOCKS, 1),
        )
        self._dims = [
            (joined.dims[int(dim)], int(n))
            for dim, n in self._rows("SELECT dim, sum(comparable) AS n FROM side GROUP BY dim")
        ]
        self._strata: dict[int, int] = {}
        self.stratify({dim.dim: 0 for dim, _ in self._dims})

    def kinds(self, names: Sequence[str]) -> dict[int, tuple[object, ...]]:
        """Dim to the *names* (provider, model, operation, stream) of its calls; models by the name of their weights."""
        out: dict[int, tuple[object, ...]] = {}
        for dim, _ in self._dims:
            d = dim.deployment
            model = None if d.model is None else resolve_model(d.model) or d.model
            every = {"provider": d.provider, "model": model, "operation": d.operation, "stream": d.stream}
            out[dim.dim] = tuple(every[name] for name in names)
        return out

    def stratify(self, strata: Mapping[int, int]) -> None:
        """Cells hold calls of one stratum only: *strata* maps dim to it."""
        self._strata = dict(strata)
        self._joined.engine.table("strata", {"stratum_dim": "INTEGER", "stratum": "INTEGER"}, list(strata.items()))

    @property
    def models(self) -> set[str | None]:
        """Models of the selected calls."""
        return {dim.deployment.model for dim, _ in self._dims}

    @property
    def notes(self) -> list[str]:
        """What the sources said while they were read."""
        out = []
        for status in self._joined.statuses:
            out += status.notes if status.complete else ["part of the period could not be read", *status.notes]
        return out

    def cells(self, column: str, per_octave: int) -> dict[int, Cell]:
        """Comparable calls that have *column*, by cell."""
        cell = _cell(per_octave)
        rows = self._rows(
            f"SELECT {cell} AS cell, avg(p) AS p, avg(o) AS o, avg({column}) AS x, count({column}) AS n FROM {_STRATIFIED}"
            f" WHERE comparable = 1 AND {column} > {dbl(0)} GROUP BY {cell}"
        )
        return {
            int(cell): Cell(int(cell) // 1_000_000, float(p), float(o), float(x), float(n)) for cell, p, o, x, n in rows
        }

    def sums(self, column: str, per_octave: int, shape: Shape, *, log: bool) -> list[tuple[int, int, float, float]]:
        """(cell, block of time, calls, sum of *column* over *shape*, or of its logarithm) of comparable calls."""
        cell, block = _cell(per_octave), self._block_sql()
        relative = f"{column} / ({dbl(shape[0])} + {dbl(shape[1])} * p + {dbl(shape[2])} * o)"
        rows = self._rows(
            f"SELECT {cell} AS cell, {block} AS block, count({column}) AS n,"
            f" sum({f'ln({relative})' if log else relative}) AS x"
            f" FROM {_STRATIFIED} WHERE comparable = 1 AND {column} > {dbl(0)} GROUP BY {cell}, {block} ORDER BY 1, 2"
        )
        return [(int(c), int(b), float(n), float(x)) for c, b, n, x in rows]

    def shares(self, part: str, whole: str, where: str) -> list[tuple[float, float]]:
        """(sum of *part*, sum of *whole*) by block of time."""
        block = self._block_sql()
        rows = self._rows(
            f"SELECT {block} AS block, sum({part}) AS part, sum({whole}) AS whole FROM side WHERE {where}"
            f" GROUP BY {block} ORDER BY 1"
        )
        return [(float(part), float(whole)) for _, part, whole in rows]

    def count(self, where: str) -> int:
        """Calls of the side that fulfil *where*."""
        return int(self._rows(f"SELECT count(*) AS n FROM side WHERE {where}")[0][0])

    def denoised(self) -> list[Weighted]:
        """Denoised profiles of the selected deployments, in seconds."""
        return [
            Weighted(self._strata[dim.dim], dim.denoised, float(n), 1.0)
            for dim, n in self._dims
            if dim.denoised is not None and n
        ]

    def idealized(self) -> list[Weighted]:
        """Idealized profiles of the selected models, in seconds."""
        return [Weighted(stratum, profile, n, 1.0) for stratum, _, profile, n in self._idealized()]

    def idealized_cost(self) -> list[Weighted]:
        """Idealized profiles of the selected models, in US dollars."""
        return [
            Weighted(stratum, profile, n, (profile.n_gpus or 1) * stack.price.usd_per_gpu_hour / 3600.0)
            for stratum, stack, profile, n in self._idealized()
            if stack.price is not None
        ]

    def _idealized(self) -> list[tuple[int, ReferenceStack, RuntimeProfile, float]]:
        return [
            (self._strata[dim.dim], found[0], found[1], float(n))
            for dim, n in self._dims
            if n
            for found in dim.idealized
            if found is not None
        ]

    def _block_sql(self) -> str:
        return f"CAST(floor({dbl(f'start_time_ns - {self._first}')} / {dbl(float(self._block))}) AS INTEGER)"


def open_side(selection: Selection, options: Options) -> Side:
    """Load *selection*, learn what its own calls tell, and join it.

    Raises what ``report.build`` raises, and ConfigurationError when it selects no call.
    """
    span = period(selection.day, selection.since, selection.until, options.timezone)
    return Side(selection, load(list(selection.sources), span, options, keys=tuple(selection.where)))


def _side_query(joined: Joined, where: Mapping[str, str]) -> str:
    base = queries.joined_query(
        joined.prefixes, joined.n_segments, len(joined.keys), joined.span.since_ns, joined.now_ns, ids=True
    )
    columns = joined.columns(tuple(where))
    chosen = [
        f"{column} IS NULL" if value == "" else f"{column} = {quoted(value)}"
        for column, value in zip(columns, where.values(), strict=True)
    ]
    counts = f"{dbl('input_tokens')} AS p, {dbl('output_tokens')} AS o"
    figures = "raw_s, first_chunk_s, list_cost_usd, last_attempt_s, denoised_s"
    return (
        f"SELECT dim, start_time_ns, {counts}, {figures}, comparable, outcome FROM ({base}) AS w"
        f" JOIN labels AS l ON w.dim = l.label_dim WHERE {' AND '.join(chosen) or '1 = 1'}"
    )


def _cell(per_octave: int) -> str:
    """SQL of the cell of (stratum, p, o): both counts on a logarithmic grid, *per_octave* cells an octave."""

    def step(name: str) -> str:
        return f"floor({dbl(per_octave)} * ln({name} + {dbl(1)}) / ln({dbl(2)}))"

    return f"CAST({dbl('stratum')} * 1000000 + {step('p')} * 1000 + {step('o')} AS BIGINT)"


_STRATIFIED = "side JOIN strata ON dim = stratum_dim"
