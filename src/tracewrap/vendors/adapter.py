"""The contract of a vendor file: ``ADAPTER = Adapter(...)``, four pure readers and the seams they read at.

The same readers serve the vendor's SDK and raw HTTP: a request is a URL path and a JSON body, a response is an SDK
object or the same thing as parsed JSON. ``get`` reads a field of either.

Request and Reply are made once a call on the hot path: named tuples, a third of the cost of a frozen dataclass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from tracewrap.records import Outcome, TokenUsage

NOTHING: Mapping[str, Any] = MappingProxyType({})


HeaderKind = Literal["request_id", "processing_ms", "server_timing", "input_tokens", "output_tokens"]


def _nothing() -> Mapping[str, Any]:
    return NOTHING


def _always(_: Any) -> bool:
    return True


_MARKS = re.compile(rb'"(?:usage|error|finish_reason|stop_reason)"\s*:\s*[{"]')


@dataclass(frozen=True, slots=True)
class Seam:
    """A method through which an SDK class sends its calls.

    ``target``: ``module:Class``. ``kind`` says what the method is:
        ``options``  ``request(cast_to, options, ...)`` of the openai and anthropic SDKs; options carry path and body;
        ``http``     returns the HTTP response, read; ``Adapter.sdk_arguments`` finds path and body;
        ``segments`` returns an object that holds the answer's text (``response_stream``), or gives its parsed chunks (``segments()``,
                     ``async_segments()``), as google-genai does; path and body as for ``http``;
        ``managed``  returns a context manager of the HTTP response, yet to be read;
        ``operation`` botocore's ``_make_api_call(name, parameters)``; returns the parsed answer, whose body may be read later;
        ``batched``  one call of the user's that may send several requests, from threads of its own; returns the SDK's answer.
    ``client``: the class users hold, where it is not ``target``. ``via``: dotted attribute of the user's client that holds the object
    requests are sent by, which is the target's instance where ``client`` is given.
    """

    target: str
    method: str
    is_async: bool = False
    kind: Literal["options", "http", "segments", "operation", "managed", "batched"] = "options"
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
    region: str | None = None
    """Where the caller wants it run, as far as path or model name tell."""
    provider: str | None = None
    """Who serves such a path, whatever host it is at."""


class Reply(NamedTuple):
    """What came back: every value has passed ``vendors.checks``. ``usage`` None: the vendor did not say and nothing could be counted.

    ``background``: the call was only queued (background responses, batches): its runtime is not a model's.
    ``outcome``, ``error_type``: what the answer itself says of how the call ended: a failure told in a 200, a stream without its
    end; None: nothing, so as it ended for the reader.
    """

    model: str | None = None
    id: str | None = None
    usage: TokenUsage | None = None
    finish_reasons: tuple[str, ...] = ()
    service_tier: str | None = None
    attributes: Mapping[str, Any] = NOTHING
    background: bool = False
    outcome: Outcome | None = None
    error_type: str | None = None
    speed: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Adapter:
    """One vendor.

    ``read_request(path, body)``       URL path and JSON body -> Request, or None: not an inference call.
    ``read_response(response)``        SDK object or parsed JSON -> Reply.
    ``read_stream(first, last, n)``    first chunk, the chunks kept (oldest first: every notable one, and the last few) and the number of
                                       chunks seen, of a stream that ended in any way -> Reply. Usage that the vendor did not send is
                                       counted from n and marked ``source="estimated"``.
    ``is_notable(chunk)``              whether a chunk says more than generated text: usage, an end, an error, names.
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
    name: str = ""
    """What users call the vendor: ``instrument(name)``, ``tracewrap-name``; "": as ``provider``."""
    package: str = ""
    """What the SDK is installed as; "": the first part of its modules' names."""
    http_clients: Mapping[str, tuple[str, ...]] = field(default_factory=_nothing)
    """``module:Class`` of clients that are read as bare HTTP -> dotted attributes that hold their httpx clients; of SDKs without seams."""
    is_notable: Callable[[Any], bool] = _always
    marks: re.Pattern[bytes] = _MARKS
    """What the bytes of a notable event hold; an event that holds it need not be notable."""
    end_marks: frozenset[bytes] = frozenset({b"[DONE]"})
    """Data of an event that is no chunk and says that the stream is whole."""
    hides_chunk: Callable[[Any], bool] | None = None
    hidden_shape: tuple[str, Any] | None = None
    """(field, value) of the chunk that ``hides_chunk`` hides, where that function itself fails."""
    hidden_bytes: re.Pattern[bytes] | None = None
    """The event of that chunk as bytes, likewise."""
    providers_by_class: Mapping[str, str] = field(default_factory=_nothing)
    """SDK class name -> provider name (``AzureOpenAI`` -> ``azure.ai.openai``)."""
    endpoints: tuple[str, ...] = ()
    """Endings of the URL paths of inference calls: bare HTTP is looked at only for these."""
    sdk_arguments: Callable[[tuple[Any, ...], Mapping[str, Any]], tuple[str, Any] | None] | None = None
    """Positional (client first) and keyword arguments of an ``http`` or ``managed`` seam -> path and body; None: not a call."""
    sender: str | None = None
    """Attribute of the object of an ``http``, ``managed``, ``segments`` or ``operation`` seam that holds what sends its requests."""
    async_sender: str | None = None
    """The same of async seams, where it has another name."""
    base_url_of: Callable[[Any], Any] | None = None
    """Object of a seam -> its base URL, where that is no ``base_url`` of it."""
    refuses: Callable[[Any], str | None] | None = None
    """Client of the SDK -> what it is, in words, where ``wrap`` has nothing to record of it; None: it is wrapped."""
    provider_of: Callable[[Any], str | None] | None = None
    """Object of a seam -> provider, where it says so itself; None: by class and address."""
    batch_of: Callable[[Mapping[str, Any]], tuple[str, Any, Sequence[Any]] | None] | None = None
    """Keyword arguments of a ``batched`` seam -> path, body and items; each request below it begins with one of the items."""
    owns_span: Callable[[Any, Any, Any], bool] | None = None
    """(client, options, our spans' resource) -> whether the SDK's own span records the call and ours stands aside."""
    read_line: Callable[[Any], tuple[Reply, Outcome, str | None] | None] | None = None
    """A result line of one of the vendor's batches -> what came back, how it ended, error type; None: not a result."""
    read_asked: Callable[[Mapping[str, Any]], Any] | None = None
    """Body of a request -> ``messages.Content``; asked only where message content is wanted."""
    read_said: Callable[[Sequence[Any]], list[dict[str, Any]]] | None = None
    """A whole answer, or all chunks of a stream -> the model's messages; likewise."""
    unrecorded: str = ""
    """What the SDK can do and we never record, by name; logged once when its clients are wrapped or instrumented."""
    line_readers: frozenset[str] = frozenset()
    """Classes of the SDK that read result lines."""
    errors_by_status: Mapping[int, str] = field(default_factory=dict)
    """HTTP status -> name of the exception the SDK raises for it, where the seam sees the status but not the exception."""
    headers: Mapping[str, HeaderKind] = field(default_factory=_nothing)
    """Response header, in small letters -> what it says."""
    prompt_fields: tuple[str, ...] = ()
    """Body fields that hold what the model is asked: their text is counted where nobody reports it."""
    marker_fields: tuple[str, ...] = ()
    """Body fields of which an inference request has one; () : ``prompt_fields``."""
    batch_fields: tuple[str, ...] = ()
    """Body fields that hold the items of a request that is part of a ``batched`` call."""
    models_in_path: tuple[str, ...] = ()
    """Parts of a URL path that name the model, so that the body need not."""
    modelless_endpoints: tuple[str, ...] = ()
    """Endpoints at which neither path nor body need name a model."""
    own_attributes: Mapping[str, frozenset[str]] = field(default_factory=_nothing)
    """Attribute of requests -> the providers it belongs to: spans of others that speak this wire format do not have it."""
    region_of: Callable[[Any], str | None] | None = None
    """Client of the SDK -> the region it was made for, where that is part of the price."""
    hosts: Mapping[str, str] = field(default_factory=_nothing)
    """Host or parent domain -> ``gen_ai.provider.name``, of all who speak this wire format; OpenTelemetry's value where it has one."""
    stream_usage: frozenset[str] = frozenset()
    """Providers known to accept ``asks_usage``."""
    price_ids: Mapping[str, str] = field(default_factory=_nothing)
    """Provider -> its id in the price list, where the two differ."""
    region_prices: Mapping[str, Mapping[str, float]] = field(default_factory=_nothing)
    """Provider -> region -> how many times the listed price it costs there; a region that is not named has no known price.

    Providers that are not named cost the same everywhere, or their price list tells regions apart by the model's name.
    """
    priced_as_asked: frozenset[str] = frozenset()
    """Providers whose answers name the model less exactly than what was asked for."""
    oldest: tuple[int, ...] = ()
    """First release of the SDK's previous major that is tested."""
    probe_client: str = ""
    """``module:Class`` of the synchronous client that probes call, made without arguments or with ``base_url``."""
    base_url_in_options: bool = False
    """That client takes ``http_options={"base_url": ...}`` in place of ``base_url``."""
    probe_methods: tuple[str, str] = ("", "")
    """Dotted methods of that client that ``probe_request`` makes arguments for: plain and streamed."""
    probe_arguments: Mapping[str, Any] = field(default_factory=_nothing)
    """Further arguments of those methods: no retries, where ``with_options(max_retries=0)`` does not exist."""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.provider)
        if not self.package:
            object.__setattr__(self, "package", self.seams[0].target.partition(":")[0].partition(".")[0])


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
