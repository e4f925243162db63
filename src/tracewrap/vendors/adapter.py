"""The contract of a vendor file: ``ADAPTER = Adapter(...)``, four pure readers and the seams they read at.

The same readers serve the vendor's SDK and raw HTTP: a request is a URL path and a JSON body, a response is an SDK
object or the same thing as parsed JSON. ``get`` reads a field of either.

Request and Reply are made once a call on the hot path: named tuples, a third of the cost of a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from tracewrap.records import Outcome, TokenUsage

NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return NOTHING


@dataclass(frozen=True, slots=True)
class Seam:
    """A method through which an SDK class sends its calls.

    ``target``: ``module:Class``. ``kind`` says what the method is:
        ``options``  ``request(cast_to, options, ...)`` of the openai and anthropic SDKs; options carry path and body;
        ``http``     returns the HTTP response, read; ``Adapter.sdk_arguments`` finds path and body;
        ``managed``  returns a context manager of the HTTP response, yet to be read;
        ``batched``  one call of the user's that may send several requests, from threads of its own; returns the SDK's answer.
    ``client``: the class users hold, where it is not ``target``. ``via``: dotted attribute of the user's client that holds the object
    requests are sent by, which is the target's instance where ``client`` is given.
    """

    target: str
    method: str
    is_async: bool = False
    kind: Literal["options", "http", "managed", "batched"] = "options"
    client: str | None = None
    via: str | None = None


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
    endpoints: tuple[str, ...] = ()
    """Endings of the URL paths of inference calls: bare HTTP is looked at only for these."""
    sdk_arguments: Callable[[tuple[Any, ...], Mapping[str, Any]], tuple[str, Any] | None] | None = None
    """Positional (client first) and keyword arguments of an ``http`` or ``managed`` seam -> path and body; None: not a call."""
    sender: str | None = None
    """Attribute of the object of an ``http`` or ``managed`` seam that holds its httpx client."""
    batch_of: Callable[[Mapping[str, Any]], tuple[str, Any, Sequence[Any]] | None] | None = None
    """Keyword arguments of a ``batched`` seam -> path, body and items; each request below it begins with one of the items."""
    owns_span: Callable[[Any, Any, Any], bool] | None = None
    """(client, options, our spans' resource) -> whether the SDK's own span records the call and ours stands aside."""
    read_line: Callable[[Any], tuple[Reply, Outcome, str | None] | None] | None = None
    """A result line of one of the vendor's batches -> what came back, how it ended, error type; None: not a result."""
    unrecorded: str = ""
    """What the SDK can do and we never record, by name; logged once when its clients are wrapped or instrumented."""
    errors_by_status: Mapping[int, str] = field(default_factory=dict)
    """HTTP status -> name of the exception the SDK raises for it, where the seam sees the status but not the exception."""


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
