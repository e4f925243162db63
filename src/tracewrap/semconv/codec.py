"""The one codec between ``Call``, ``JoinedCall`` and span attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from tracewrap.records import Call, Estimate, JoinedCall, Outcome, TokenUsage, UsageSource
from tracewrap.semconv.names import (
    ATTEMPTS,
    CLIENT_LAG,
    CLIENT_LAG_KIND,
    CLIENT_POOL,
    CLIENT_SDK,
    CONSUMER,
    CONTENT,
    CONTENTION_SECONDS,
    CONTENTION_SHARE,
    COST_IDEALIZED,
    COST_LIST,
    ENERGY_IDEALIZED,
    ERROR_TYPE,
    EXTRAPOLATED,
    FINISH_REASONS,
    INPUT_NAMES,
    INPUT_TOKENS,
    JOIN_STATUS,
    NETWORK,
    NETWORK_TRANSIT,
    OPENINFERENCE_KIND,
    OPENINFERENCE_MODEL,
    OPENINFERENCE_PROVIDER,
    OPENINFERENCE_SYSTEM,
    OPERATION,
    OTHER_OPERATIONS,
    OTHERS_CONTENT,
    OUTCOME,
    OUTPUT_NAMES,
    OUTPUT_TOKENS,
    PROCESSED_INPUT,
    PROCESSED_OUTPUT,
    PROFILE_DENOISED,
    PROFILE_IDEALIZED,
    PROFILE_VERDICT,
    PROMPT_CACHED,
    PROVENANCE,
    PROVIDER,
    REFERENCE_STACK,
    REGION,
    REQUEST_ID,
    REQUEST_MODEL,
    REQUEST_STREAM,
    REQUEST_TYPE_OLD,
    RESPONSE_ID,
    RESPONSE_MODEL,
    RETRY,
    RUNTIME_DENOISED,
    RUNTIME_IDEALIZED,
    RUNTIME_IDEALIZED_CACHED,
    RUNTIME_RAW,
    SAMPLED,
    SEARCH_UNITS,
    SERVER_ADDRESS,
    SERVER_PORT,
    SERVER_PROCESSING,
    SERVICE_NAME,
    SERVICE_TIER,
    SERVING_RATIO,
    SPEED,
    STEP_KIND,
    TIME_TO_FIRST_CHUNK,
    USAGE_SOURCE,
)
from tracewrap.semconv.naming import operation_of, provider_of, tier_of, tokens_of
from tracewrap.semconv.sampling import sampling_of
from tracewrap.semconv.token_fields import DETAIL_ATTRIBUTES, DETAILS, TokenField

READ_NAMES = frozenset(
    {
        *(name for field in DETAILS for name in (field.attribute, *field.older)),
        *(OPERATION, PROVIDER, REQUEST_MODEL, REQUEST_STREAM, RESPONSE_MODEL, RESPONSE_ID, FINISH_REASONS),
        *(TIME_TO_FIRST_CHUNK, INPUT_TOKENS, OUTPUT_TOKENS, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE),
        *(RUNTIME_RAW, CONSUMER, ATTEMPTS, RETRY, OUTCOME, USAGE_SOURCE, PROCESSED_INPUT, PROCESSED_OUTPUT, REQUEST_ID),
        *(
            SERVICE_TIER,
            SPEED,
            REGION,
            SERVER_PROCESSING,
            SERVICE_NAME,
            CLIENT_POOL,
            CLIENT_SDK,
            CLIENT_LAG,
            CLIENT_LAG_KIND,
            NETWORK,
        ),
        NETWORK_TRANSIT,
        SAMPLED,
        *(*INPUT_NAMES, *OUTPUT_NAMES, REQUEST_TYPE_OLD, STEP_KIND),
        *(OPENINFERENCE_KIND, OPENINFERENCE_MODEL, OPENINFERENCE_PROVIDER, OPENINFERENCE_SYSTEM),
    }
)
"""Attributes that a field of ``Call`` holds; every other one, ``tracewrap.*`` aside, becomes a tag."""
COUNTED = (INPUT_TOKENS, OUTPUT_TOKENS, PROCESSED_INPUT, PROCESSED_OUTPUT, SEARCH_UNITS)
"""Attributes of which a call has one whose usage is known."""
_NO_TAGS = ("tracewrap.", *OTHERS_CONTENT)


def put_usage(attributes: dict[str, Any], usage: TokenUsage) -> None:
    """Write the token counts of *usage* into span *attributes*; absent counts stay absent."""
    billed = usage.billed_input_tokens is not None or usage.billed_output_tokens is not None
    if billed:
        _put(attributes, INPUT_TOKENS, usage.billed_input_tokens)
        _put(attributes, OUTPUT_TOKENS, usage.billed_output_tokens)
        _put(attributes, PROCESSED_INPUT, usage.input_tokens)
        _put(attributes, PROCESSED_OUTPUT, usage.output_tokens)
    else:
        if usage.input_tokens is not None:
            attributes[INPUT_TOKENS] = usage.input_tokens
        if usage.output_tokens is not None:
            attributes[OUTPUT_TOKENS] = usage.output_tokens
    for name, count in zip(DETAIL_ATTRIBUTES, usage[2:-3], strict=True):
        if count is not None:
            attributes[name] = count
    attributes[USAGE_SOURCE] = usage.source


def call_attributes(call: Call) -> dict[str, Any]:
    """Span attributes of *call*: what ``call_from_attributes`` reads back (ids, times and resource are the span's own)."""
    attributes: dict[str, Any] = {OPERATION: call.operation, PROVIDER: call.provider}
    _put(attributes, REQUEST_MODEL, call.request_model)
    _put(attributes, RESPONSE_MODEL, call.response_model)
    _put(attributes, SERVER_ADDRESS, call.server_address)
    _put(attributes, SERVER_PORT, call.server_port)
    if call.stream:
        attributes[REQUEST_STREAM] = True
    if call.usage is not None:
        put_usage(attributes, call.usage)
    _put(attributes, RUNTIME_RAW, call.raw_runtime_s)
    _put(attributes, TIME_TO_FIRST_CHUNK, call.time_to_first_chunk_s)
    _put(attributes, CONSUMER, call.consumer_s)
    attributes[ATTEMPTS] = call.attempts
    if call.retry_s:
        attributes[RETRY] = call.retry_s
    attributes[OUTCOME] = call.outcome
    _put(attributes, ERROR_TYPE, call.error_type)
    _put(attributes, RESPONSE_ID, call.response_id)
    _put(attributes, REQUEST_ID, call.request_id)
    _put(attributes, SERVICE_TIER, call.service_tier)
    _put(attributes, SPEED, call.speed)
    _put(attributes, REGION, call.region)
    _put(attributes, SERVER_PROCESSING, call.server_processing_s)
    _put(attributes, CLIENT_POOL, call.client_pool_s)
    _put(attributes, CLIENT_SDK, call.client_sdk_s)
    _put(attributes, CLIENT_LAG, call.client_lag_s)
    _put(attributes, CLIENT_LAG_KIND, call.client_lag_kind)
    _put(attributes, NETWORK, call.network_s)
    _put(attributes, NETWORK_TRANSIT, call.network_transit_s)
    if call.finish_reasons:
        attributes[FINISH_REASONS] = call.finish_reasons
    attributes.update(call.tags)
    return attributes


def call_from_attributes(
    attributes: Mapping[str, Any],
    *,
    trace_id: str,
    span_id: str,
    start_time_ns: int,
    end_time_ns: int | None = None,
    parent_span_id: str | None = None,
    service_name: str | None = None,
    scope_name: str | None = None,
    failed: bool = False,
    trace_state: str | None = None,
    tags: Mapping[str, str] | None = None,
    keep_tags: bool = True,
) -> Call | None:
    """The call that a span describes, or None when it is not a span of an LLM request.

    Spans of other instrumentors that follow the GenAI conventions are read too: raw runtime is then the span's duration. ``tags``:
    resource attributes to keep for grouping; span attributes that no field holds are added as text,
    unless ``keep_tags`` is False.
    """
    operation, provider = operation_of(attributes), provider_of(attributes)
    if not isinstance(operation, str) or not isinstance(provider, str) or operation in OTHER_OPERATIONS:
        return None
    raw = _float(attributes.get(RUNTIME_RAW))
    if raw is None and end_time_ns is not None and end_time_ns > start_time_ns:
        raw = (end_time_ns - start_time_ns) / 1e9
    error = _text(attributes.get(ERROR_TYPE)) or ("_OTHER" if failed else None)
    outcome = attributes.get(OUTCOME) or ("error" if error else "complete")
    finish = attributes.get(FINISH_REASONS) or ()
    extra = dict(tags or {})
    for name, value in attributes.items() if keep_tags else ():
        if name not in READ_NAMES and name not in CONTENT and not name.startswith(_NO_TAGS):
            extra[name] = value if isinstance(value, str) else str(value)
    sampled, probability = sampling_of(trace_state)
    if sampled is None and attributes.get(SAMPLED) in (True, "true"):
        sampled = True
    return Call(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent_span_id,
        start_time_ns=start_time_ns,
        provider=provider,
        operation=operation,
        service_name=service_name,
        scope_name=scope_name,
        request_model=_text(attributes.get(REQUEST_MODEL)) or _text(attributes.get(OPENINFERENCE_MODEL)),
        response_model=_text(attributes.get(RESPONSE_MODEL)),
        server_address=_text(attributes.get(SERVER_ADDRESS)),
        server_port=_int(attributes.get(SERVER_PORT)),
        stream=attributes.get(REQUEST_STREAM) in (True, "true"),
        usage=_usage(attributes),
        raw_runtime_s=raw,
        time_to_first_chunk_s=_float(attributes.get(TIME_TO_FIRST_CHUNK)),
        consumer_s=_float(attributes.get(CONSUMER)),
        attempts=_int(attributes.get(ATTEMPTS)) or 1,
        retry_s=_float(attributes.get(RETRY)) or 0.0,
        outcome=cast(Outcome, outcome),
        error_type=error,
        response_id=_text(attributes.get(RESPONSE_ID)),
        request_id=_text(attributes.get(REQUEST_ID)),
        service_tier=_text(tier_of(attributes)),
        speed=_text(attributes.get(SPEED)),
        region=_text(attributes.get(REGION)),
        finish_reasons=(finish,) if isinstance(finish, str) else tuple(str(reason) for reason in finish),
        server_processing_s=_float(attributes.get(SERVER_PROCESSING)),
        client_pool_s=_float(attributes.get(CLIENT_POOL)),
        client_sdk_s=_float(attributes.get(CLIENT_SDK)),
        client_lag_s=_float(attributes.get(CLIENT_LAG)),
        client_lag_kind=_text(attributes.get(CLIENT_LAG_KIND)),
        network_s=_float(attributes.get(NETWORK)),
        network_transit_s=_float(attributes.get(NETWORK_TRANSIT)),
        sampled=sampled,
        sampling_probability=probability,
        tags=extra,
    )


class HasEstimates(Protocol):
    """The estimates of a call, joined or about to be."""

    @property
    def denoised_runtime(self) -> Estimate | None: ...
    @property
    def idealized_runtime(self) -> Estimate | None: ...
    @property
    def idealized_cached_runtime(self) -> Estimate | None: ...
    @property
    def idealized_cost(self) -> Estimate | None: ...
    @property
    def idealized_energy(self) -> Estimate | None: ...
    @property
    def reference_stack(self) -> str | None: ...
    @property
    def status(self) -> str: ...


def joined_attributes(joined: JoinedCall) -> dict[str, Any]:
    """Attributes that the join adds to a span: estimates with intervals, profile ids, provenance, status."""
    attributes = estimate_attributes(joined, joined.call.last_attempt_s, joined.prompt_cached)
    _put(attributes, COST_LIST, joined.list_cost_usd)
    return attributes


def estimate_attributes(found: HasEstimates, last_attempt_s: float | None, prompt_cached: bool) -> dict[str, Any]:
    """Attributes of the estimates *found* for a call whose last attempt took *last_attempt_s* seconds."""
    attributes: dict[str, Any] = {JOIN_STATUS: found.status}
    denoised, idealized = found.denoised_runtime, found.idealized_runtime
    if denoised is not None:
        _put_estimate(attributes, RUNTIME_DENOISED, denoised)
        attributes[PROFILE_DENOISED] = denoised.profile_id
        _put(attributes, PROFILE_VERDICT, denoised.verdict)
        if last_attempt_s is not None:
            contention = last_attempt_s - denoised.value
            attributes[CONTENTION_SECONDS] = contention
            if last_attempt_s:
                attributes[CONTENTION_SHARE] = contention / last_attempt_s
    if idealized is not None:
        _put_estimate(attributes, RUNTIME_IDEALIZED, idealized)
        attributes[PROFILE_IDEALIZED] = idealized.profile_id
        if found.idealized_cached_runtime is not None:
            _put_estimate(attributes, RUNTIME_IDEALIZED_CACHED, found.idealized_cached_runtime)
        attributes[PROVENANCE] = idealized.provenance
        _put(attributes, REFERENCE_STACK, found.reference_stack)
        if denoised is not None and idealized.value:
            attributes[SERVING_RATIO] = denoised.value / idealized.value
        if found.idealized_cost is not None:
            _put_estimate(attributes, COST_IDEALIZED, found.idealized_cost)
        if found.idealized_energy is not None:
            _put_estimate(attributes, ENERGY_IDEALIZED, found.idealized_energy)
    if (denoised is not None and denoised.extrapolated) or (idealized is not None and idealized.extrapolated):
        attributes[EXTRAPOLATED] = True
    if prompt_cached and (denoised is not None or idealized is not None):
        attributes[PROMPT_CACHED] = True
    return attributes


def _put_estimate(attributes: dict[str, Any], name: str, estimate: Estimate) -> None:
    low, high = _BOUNDS[name]
    attributes[name], attributes[low], attributes[high] = estimate[:3]


_BOUNDS = {
    name: (f"{name}.low", f"{name}.high")
    for name in (RUNTIME_DENOISED, RUNTIME_IDEALIZED, RUNTIME_IDEALIZED_CACHED, COST_IDEALIZED, ENERGY_IDEALIZED)
}


def _put(attributes: dict[str, Any], name: str, value: Any) -> None:
    if value is not None:
        attributes[name] = value


def _usage(attributes: Mapping[str, Any]) -> TokenUsage | None:
    read = attributes.get
    first, second = tokens_of(attributes)
    processed_in, processed_out = read(PROCESSED_INPUT), read(PROCESSED_OUTPUT)
    if first is None and second is None and all(read(name) is None for name in COUNTED):
        return None
    separate = processed_in is not None or processed_out is not None
    source = read(USAGE_SOURCE)
    return TokenUsage(
        input_tokens=_int(processed_in if separate else first),
        output_tokens=_int(processed_out if separate else second),
        **{field.name: _detail(read, field) for field in DETAILS},
        billed_input_tokens=_int(first) if separate else None,
        billed_output_tokens=_int(second) if separate else None,
        source=cast(UsageSource, source) if source in ("reported", "estimated") else "reported",
    )


def _detail(read: Callable[[str], Any], field: TokenField) -> int | None:
    value = read(field.attribute)
    for name in field.older if value is None else ():
        value = read(name) if value is None else value
    return _int(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _int(value: Any) -> int | None:
    """A count of any spelling (ClickHouse and OTLP-JSON keep them as text); None for what is none: below 0, broken, 2^63 or more."""
    if type(value) is int:
        return value if 0 <= value < _INT_LIMIT else None
    number = _float(value)
    return int(number) if number is not None and number == int(number) and 0 <= number < _INT_LIMIT else None


_INT_LIMIT = 1 << 63


def _float(value: Any) -> float | None:
    if type(value) is float:
        return value if abs(value) < _LARGEST else None
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < _LARGEST else None


_LARGEST = 1e300
"""Infinities and NaN compare false with it: they count as absent."""
