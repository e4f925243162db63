"""Small made-up days of calls: span logs written line by line, catalogs with round numbers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tracewrap.records import Call
from tracewrap.semconv import call_attributes

DAY_NS = 1_795_132_800 * 10**9
"""2026-11-20T00:00:00Z."""
HOUR_NS = 3600 * 10**9


def value(item: Any) -> dict[str, Any]:
    """An OTLP-JSON AnyValue."""
    if isinstance(item, bool):
        return {"boolValue": item}
    if isinstance(item, int):
        return {"intValue": str(item)}
    if isinstance(item, float):
        return {"doubleValue": item}
    if isinstance(item, tuple | list):
        return {"arrayValue": {"values": [value(one) for one in item]}}
    return {"stringValue": str(item)}


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """OTLP-JSON attributes."""
    return [{"key": key, "value": value(item)} for key, item in values.items()]


def span(call: Call, **extra: Any) -> dict[str, Any]:
    """The OTLP-JSON span of *call*; it ends when the raw runtime is over."""
    end = call.start_time_ns + int((call.raw_runtime_s or 0.0) * 1e9)
    return {
        "traceId": call.trace_id,
        "spanId": call.span_id,
        "parentSpanId": call.parent_span_id or "",
        "name": f"chat {call.model}",
        "kind": 3,
        "startTimeUnixNano": str(call.start_time_ns),
        "endTimeUnixNano": str(end),
        "attributes": attributes(call_attributes(call)),
        "status": {"code": 2} if call.outcome == "error" else {},
    } | extra


def line(spans: Iterable[Mapping[str, Any]], service: str | None = "app", scope: str = "tracewrap") -> str:
    """One line of a span log."""
    resource = (
        {}
        if service is None
        else {"attributes": attributes({"service.name": service, "telemetry.sdk.language": "python"})}
    )
    return json.dumps(
        {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": scope}, "spans": list(spans)}]}]}
    )


def write_log(path: Path, calls: Iterable[Call], tail: str = "") -> Path:
    """A span log of *calls*, one line a service and scope in order of appearance, and *tail*."""
    grouped: dict[tuple[str | None, str], list[dict[str, Any]]] = {}
    for call in calls:
        grouped.setdefault((call.service_name, call.scope_name or "tracewrap"), []).append(span(call))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line(spans, *key) + "\n" for key, spans in grouped.items()) + tail, encoding="utf-8")
    return path


def call(number: int, hour: float = 0.0, **changes: Any) -> Call:
    """Call *number* of the day, at *hour*; our side of the wire was measured, and nothing passed there."""
    base = Call(
        trace_id=f"{number:032x}",
        span_id=f"{number:016x}",
        start_time_ns=DAY_NS + int(hour * HOUR_NS),
        provider="openai",
        operation="chat",
        service_name="app",
        scope_name="tracewrap",
        request_model="m-a",
        response_model="m-a",
        server_address="api.openai.com",
        server_port=443,
        raw_runtime_s=1.0,
        client_pool_s=0.0,
        client_sdk_s=0.0,
        network_s=0.0,
    )
    return dataclasses.replace(base, **changes)
