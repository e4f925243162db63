"""Google's wire format for Gemini: generateContent, streamGenerateContent and the embedding methods, of the Gemini API and of Vertex AI.

Counts: ``promptTokenCount`` includes cached tokens; what tools brought back stands beside it (``toolUsePromptTokenCount``) and is input
too; ``thoughtsTokenCount`` stands beside ``candidatesTokenCount`` and is output too. Each modality's part of either is listed in
``*TokensDetails``. Streams: every chunk repeats the counts so far, so the last one tells; the chunk with a ``finishReason`` ends
the answer. A chunk holds many tokens. Vertex embeds by ``:predict`` too, and counts each text by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.records import TokenUsage
from tracewrap.vendors.adapter import NOTHING, Adapter, Reply, Request, Seam, fields, get
from tracewrap.vendors.checks import count, text
from tracewrap.vendors.google_content import read_asked, read_said

_OPERATIONS = {
    "generateContent": "chat",
    "streamGenerateContent": "chat",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
    "predict": "embeddings",
}
_CONFIG_ATTRIBUTES: Mapping[str, tuple[str, type[Any]]] = {
    "temperature": ("gen_ai.request.temperature", float),
    "topP": ("gen_ai.request.top_p", float),
    "topK": ("gen_ai.request.top_k", int),
    "maxOutputTokens": ("gen_ai.request.max_tokens", int),
    "candidateCount": ("gen_ai.request.choice.count", int),
    "seed": ("gen_ai.request.seed", int),
    "frequencyPenalty": ("gen_ai.request.frequency_penalty", float),
    "presencePenalty": ("gen_ai.request.presence_penalty", float),
}
_MARKS = re.compile(rb'"(?:finishReason|blockReason)"\s*:\s*"|"error"\s*:\s*\{')
_PLAIN_TRAFFIC = frozenset({"ON_DEMAND", "TRAFFIC_TYPE_UNSPECIFIED"})
_PLAIN_TIERS = frozenset({"standard", "service_tier_standard", "unspecified", "service_tier_unspecified"})
_ONE_CHARGE_A_PROMPT = ("gemini-1", "gemini-2")
"""Models whose grounding with Google Search is charged by the prompt; later ones, by the search."""
_BYTES_PER_TOKEN = 4


def read_request(path: str, body: Mapping[str, Any]) -> Request | None:
    """The inference call that *path* and *body* ask for, or None (``countTokens``, images, videos and the rest)."""
    head, _, last = path.partition("?")[0].rstrip("/").rpartition("/")
    model, _, verb = last.partition(":")
    operation = _OPERATIONS.get(verb)
    if operation is None or not model or (verb == "predict" and not _embeds(body)):
        return None
    attributes: dict[str, Any] = {}
    config = body.get("generationConfig")
    if isinstance(config, Mapping):
        _put_config(attributes, config)
    size = get(body.get("parameters"), "outputDimensionality") or body.get("outputDimensionality")
    if type(size) is int:
        attributes["gen_ai.embeddings.dimension.count"] = size
    tier = body.get("serviceTier")
    if isinstance(tier, str) and tier.lower() not in _PLAIN_TIERS:
        attributes["tracewrap.service_tier"] = tier.lower()
    name = model if head.endswith("/models") or head == "models" else f"{head.rpartition('/')[2]}/{model}"
    return Request(operation, text(name), verb == "streamGenerateContent", attributes or NOTHING)


def _embeds(body: Mapping[str, Any]) -> bool:
    """Whether ``:predict`` embeds texts: images, videos and models of the user's own are asked for in the same way."""
    instances = body.get("instances")
    return isinstance(instances, list) and bool(instances) and isinstance(get(instances[0], "content"), str)


def _put_config(attributes: dict[str, Any], config: Mapping[str, Any]) -> None:
    for field, value in config.items():
        known = _CONFIG_ATTRIBUTES.get(field)
        if known is not None and type(value) in (int, float):
            name, kind = known
            if kind is float or float(value).is_integer():  # the SDK sends a top_k of 40.0
                attributes[name] = kind(value)
    stops = config.get("stopSequences")
    if isinstance(stops, list) and stops:
        attributes["gen_ai.request.stop_sequences"] = tuple(map(str, stops))
    if attributes.get("gen_ai.request.choice.count") == 1:
        del attributes["gen_ai.request.choice.count"]
    form = config.get("responseMimeType")
    if isinstance(form, str):
        attributes["gen_ai.output.type"] = "json" if "json" in form else "text"
    level = get(config.get("thinkingConfig"), "thinkingLevel")
    if isinstance(level, str):
        attributes["gen_ai.request.reasoning.level"] = level.lower()


def read_usage(usage: Any) -> TokenUsage | None:
    """``usageMetadata`` of an answer or of a chunk."""
    counts = fields(usage)
    prompt, candidates = count(counts.get("promptTokenCount")), count(counts.get("candidatesTokenCount"))
    tools, thoughts = count(counts.get("toolUsePromptTokenCount")), count(counts.get("thoughtsTokenCount"))
    if prompt is None and candidates is None and thoughts is None:
        return None
    inputs = _by_modality(counts.get("promptTokensDetails"), counts.get("toolUsePromptTokensDetails"))
    outputs = _by_modality(counts.get("candidatesTokensDetails"))
    cached = _by_modality(counts.get("cacheTokensDetails"))
    return TokenUsage(
        input_tokens=_total(prompt, tools),
        output_tokens=_total(candidates, thoughts),
        cached_input_tokens=count(counts.get("cachedContentTokenCount")),
        reasoning_output_tokens=thoughts,
        audio_input_tokens=inputs.get("AUDIO"),
        cached_audio_input_tokens=cached.get("AUDIO"),
        audio_output_tokens=outputs.get("AUDIO"),
        image_input_tokens=inputs.get("IMAGE"),
        cached_image_input_tokens=cached.get("IMAGE"),
        image_output_tokens=outputs.get("IMAGE"),
    )


def _total(one: int | None, beside: int | None) -> int | None:
    return one if beside is None else (one or 0) + beside


def _by_modality(*lists: Any) -> dict[str, int]:
    """Tokens by modality of ``*TokensDetails`` lists."""
    found: dict[str, int] = {}
    for details in lists:
        for part in details if isinstance(details, list) else ():
            kind, tokens = get(part, "modality"), count(get(part, "tokenCount"))
            if isinstance(kind, str) and tokens is not None:
                found[kind] = found.get(kind, 0) + tokens
    return found


def _counted_apart(predictions: Any) -> TokenUsage | None:
    """Usage of embeddings by ``:predict``, which come with the count of each text."""
    counts = [
        count(get(get(get(one, "embeddings"), "statistics"), "token_count"))
        for one in (predictions if isinstance(predictions, list) else ())
    ]
    known = [one for one in counts if one is not None]
    return TokenUsage(input_tokens=sum(known)) if known and len(known) == len(counts) else None


def read_response(response: Any) -> Reply:
    """A whole answer, as parsed JSON."""
    if get(response, "error") is not None:
        return Reply(outcome="error", error_type=_error_type(response))
    return _read([response], fields(get(response, "usageMetadata")))


def _read(chunks: Sequence[Any], counts: Mapping[str, Any]) -> Reply:
    """What *chunks* say: a whole answer is one chunk."""
    model = next((name for chunk in chunks if (name := text(get(chunk, "modelVersion")))), None)
    usage = read_usage(counts) or _counted_apart(get(chunks[0], "predictions"))
    searches = sum(_searches(chunk, model) for chunk in chunks)
    if usage is not None and searches:
        usage = usage._replace(web_searches=searches)
    traffic = text(counts.get("trafficType"))
    return Reply(
        model=model,
        id=next((name for chunk in chunks if (name := text(get(chunk, "responseId")))), None),
        usage=usage,
        finish_reasons=tuple(reason for chunk in chunks for reason in _reasons(chunk)),
        service_tier=None if traffic is None or traffic in _PLAIN_TRAFFIC else traffic.lower(),
    )


def _candidates(chunk: Any) -> Sequence[Any]:
    found = get(chunk, "candidates")
    return found if isinstance(found, list) else ()


def _reasons(chunk: Any) -> list[str]:
    """Why the candidates of *chunk* ended, or why the prompt was refused."""
    blocked = text(get(get(chunk, "promptFeedback"), "blockReason"))
    ends = [reason for one in _candidates(chunk) if (reason := text(get(one, "finishReason")))]
    return ends if blocked is None else [blocked, *ends]


def _searches(chunk: Any, model: str | None) -> int:
    """Charges for Google searches that an answer was grounded with."""
    queries = [get(get(one, "groundingMetadata"), "webSearchQueries") for one in _candidates(chunk)]
    found = sum(len(asked) for asked in queries if isinstance(asked, list))
    return min(found, 1) if (model or "").startswith(_ONE_CHARGE_A_PROMPT) else found


def _error_type(chunk: Any) -> str:
    """Google's name of an error (``RESOURCE_EXHAUSTED``), else its HTTP status."""
    error = get(chunk, "error")
    code = get(error, "code")
    return text(get(error, "status")) or (str(code) if type(code) is int else "_OTHER")


def is_notable(chunk: Any) -> bool:
    """Whether *chunk* says more than generated text and the counts so far."""
    return bool(_reasons(chunk)) or get(chunk, "error") is not None


def read_stream(first: Any, last: Sequence[Any], seen: int) -> Reply:
    """A stream that ended in any way; of one that was cut the counts so far are a lower bound, and marked as estimated."""
    kept = [chunk for chunk in last if isinstance(chunk, dict)]
    kept = kept if not isinstance(first, dict) or any(chunk is first for chunk in kept) else [first, *kept]
    if not kept:
        return Reply(outcome="partial")
    counts: dict[str, Any] = {}
    for chunk in kept:
        counts |= {name: value for name, value in fields(get(chunk, "usageMetadata")).items() if value is not None}
    reply = _read(kept, counts)
    failed = next((chunk for chunk in kept if get(chunk, "error") is not None), None)
    if failed is not None:
        reply = reply._replace(outcome="error", error_type=_error_type(failed))
    if reply.finish_reasons:
        return reply
    usage = reply.usage or TokenUsage()
    tokens = usage.output_tokens or _tokens_of_text(kept, seen)
    return reply._replace(
        usage=usage._replace(output_tokens=tokens, source="estimated"), outcome=reply.outcome or "partial"
    )


def _tokens_of_text(kept: Sequence[Any], seen: int) -> int:
    """Tokens of *seen* chunks that carry as much text as those *kept* do, four bytes a token."""
    parts = [
        part
        for chunk in kept
        for one in _candidates(chunk)
        for part in get(get(one, "content"), "parts") or ()
        if isinstance(get(part, "text"), str)
    ]
    size = sum(len(get(part, "text").encode("utf-8", "ignore")) for part in parts)
    return -(-size * seen // (len(kept) * _BYTES_PER_TOKEN))


def sdk_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, Any] | None:
    """URL and body of ``BaseApiClient._request(http_request, ...)``."""
    request = args[1] if len(args) > 1 else kwargs.get("http_request")
    body = getattr(request, "data", None)
    if not isinstance(body, Mapping) or str(getattr(request, "method", "")).lower() != "post":
        return None
    return str(getattr(request, "url", "")), body


def base_url_of(client: Any) -> Any:
    """Where a client of the SDK sends to."""
    return get(getattr(client, "_http_options", None), "base_url")


def provider_of(client: Any) -> str | None:
    """Vertex AI by the client's own word, wherever it sends to."""
    return "gcp.vertex_ai" if getattr(client, "vertexai", None) else None


def probe_request(model: str, prompt: str, output_tokens: int, stream: bool) -> dict[str, Any]:
    """Arguments of ``models.generate_content`` that stop at *output_tokens*."""
    return {
        "model": model,
        "contents": prompt,
        "config": {"max_output_tokens": output_tokens, "temperature": 0.0},
    }


_CLIENT = "google.genai._api_client:BaseApiClient"
_USERS = ("google.genai.client:Client", "google.genai.client:AsyncClient")

ADAPTER = Adapter(
    provider="gcp.gemini",
    name="google-genai",
    package="google-genai",
    seams=tuple(
        Seam(_CLIENT, method, is_async, "segments", client=user, via="_api_client")
        for method, is_async in (("_request", False), ("_async_request", True))
        for user in _USERS
    ),
    read_request=read_request,
    read_response=read_response,
    read_stream=read_stream,
    probe_request=probe_request,
    read_asked=read_asked,
    read_said=read_said,
    sdk_arguments=sdk_arguments,
    sender="_httpx_client",
    async_sender="_async_httpx_client",
    base_url_of=base_url_of,
    provider_of=provider_of,
    endpoints=tuple(f":{verb}" for verb in _OPERATIONS),
    is_notable=is_notable,
    marks=_MARKS,
    headers={"server-timing": "server_timing"},
    prompt_fields=("contents", "systemInstruction", "content", "requests", "instances"),
    marker_fields=("contents", "content", "requests", "instances"),
    models_in_path=("/models/", "/endpoints/"),
    hosts={"generativelanguage.googleapis.com": "gcp.gemini", "aiplatform.googleapis.com": "gcp.vertex_ai"},
    price_ids={"gcp.gemini": "google", "gcp.vertex_ai": "google", "gcp.gen_ai": "google"},
    unrecorded=(
        "interactions, Live sessions, batches, images and videos (generate_images, generate_videos), counting of tokens"
    ),
    oldest=(2,),
    probe_client="google.genai:Client",
    base_url_in_options=True,
    probe_methods=("models.generate_content", "models.generate_content_stream"),
)
