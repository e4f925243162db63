"""The contract of a vendor file: ``ADAPTER = Adapter(...)``, four pure readers and the seams they read at.

The same readers serve the vendor's SDK and raw HTTP: a request is a URL path and a JSON body, a response is an SDK
object or the same thing as parsed JSON. ``get`` reads a field of either.

Request and Reply are made once a call on the hot path: named tuples, a third of the cost of a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from tracewrap.records import TokenUsage

NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return NOTHING


@dataclass(frozen=True, slots=True)
class Seam:
    """A method through which an SDK class sends its calls.

    ``target``: ``module:Class``. ``path``: the URL path the method stands for, when the method itself is not handed
    one (Cohere); None for the ``request(cast_to, options, ...)`` of openai and anthropic, which carries it.
    ``lazy``: a generator function that sends nothing until its first ``next()``.
    """

    target: str
    method: str
    is_async: bool = False
    path: str | None = None
    lazy: bool = False


class Request(NamedTuple):
    """What is asked for: facts known before the call, for the span's creation.

    ``attributes``: further span attributes (``gen_ai.request.*``, ``openai.*``), values of OpenTelemetry types.
    ``asks_usage``: body fields to add so that a stream reports its usage, None where it does so anyway or cannot.
    """

    operation: str
    model: str | None
    stream: bool = False
    attributes: Mapping[str, Any] = NOTHING
    asks_usage: Mapping[str, Any] | None = None


class Reply(NamedTuple):
    """What came back. ``usage`` None: the vendor did not say and nothing could be counted.

    ``background``: the call was only queued (background responses, batches): its runtime is not a model's.
    """

    model: str | None = None
    id: str | None = None
    usage: TokenUsage | None = None
    finish_reasons: tuple[str, ...] = ()
    service_tier: str | None = None
    attributes: Mapping[str, Any] = NOTHING
    background: bool = False


@dataclass(frozen=True, slots=True)
class Adapter:
    """One vendor.

    ``read_request(path, body)``       URL path and JSON body -> Request, or None: not an inference call.
    ``read_response(response)``        SDK object or parsed JSON -> Reply.
    ``read_stream(first, last, n)``    first chunk, the last chunks (oldest first, at most ``KEPT_CHUNKS``) and the number of chunks
                                       seen, of a stream that ended in any way -> Reply. Usage that the vendor did not send is
                                       counted from n and marked ``source="estimated"``.
    ``hides_chunk(chunk)``             whether a chunk exists only because ``asks_usage`` was added: the consumer never sees it.
    ``probe_request(model, prompt, output_tokens, stream)``  arguments of a call that yields exactly so many output tokens.
    ``provider``: default ``gen_ai.provider.name``; ``hosts``: host suffix -> provider name, for this wire format.
    """

    provider: str
    seams: tuple[Seam, ...]
    read_request: Callable[[str, Mapping[str, Any]], Request | None]
    read_response: Callable[[Any], Reply]
    read_stream: Callable[[Any, Sequence[Any], int], Reply]
    probe_request: Callable[[str, str, int, bool], dict[str, Any]]
    hides_chunk: Callable[[Any], bool] | None = None
    providers_by_class: Mapping[str, str] = field(default_factory=_nothing)
    """SDK class name -> provider name (``AzureOpenAI`` -> ``azure.ai.openai``)."""


KEPT_CHUNKS = 4


def fields(thing: Any) -> Mapping[str, Any]:
    """All fields of an SDK object or of parsed JSON as one mapping; empty for None. The fast way to read many of them."""
    if type(thing) is dict:
        return thing
    own = getattr(thing, "__dict__", None)
    if own is None:
        return NOTHING
    extra = getattr(thing, "__pydantic_extra__", None)
    return {**extra, **own} if extra else own


def get(thing: Any, name: str) -> Any:
    """Field *name* of an SDK object or of parsed JSON; None when absent."""
    if type(thing) is dict:
        return thing.get(name)
    return getattr(thing, name, None)
