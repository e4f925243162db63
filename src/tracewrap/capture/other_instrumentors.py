"""Others who trace the same call: the SDK itself, and OpenTelemetry instrumentors of the same SDK. One call, one billable span.

* An instrumentor above us has a span of this call open: we start none and add what we measured to theirs, which they end. It is the
  current one, or one that was begun here a moment ago and not made current (OpenLLMetry's of Anthropic).
* The SDK below us would start a span: ``Adapter.owns_span`` decides; see the vendor file.
Both only where the other span goes the same way as ours (same provider, seen by its resource); a span that goes elsewhere is no duplicate.

* An instrumentor has wrapped the very method of a seam (OpenInference wraps ``OpenAI.request``): ours goes below theirs (``insert``).
  Above it, our span would be open before theirs and both would be billable; below it, theirs is the current span and ours adds to it.
  Their wrapper is wrapt's or one made like it: it calls what its ``__wrapped__`` names.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from time import time_ns
from typing import Any

from opentelemetry import trace

from tracewrap import semconv
from tracewrap.vendors.adapter import Request

_adopted: weakref.WeakSet[Any] = weakref.WeakSet()
_begun: ContextVar[weakref.ref[Any] | None] = ContextVar("tracewrap_begun_span", default=None)
"""The span that another library began last in this context."""
_MOMENT_NS = 10**9
"""So long after it began a span that is not current may be this call's: an instrumentor begins it right before it calls on."""
_KINDS = {"LLM": ("chat", "text_completion"), "EMBEDDING": ("embeddings",)}
"""OpenInference's span kinds -> operations."""
_LLM_ONLY = frozenset({"llm.invocation_parameters", "llm.model_name"})
"""Attributes by which OpenInference's span of a model's call is known before it has its kind, which some are given at their end."""
_USAGE = (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS, "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
_inserted: list[tuple[type, str, Any, Any, Any, str]] = []
"""(class, attribute, their wrapper, what it wrapped, our replacement of that, vendor)."""


def begun(span: Any) -> None:
    """*span* of the program's provider begins here. Never raises into the program."""
    scope = getattr(span, "instrumentation_scope", None)
    if scope is not None and scope.name != semconv.SCOPE:
        _begun.set(weakref.ref(span))


def any_begun() -> bool:
    """Whether another library ever began a span in this context."""
    return _begun.get() is not None


def open_span_of(request: Request, resource: object) -> Any:
    """The span that somebody else has opened for this very call; None where there is none. Given out once."""
    found = _if_this_calls(trace.get_current_span(), request, resource)
    if found is not None:
        return found
    last = _begun.get()
    span = None if last is None else last()
    if span is None or abs(time_ns() - (getattr(span, "start_time", None) or 0)) > _MOMENT_NS:
        return None
    return _if_this_calls(span, request, resource)


def _if_this_calls(span: Any, request: Request, resource: object) -> Any:
    """*span*, if it is open, goes where ours would go, describes this call and is nobody's yet."""
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


def says_usage(attributes: Mapping[str, Any]) -> bool:
    """Whether a span with *attributes* says how many tokens its call took."""
    return any(name in attributes for name in _USAGE)


def ended_silent(span: Any) -> bool:
    """Whether another's *span* has ended without a word of tokens."""
    return getattr(span, "end_time", None) is not None and not says_usage(span.attributes or {})


def _describes(attributes: Mapping[str, Any], request: Request) -> bool:
    operation = attributes.get(semconv.OPERATION)
    if operation is None:
        kind = attributes.get("openinference.span.kind") or ("LLM" if _LLM_ONLY & attributes.keys() else None)
        return request.operation in _KINDS.get(str(kind), ())
    same = operation == request.operation or {operation, request.operation} <= semconv.GENERATION_OPERATIONS
    return same and _is_model(attributes.get(semconv.REQUEST_MODEL), request.model)


def _is_model(theirs: Any, ours: str | None) -> bool:
    """Whether both name one model: some leave out whose it is (``amazon.``, ``us.anthropic.``), some where it lies (``models/``)."""
    if theirs is None or theirs == ours:
        return True
    if not isinstance(theirs, str) or ours is None:
        return False
    short, long = sorted((theirs, ours), key=len)
    return long.endswith((f".{short}", f"/{short}"))


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
