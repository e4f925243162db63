"""The plain records that flow between the rooms: TokenUsage, CallRecord, Call, Estimate, JoinedCall.

Frozen, slotted, plain values; no record reaches back to what made it. Units are suffixes. Absent is ``None``.

Definitions
    ``input_tokens``   all prompt tokens, cached ones included, as processed by the model.
    ``output_tokens``  all generated tokens, reasoning ones included.
    ``raw_runtime_s``  from just before the SDK method is entered to the last chunk received (or to close,
                       if earlier), monotonic clock, less ``consumer_s``; includes retries inside the SDK.
    ``consumer_s``     time by which the program held the end of a stream, or of a plain body that it reads itself.
    ``retry_s``        time spent before the last attempt began; ``attempts`` counts HTTP attempts.
                       Estimates compare with the last attempt: ``last_attempt_s``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

UsageSource = Literal["reported", "estimated"]
Provenance = Literal["measured", "few_shot", "analytic_calibrated", "analytic", "assumed"]
Outcome = Literal["complete", "partial", "cancelled", "error", "background"]
"""How a call ended: complete; partial (stream closed or abandoned early); cancelled; error; background (only queued)."""

HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS

Verdict = Literal["ok", "not_identifiable", "saturated", "few_hours", "too_few", "stale"]
"""How far a denoised profile can be believed: ok; not_identifiable (token counts, or several speeds, leave parts of it open);
saturated (no quiet moment among the calls: an upper bound); few_hours (quiet was seen in few hours of the day); too_few (calls); stale
(calls too old)."""
VERDICTS: tuple[Verdict, ...] = ("ok", "not_identifiable", "saturated", "few_hours", "too_few", "stale")
PROVENANCES: tuple[Provenance, ...] = ("measured", "few_shot", "analytic_calibrated", "analytic", "assumed")
"""Provenance classes, strongest first."""


class TokenUsage(NamedTuple):
    """Token counts of one call; every field is ``None`` when the vendor did not say.

    ``billed_*`` are set only where a vendor bills other counts than the model processed (Cohere). A named tuple because one is made
    in every call, on the caller's thread, at a third of a frozen dataclass's cost.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    """All tokens written to the provider's prompt cache, whatever their lifetime."""
    cache_write_long_input_tokens: int | None = None
    """Those of them that live longer than by default (an hour at Anthropic, twelve at OpenAI), at a price of their own."""
    reasoning_output_tokens: int | None = None
    audio_input_tokens: int | None = None
    cached_audio_input_tokens: int | None = None
    """Audio that was read from the cache: part of both counts."""
    audio_output_tokens: int | None = None
    image_input_tokens: int | None = None
    cached_image_input_tokens: int | None = None
    image_output_tokens: int | None = None
    accepted_prediction_output_tokens: int | None = None
    """Output tokens taken over from the caller's own prediction: part of ``output_tokens``, and faster than generated ones."""
    rejected_prediction_output_tokens: int | None = None
    """Predicted tokens that did not come true: part of ``output_tokens`` and billed as such."""
    web_searches: int | None = None
    """Searches the vendor ran while it answered; billed apart from tokens, as are those of the caller's files."""
    file_searches: int | None = None
    search_units: int | None = None
    """What reranking is billed by: a query with up to so many documents, by the vendor's own rule."""
    other_charges: int | None = None
    """Things billed at a price that no list tells: containers and images of the vendor's tools, tokens of a second model."""
    billed_input_tokens: int | None = None
    billed_output_tokens: int | None = None
    source: UsageSource = "reported"


class CallRecord:
    """What capture leaves of one call for the background: the call's facts under their wire names. Handed on, it stays as it is.

    It exists for every call, whatever the program's tracing keeps. Not a dataclass: one is made a call on the caller's thread.
    """

    __slots__ = (
        "attributes",
        "chunk_gaps_s",
        "content",
        "end_time_ns",
        "failure",
        "name",
        "parent_span_id",
        "program_span",
        "resource",
        "sampled",
        "span_id",
        "start_time_ns",
        "trace_id",
        "trace_state",
    )

    def __init__(
        self,
        trace_id: int,
        span_id: int,
        parent_span_id: int | None,
        sampled: bool,
        trace_state: str | None,
        program_span: bool,
        resource: Mapping[str, Any] | None,
        name: str,
        start_time_ns: int,
        end_time_ns: int,
        attributes: dict[str, Any],
        failure: str | None,
        chunk_gaps_s: Sequence[float] = (),
        content: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self.trace_id = trace_id
        """Of the program's trace where there is one."""
        self.span_id = span_id
        self.parent_span_id = parent_span_id
        self.sampled = sampled
        """Whether the call's span is exported as a trace; logged, counted and learned it is in any case."""
        self.trace_state = trace_state
        """W3C tracestate header; its ``ot=th:`` tells with what probability the trace was sampled."""
        self.program_span = program_span
        """A tracer provider of the program's carries a span of this call: its own pipeline exports it."""
        self.resource = resource
        """Resource attributes of that provider; None: the pipeline's own resource."""
        self.name = name
        self.start_time_ns = start_time_ns
        self.end_time_ns = end_time_ns
        self.attributes = attributes
        """Names of ``semconv`` -> text, number, truth value or tuple of text."""
        self.failure = failure
        """Status description of a failed call, free of message content; None: not failed."""
        self.chunk_gaps_s = chunk_gaps_s
        """Seconds from each chunk of a stream to the next, where metrics want them."""
        self.content = content
        """Gives further attributes, message content, where it is wanted: work that is not the caller's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One logical LLM request, retries included: facts only, no estimate."""

    trace_id: str
    span_id: str
    start_time_ns: int
    """Unix time in nanoseconds."""
    provider: str
    operation: str
    """OpenTelemetry operation name: chat, text_completion, embeddings, ..."""
    parent_span_id: str | None = None
    service_name: str | None = None
    scope_name: str | None = None
    """Instrumentation scope that made the span; ``tracewrap`` for ours."""
    request_model: str | None = None
    response_model: str | None = None
    server_address: str | None = None
    server_port: int | None = None
    stream: bool = False
    usage: TokenUsage | None = None
    raw_runtime_s: float | None = None
    time_to_first_chunk_s: float | None = None
    consumer_s: float | None = None
    attempts: int = 1
    retry_s: float = 0.0
    outcome: Outcome = "complete"
    error_type: str | None = None
    response_id: str | None = None
    request_id: str | None = None
    """The provider's id of the HTTP request (``x-request-id`` and the like)."""
    service_tier: str | None = None
    speed: str | None = None
    """The speed mode that answered, where the vendor has several (``fast``); None: the plain one, or not said."""
    region: str | None = None
    """Where the caller or the vendor says the model runs (``us``, ``global``, ``us-east5``); it can change the price."""
    finish_reasons: tuple[str, ...] = ()
    server_processing_s: float | None = None
    """What the provider's timing header says (``openai-processing-ms``, ``x-envoy-upstream-service-time``)."""
    client_pool_s: float | None = None
    """Waited for a connection of the program's own pool, in the last attempt; None: our side of the wire was not measured."""
    client_sdk_s: float | None = None
    """The SDK's own work, in the last attempt."""
    client_lag_s: float | None = None
    """What a blocked event loop or starved threads can have cost the last attempt, at most."""
    client_lag_kind: str | None = None
    """``event_loop`` or ``threads``."""
    network_s: float | None = None
    """Connecting, TLS and sending, in the last attempt."""
    network_transit_s: float | None = None
    """From the request sent to the head of the answer, less what the provider's header says of it."""
    sampled: bool | None = None
    """The record says, by its tracestate or by ``tracewrap.sampled``, that its source holds a sample of the traces; None: it is silent."""
    sampling_probability: float | None = None
    """With what probability its trace was kept, where the record says so (``ot=th:`` of its tracestate)."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Other span and resource attributes, as text, for grouping (route, tenant, ...)."""

    @property
    def model(self) -> str | None:
        """The model that answered, else the model asked for."""
        return self.response_model or self.request_model

    @property
    def last_attempt_s(self) -> float | None:
        """Seconds of the last attempt alone: what estimates are compared with."""
        return None if self.raw_runtime_s is None else max(0.0, self.raw_runtime_s - self.retry_s)

    @property
    def deployment(self) -> Deployment:
        """What one denoised profile describes."""
        address = self.server_address
        if address is not None and self.server_port is not None:
            address = f"{address}:{self.server_port}"
        chosen = (self.service_tier, self.speed, self.region)
        return Deployment(self.provider, address, self.model, self.operation, self.stream, *chosen)


@dataclass(frozen=True, slots=True)
class Deployment:
    """(provider, server address, model answered, operation, streaming or not), and what the caller chose that changes speed: service tier,
    speed mode and region, where they are not the common ones."""

    provider: str
    server: str | None
    model: str | None
    operation: str
    stream: bool
    service_tier: str | None = None
    speed: str | None = None
    region: str | None = None

    @property
    def key(self) -> str:
        """One line of text that identifies the deployment: ``openai|api.openai.com:443|gpt-x|chat|stream``."""
        chosen = (self.service_tier, self.speed, self.region)
        return deployment_key(self.provider, self.server, None, self.model, self.operation, self.stream, *chosen)


def deployment_key(
    provider: str,
    address: str | None,
    port: int | None,
    model: str | None,
    operation: str,
    stream: bool,
    service_tier: str | None = None,
    speed: str | None = None,
    region: str | None = None,
) -> str:
    """``Deployment.key`` from its parts; *port* None: already part of *address*.

    A tier, speed or region that everybody gets is left out, and so is a region that *address* names.
    """
    server = (address or "") if port is None or address is None else f"{address}:{port}"
    key = f"{provider}|{server}|{model or ''}|{operation}|{'stream' if stream else 'plain'}"
    if service_tier is not None and service_tier not in COMMON_TIERS:
        key = f"{key}|{service_tier}"
    if speed is not None and speed not in COMMON_TIERS:
        key = f"{key}|speed={speed}"
    if region is not None and region not in COMMON_REGIONS and region not in server:
        key = f"{key}|region={region}"
    return key


COMMON_TIERS = frozenset({"", "default", "standard", "auto", "on_demand"})
"""Names that vendors have for the service, and the speed, that everybody gets: no stratum of its own."""
COMMON_REGIONS = frozenset({"", "global"})
"""Names for no region in particular."""


class Estimate(NamedTuple):
    """An estimated value with its 90% interval and where it came from. A named tuple: several are made for every span joined."""

    value: float
    low: float
    high: float
    provenance: Provenance
    profile_id: str
    extrapolated: bool = False
    verdict: Verdict | None = None
    """Of a denoised profile: how far it can be believed."""

    def scaled(self, factor: float) -> Estimate:
        """The same estimate in another unit (seconds to dollars, seconds to joules)."""
        return Estimate(
            self.value * factor,
            self.low * factor,
            self.high * factor,
            self.provenance,
            self.profile_id,
            self.extrapolated,
            self.verdict,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedCall:
    """A call beside its estimates. ``join_status`` says why an estimate is missing.

    Statuses, joined with ``,`` when several hold: ``ok``, ``no_usage``, ``not_generation``, ``failed``,
    ``no_denoised_profile``, ``no_idealized_profile``, ``unknown_model``, ``partial``; and ``denoised_`` with the profile's verdict where
    that is not ok (``denoised_saturated``, ``denoised_few_hours``, ...).
    """

    call: Call
    join_status: str
    denoised_runtime: Estimate | None = None
    """Seconds on a quiet day, same API."""
    idealized_runtime: Estimate | None = None
    """Seconds on the reference stack, which has no cache."""
    idealized_cached_runtime: Estimate | None = None
    """The same, had it cached the prompt tokens that the provider read from its cache; absent where it read none."""
    idealized_cost: Estimate | None = None
    """US dollars at the reference stack's price, batch 1."""
    idealized_energy: Estimate | None = None
    """Joules at the reference stack's power, batch 1."""
    list_cost_usd: float | None = None
    reference_stack: str | None = None
    admission_s: float | None = None
    """The constant of network and admission inside ``denoised_runtime``, where its profile sets it apart."""
    prompt_cached: bool = False
    """The provider read part of the prompt from its cache: estimates, which assume none, are upper bounds."""

    @property
    def status(self) -> str:
        """``join_status``."""
        return self.join_status

    @property
    def contention_s(self) -> float | None:
        """Last attempt less denoised runtime, in seconds; negative when faster than the quiet-day estimate."""
        seconds = self.call.last_attempt_s
        if seconds is None or self.denoised_runtime is None:
            return None
        return seconds - self.denoised_runtime.value

    @property
    def contention_share(self) -> float | None:
        """``contention_s`` as a share of the last attempt."""
        seconds, contention = self.call.last_attempt_s, self.contention_s
        if contention is None or not seconds:
            return None
        return contention / seconds

    @property
    def serving_ratio(self) -> float | None:
        """Denoised over idealized runtime; below 1 the provider beats the reference."""
        if self.denoised_runtime is None or self.idealized_runtime is None or not self.idealized_runtime.value:
            return None
        return self.denoised_runtime.value / self.idealized_runtime.value
