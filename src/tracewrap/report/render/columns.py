"""The columns of tables of groups and of calls, once, for every format: what they are called, show and explain, and which go first.

Those that decide stand first. ``rank`` orders them by worth: where a terminal is narrow, the highest go first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tracewrap import words
from tracewrap.report.schema import CallRow, Group, ReferenceFigures, Report

Show = Callable[[float | None], str]
P99_CALLS = 100
PARTIAL = "*"
"""Marks an idealized cost that is not of the same calls as the list cost beside it."""
PARTIAL_NOTE = f"{PARTIAL} not of the same calls as the list cost beside it; list / idealized compares the same ones"


def _nothing(row: Group) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a group. ``head``: its name on two lines. ``explains``: what the figure is. ``hint``: what one cell rests on."""

    head: tuple[str, str]
    value: Callable[[Group], float | None]
    show: Show
    rank: int
    explains: str
    hint: Callable[[Group], str] = _nothing
    mark: Callable[[Group], str] = _nothing

    @property
    def name(self) -> str:
        """The head on one line."""
        return " ".join(part for part in self.head if part).replace("- ", "")

    def text(self, row: Group) -> str:
        """The cell of *row*."""
        return f"{self.show(self.value(row))}{self.mark(row)}"


def group_name(group: Group) -> str:
    """What a row is called."""
    return ", ".join(_key_text(*item) for item in group["key"].items()) or "all calls"


def _key_text(name: str, value: str | None) -> str:
    return value[:16].replace("T", " ") if name == "hour" and value else words.name(value)


def columns(report: Report) -> list[Column]:
    """The columns of a table of groups; idealized figures are those of the first reference stack."""
    stacks = report["totals"]["references"]
    ideal = {column.head: column for column in stack_columns(0)} if stacks else {}
    early = [found for head, found in ideal.items() if head in _BESIDE]
    late = [found for head, found in ideal.items() if head not in _BESIDE]
    return [*_RUNTIMES[:3], *early[:1], *_RUNTIMES[3:], _LIST_COST, *early[1:], *_OTHERS, *late]


def stack_columns(index: int) -> list[Column]:
    """The columns of the reference stack number *index*."""

    def of(row: Group) -> ReferenceFigures:
        return row["references"][index]

    return [*_idealized_columns(of), *_ratio_columns(of)]


def _idealized_columns(of: Callable[[Group], ReferenceFigures]) -> list[Column]:
    return [
        Column(
            ("idealized", "p50"),
            lambda row: of(row)["idealized"]["p50_s"],
            words.seconds,
            6,
            "the same model on the reference stack, with nobody else on it",
            lambda row: _classes(of(row)["idealized"]["provenance"]),
        ),
        Column(
            ("idealized", "cost"),
            lambda row: _cost(of(row)),
            words.usd,
            7,
            "idealized seconds at the stack's price, batch 1",
            lambda row: _cost_hint(of(row)),
            lambda row: _partial(of(row), row["priced_calls"]),
        ),
    ]


def _ratio_columns(of: Callable[[Group], ReferenceFigures]) -> list[Column]:
    return [
        Column(
            ("serving", "ratio"),
            lambda row: of(row)["serving_ratio"]["value"],
            words.ratio,
            12,
            "denoised over idealized: below 1 the provider beats the reference",
            lambda row: _between(of(row)["serving_ratio"], words.ratio),
        ),
        Column(
            ("list /", "idealized"),
            lambda row: of(row)["list_to_idealized"],
            words.ratio,
            13,
            "list cost over idealized cost of the same calls",
            lambda row: f"{words.counted(of(row)['list_cost_calls'], 'call')} with both",
        ),
        Column(
            ("", "energy"),
            lambda row: of(row)["idealized_energy_j"]["value"],
            words.joules,
            18,
            "idealized energy",
            lambda row: _between(of(row)["idealized_energy_j"], words.joules),
        ),
        Column(
            ("", "CO2e"),
            lambda row: of(row)["idealized_co2e_g"]["value"],
            words.grams,
            19,
            "emissions of that energy on the grid that was named",
            lambda row: _between(of(row)["idealized_co2e_g"], words.grams),
        ),
    ]


def _cost(found: ReferenceFigures) -> float | None:
    """Idealized cost of the calls that have a list cost too; of all where none has."""
    return found["list_cost_idealized_usd"] if found["list_cost_calls"] else found["idealized_cost_usd"]["value"]


def _cost_hint(found: ReferenceFigures) -> str:
    every = found["idealized_cost_usd"]
    n = found["list_cost_calls"] or every["n"]
    return (
        f"of {words.counted(n, 'call')}; of all {every['n']:,} with a profile {words.usd(every['value'])}" if n else ""
    )


def _partial(found: ReferenceFigures, priced: int) -> str:
    return PARTIAL if _cost(found) is not None and found["list_cost_calls"] < priced else ""


_BESIDE = (("idealized", "p50"), ("idealized", "cost"))
"""Heads of the stack's columns that stand among the first."""


def _between(found: Mapping[str, Any], show: Show) -> str:
    text = words.bounds(show, found["low"], found["high"])
    return f"90% interval{text}" if text else ""


def _classes(provenance: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({calls:,})" for name, calls in provenance.items())


def _denoised_hint(row: Group) -> str:
    found = row["denoised"]
    held = f"{words.counted(found['n'], 'call')}; {_classes(found['provenance'])}; {_classes(found['verdicts'])}".removesuffix(
        "; "
    )
    return held if found["n"] else "no denoised profile: see below what is missing"


def _contention_hint(row: Group) -> str:
    found = row["contention"]
    return _between({"low": found["share_low"], "high": found["share_high"]}, words.share)


def _quantile(part: str, name: str) -> Callable[[Group], float | None]:
    def value(row: Group) -> float | None:
        found: float | None = row[part][name]  # type: ignore[literal-required]
        return found

    return value


def p99(row: Group) -> float | None:
    """The 99% quantile of raw runtime, from as many calls on as make it say more than the slowest call does."""
    return row["raw"]["p99_s"] if row["raw"]["n"] >= P99_CALLS else None


def _list_hint(row: Group) -> str:
    unpriced = f", {row['unpriced_calls']:,} unpriced" if row["unpriced_calls"] else ""
    return f"of {words.counted(row['priced_calls'], 'call')}{unpriced}"


_RUNTIMES = (
    Column(("", "calls"), lambda row: row["calls"], words.count, 1, "calls of every outcome"),
    Column(("raw", "p50"), _quantile("raw", "p50_s"), words.seconds, 2, "median of what complete calls took"),
    Column(
        ("denoised", "p50"),
        _quantile("denoised", "p50_s"),
        words.seconds,
        3,
        "the same API on a quiet day, at the same token counts",
        _denoised_hint,
    ),
    Column(
        ("conten-", "tion"),
        lambda row: row["contention"]["share"],
        words.share,
        4,
        "share of the last attempts' time beyond the quiet day",
        _contention_hint,
    ),
)
_LIST_COST = Column(
    ("list", "cost"),
    lambda row: row["list_cost_usd"],
    words.usd,
    5,
    "the vendor's list price of the billed tokens, as of call time",
    lambda row: (
        f"of {words.counted(row['priced_calls'], 'call')}"
        + (f", {row['unpriced_calls']:,} unpriced" * bool(row["unpriced_calls"]))
    ),
)
_OTHERS = (
    Column(
        ("", "failed"),
        lambda row: row["error_share"],
        words.share,
        9,
        "share of calls that failed",
        lambda row: f"{row['failed_calls']:,} of {row['calls']:,}",
    ),
    Column(
        ("first", "token"),
        _quantile("time_to_first_chunk", "p50_s"),
        words.seconds,
        8,
        "median time to the first chunk of streams",
    ),
    Column(
        ("per", "token"),
        _quantile("time_per_output_token", "p50_s"),
        words.seconds,
        14,
        "median time per output token after the first, of streams",
    ),
    Column(
        ("out", "tok/s"), lambda row: row["output_tokens_per_s"], words.rate, 11, "output tokens a second of runtime"
    ),
    Column(("raw", "p95"), _quantile("raw", "p95_s"), words.seconds, 10, "95% of complete calls took no longer"),
    Column(
        ("raw", "p99"),
        p99,
        words.seconds,
        17,
        "99% of complete calls took no longer; from 100 calls on",
    ),
    Column(
        ("tokens", "in"),
        lambda row: row["input_tokens"] if row["usage_calls"] else None,
        words.tokens,
        15,
        "all prompt tokens",
        lambda row: f"{words.count(row['cached_input_tokens'])} cached",
    ),
    Column(
        ("tokens", "out"),
        lambda row: row["output_tokens"] if row["usage_calls"] else None,
        words.tokens,
        16,
        "all generated tokens",
    ),
)


@dataclass(frozen=True, slots=True)
class CallColumn:
    """One figure of a call."""

    head: str
    text: Callable[[CallRow], str]
    rank: int
    number: Callable[[CallRow], float | None] = lambda call: None


CALL_COLUMNS = (
    CallColumn("model", lambda call: words.name(call["model"]), 0),
    CallColumn("raw", lambda call: words.seconds(call["raw_runtime_s"]), 1, lambda call: call["raw_runtime_s"]),
    CallColumn(
        "denoised", lambda call: words.seconds(call["denoised_runtime_s"]), 4, lambda call: call["denoised_runtime_s"]
    ),
    CallColumn("contention", lambda call: words.seconds(call["contention_s"]), 3, lambda call: call["contention_s"]),
    CallColumn("in", lambda call: words.count(call["input_tokens"]), 6, lambda call: call["input_tokens"]),
    CallColumn("out", lambda call: words.count(call["output_tokens"]), 7, lambda call: call["output_tokens"]),
    CallColumn("service", lambda call: words.name(call["service"]), 8),
    CallColumn("start", lambda call: call["start"][5:19].replace("T", " "), 2),
    CallColumn("trace id", lambda call: words.clean(call["trace_id"]), 5),
)
"""The columns of a table of calls; the first names the row."""
