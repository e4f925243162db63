"""Amazon Bedrock's own wire format, as boto3 speaks it: converse, converse-stream, invoke and invoke-with-response-stream.

Counts of converse: ``inputTokens`` leaves cached tokens out, so all input is that + ``cacheReadInputTokens`` + ``cacheWriteInputTokens``.
What is invoked answers in its maker's own format; Bedrock repeats the counts of any model in headers and, of a stream, in the
``amazon-bedrock-invocationMetrics`` of its last event. Server's time: ``latencyMs`` of converse; of a stream only the time to its first
byte is comparable with a header of others, which invoked streams alone tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from tracewrap.records import TokenUsage
from tracewrap.vendors import anthropic, cohere, openai
from tracewrap.vendors.adapter import NOTHING, Adapter, Reply, Request, Seam, fields, get
from tracewrap.vendors.bedrock_content import read_asked, read_said
from tracewrap.vendors.checks import count, text

_PATHS = {
    "Converse": "converse",
    "ConverseStream": "converse-stream",
    "InvokeModel": "invoke",
    "InvokeModelWithResponseStream": "invoke-with-response-stream",
}
_STREAMS = frozenset({"converse-stream", "invoke-with-response-stream"})
_METRICS = "amazon-bedrock-invocationMetrics"
_SETTINGS: Mapping[str, tuple[str, type[Any]]] = {
    **dict.fromkeys(("temperature",), ("gen_ai.request.temperature", float)),
    **dict.fromkeys(("topP", "top_p", "p"), ("gen_ai.request.top_p", float)),
    **dict.fromkeys(("topK", "top_k", "k"), ("gen_ai.request.top_k", int)),
    **dict.fromkeys(
        ("maxTokens", "max_tokens", "maxTokenCount", "max_gen_len", "max_new_tokens", "max_completion_tokens"),
        ("gen_ai.request.max_tokens", int),
    ),
    "seed": ("gen_ai.request.seed", int),
}
_STOPS = ("stopSequences", "stop_sequences", "stop")
_NESTED = ("inferenceConfig", "textGenerationConfig")
_MARKS = re.compile(
    rb'"(?:stopReason|latencyMs|amazon-bedrock-invocationMetrics|stop_reason|finish_reason|completionReason|error)"'
    rb'\s*:\s*["{\d]|"type"\s*:\s*"message_start"'
)
_PREFIX = re.compile(r"(?:^|[/:])(global|us-gov|us|eu|apac|jp|au)\.[a-z0-9-]+\.")
_EMBEDS = re.compile(r"embed|titan-e1t|marengo")


def read_request(path: str, body: Mapping[str, Any]) -> Request | None:
    """The inference call that *path* and *body* ask for, or None."""
    head, _, verb = path.partition("?")[0].rstrip("/").rpartition("/")
    _, found, model = head.rpartition("/model/")
    if not found or verb not in _PATHS.values():
        return None
    name = unquote(model)
    attributes: dict[str, Any] = {}
    for settings in (body, *(body.get(field) for field in _NESTED)):
        if isinstance(settings, Mapping):
            _put_settings(attributes, settings)
    prefix = _PREFIX.search(name)
    return Request(
        "embeddings" if _EMBEDS.search(name) else "chat",
        text(name),
        verb in _STREAMS,
        attributes or NOTHING,
        region=None if prefix is None else prefix.group(1),
        provider="aws.bedrock",
    )


def _put_settings(attributes: dict[str, Any], settings: Mapping[str, Any]) -> None:
    for field, value in settings.items():
        known = _SETTINGS.get(field)
        if known is not None and (type(value) is known[1] or (known[1] is float and type(value) is int)):
            attributes[known[0]] = known[1](value)
    for field in _STOPS:
        stops = settings.get(field)
        if isinstance(stops, list | tuple) and stops:
            attributes["gen_ai.request.stop_sequences"] = tuple(map(str, stops))


def read_usage(usage: Any) -> TokenUsage | None:
    """``usage`` of converse and of Nova."""
    counts = fields(usage)
    fresh, output = count(counts.get("inputTokens")), count(counts.get("outputTokens"))
    if fresh is None and output is None:
        return None
    read, written = (
        _first(counts, f"cache{what}InputTokens", f"cache{what}InputTokenCount") for what in ("Read", "Write")
    )
    long = [
        tokens
        for part in _list(counts.get("cacheDetails"))
        if get(part, "ttl") not in (None, "5m") and (tokens := count(get(part, "inputTokens"))) is not None
    ]
    return TokenUsage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (written or 0),
        output_tokens=output,
        cached_input_tokens=read,
        cache_write_input_tokens=written,
        cache_write_long_input_tokens=sum(long) or None,
    )


def _first(counts: Mapping[str, Any], *names: str) -> int | None:
    """The first of *names* that counts something: Nova, invoked, spells as the metrics of a stream do."""
    return next((found for name in names if (found := count(counts.get(name))) is not None), None)


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _metrics_usage(metrics: Any) -> TokenUsage | None:
    """Counts that Bedrock itself puts into the last event of an invoked stream."""
    counts = dict(fields(metrics))
    return read_usage(
        counts | {"inputTokens": counts.get("inputTokenCount"), "outputTokens": counts.get("outputTokenCount")}
    )


def read_response(response: Any) -> Reply:
    """A whole answer: of converse, or in the format of the model's maker."""
    kind = get(response, "type")
    if kind == "message" or (kind == "error" and get(response, "error") is not None):
        return anthropic.read_response(response)
    if get(response, "choices") is not None:
        return openai.read_response(response)
    if get(response, "generations") is not None or get(response, "generation_id") is not None:
        return cohere.read_response(response)
    latency = count(get(get(response, "metrics"), "latencyMs"))
    return Reply(
        usage=read_usage(get(response, "usage")) or _counted_by_maker([response]),
        finish_reasons=_reasons(response),
        service_tier=_tier(response),
        attributes=NOTHING if latency is None else {"tracewrap.server.processing": latency / 1000.0},
    )


def _tier(response: Any) -> str | None:
    tier = get(response, "serviceTier")
    return text(get(tier, "type") if isinstance(tier, Mapping) else tier)


def _reasons(answer: Any) -> tuple[str, ...]:
    """Why an answer or event of converse, Nova, Llama, Mistral or Titan ended."""
    places = [get(answer, "stopReason"), get(get(answer, "messageStop"), "stopReason"), get(answer, "stop_reason")]
    places += [get(one, "completionReason") for one in (answer, *_list(get(answer, "results")))]
    places += [get(one, "stop_reason") for one in _list(get(answer, "outputs"))]
    return tuple(reason for place in places if (reason := text(place)))


def _counted_by_maker(events: Sequence[Any]) -> TokenUsage | None:
    """Counts of Llama and Titan, whole or in the events of a stream."""
    inputs = outputs = None
    for event in events:
        given = count(get(event, "prompt_token_count"))
        given = count(get(event, "inputTextTokenCount")) if given is None else given
        inputs = inputs if given is None else given
        made = count(get(event, "generation_token_count"))
        made = count(get(event, "totalOutputTextTokenCount")) if made is None else made
        results = [
            tokens for one in _list(get(event, "results")) if (tokens := count(get(one, "tokenCount"))) is not None
        ]
        made = sum(results) if made is None and results else made
        outputs = outputs if made is None else made
    return None if inputs is None and outputs is None else TokenUsage(inputs, outputs)


def is_notable(event: Any) -> bool:
    """Whether *event* says more than generated text."""
    return any(get(event, name) is not None for name in ("stopReason", "metrics", "error", _METRICS, "stop_reason"))


def read_stream(first: Any, last: Sequence[Any], seen: int) -> Reply:
    """A stream that ended in any way; of one without its end the output is estimated from its events."""
    metrics = next((found for event in reversed(last) if (found := get(event, _METRICS)) is not None), None)
    error = next((get(event, "error") for event in last if get(event, "error") is not None), None)
    if get(first, "type") == "message_start":
        reply = anthropic.read_stream(first, last, seen)
    elif get(first, "choices") is not None:
        reply = openai.read_stream(first, last, seen)
    else:
        reply = _read_events(last, seen)
    counted = _metrics_usage(metrics)
    if counted is not None and (
        reply.usage is None or reply.usage.input_tokens is None or reply.usage.source == "estimated"
    ):
        reply = reply._replace(usage=counted)
    if error is not None:
        reply = reply._replace(outcome="error", error_type=text(get(error, "type")) or "_OTHER")
    latency = count(get(metrics, "firstByteLatency"))
    if latency is not None:
        attributes = {**reply.attributes, "tracewrap.server.processing": latency / 1000.0}
        reply = reply._replace(attributes=attributes)
    return reply


def _read_events(last: Sequence[Any], seen: int) -> Reply:
    """Events of converse, or of a maker whose format tells no more than text and why it ended."""
    usage = next((found for event in reversed(last) if (found := read_usage(get(event, "usage"))) is not None), None)
    usage = usage or _counted_by_maker(last)
    reasons = tuple(reason for event in last for reason in _reasons(event))
    if usage is None and seen:
        # converse opens with messageStart; what came after is about a token each, but for the end of a block
        ends = 1 + sum(1 for event in last if set(fields(event)) - {"p"} == {"contentBlockIndex"})
        usage = TokenUsage(output_tokens=max(0, seen - ends), source="estimated")
    tier = next((one for event in last if (one := _tier(event)) is not None), None)
    return Reply(usage=usage, finish_reasons=reasons, service_tier=tier, outcome=None if reasons else "partial")


def sdk_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Path and body of ``BaseClient._make_api_call(operation_name, api_params)``; None: another operation, another service."""
    operation = args[1] if len(args) > 1 else kwargs.get("operation_name")
    verb = _PATHS.get(operation) if isinstance(operation, str) else None
    if verb is None:
        return None
    params = args[2] if len(args) > 2 else kwargs.get("api_params")
    body = params if "converse" in verb else _invoked(get(params, "body"))
    return f"/model/{get(params, 'modelId')}/{verb}", body


def _invoked(body: Any) -> Mapping[str, Any]:
    """The JSON that a model is invoked with; a file is not read for us."""
    try:
        value = json.loads(body) if isinstance(body, str | bytes | bytearray) else None
    except ValueError:
        value = None
    return value if type(value) is dict else {}


def base_url_of(client: Any) -> Any:
    """Where a client of botocore sends to."""
    return client.meta.endpoint_url


def region_of(client: Any) -> str | None:
    """The region that a client was made for."""
    return text(client.meta.region_name)


def refuses(client: Any) -> str | None:
    """What a client of botocore is, where it is not the one that runs models."""
    service = client.meta.service_model.service_name
    return (
        None if service == "bedrock-runtime" else f"a boto3 client of {service!r}; models run through 'bedrock-runtime'"
    )


def probe_request(model: str, prompt: str, output_tokens: int, stream: bool) -> dict[str, Any]:
    """Arguments of ``converse`` that stop at *output_tokens*."""
    return {
        "modelId": model,
        "messages": [{"role": "user", "content": [{"text": prompt}]}],
        "inferenceConfig": {"maxTokens": output_tokens, "temperature": 0.0},
    }


ADAPTER = Adapter(
    provider="aws.bedrock",
    name="bedrock",
    package="botocore",
    seams=(Seam("botocore.client:BaseClient", "_make_api_call", kind="operation"),),
    read_request=read_request,
    read_response=read_response,
    read_stream=read_stream,
    probe_request=probe_request,
    read_asked=read_asked,
    read_said=read_said,
    sdk_arguments=sdk_arguments,
    sender="_endpoint",
    base_url_of=base_url_of,
    region_of=region_of,
    refuses=refuses,
    endpoints=tuple(f"/{verb}" for verb in _PATHS.values()),
    is_notable=is_notable,
    marks=_MARKS,
    headers={
        "x-amzn-requestid": "request_id",
        "x-amzn-bedrock-invocation-latency": "processing_ms",
        "x-amzn-bedrock-input-token-count": "input_tokens",
        "x-amzn-bedrock-output-token-count": "output_tokens",
    },
    prompt_fields=("messages", "system", "prompt", "inputText", "message", "texts", "inputs"),
    marker_fields=("messages", "prompt", "inputText", "message", "texts", "inputs", "inputImage"),
    models_in_path=("/model/",),
    hosts={"amazonaws.com": "aws.bedrock"},
    oldest=(1, 38),
    unrecorded="agents, knowledge bases, batch and asynchronous invocations, streams in both directions (Sonic); aiobotocore",
)
