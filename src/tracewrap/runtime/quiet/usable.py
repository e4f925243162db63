"""What a usable call is, once, without numpy: the rule by which the learner, ``tracewrap denoise`` and the demo take calls in.

A failed, cancelled or partial call, one whose usage was not reported, and one with impossible counts is no observation. Of a retried
call only the last attempt counts. A call held by its consumer for over half its time hides generation; one with over 10% of the answer
taken from the caller's prediction skips work: both are left out. Cached prompt tokens are no reason: they have a term of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tracewrap.records import Call

GENERATION = frozenset({"chat", "text_completion", "generate_content"})
MOST_TOKENS = 10**9
"""No call has more: a greater count is an error of the server."""
MOST_PREDICTED = 0.1
"""Share of the output that may be the caller's own prediction."""


class Row(NamedTuple):
    """One usable call as plain numbers; times in seconds, the start in Unix seconds."""

    start_time_s: float
    input_tokens: int
    output_tokens: int
    runtime_s: float
    time_to_first_chunk_s: float | None = None
    cached_input_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Observation:
    """One usable call: token counts, seconds of its last attempt less the consumer's, when it began (Unix seconds), its images."""

    input_tokens: int
    output_tokens: int
    runtime_s: float
    time_to_first_chunk_s: float | None = None
    cached_input_tokens: int | None = None
    start_time_s: float | None = None
    images: int = 0

    @classmethod
    def of(cls, call: Call) -> Observation | None:
        """The observation that *call* makes, or None when by rule it makes none."""
        row = usable_call(call)
        return None if row is None else cls.of_row(row)

    @classmethod
    def of_row(cls, row: Row) -> Observation:
        """The observation that *row* is."""
        start_s, p, o, seconds, first, cached = row
        return cls(p, o, seconds, first, cached or None, start_s)


def usable_call(call: Call) -> Row | None:
    """The row that *call* makes, or None when by rule it makes none."""
    usage = call.usage
    if usage is None or usage.source != "reported" or call.outcome != "complete":
        return None
    return usable_row(
        call.operation,
        call.start_time_ns,
        call.raw_runtime_s,
        usage.input_tokens,
        usage.output_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        predicted_tokens=usage.accepted_prediction_output_tokens,
        first_chunk_s=call.time_to_first_chunk_s,
        retry_s=call.retry_s,
        consumer_s=call.consumer_s,
    )


def usable_row(
    operation: str,
    start_time_ns: int,
    raw_s: float | None,
    input_tokens: int | None,
    output_tokens: int | None,
    cached_input_tokens: int | None = None,
    predicted_tokens: int | None = None,
    first_chunk_s: float | None = None,
    retry_s: float | None = None,
    consumer_s: float | None = None,
) -> Row | None:
    """The row that a complete call with reported usage makes, or None when by rule it makes none."""
    if operation not in GENERATION or raw_s is None:
        return None
    if type(input_tokens) is not int or type(output_tokens) is not int:
        return None
    if not (0 <= input_tokens < MOST_TOKENS and 1 <= output_tokens < MOST_TOKENS):
        return None
    lost = retry_s or 0.0
    seconds = raw_s - lost
    if not 0.0 < seconds < 1e9 or (consumer_s and consumer_s > seconds):
        return None
    if predicted_tokens and predicted_tokens > MOST_PREDICTED * output_tokens:
        return None
    cached = 0
    if isinstance(cached_input_tokens, int) and cached_input_tokens > 0:
        cached = cached_input_tokens if cached_input_tokens < input_tokens else input_tokens
    first = None if first_chunk_s is None else max(0.0, first_chunk_s - lost)
    # As Row(...) does, without its call: one is made for every call of the program.
    return tuple.__new__(Row, (start_time_ns / 1e9, input_tokens, output_tokens, seconds, first, cached))
