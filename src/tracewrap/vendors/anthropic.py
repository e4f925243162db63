"""Anthropic's wire format: messages, on its own servers, Bedrock, Vertex, Foundry and AWS; also spoken by some gateways.

Counts: ``input_tokens`` leaves cached tokens out, so all input is ``input_tokens`` + ``cache_creation_input_tokens`` +
``cache_read_input_tokens``; ``output_tokens`` includes thinking. Streams: ``message_start`` brings the input counts and a first output
count, ``message_delta`` a cumulative one that replaces it and may repeat the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.records import Outcome, TokenUsage
from tracewrap.vendors.adapter import NOTHING, Adapter, Reply, Request, Seam, fields, get

_REQUEST_ATTRIBUTES = (
    ("temperature", "gen_ai.request.temperature", float),
    ("top_p", "gen_ai.request.top_p", float),
    ("top_k", "gen_ai.request.top_k", int),
    ("max_tokens", "gen_ai.request.max_tokens", int),
)
_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


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
    for field, name, kind in _REQUEST_ATTRIBUTES:
        if field in body:
            value = body[field]
            if type(value) is kind or (kind is float and type(value) is int):
                attributes[name] = kind(value)
    stops = body.get("stop_sequences")
    if isinstance(stops, list | tuple) and stops:
        attributes["gen_ai.request.stop_sequences"] = tuple(map(str, stops))
    effort = get(body.get("output_config"), "effort")
    if isinstance(effort, str):
        attributes["gen_ai.request.reasoning.level"] = effort
    return Request("chat", model if isinstance(model, str) else None, stream, attributes or NOTHING)


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
    """Anthropic's usage object, or a mapping of the counts gathered from a stream."""
    counts = fields(usage)
    first, second = counts.get("input_tokens"), counts.get("output_tokens")
    if first is None and second is None:
        return None
    written, read = counts.get("cache_creation_input_tokens"), counts.get("cache_read_input_tokens")
    return TokenUsage(
        input_tokens=None if first is None else first + (written or 0) + (read or 0),
        output_tokens=second,
        cached_input_tokens=read,
        cache_write_input_tokens=written,
        reasoning_output_tokens=get(counts.get("output_tokens_details"), "thinking_tokens"),
    )


def read_response(response: Any) -> Reply:
    """A whole message: SDK object or parsed JSON."""
    values = fields(response)
    reason = values.get("stop_reason")
    usage = values.get("usage")
    return Reply(
        model=values.get("model"),
        id=values.get("id"),
        usage=read_usage(usage),
        finish_reasons=(reason,) if reason else (),
        service_tier=get(usage, "service_tier"),
    )


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
    return Reply(service_tier="batch"), _ENDS[kind], str(error or kind)


def read_stream(first: Any, last: Sequence[Any], count: int) -> Reply:
    """A stream that ended in any way. One cut before ``message_delta`` has an output count estimated from its chunks."""
    message = get(first, "message")
    usage = dict(fields(get(message, "usage")))
    reason = get(message, "stop_reason")
    complete = False
    for event in last:
        if get(event, "type") == "message_delta":
            news = fields(get(event, "usage"))
            usage.update({name: value for name, value in news.items() if value is not None})
            reason = get(get(event, "delta"), "stop_reason") or reason
            complete = complete or news.get("output_tokens") is not None
    read = read_usage(usage)
    if read is not None and not complete:
        # message_start and content_block_start carry no text; what came after is about a token each.
        read = _estimated(read, max(0, count - 2))
    return Reply(
        model=get(message, "model"),
        id=get(message, "id"),
        usage=read,
        finish_reasons=(reason,) if reason else (),
        service_tier=usage.get("service_tier"),
    )


def _estimated(usage: TokenUsage, output_tokens: int) -> TokenUsage:
    return TokenUsage(
        input_tokens=usage.input_tokens,
        output_tokens=max(output_tokens, usage.output_tokens or 0),
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_input_tokens=usage.cache_write_input_tokens,
        source="estimated",
    )


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


_CLASSES = {
    "anthropic": ("Anthropic", "AnthropicBedrock", "AnthropicBedrockMantle", "AnthropicVertex"),
}
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
    names = [f"{module}:{name}" for module, classes in _CLASSES.items() for name in classes]
    plain = [Seam(name, "request") for name in names]
    return (*plain, *(Seam(name.replace(":", ":Async"), "request", is_async=True) for name in names))


ADAPTER = Adapter(
    provider="anthropic",
    seams=_seams(),
    read_request=read_request,
    read_response=read_response,
    read_stream=read_stream,
    probe_request=probe_request,
    endpoints=("/messages", "/invoke", "/invoke-with-response-stream", ":rawPredict", ":streamRawPredict"),
    owns_span=owns_span,
    read_line=read_line,
    unrecorded="message batches that are never read (results are recorded as they are read)",
    providers_by_class={**_BY_CLASS, **{f"Async{name}": provider for name, provider in _BY_CLASS.items()}},
)
