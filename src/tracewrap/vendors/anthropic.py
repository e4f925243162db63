"""Anthropic's wire format: messages, on its own servers, Bedrock, Vertex, Foundry and AWS; also spoken by some gateways.

Counts: ``input_tokens`` leaves cached tokens out, so all input is ``input_tokens`` + ``cache_creation_input_tokens`` +
``cache_read_input_tokens``; ``output_tokens`` includes thinking. Streams: ``message_start`` brings the input counts and a first output
count, ``message_delta`` a cumulative one that replaces it and may repeat the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.records import Outcome, TokenUsage
from tracewrap.vendors.adapter import NOTHING, Adapter, Reply, Request, Seam, fields, get
from tracewrap.vendors.anthropic_content import read_asked, read_said
from tracewrap.vendors.checks import count, text

_MARKS = re.compile(rb'"type"\s*:\s*"(?:message_start|message_delta|message_stop|error)"')
_REQUEST_ATTRIBUTES = (
    ("temperature", "gen_ai.request.temperature", float),
    ("top_p", "gen_ai.request.top_p", float),
    ("top_k", "gen_ai.request.top_k", int),
    ("max_tokens", "gen_ai.request.max_tokens", int),
)


def read_request(path: str, body: Mapping[str, Any]) -> Request | None:
    """The inference call that *path* and *body* ask for, or None (``count_tokens``, batches and the rest)."""
    bare = path.partition("?")[0].rstrip("/")
    model, stream = body.get("model"), body.get("stream") is True
    if not bare.endswith("/messages"):
        named = _model_in_path(bare)
        if named is None:
            return None
        model = model or named[0]
        stream = stream or named[1]
    attributes: dict[str, Any] = {}
    for field, attribute, kind in _REQUEST_ATTRIBUTES:
        if field in body:
            value = body[field]
            if type(value) is kind or (kind is float and type(value) is int):
                attributes[attribute] = kind(value)
    stops = body.get("stop_sequences")
    if isinstance(stops, list | tuple) and stops:
        attributes["gen_ai.request.stop_sequences"] = tuple(map(str, stops))
    if isinstance(get(get(body.get("output_config"), "format") or body.get("output_format"), "type"), str):
        attributes["gen_ai.output.type"] = "json"
    effort = get(body.get("output_config"), "effort")
    if isinstance(effort, str):
        attributes["gen_ai.request.reasoning.level"] = effort
    name = text(model)
    region = _asked_region(bare, name)
    return Request("chat", name, stream, attributes or NOTHING, region=region, provider=_provider_of(bare))


_BEDROCK_REGION = re.compile(r"(?:^|[/:])(global|us-gov|us|eu|apac|jp|au)\.anthropic\.")


def _provider_of(path: str) -> str | None:
    """Whose path it is, where it is not Anthropic's own."""
    if path.endswith("/messages"):
        return None
    return "aws.bedrock" if "/model/" in path else "gcp.vertex_ai"


def _asked_region(path: str, model: str | None) -> str | None:
    """Where the caller wants it run: the prefix of a Bedrock model, the location in a Vertex path."""
    if model is not None and "anthropic." in model and (match := _BEDROCK_REGION.search(model)):
        return match.group(1)
    _, found, rest = path.partition("/locations/")
    return text(rest.partition("/")[0]) if found else None


def region_of(client: Any) -> str | None:
    """The location that a Vertex client was made for."""
    names = {cls.__name__ for cls in type(client).__mro__}
    return text(getattr(client, "region", None)) if names & {"AnthropicVertex", "AsyncAnthropicVertex"} else None


def _model_in_path(path: str) -> tuple[str, bool] | None:
    """(model, streaming) of a Bedrock (``/model/M/invoke``) or Vertex (``.../anthropic/models/M:rawPredict``) path."""
    head, _, last = path.rpartition("/")
    if last in ("invoke", "invoke-with-response-stream") and "/model/" in head:
        model = head.rpartition("/model/")[2]
        return (model, last != "invoke") if "anthropic" in model or "claude" in model else None
    model, _, verb = last.partition(":")
    if "/publishers/anthropic/models" in head and verb in ("rawPredict", "streamRawPredict"):
        return None if model == "count-tokens" else (model, verb != "rawPredict")
    return None


def read_usage(usage: Any) -> TokenUsage | None:
    """Anthropic's usage object, or a mapping of the counts gathered from a stream.

    The top level leaves out what was done on the way to the answer: compactions (added here: same model) and a second model's advice
    (another model, so charged at a price that is not this one's).
    """
    counts = fields(usage)
    if counts.get("input_tokens") is None and counts.get("output_tokens") is None:
        return None
    iterations = counts.get("iterations")
    first = _counted(counts)
    others = 0
    for one in iterations if isinstance(iterations, list | tuple) else ():
        kind = get(one, "type")
        if kind == "compaction":
            first = _added(first, _counted(fields(one)))
        others += kind == "advisor_message"
    others += _is_mixed(first, iterations)
    tools = counts.get("server_tool_use")
    return first._replace(
        reasoning_output_tokens=count(get(counts.get("output_tokens_details"), "thinking_tokens")),
        web_searches=count(get(tools, "web_search_requests")) or None,
        other_charges=others + (count(get(tools, "code_execution_requests")) or 0) or None,
    )


def _counted(counts: Mapping[str, Any]) -> TokenUsage:
    """The plain counts of a usage object or of one of its iterations."""
    fresh, output = count(counts.get("input_tokens")), count(counts.get("output_tokens"))
    written, read = count(counts.get("cache_creation_input_tokens")), count(counts.get("cache_read_input_tokens"))
    lifetimes = counts.get("cache_creation")
    long = count(get(lifetimes, "ephemeral_1h_input_tokens"))
    if written is None and lifetimes is not None:
        written = (count(get(lifetimes, "ephemeral_5m_input_tokens")) or 0) + (long or 0)
    return TokenUsage(
        input_tokens=None if fresh is None else fresh + (written or 0) + (read or 0),
        output_tokens=output,
        cached_input_tokens=read,
        cache_write_input_tokens=written,
        cache_write_long_input_tokens=long or None,
    )


def _added(one: TokenUsage, other: TokenUsage) -> TokenUsage:
    """Both together; a count that neither has stays absent."""
    counts = (b if a is None else a if b is None else a + b for a, b in zip(one[:-1], other[:-1], strict=True))
    return TokenUsage(*counts)  # type: ignore[arg-type]


def _fallback_model(usage: Any) -> str | None:
    """The model that answered in place of the one that was asked, as the iterations name it."""
    iterations = get(usage, "iterations")
    for one in reversed(iterations) if isinstance(iterations, list | tuple) else ():
        if get(one, "type") == "fallback_message":
            return text(get(one, "model"))
    return None


def _is_mixed(usage: TokenUsage, iterations: Any) -> bool:
    """Whether the counts at the top are those of several models: a hop that declined and the one that answered."""
    if not isinstance(iterations, list | tuple):
        return False
    answers = [one for one in iterations if get(one, "type") in ("message", "fallback_message")]
    answered = [one for one in answers if get(one, "type") == "fallback_message"]
    models = {get(one, "model") for one in answers if get(one, "model")}
    if not answered or len(models) < 2:
        return False
    alone = sum(_counted(fields(one)).input_tokens or 0 for one in answered)
    return (usage.input_tokens or 0) > alone


def read_response(response: Any) -> Reply:
    """A whole message: SDK object or parsed JSON."""
    values = fields(response)
    reason = text(values.get("stop_reason"))
    usage = values.get("usage")
    failed = values.get("type") == "error"
    return Reply(
        model=_fallback_model(usage) or text(values.get("model")),
        id=text(values.get("id")),
        usage=read_usage(usage),
        finish_reasons=(reason,) if reason else (),
        service_tier=text(get(usage, "service_tier")),
        outcome="error" if failed else None,
        error_type=_error_type(values.get("error")) if failed else None,
        speed=text(get(usage, "speed")),
        region=_region(usage),
    )


def _region(usage: Any) -> str | None:
    region = text(get(usage, "inference_geo"))
    return None if region == "not_available" else region


def _error_type(error: Any) -> str:
    return text(get(error, "type")) or "_OTHER"


def is_notable(event: Any) -> bool:
    """Whether *event* says more than generated text."""
    return fields(event).get("type") in _NOTABLE


_NOTABLE = frozenset({"message_start", "message_delta", "message_stop", "error"})


_ENDS: Mapping[str, Outcome] = {
    "succeeded": "complete",
    "errored": "error",
    "canceled": "cancelled",
    "expired": "cancelled",
}


def read_line(line: Any) -> tuple[Reply, Outcome, str | None] | None:
    """A line of a message batch's results. Its usage says ``service_tier: batch``, which has a price of its own."""
    result = get(line, "result")
    kind = get(result, "type")
    if kind not in _ENDS:
        return None
    if kind == "succeeded":
        reply = read_response(get(result, "message"))
        return reply._replace(service_tier=reply.service_tier or "batch"), "complete", None
    error = get(get(get(result, "error"), "error"), "type")
    return Reply(service_tier="batch"), _ENDS[kind], text(error) or str(kind)


def read_stream(first: Any, last: Sequence[Any], seen: int) -> Reply:
    """A stream that ended in any way. One cut before ``message_delta`` has an output count estimated from its chunks."""
    opening = next((event for event in (first, *last) if get(event, "type") == "message_start"), None)
    message = get(opening, "message")
    usage = dict(fields(get(message, "usage")))
    reason = text(get(message, "stop_reason"))
    counted, ended, error = False, False, None
    for event in last:
        kind = get(event, "type")
        if kind == "message_delta":
            news = fields(get(event, "usage"))
            usage.update({name: value for name, value in news.items() if _is_news(name, value, usage)})
            reason = text(get(get(event, "delta"), "stop_reason")) or reason
            counted = counted or news.get("output_tokens") is not None
        elif kind == "message_stop":
            ended = True
        elif kind == "error" or get(event, "error") is not None:
            error = get(event, "error") or event
    read = read_usage(usage)
    if read is not None and not counted:
        # message_start, content_block_start and the events of the end carry no text; each of the others is about a token.
        silent = 2 + sum(1 for event in last if event is not first and get(event, "type") in _SILENT)
        read = read._replace(output_tokens=max(0, seen - silent, read.output_tokens or 0), source="estimated")
    return Reply(
        model=_fallback_model(usage) or text(get(message, "model")),
        id=text(get(message, "id")),
        usage=read,
        finish_reasons=(reason,) if reason else (),
        service_tier=text(usage.get("service_tier")),
        outcome="error" if error is not None else None if ended or reason else "partial",
        error_type=None if error is None else _error_type(error),
        speed=text(usage.get("speed")),
        region=_region(usage),
    )


_SILENT = frozenset({"content_block_stop", "message_delta", "message_stop", "error"})


def _is_news(name: str, value: Any, usage: Mapping[str, Any]) -> bool:
    """Whether a later event's *value* replaces what *usage* has: counts never fall, so a 0 of the input only stands for nothing."""
    return value is not None and (value != 0 or name == "output_tokens" or not usage.get(name))


def probe_request(model: str, prompt: str, output_tokens: int, stream: bool) -> dict[str, Any]:
    """Arguments of ``messages.create`` that stop at *output_tokens*."""
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "messages": messages, "max_tokens": output_tokens, "temperature": 0, "stream": stream}


def owns_span(client: Any, options: Any, resource: Any) -> bool:
    """Whether the SDK's own span records this call, so that ours stands aside; if not, the SDK's is switched off for it.

    The SDK emits a span a call by default as soon as a TracerProvider exists. Where it would land beside ours (same *resource*, so same
    provider), one of the two has to go: the SDK's if it is on by default only, ours if the user set the SDK's to record
    message content, which ours does not. A span that goes to another provider is left alone.
    """
    tracer = getattr(client, "_tracer", None)
    tracer = getattr(tracer, "_tracer", tracer)
    if tracer is None or resource is None or getattr(tracer, "resource", None) is not resource:
        return False
    if not getattr(options, "span_name", None):
        return False
    traces = get(getattr(client, "_open_telemetry", None), "traces")
    if get(traces, "content_mode") == "content":
        return True
    options.span_name = None
    return False


_CLASSES = ("Anthropic", "AnthropicBedrock", "AnthropicBedrockMantle", "AnthropicVertex")
_BY_CLASS = {
    "AnthropicBedrock": "aws.bedrock",
    "AnthropicBedrockMantle": "aws.bedrock",
    "AnthropicAWS": "anthropic",
    "AnthropicVertex": "gcp.vertex_ai",
    "AnthropicGoogleCloud": "gcp.vertex_ai",
    "AnthropicFoundry": "azure.ai.inference",
}


def _seams() -> tuple[Seam, ...]:
    """AWS, Foundry and Google Cloud clients are subclasses of Anthropic; Bedrock and Vertex are not."""
    plain = [Seam(f"anthropic:{name}", "request") for name in _CLASSES]
    return (*plain, *(Seam(f"anthropic:Async{name}", "request", is_async=True) for name in _CLASSES))


ADAPTER = Adapter(
    provider="anthropic",
    seams=_seams(),
    read_request=read_request,
    read_response=read_response,
    read_stream=read_stream,
    probe_request=probe_request,
    read_asked=read_asked,
    read_said=read_said,
    endpoints=("/messages", "/invoke", "/invoke-with-response-stream", ":rawPredict", ":streamRawPredict"),
    owns_span=owns_span,
    is_notable=is_notable,
    marks=_MARKS,
    read_line=read_line,
    line_readers=frozenset({"JSONLDecoder", "AsyncJSONLDecoder"}),
    unrecorded="message batches that are never read (results are recorded as they are read)",
    providers_by_class={**_BY_CLASS, **{f"Async{name}": provider for name, provider in _BY_CLASS.items()}},
    headers={"request-id": "request_id", "x-envoy-upstream-service-time": "processing_ms"},
    prompt_fields=("messages", "system"),
    marker_fields=("messages",),
    models_in_path=("/model/", "/models/"),
    region_of=region_of,
    hosts={"api.anthropic.com": "anthropic"},
    # What Bedrock's regional profiles cost, its price list tells by the model's name; Vertex's regional prices it does not know.
    region_prices={"anthropic": {"us": 1.1}, "gcp.vertex_ai": {}},
    priced_as_asked=frozenset({"aws.bedrock"}),
    oldest=(0, 100),
    probe_client="anthropic:Anthropic",
    probe_methods=("messages.create", "messages.create"),
)
