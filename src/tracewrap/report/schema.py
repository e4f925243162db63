"""The JSON report, ``tracewrap.report/1``: what every format renders and every later command reads.

One ``dict`` of plain JSON values, built by ``tracewrap.report.build``. Rules that hold everywhere:

* Seconds, US dollars, joules, tokens. ``low`` and ``high`` bound the 90% interval; those of a sum are the sums of the calls'
  bounds, because the calls of one profile err together. A share's or ratio's bounds follow from the bounds of its parts.
* What is unknown is ``None`` or an absent row, never 0 and never NaN. Every figure stands beside ``n`` (or ``*_calls``), the
  number of calls it was computed from.
* Runtime comparison (``denoised``, ``contention``, ``references``): complete generation calls with token counts, the last
  attempt of each. Partial, cancelled and failed calls are counted in ``calls`` and in their own columns, and left out of it.
* A background call is only queued when its answer comes: it counts as partial. A batch's result has tokens and a price and no runtime.
* ``raw`` covers every complete call with a runtime, generation or not, retries included.
* Ratios of sums, not means of ratios: ``contention.share`` is (last attempts - denoised) / last attempts over the same calls.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from tracewrap.report.sample import Sample
from tracewrap.report.scores import Capability
from tracewrap.report.used import GridUsed, Prices, ProfileUsed, ReferenceUsed, TrainingUsed

SCHEMA = "tracewrap.report/1"

DEFAULT_GROUPS: tuple[str, ...] = ("provider", "model", "service")


class Period(TypedDict):
    """Half open: since <= start of call < until. ``since``/``until``: RFC 3339 in ``timezone``."""

    since: str
    until: str
    since_ns: int
    until_ns: int
    timezone: str
    days: list[str]


class SourceStatus(TypedDict):
    """One source as read. ``complete`` is False when part of the period could not be read; ``notes`` says which."""

    kind: Literal["span_log", "lake", "jaeger", "clickhouse"]
    location: str
    complete: bool
    files: int | None
    lines: int | None
    torn_lines: int | None
    """Lines that are no JSON: the torn tail of a killed process, or damage. Skipped."""
    foreign_lines: int | None
    """Lines of JSON that are not OTLP traces. Skipped."""
    spans: int | None
    """Spans in the lines read, of all days, LLM calls or not."""
    foreign_spans: int | None
    """Spans that are no LLM request. Skipped."""
    duplicates: int
    """Second and later copies of one (trace id, span id) inside the period. Skipped."""
    lost: dict[str, dict[str, int]]
    """Calls that did not reach a place (``span_log``, ``otlp``, ...), by reason, as the program wrote down; of span logs and lakes."""
    notes: list[str]
    trace_url: str | None
    """A page for each trace, with ``{trace_id}`` in it, where the source has one (Jaeger)."""


class Coverage(TypedDict):
    """How much of the traffic each figure rests on. Shares are of the calls that did not fail; None when there are none.

    Failed calls are counted in ``failed_calls`` alone: that they have no token counts, price or profile says nothing of coverage.
    """

    calls: int
    complete_calls: int
    partial_calls: int
    cancelled_calls: int
    failed_calls: int
    usage_reported_calls: int
    usage_estimated_calls: int
    usage_missing_calls: int
    """Calls that did not fail and came without token counts."""
    priced_calls: int
    unpriced_calls: int
    generation_calls: int
    comparable_calls: int
    """Complete generation calls with token counts and a runtime: what can be compared at all."""
    denoised_calls: int
    """Comparable calls with a denoised profile."""
    denoised_verdicts: dict[str, int]
    """Those calls by the verdict of that profile; calls of a profile without one are in none."""
    idealized_calls: dict[str, int]
    """Comparable calls with an idealized profile, by reference stack id."""
    extrapolated_calls: int
    """Compared calls whose token counts lie beyond what some used profile measured."""
    prompt_cached_calls: int
    """Compared calls with part of the prompt read from the provider's cache: their estimates are upper bounds."""
    wrong_clock_calls: int
    """Calls that start in the future of the report; counted, and left in the day they claim."""
    other_instrumentation_calls: int
    """Calls from spans of other instrumentors."""
    priced_share: float | None
    denoised_share: float | None
    idealized_share: dict[str, float | None]
    usage_share: float | None
    unlearned_deployments: int
    """Deployments that there was no time to learn a denoised profile of."""
    unlearned_calls: int
    """Their comparable calls."""
    lost_calls: int
    """Calls that could not be written to the source: in no other count."""
    dropped_spans: int
    """Lines torn or foreign and duplicates, of all sources."""


class Runtimes(TypedDict):
    """Seconds over ``n`` calls; ``None`` when n is 0. Below 100 calls ``p99_s`` says little; what people read leaves it out."""

    n: int
    sum_s: float | None
    p50_s: float | None
    p90_s: float | None
    p95_s: float | None
    p99_s: float | None


class EstimatedRuntimes(TypedDict):
    """As ``Runtimes``, with the 90% interval of the sum, provenance (calls by class) and calls extrapolated.

    ``verdicts``: calls by what the denoised profile says of itself (ok, few_hours, ...); none of idealized ones and of older profiles.
    """

    n: int
    sum_s: float | None
    sum_low_s: float | None
    sum_high_s: float | None
    p50_s: float | None
    p90_s: float | None
    p95_s: float | None
    p99_s: float | None
    provenance: dict[str, int]
    verdicts: dict[str, int]
    extrapolated_calls: int


class Contention(TypedDict):
    """Last attempts less denoised over the ``n`` calls that have both; negative when faster than the quiet-day estimate."""

    n: int
    last_attempt_sum_s: float | None
    seconds: float | None
    seconds_low: float | None
    seconds_high: float | None
    share: float | None
    share_low: float | None
    share_high: float | None


class SplitSeconds(TypedDict):
    """Us, the network or the provider: seconds over the ``n`` calls with a denoised profile; all parts but ``consumer_s`` add up to raw.

    ``pool_s``, ``sdk_s``, ``lag_s``: ours (waiting for a pooled connection, the SDK's work, a late event loop or thread); ``network_s``:
    connecting and sending. ``admission_s``: the constant of those calls whose profile sets it apart (else part of ``model_s``); None
    when there is none. ``contention_s``: the provider's; ``unexplained_s``: beyond the quiet day, and nobody's by what was
    measured. ``consumer_s`` is what the program itself held its streams: no part of raw. ``calls``: comparable calls by who made them
    slow (``estimate.split``): us, network, provider, model, unknown; ``us``: those of ours by what it was.
    """

    n: int
    raw_s: float | None
    retries_s: float | None
    pool_s: float | None
    sdk_s: float | None
    lag_s: float | None
    network_s: float | None
    admission_s: float | None
    model_s: float | None
    contention_s: float | None
    unexplained_s: float | None
    consumer_s: float | None
    calls: dict[str, int]
    us: dict[str, int]


class Interval(TypedDict):
    """A value with its 90% interval over ``n`` calls."""

    n: int
    value: float | None
    low: float | None
    high: float | None


class ReferenceFigures(TypedDict):
    """One group on one reference stack: no contention, batch 1."""

    stack: str
    idealized: EstimatedRuntimes
    serving_ratio: Interval
    """Sum of denoised over sum of idealized seconds, over the calls that have both."""
    idealized_cost_usd: Interval
    list_cost_usd: float | None
    """List cost of those calls of ``idealized_cost_usd`` that are priced: what may be set beside it."""
    list_cost_calls: int
    list_cost_idealized_usd: float | None
    """Idealized cost of those very calls."""
    list_to_idealized: float | None
    """List over idealized cost, over the calls that have both."""
    idealized_energy_j: Interval
    idealized_co2e_g: Interval
    """Grams of CO2 equivalent of that energy on the grid that was named; without value where none was."""


class Group(TypedDict):
    """One row of figures. ``key``: grouping name to value (None: the attribute is absent); empty for the totals."""

    key: dict[str, str | None]
    calls: int
    complete_calls: int
    partial_calls: int
    cancelled_calls: int
    failed_calls: int
    error_share: float | None
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    reasoning_output_tokens: int
    usage_calls: int
    """Calls with token counts: what the sums of tokens are over."""
    attempts: int
    retried_calls: int
    retry_s: float
    raw: Runtimes
    time_to_first_chunk: Runtimes
    time_per_output_token: Runtimes
    """(raw - time to first chunk) / (output tokens - 1), of comparable streamed calls."""
    output_tokens_per_s: float | None
    """Output tokens over seconds of the last attempts, of comparable calls."""
    denoised: EstimatedRuntimes
    contention: Contention
    split: SplitSeconds
    references: list[ReferenceFigures]
    list_cost_usd: float | None
    priced_calls: int
    unpriced_calls: int


class Grouping(TypedDict):
    """``by``: the grouping names of one table; ``rows`` sorted by list cost, then calls, largest first."""

    by: list[str]
    rows: list[Group]
    more_rows: int
    """Groups beyond the row limit; their calls are in the totals only."""


class Hour(TypedDict):
    """One hour of the period, by start of call. ``hour``: RFC 3339 with the offset of the time zone."""

    hour: str
    calls: int
    failed_calls: int
    compared_calls: int
    raw_p50_s: float | None
    denoised_p50_s: float | None
    contention_share: float | None
    list_cost_usd: float | None


class CallRow(TypedDict):
    """One call worth looking at."""

    trace_id: str
    span_id: str
    start: str
    provider: str
    model: str | None
    service: str | None
    operation: str
    outcome: str
    input_tokens: int | None
    output_tokens: int | None
    attempts: int
    raw_runtime_s: float | None
    last_attempt_s: float | None
    denoised_runtime_s: float | None
    denoised_low_s: float | None
    denoised_high_s: float | None
    contention_s: float | None
    contention_share: float | None
    idealized_runtime_s: float | None
    """On the first reference stack."""
    list_cost_usd: float | None


class Missing(TypedDict):
    """A model without a price or a profile, by name."""

    provider: str
    model: str | None
    calls: int
    """Calls with token counts."""
    reason: str
    next: str
    """What would mend it."""


class Unprofiled(TypedDict):
    """A deployment or model without a profile; ``stack`` None: no denoised profile, else no idealized one on it."""

    provider: str
    model: str | None
    deployment: str
    stack: str | None
    calls: int
    """Comparable calls."""
    reason: str
    next: str
    """What would mend it."""


class Drift(TypedDict):
    """The quiet-day runtime of a deployment moved and stayed moved: ratio of its low decile to that of the days before."""

    provider: str
    model: str | None
    deployment: str
    since_day: str
    ratio: float
    baseline_days: int
    calls: int
    text: str


class Report(TypedDict):
    """The whole report; ``verdict`` is the one sentence to read, ``notes`` are lines a reader must see before the figures."""

    schema: str
    verdict: str
    generated_at: str
    tracewrap_version: str
    period: Period
    where: dict[str, str]
    """The only calls that the report is of, by name and value; empty: all of the period."""
    sources: list[SourceStatus]
    notes: list[str]
    coverage: Coverage
    references: list[ReferenceUsed]
    denoised_profiles: list[ProfileUsed]
    prices: Prices
    grid: GridUsed | None
    """None unless a grid was named: emissions are then not told."""
    training: TrainingUsed | None
    """None unless a number of served tokens was stated: training is then not told."""
    totals: Group
    groups: list[Grouping]
    days: list[Group]
    """The figures of each day that has calls; empty for a period of one day."""
    hours: list[Hour]
    slowest: list[CallRow]
    most_contended: list[CallRow]
    error_types: list[dict[str, Any]]
    """{"error_type", "calls"}, most frequent first."""
    unpriced: list[Missing]
    unprofiled: list[Unprofiled]
    drift: list[Drift]
    drift_note: str | None
    """Why drift could not be judged; None when it was."""
    capability: Capability | None
    """None unless a score file was given."""
    sample: Sample | None
    """None unless a source holds a sample; every other figure of the report is then the sample's."""
