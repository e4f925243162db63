"""Others who trace the same call: the SDK itself, and OpenTelemetry instrumentors of the same SDK. One call, one billable span.

* An instrumentor above us has a span of this call open and current: we start none and add what we measured to theirs, which they end.
* The SDK below us would start a span: ``Adapter.owns_span`` decides; see the vendor file.
Both only where the other span goes the same way as ours (same provider, seen by its resource); a span that goes elsewhere is no duplicate.

* An instrumentor has wrapped the very method of a seam (OpenInference wraps ``OpenAI.request``): ours goes below theirs (``insert``).
  Above it, our span would be open before theirs and both would be billable; below it, theirs is the current span and ours adds to it.
  Their wrapper is wrapt's or one made like it: it calls what its ``__wrapped__`` names.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import trace

from tracewrap import semconv
from tracewrap.vendors.adapter import Request

_adopted: weakref.WeakSet[Any] = weakref.WeakSet()
_KINDS = {"LLM": ("chat", "text_completion"), "EMBEDDING": ("embeddings",)}
"""OpenInference's span kinds -> operations."""
_inserted: list[tuple[type, str, Any, Any, Any, str]] = []
"""(class, attribute, their wrapper, what it wrapped, our replacement of that, vendor)."""


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


def insert(cls: type, name: str, make: Callable[[Any], Any], vendor: str) -> bool:
    """Put the replacement that *make* gives below another's wrapper of *name*; False when there is none to go below."""
    wrapper: Any = cls.__dict__.get(name)
    if not any(parent.__name__ == "FunctionWrapper" for parent in type(wrapper).__mro__):
        return False
    if any(entry[2] is wrapper for entry in _inserted):
        return True
    inner: Any = wrapper.__wrapped__
    ours = make(inner)
    wrapper.__wrapped__ = ours
    _inserted.append((cls, name, wrapper, inner, ours, vendor))
    return True


def remove(vendors: tuple[str, ...]) -> None:
    """Take ours out again, of *vendors* or of all: from below their wrapper or, where they have gone, from the class."""
    for entry in [entry for entry in _inserted if not vendors or entry[5] in vendors]:
        cls, name, wrapper, inner, ours, _ = entry
        _inserted.remove(entry)
        if wrapper.__wrapped__ is ours:
            wrapper.__wrapped__ = inner
        if cls.__dict__.get(name) is ours:
            setattr(cls, name, inner)
