"""Others who trace the same call: the SDK itself, and OpenTelemetry instrumentors of the same SDK. One call, one billable span.

* An instrumentor above us has a span of this call open and current: we start none and add what we measured to theirs, which they end.
* The SDK below us would start a span: ``Adapter.owns_span`` decides; see the vendor file.
Both only where the other span goes the same way as ours (same provider, seen by its resource); a span that goes elsewhere is no duplicate.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace

from tracewrap import semconv
from tracewrap.vendors.adapter import Request

_adopted: weakref.WeakSet[Any] = weakref.WeakSet()
_KINDS = {"LLM": ("chat", "text_completion"), "EMBEDDING": ("embeddings",)}
"""OpenInference's span kinds -> operations."""


def open_span_of(request: Request, resource: object) -> Any:
    """The current span, if somebody else has opened it for this very call; None otherwise. Given out once."""
    span: Any = trace.get_current_span()
    if (
        span is trace.INVALID_SPAN
        or not span.is_recording()
        or resource is None
        or getattr(span, "resource", None) is not resource
    ):
        return None
    scope = getattr(span, "instrumentation_scope", None)
    attributes = getattr(span, "attributes", None)
    if scope is None or scope.name == semconv.SCOPE or not attributes or not _describes(attributes, request):
        return None
    if span in _adopted:
        return None
    _adopted.add(span)
    return span


def _describes(attributes: Mapping[str, Any], request: Request) -> bool:
    operation = attributes.get(semconv.OPERATION)
    if operation is None:
        return request.operation in _KINDS.get(str(attributes.get("openinference.span.kind")), ())
    model = attributes.get(semconv.REQUEST_MODEL)
    return bool(operation == request.operation and model in (None, request.model))
