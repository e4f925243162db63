"""From spans to calls in SQL: the codec of ``tracewrap.semconv.call_from_attributes`` for whole tables.

Input: a relation with trace_id, span_id, parent_span_id, start_ns, end_ns, service_name, scope_name,
trace_state, failed and the attributes as text
(arrays as JSON text): lists ``keys`` and ``vals`` of the span's, ``resource_pairs`` and ``pairs`` (lists of {key, value}) for tags: what
OTLP-JSON, Jaeger and ClickHouse can all give. Output: ``CALL_COLUMNS``. Tests hold the two codecs together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracewrap import semconv as names
from tracewrap.sources.table import quoted

_HIDDEN_RESOURCE = "telemetry.sdk.%"

PAIRS_MAP = """CREATE OR REPLACE MACRO pairs_map(e) AS coalesce(TRY(map_from_entries(e)), map_from_entries(
    [list_filter(e, lambda x: x.key = k)[1] for k in list_distinct([y.key for y in e])]))"""
"""A macro that ``calls_select`` needs: a map of pairs; the slow path is for the rare span that names a key twice (the first one counts)."""


_TIERS = (names.SERVICE_TIER, names.OPENAI_SERVICE_TIER, names.OPENAI_SERVICE_TIER_OLD)
_LISTS_ONLY = frozenset({"finish_reasons", "tags", "sampled", "sampling_probability"})
_LOOKED_UP = sorted({*names.READ_NAMES, *names.PROVIDER_NAMES, *_TIERS})
_OTHERS_NAMES = frozenset(
    {
        *(*names.INPUT_NAMES[1:], *names.OUTPUT_NAMES[1:], *names.PROVIDER_NAMES[2:]),
        *(names.REQUEST_TYPE_OLD, names.STEP_KIND, names.OPENINFERENCE_KIND, names.OPENINFERENCE_MODEL),
        *(name for field in names.DETAILS for name in field.older if name.startswith("llm.")),
    }
)
"""Names that our own spans never have: not looked for in them, as a name that is not there takes longest to look up."""
_OTHERS_CONTENT = " OR ".join(f"starts_with(e.key, {quoted(begin)})" for begin in names.OTHERS_CONTENT)


def _get(name: str) -> str:
    """The column that ``calls_select`` makes of one attribute: looked up once, however often it is used."""
    return f'"{name}"'


_OTHERS = ", ".join(quoted(name) for name in sorted(names.OTHER_OPERATIONS))
IS_CALL = f"(operation_name NOT IN ({_OTHERS}) AND provider_name IS NOT NULL)"
"""Whether a span is an LLM request; over the relation that ``calls_select`` builds."""


def _text(name: str) -> str:
    return f"nullif({_get(name)}, '')"


def _float(name: str) -> str:
    value = f"TRY_CAST({_get(name)} AS DOUBLE)"
    return f"CASE WHEN abs({value}) < 1e300 THEN {value} END"


def _int(name: str) -> str:
    text = f"{_get(name)}"
    number = f"TRY_CAST({text} AS DOUBLE)"
    whole = f"{number} = floor({number}) AND {number} >= 0 AND {number} < 9.2e18"
    return f"CASE WHEN {whole} THEN coalesce(TRY_CAST({text} AS BIGINT), TRY_CAST({number} AS BIGINT)) END"


def _array(name: str) -> str:
    text = f"{_get(name)}"
    many = f"TRY(from_json({text}, '[\"VARCHAR\"]'))"
    return f"CASE WHEN {text} IS NULL THEN []::VARCHAR[] WHEN {text} LIKE '[%' THEN coalesce({many}, [{text}]) ELSE [{text}] END"


def _tokens() -> tuple[str, str]:
    """Input and output tokens, under whichever name."""
    first, second = (f"coalesce({', '.join(map(_int, each))})" for each in (names.INPUT_NAMES, names.OUTPUT_NAMES))
    return first, second


def operation_name() -> str:
    """The operation of a span, as ``semconv.operation_of`` tells it."""
    first, second = _tokens()
    kind = _get(names.OPENINFERENCE_KIND)
    model = f"coalesce({_text(names.REQUEST_MODEL)}, {_text(names.RESPONSE_MODEL)}) IS NOT NULL"
    shown = (
        f"CASE WHEN {kind} IS NULL AND {_get(names.STEP_KIND)} IS NULL AND {model} THEN"
        f" CASE WHEN {second} IS NOT NULL THEN 'chat' WHEN {first} IS NOT NULL THEN 'embeddings' END END"
    )
    types = _translated(_get(names.REQUEST_TYPE_OLD), names.REQUEST_TYPES)
    return f"coalesce({_get(names.OPERATION)}, {types}, {_translated(kind, names.OPENINFERENCE_KINDS)}, {shown})"


def _translated(value: str, words: Mapping[str, str]) -> str:
    return f"CASE {value} {' '.join(f'WHEN {quoted(old)} THEN {quoted(new)}' for old, new in words.items())} END"


def expressions() -> Mapping[str, str]:
    """Call column to SQL over the span relation (with ``provider_name`` and ``operation_name`` beside it)."""
    first, second = _tokens()
    processed_first, processed_second = _int(names.PROCESSED_INPUT), _int(names.PROCESSED_OUTPUT)
    split = f"(coalesce({processed_first}, {processed_second}) IS NOT NULL)"
    known = (
        f"(coalesce({first}, {second}, {processed_first}, {processed_second}, {_int(names.SEARCH_UNITS)}) IS NOT NULL)"
    )
    source, error = f"{_get(names.USAGE_SOURCE)}", _text(names.ERROR_TYPE)
    probability = sampling_probability("trace_state")
    duration = "CASE WHEN end_ns > start_ns THEN (end_ns - start_ns)::DOUBLE / 1e9 END"

    def detail(name: str, *older: str) -> str:
        return f"CASE WHEN {known} THEN coalesce({', '.join(map(_int, (name, *older)))}) END"

    return {
        "trace_id": "trace_id",
        "span_id": "span_id",
        "parent_span_id": "parent_span_id",
        "start_time_ns": "start_ns",
        "provider": "provider_name",
        "operation": "operation_name",
        "service_name": "service_name",
        "scope_name": "scope_name",
        "request_model": f"coalesce({_text(names.REQUEST_MODEL)}, {_text(names.OPENINFERENCE_MODEL)})",
        "response_model": _text(names.RESPONSE_MODEL),
        "server_address": _text(names.SERVER_ADDRESS),
        "server_port": f"({_int(names.SERVER_PORT)})::INTEGER",
        "stream": f"coalesce({_get(names.REQUEST_STREAM)} = 'true', false)",
        "input_tokens": f"CASE WHEN {split} THEN {processed_first} ELSE {first} END",
        "output_tokens": f"CASE WHEN {split} THEN {processed_second} ELSE {second} END",
        **{field.name: detail(field.attribute, *field.older) for field in names.DETAILS},
        "billed_input_tokens": f"CASE WHEN {split} THEN {first} END",
        "billed_output_tokens": f"CASE WHEN {split} THEN {second} END",
        "usage_source": f"CASE WHEN {known} THEN CASE WHEN {source} = 'estimated' THEN 'estimated' ELSE 'reported' END END",
        "raw_runtime_s": f"coalesce({_float(names.RUNTIME_RAW)}, {duration})",
        "time_to_first_chunk_s": _float(names.TIME_TO_FIRST_CHUNK),
        "consumer_s": _float(names.CONSUMER),
        "attempts": f"coalesce(nullif({_int(names.ATTEMPTS)}, 0), 1)::INTEGER",
        "retry_s": f"coalesce({_float(names.RETRY)}, 0::DOUBLE)",
        "outcome": f"coalesce({_text(names.OUTCOME)}, CASE WHEN {error} IS NOT NULL OR failed THEN 'error' ELSE 'complete' END)",
        "error_type": f"coalesce({error}, CASE WHEN failed THEN '_OTHER' END)",
        "response_id": _text(names.RESPONSE_ID),
        "request_id": _text(names.REQUEST_ID),
        "service_tier": f"coalesce({', '.join(map(_text, _TIERS))})",
        "speed": _text(names.SPEED),
        "region": _text(names.REGION),
        "finish_reasons": _array(names.FINISH_REASONS),
        "server_processing_s": _float(names.SERVER_PROCESSING),
        "client_pool_s": _float(names.CLIENT_POOL),
        "client_sdk_s": _float(names.CLIENT_SDK),
        "client_lag_s": _float(names.CLIENT_LAG),
        "client_lag_kind": _text(names.CLIENT_LAG_KIND),
        "network_s": _float(names.NETWORK),
        "network_transit_s": _float(names.NETWORK_TRANSIT),
        "sampled": f"CASE WHEN {probability} IS NOT NULL THEN {probability} < 1"
        f" WHEN {_OT_RANDOM} OR {_get(names.SAMPLED)} = 'true' THEN true END",
        "sampling_probability": probability,
        "tags": _tags(),
    }


_OT = r"(?:^|,)\s*ot=(?:[^,;]*;)*"
_OT_RANDOM = rf"regexp_matches(trace_state, '{_OT}rv:[0-9a-f]{{14}}(?:[;,\s]|$)')"
"""A random value without a threshold: OpenTelemetry's way to say sampled, with unknown probability."""


def sampling_probability(trace_state: str) -> str:
    """Probability with which a trace was kept: 1 - T/2^56, T the threshold ``ot=th:`` of its tracestate (hex, right zeros left out)."""
    threshold = rf"nullif(regexp_extract({trace_state}, '{_OT}th:([0-9a-f]{{1,14}})(?:[;,\s]|$)', 1), '')"
    return f"(1 - ('0x' || rpad({threshold}, 14, '0'))::UBIGINT / pow(2, 56))"


def _tags() -> str:
    read = ", ".join(quoted(name) for name in sorted(names.READ_NAMES | names.CONTENT))
    own = f"list_filter(pairs, lambda e: e.key NOT IN ({read}) AND NOT starts_with(e.key, 'tracewrap.') AND NOT ({_OTHERS_CONTENT}))"
    shared = f"list_filter(resource_pairs, lambda e: e.key <> {quoted(names.SERVICE_NAME)} AND e.key NOT LIKE '{_HIDDEN_RESOURCE}')"
    return f"map_concat(pairs_map({shared}), pairs_map({own}))"


def provider_name() -> str:
    """The provider of a span, old attribute name included, by today's name."""
    found = f"coalesce({', '.join(map(_text, names.PROVIDER_NAMES))})"
    today = " ".join(f"WHEN {quoted(old)} THEN {quoted(new)}" for old, new in names.PROVIDERS.items())
    return f"CASE {found} {today} ELSE {found} END"


def _in_lists(name: str) -> str:
    return f"vals[list_position(keys, {quoted(name)})]"


def calls_select(
    spans: str,
    columns: Mapping[str, str],
    extra: Mapping[str, str] | None = None,
    lookup: Callable[[str], str] = _in_lists,
) -> str:
    """SELECT of *columns* (name to expression over ``CALL_COLUMNS``) from the span relation *spans*; *extra* passes through.

    *lookup*: SQL of the text of a span's attribute; of another than the lists of ``spans``, what is plain SQL alone can be selected.
    """
    wanted = expressions()
    if lookup is not _in_lists:
        wanted = {name: sql for name, sql in wanted.items() if name not in _LISTS_ONLY}
    passed = "".join(f", {sql} AS {name}" for name, sql in (extra or {}).items())
    kept = "".join(f", {name}" for name in (extra or {}))
    inner = ", ".join(f"{sql} AS {name}" for name, sql in wanted.items())
    outer = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    ours = f"scope_name = {quoted(names.SCOPE)}"
    found = ", ".join(
        f"{f'CASE WHEN {ours} THEN NULL ELSE {lookup(name)} END' if name in _OTHERS_NAMES else lookup(name)} AS {_get(name)}"
        for name in _LOOKED_UP
    )
    named = f"SELECT *, {provider_name()} AS provider_name, {operation_name()} AS operation_name FROM (SELECT *, {found} FROM ({spans}))"
    return f"SELECT {outer}{kept} FROM (SELECT {inner}{passed} FROM ({named}))"
