"""OpenAI's wire format: chat completions, responses, completions, embeddings; also spoken by most model servers.

Counts: ``prompt_tokens`` / ``input_tokens`` include cached tokens, ``completion_tokens`` / ``output_tokens`` include reasoning ones.
Streams: chat and completions report usage only when ``stream_options.include_usage`` is set, in a last chunk without choices;
responses always report it, in ``response.completed``. A chat stream opens with a chunk that carries only the role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.records import TokenUsage
from tracewrap.vendors.adapter import NOTHING, Adapter, Reply, Request, Seam, fields, get

_OPERATIONS = {
    "/chat/completions": "chat",
    "/responses": "chat",
    "/completions": "text_completion",
    "/embeddings": "embeddings",
}
_API_TYPES = {"/chat/completions": "chat_completions", "/responses": "responses"}
_REQUEST_ATTRIBUTES: Mapping[str, tuple[str, type[Any]]] = {
    "temperature": ("gen_ai.request.temperature", float),
    "top_p": ("gen_ai.request.top_p", float),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
    "seed": ("gen_ai.request.seed", int),
    "previous_response_id": ("gen_ai.request.previous_response.id", str),
    "reasoning_effort": ("gen_ai.request.reasoning.level", str),
    "dimensions": ("gen_ai.embeddings.dimension.count", int),
}
_MAX_TOKENS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_RARER = frozenset(
    {*_MAX_TOKENS, "stop", "n", "reasoning", "service_tier", "response_format", "text", "encoding_format"}
)
_ASK_USAGE: Mapping[str, Any] = {"stream_options": {"include_usage": True}}
_RESPONSE_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


def _endpoint(path: str) -> str | None:
    """The endpoint of *path*, whatever prefix (``/v1``, ``/openai/deployments/x``) and query it carries."""
    bare = path.partition("?")[0].rstrip("/")
    if bare in _OPERATIONS:
        return bare
    for endpoint in _OPERATIONS:
        if bare.endswith(endpoint):
            return endpoint
    return None


def read_request(path: str, body: Mapping[str, Any]) -> Request | None:
    """The inference call that *path* and *body* ask for, or None."""
    endpoint = _endpoint(path)
    if endpoint is None:
        return None
    attributes: dict[str, Any] = {}
    if endpoint in _API_TYPES:
        attributes["openai.api.type"] = _API_TYPES[endpoint]
    rarer = False
    for field in body:  # a body has fewer fields than there are attributes to look for
        if field in _REQUEST_ATTRIBUTES:
            (name, kind), value = _REQUEST_ATTRIBUTES[field], body[field]
            if type(value) is kind or (kind is float and type(value) is int):
                attributes[name] = kind(value)
        elif field in _RARER:
            rarer = True
    if rarer:
        _rarer_attributes(body, attributes)
    stream = body.get("stream") is True
    model = body.get("model")
    asks = _ASK_USAGE if stream and endpoint.endswith("completions") and not body.get("stream_options") else None
    return Request(
        _OPERATIONS[endpoint], model if isinstance(model, str) else None, stream, attributes or NOTHING, asks
    )


def _rarer_attributes(body: Mapping[str, Any], attributes: dict[str, Any]) -> None:
    """Attributes that need more than a copy."""
    for field in _MAX_TOKENS:
        if type(body.get(field)) is int:
            attributes["gen_ai.request.max_tokens"] = body[field]
            break
    stop = body.get("stop")
    if stop:
        attributes["gen_ai.request.stop_sequences"] = (stop,) if isinstance(stop, str) else tuple(map(str, stop))
    count = body.get("n")
    if type(count) is int and count != 1:
        attributes["gen_ai.request.choice.count"] = count
    reasoning = body.get("reasoning")
    if isinstance(reasoning, Mapping) and isinstance(reasoning.get("effort"), str):
        attributes["gen_ai.request.reasoning.level"] = reasoning["effort"]
    tier = body.get("service_tier")
    if isinstance(tier, str) and tier != "auto":
        attributes["openai.request.service_tier"] = tier
    form = body.get("response_format") or get(body.get("text"), "format")
    if isinstance(form, Mapping) and isinstance(form.get("type"), str):
        attributes["gen_ai.output.type"] = "json" if form["type"].startswith("json") else "text"
    encoding = body.get("encoding_format")
    if isinstance(encoding, str):
        attributes["gen_ai.request.encoding_formats"] = (encoding,)


def read_usage(usage: Any) -> TokenUsage | None:
    """OpenAI's usage object of any endpoint."""
    if usage is None:
        return None
    counts = fields(usage)
    first, second = counts.get("prompt_tokens"), counts.get("completion_tokens")
    details, more = counts.get("prompt_tokens_details"), counts.get("completion_tokens_details")
    if first is None:
        first, second = counts.get("input_tokens"), counts.get("output_tokens")
        details, more = counts.get("input_tokens_details"), counts.get("output_tokens_details")
        if first is None and second is None:
            return None
    if details is None and more is None:
        hit = counts.get("prompt_cache_hit_tokens")  # DeepSeek
        return TokenUsage(input_tokens=first, output_tokens=second, cached_input_tokens=hit)
    inputs, outputs = fields(details), fields(more)
    return TokenUsage(
        input_tokens=first,
        output_tokens=second,
        cached_input_tokens=inputs.get("cached_tokens"),
        cache_write_input_tokens=inputs.get("cache_write_tokens"),
        reasoning_output_tokens=outputs.get("reasoning_tokens"),
        audio_input_tokens=inputs.get("audio_tokens"),
        audio_output_tokens=outputs.get("audio_tokens"),
        image_input_tokens=inputs.get("image_tokens"),
        accepted_prediction_output_tokens=outputs.get("accepted_prediction_tokens"),
        rejected_prediction_output_tokens=outputs.get("rejected_prediction_tokens"),
    )


def read_response(response: Any) -> Reply:
    """A whole answer: SDK object or parsed JSON."""
    values = fields(response)
    choices, status = values.get("choices"), values.get("status")
    if choices:
        reasons = tuple([reason for choice in choices if (reason := fields(choice).get("finish_reason"))])
    else:
        reasons = (_responses_reason(response, status),) if isinstance(status, str) else ()
    tier, fingerprint = values.get("service_tier"), values.get("system_fingerprint")
    attributes: Mapping[str, Any] = NOTHING
    if tier is not None or fingerprint is not None:
        named = {"openai.response.service_tier": tier, "openai.response.system_fingerprint": fingerprint}
        attributes = {name: value for name, value in named.items() if isinstance(value, str)}
    return Reply(
        model=values.get("model"),
        id=values.get("id"),
        usage=read_usage(values.get("usage")),
        finish_reasons=reasons,
        service_tier=tier,
        attributes=attributes,
        background=not choices and status in ("queued", "in_progress"),
    )


def _responses_reason(response: Any, status: str) -> str:
    """Why a response ended, in the words of chat completions."""
    if status == "completed":
        return "stop"
    reason = get(get(response, "incomplete_details"), "reason")
    return "length" if reason == "max_output_tokens" else str(reason or status)


def read_stream(first: Any, last: Sequence[Any], count: int) -> Reply:
    """A stream that ended in any way, from its first and last chunks and their number."""
    if first is None:
        return Reply()
    if isinstance(get(first, "type"), str):
        return _read_events(first, last, count)
    usage: TokenUsage | None = None
    reasons: tuple[str, ...] = ()
    empty = 0 if _carries_text(first) else 1
    for chunk in last:
        usage = read_usage(get(chunk, "usage")) or _usage_elsewhere(chunk) or usage
        choices = get(chunk, "choices") or ()
        reasons = tuple(reason for choice in choices if (reason := get(choice, "finish_reason"))) or reasons
        if chunk is not first and not _carries_text(chunk):
            empty += 1
    if usage is None:
        usage = TokenUsage(output_tokens=max(0, count - empty), source="estimated")
    tier = next((t for chunk in reversed(last) if isinstance(t := get(chunk, "service_tier"), str)), None)
    named = next(
        (chunk for chunk in (first, *last) if get(chunk, "model")), first
    )  # Azure opens with a chunk without names
    return Reply(
        model=get(named, "model"),
        id=get(named, "id"),
        usage=usage,
        finish_reasons=reasons,
        service_tier=tier,
        attributes={"openai.response.service_tier": tier} if tier else NOTHING,
    )


def _usage_elsewhere(chunk: Any) -> TokenUsage | None:
    """Usage where compatible servers put it besides: Groq's ``x_groq``, Moonshot's first choice."""
    choices = get(chunk, "choices") or (None,)
    return read_usage(get(get(chunk, "x_groq"), "usage") or get(choices[0], "usage"))


def _carries_text(chunk: Any) -> bool:
    """Whether a chat or completion chunk carries generated tokens (text, reasoning or tool arguments)."""
    for choice in get(chunk, "choices") or ():
        if get(choice, "text"):
            return True
        delta = get(choice, "delta")
        if delta is not None and any(
            get(delta, field) for field in ("content", "tool_calls", "refusal", "reasoning_content", "function_call")
        ):
            return True
    return False


def _read_events(first: Any, last: Sequence[Any], count: int) -> Reply:
    """A stream of the responses endpoint: the whole answer comes in its last event."""
    for event in reversed(last):
        if get(event, "type") in _RESPONSE_ENDS and (response := get(event, "response")) is not None:
            reply = read_response(response)
            if reply.usage is not None:
                return reply
    opening = get(first, "response")
    deltas = sum(1 for event in last if str(get(event, "type")).endswith(".delta"))
    # created, in_progress, output_item.added and content_part.added open every text answer.
    usage = TokenUsage(output_tokens=max(deltas, count - 4), source="estimated") if deltas else None
    return Reply(model=get(opening, "model"), id=get(opening, "id"), usage=usage)


def hides_chunk(chunk: Any) -> bool:
    """Whether *chunk* is the usage chunk that ``include_usage`` adds: usage and no choices."""
    return not chunk.choices and chunk.usage is not None


def probe_request(model: str, prompt: str, output_tokens: int, stream: bool) -> dict[str, Any]:
    """Arguments of ``chat.completions.create`` that stop at *output_tokens*."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_completion_tokens": output_tokens,
        "temperature": 0,
        "stream": stream,
    }


ADAPTER = Adapter(
    provider="openai",
    seams=(Seam("openai:OpenAI", "request"), Seam("openai:AsyncOpenAI", "request", is_async=True)),
    read_request=read_request,
    read_response=read_response,
    read_stream=read_stream,
    probe_request=probe_request,
    hides_chunk=hides_chunk,
    endpoints=tuple(_OPERATIONS),
    unrecorded="Realtime and Live sessions and responses over websockets (realtime.connect, live.connect, responses.connect), batches",
    providers_by_class={
        "AzureOpenAI": "azure.ai.openai",
        "AsyncAzureOpenAI": "azure.ai.openai",
        "BedrockOpenAI": "aws.bedrock",
        "AsyncBedrockOpenAI": "aws.bedrock",
    },
)
