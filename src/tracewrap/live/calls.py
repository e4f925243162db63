"""A line of a span log and the calls in it, in what the live view keeps of each."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tracewrap import semconv
from tracewrap.records import VERDICTS, Call
from tracewrap.words import blamed

GROUPS = ("model", "provider", "deployment", "service")
"""What calls can be grouped by."""
_ESTIMATES = {
    semconv.RUNTIME_DENOISED,
    semconv.RUNTIME_IDEALIZED,
    semconv.COST_LIST,
    semconv.SPLIT_VERDICT,
    semconv.SPLIT_KIND,
    semconv.PROFILE_VERDICT,
}
_READ = semconv.READ_NAMES | _ESTIMATES | {"gen_ai.system"}
_KINDS = ("pool", "sdk", "event_loop", "threads", "consumer")


def document(line: bytes) -> Any:
    """The JSON value of *line*; None when it is none."""
    try:
        return json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def latest_end(line: bytes) -> int | None:
    """When the last call of *line* ended, in Unix nanoseconds; None where it holds none."""
    return max(filter(None, (end_ns(span) for _, span in spans(document(line)))), default=None)


def spans(document: Any) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """(service name, span) of each span; parts that are not shaped like OTLP are passed over."""
    for resource_spans in _dicts(document, "resourceSpans"):
        service = _attributes(resource_spans.get("resource"), {semconv.SERVICE_NAME}).get(semconv.SERVICE_NAME)
        for scope_spans in _dicts(resource_spans, "scopeSpans"):
            for span in _dicts(scope_spans, "spans"):
                yield service if isinstance(service, str) else None, span


def _dicts(parent: Any, name: str) -> Iterable[dict[str, Any]]:
    children = parent.get(name) if isinstance(parent, dict) else None
    return (child for child in children if isinstance(child, dict)) if isinstance(children, list) else ()


def _attributes(parent: Any, wanted: Iterable[str]) -> dict[str, Any]:
    """Attributes named in *wanted* with plain values; the first one counts when a name comes twice."""
    out: dict[str, Any] = {}
    for pair in _dicts(parent, "attributes"):
        key, value = pair.get("key"), pair.get("value")
        if isinstance(key, str) and key in wanted and key not in out and isinstance(value, dict):
            for kind in ("stringValue", "intValue", "doubleValue", "boolValue"):
                if kind in value:
                    out[key] = value[kind]
    return out


def end_ns(span: Mapping[str, Any]) -> int | None:
    """When the span ended, else began, in Unix nanoseconds."""
    return whole(span.get("endTimeUnixNano")) or whole(span.get("startTimeUnixNano"))


def whole(value: Any) -> int | None:
    """*value* as a whole number; None for what is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    try:
        return float(value) if math.isfinite(float(value)) else None
    except (TypeError, ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class LiveCall:
    """What the view keeps of a call; only a complete one has runtimes, as in the report."""

    end_ns: int
    groups: tuple[str | None, ...]
    """Its name in each of ``GROUPS``."""
    failed: bool
    retries: int
    input_tokens: int | None
    output_tokens: int | None
    raw_s: float | None
    last_attempt_s: float | None
    denoised_s: float | None
    unsure: str | None
    """The verdict of the denoised profile, where that is not ok."""
    idealized_s: float | None
    list_cost_usd: float | None
    slow_by: str | None
    """Who made it slow, in words; unknown: it was slow and nobody knows by whom; None: it was not, or has no quiet day to tell by."""


class Quiet(NamedTuple):
    """What is known of a call beside a denoised profile: seconds on a quiet day, who made it slow and what of ours it was, its verdict."""

    denoised_s: float
    verdict: str | None
    kind: str | None
    profile_verdict: str | None


Learned = Callable[[Call], Quiet | None]
"""A call beside the profiles learned by now; None: none describes it."""


def _slow_by(verdict: str | None, kind: str | None, judged: bool) -> str | None:
    """Who made a call slow; of one that was *judged*, "unknown" where it was slow and nobody was named."""
    who = blamed(verdict, kind if kind in _KINDS else None)
    return "unknown" if who is None and judged and verdict != "model" else who


def _exported_quiet(attributes: Mapping[str, Any]) -> tuple[float | None, str | None, str | None, str | None]:
    """What a call was exported with, as in ``Quiet``."""
    names = (semconv.SPLIT_VERDICT, semconv.SPLIT_KIND, semconv.PROFILE_VERDICT)
    verdict, kind, sure = (_text(attributes.get(name)) for name in names)
    return _number(attributes.get(semconv.RUNTIME_DENOISED)), verdict, kind, sure


def live_call(
    span: Mapping[str, Any], end_ns: int, service: str | None, learned: Learned | None = None
) -> tuple[str, LiveCall] | None:
    """The call that *span* describes, beside the text that identifies it; None for other spans and for spans without ids.

    *learned* wins over what the call was exported with: a report of the same calls uses it too.
    """
    trace_id, span_id, start_ns = span.get("traceId"), span.get("spanId"), whole(span.get("startTimeUnixNano"))
    if not (isinstance(trace_id, str) and isinstance(span_id, str) and trace_id and span_id and start_ns is not None):
        return None
    attributes, status = _attributes(span, _READ), span.get("status")
    try:
        call = semconv.call_from_attributes(
            attributes,
            trace_id=trace_id,
            span_id=span_id,
            start_time_ns=start_ns,
            end_time_ns=whole(span.get("endTimeUnixNano")),
            service_name=service,
            failed=isinstance(status, dict) and status.get("code") in (2, "2", "STATUS_CODE_ERROR"),
            keep_tags=False,
        )
    except (TypeError, ValueError, OverflowError):  # a value of a kind that no writer of ours makes
        return None
    if call is None:
        return None
    names = (call.model, call.provider, call.deployment.key, call.service_name or None)
    complete, usage = call.outcome == "complete", call.usage
    quiet = learned(call) if learned is not None else None
    quiet_s, verdict, kind, sure = quiet or _exported_quiet(attributes)
    who = _slow_by(verdict, kind, complete and quiet_s is not None)
    return f"{trace_id}{span_id}".lower(), LiveCall(
        end_ns=end_ns,
        groups=tuple(name if name is None else sys.intern(name) for name in names),
        failed=call.outcome == "error",
        retries=call.attempts - 1,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        raw_s=call.raw_runtime_s if complete else None,
        last_attempt_s=call.last_attempt_s if complete else None,
        denoised_s=quiet_s if complete else None,
        unsure=sys.intern(sure) if complete and sure in VERDICTS and sure != "ok" else None,
        idealized_s=_number(attributes.get(semconv.RUNTIME_IDEALIZED)) if complete else None,
        list_cost_usd=_number(attributes.get(semconv.COST_LIST)),
        slow_by=None if who is None else sys.intern(who),
    )
