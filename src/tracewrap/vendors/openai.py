"""OpenAI's wire format: chat completions, responses, completions, embeddings; also spoken by most model servers.

Counts: ``prompt_tokens`` / ``input_tokens`` include cached tokens, ``completion_tokens`` / ``output_tokens`` include reasoning ones.
Streams: chat and completions report usage only when ``stream_options.include_usage`` is set, in a last chunk without choices;
responses always report it, in ``response.completed``. A chat stream opens with a chunk that carries only the role.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.records import Outcome, TokenUsage
from tracewrap.vendors.adapter import NOTHING, Adapter, Reply, Request, Seam, fields, get
from tracewrap.vendors.checks import seconds, text
from tracewrap.vendors.openai_content import read_asked, read_said
from tracewrap.vendors.openai_errors import error_type, note_reasons, told_error
from tracewrap.vendors.openai_usage import later, read_usage, reported_cost, usage_elsewhere, usage_of, with_search

_OPERATIONS = {
    "/chat/completions": "chat",
    "/responses": "chat",
    "/responses/compact": "compact",
    "/completions": "text_completion",
    "/embeddings": "embeddings",
    "/images/generations": "image_generation",
    "/images/edits": "image_edit",
    "/images/variations": "image_variation",
    "/audio/transcriptions": "transcription",
    "/audio/translations": "translation",
    "/audio/speech": "speech",
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
    {
        *_MAX_TOKENS,
        "stop",
        "n",
        "reasoning",
        "service_tier",
        "response_format",
        "text",
        "encoding_format",
        "conversation",
    }
)
_ASK_USAGE: Mapping[str, Any] = {"stream_options": {"include_usage": True}}
_RESPONSE_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_SPOKEN = "speech.audio.done"
_FINAL = frozenset({"completed", "incomplete", "failed", "cancelled"})
_NOTABLE_EVENTS = _RESPONSE_ENDS | {
    *("response.created", "response.queued", "error", "image_generation.completed", "image_edit.completed"),
    *("transcript.text.done", _SPOKEN),
}
_MARKS = re.compile(
    rb'"(?:usage|x_groq|error)"\s*:\s*[{"]|"finish_reason"\s*:\s*"|"choices"\s*:\s*\[\s*\]'
    rb'|"type"\s*:\s*"(?:response\.(?:created|queued|completed|incomplete|failed|cancelled)|error)"|"object"\s*:\s*"error"'
)


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
    choices = body.get("n")
    if type(choices) is int and choices != 1:
        attributes["gen_ai.request.choice.count"] = choices
    reasoning = body.get("reasoning")
    if isinstance(reasoning, Mapping) and isinstance(reasoning.get("effort"), str):
        attributes["gen_ai.request.reasoning.level"] = reasoning["effort"]
    tier = body.get("service_tier")
    if isinstance(tier, str) and tier != "auto":
        attributes["openai.request.service_tier"] = tier
    form = body.get("response_format") or get(body.get("text"), "format")
    if isinstance(form, Mapping) and isinstance(form.get("type"), str):
        attributes["gen_ai.output.type"] = "json" if form["type"].startswith("json") else "text"
    conversation = body.get("conversation")
    named = text(conversation if isinstance(conversation, str) else get(conversation, "id"))
    if named is not None:
        attributes["gen_ai.conversation.id"] = named
    encoding = body.get("encoding_format")
    if isinstance(encoding, str):
        attributes["gen_ai.request.encoding_formats"] = (encoding,)


def read_response(response: Any) -> Reply:
    """A whole answer: SDK object or parsed JSON."""
    values = fields(response)
    choices, status = values.get("choices"), values.get("status")
    if choices:
        reasons = tuple([reason for choice in choices if (reason := text(fields(choice).get("finish_reason")))])
        error = fields(choices[0]).get("error")
    else:
        reasons = (_responses_reason(response, status),) if isinstance(status, str) else ()
        error = told_error(values)
    failed = status == "failed" or error is not None or "error" in reasons
    cancelled = status == "cancelled" and not failed
    return Reply(
        model=text(values.get("model")),
        id=text(values.get("id")),
        usage=usage_of(values),
        finish_reasons=reasons,
        service_tier=text(values.get("service_tier")),
        attributes=_reply_attributes(values),
        background=not choices and status in ("queued", "in_progress"),
        outcome="error" if failed else "cancelled" if cancelled else None,
        error_type=error_type(error) if failed else None,
    )


def _reply_attributes(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What only some servers say: tier, fingerprint, seconds of audio heard, what the provider itself counts as the cost."""
    tier, fingerprint = values.get("service_tier"), values.get("system_fingerprint")
    counts = fields(values.get("usage"))
    spoken = counts.get("seconds", values.get("duration") if "text" in values else None)
    if tier is None and fingerprint is None and spoken is None and counts.get("cost") is None:
        return NOTHING
    named = {
        "openai.response.service_tier": text(tier),
        "openai.response.system_fingerprint": text(fingerprint),
        "tracewrap.cost.reported": reported_cost(counts),
        "tracewrap.usage.audio.input_seconds": seconds(spoken),
    }
    return {name: value for name, value in named.items() if value is not None}


def _responses_reason(response: Any, status: str) -> str:
    """Why a response ended, in the words of chat completions."""
    if status == "completed":
        return "stop"
    reason = get(get(response, "incomplete_details"), "reason")
    return "length" if reason == "max_output_tokens" else text(reason) or text(status) or ""


def read_later(thing: Any) -> tuple[Reply, Outcome, str | None] | None:
    """A background response that is polled until it is done, or an event that carries one; None for anything else."""
    response = get(thing, "response") if get(thing, "type") in _RESPONSE_ENDS else thing
    if get(response, "object") != "response" or get(response, "status") not in _FINAL:
        return None
    reply = read_response(response)
    told = reply.usage is not None or reply.outcome is not None
    return (reply, reply.outcome or "complete", reply.error_type) if told else None


def is_notable(chunk: Any) -> bool:
    """Whether *chunk* says more than generated text: usage, a finish reason, an error; the first and last events of a response."""
    values = fields(chunk)
    choices = values.get("choices")
    if choices is None:
        kind = values.get("type")
        return kind in _NOTABLE_EVENTS or told_error(values) is not None
    if not choices or values.get("usage") is not None or "x_groq" in values or "error" in values:
        return True
    return any((one := fields(choice)).get("finish_reason") is not None or "usage" in one for choice in choices)


def read_stream(first: Any, last: Sequence[Any], seen: int) -> Reply:
    """A stream that ended in any way, from its first chunk, the chunks kept and their number."""
    if first is None:
        return Reply(outcome="partial")
    if isinstance(fields(first).get("type"), str) and "choices" not in fields(first):
        return _read_events(first, last, seen)
    usage: TokenUsage | None = None
    reasons: dict[int, str] = {}
    error: Any = None
    attributes: dict[str, Any] = {}
    for chunk in last:
        values = fields(chunk)
        counts = values.get("usage")
        told = (None if counts is None else read_usage(counts)) or usage_elsewhere(values)
        if told is not None:
            usage = later(usage, told)
        if counts is not None or not attributes:  # the chunks between repeat what the first ones say
            attributes |= _reply_attributes(values)
        if error is None:
            error = told_error(values)
        failure = note_reasons(values.get("choices") or (), reasons)
        error = failure if error is None else error
    if usage is None:
        silent = sum(not _carries_text(chunk) for chunk in (first, *(one for one in last if one is not first)))
        usage = TokenUsage(output_tokens=max(0, seen - silent), source="estimated")
    failed = error is not None or "error" in reasons.values()
    named = next((chunk for chunk in (first, *last) if get(chunk, "model")), first)  # Azure's first is nameless
    ended = bool(reasons) or (usage.source == "reported" and not _carries_text(last[-1] if last else first))
    model = text(get(named, "model"))
    return Reply(
        model=model,
        id=text(get(named, "id")),
        usage=with_search(usage, model),
        finish_reasons=tuple(reasons[index] for index in sorted(reasons)),
        service_tier=attributes.get("openai.response.service_tier"),
        attributes=attributes or NOTHING,
        outcome="error" if failed else None if ended else "partial",
        error_type=error_type(error) if failed else None,
    )


_GENERATED = ("content", "tool_calls", "refusal", "reasoning_content", "reasoning", "function_call", "audio")


def _carries_text(chunk: Any) -> bool:
    """Whether a chat or completion chunk carries generated tokens (text, reasoning or tool arguments)."""
    for choice in get(chunk, "choices") or ():
        said = fields(choice)
        if said.get("text"):
            return True
        delta = fields(said.get("delta"))
        if any(delta.get(field) for field in _GENERATED):
            return True
    return False


def _read_events(first: Any, last: Sequence[Any], seen: int) -> Reply:
    """A stream of the responses endpoint (or of images): the whole answer comes in its last event."""
    error = ended = None
    for event in reversed(last):
        kind = get(event, "type")
        if kind in _RESPONSE_ENDS and (response := get(event, "response")) is not None:
            ended = read_response(response)
            if ended.usage is not None or ended.outcome is not None:
                return ended
        error = told_error(fields(event)) or (event if kind == "error" else error)
        usage = read_usage(get(event, "usage"))
        if usage is not None:  # what was spoken is audio, all of it
            return Reply(usage=usage._replace(audio_output_tokens=usage.output_tokens) if kind == _SPOKEN else usage)
    opening = get(first, "response")
    if get(opening, "background"):  # goes on at the vendor's; who takes it up again is told its usage
        return Reply(model=text(get(opening, "model")), id=text(get(opening, "id")), background=True)
    deltas = sum(1 for event in last if str(get(event, "type")).endswith(".delta"))
    # created, in_progress, output_item.added and content_part.added open every text answer.
    usage = TokenUsage(output_tokens=max(deltas, seen - 4), source="estimated") if deltas else None
    if ended is not None:
        return ended._replace(usage=usage)
    return Reply(
        model=text(get(opening, "model")),
        id=text(get(opening, "id")),
        usage=usage,
        outcome="partial" if error is None else "error",
        error_type=None if error is None else error_type(error),
    )


def hides_chunk(chunk: Any) -> bool:
    """Whether *chunk* is the usage chunk that ``include_usage`` adds: usage and no choices."""
    return not get(chunk, "choices") and get(chunk, "usage") is not None


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
    is_notable=is_notable,
    marks=_MARKS,
    probe_request=probe_request,
    read_asked=read_asked,
    read_said=read_said,
    hides_chunk=hides_chunk,
    hidden_shape=("choices", []),
    hidden_bytes=re.compile(rb'data: ?(?=[^\r\n]*"usage": ?\{)\{[^\r\n]*"choices": ?\[\][^\r\n]*\r?\n\r?\n'),
    read_line=read_later,
    endpoints=tuple(_OPERATIONS),
    prompt_fields=("messages", "input", "prompt", "instructions"),
    marker_fields=("messages", "input", "prompt"),
    models_in_path=("/deployments/",),
    unrecorded=(
        "Realtime and Live sessions and responses over websockets (realtime.connect, live.connect, responses.connect), batches,"
        " videos, moderations"
    ),
    own_attributes={"openai.api.type": frozenset({"openai", "azure.ai.openai"})},
    providers_by_class={
        "AzureOpenAI": "azure.ai.openai",
        "AsyncAzureOpenAI": "azure.ai.openai",
        "BedrockOpenAI": "aws.bedrock",
        "AsyncBedrockOpenAI": "aws.bedrock",
    },
    headers={
        "x-request-id": "request_id",
        "apim-request-id": "request_id",
        "openai-processing-ms": "processing_ms",
        "x-envoy-upstream-service-time": "processing_ms",
    },
    hosts={
        "api.openai.com": "openai",
        "openai.azure.com": "azure.ai.openai",
        "services.ai.azure.com": "azure.ai.inference",
        "api.groq.com": "groq",
        "api.deepseek.com": "deepseek",
        "api.mistral.ai": "mistral_ai",
        "api.perplexity.ai": "perplexity",
        "api.x.ai": "x_ai",
        "api.moonshot.cn": "moonshot_ai",
        "api.moonshot.ai": "moonshot_ai",
        "api.together.xyz": "together",
        "api.together.ai": "together",
        "api.fireworks.ai": "fireworks",
        "api.deepinfra.com": "deepinfra",
        "openrouter.ai": "openrouter",
        "api.cerebras.ai": "cerebras",
        "api.sambanova.ai": "sambanova",
        "router.huggingface.co": "huggingface",
        "generativelanguage.googleapis.com": "gcp.gemini",
        "aiplatform.googleapis.com": "gcp.vertex_ai",
        "amazonaws.com": "aws.bedrock",
        "ml.cloud.ibm.com": "ibm.watsonx.ai",
    },
    stream_usage=frozenset(
        {
            *("openai", "groq", "deepseek", "together", "fireworks"),
            *("deepinfra", "openrouter", "cerebras", "x_ai", "sambanova"),
        }
    ),
    price_ids={
        "azure.ai.openai": "azure",
        "azure.ai.inference": "azure",
        "aws.bedrock": "aws",
        "mistral_ai": "mistral",
        "moonshot_ai": "moonshotai",
        "x_ai": "x-ai",
    },
    oldest=(2,),
    probe_client="openai:OpenAI",
    probe_methods=("chat.completions.create", "chat.completions.create"),
)
