"""Google's published formats -> Request and Reply."""

from __future__ import annotations

from typing import Any

import pytest

from tracewrap.records import TokenUsage
from tracewrap.vendors.checks import server_timing
from tracewrap.vendors.google_genai import read_request, read_response, read_stream

USAGE = {
    "promptTokenCount": 100,
    "candidatesTokenCount": 20,
    "totalTokenCount": 157,
    "cachedContentTokenCount": 60,
    "thoughtsTokenCount": 30,
    "toolUsePromptTokenCount": 7,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 80}, {"modality": "IMAGE", "tokenCount": 20}],
    "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 2}],
    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}],
    "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
}


def answer(text: str = "hi", reason: str | None = "STOP", **more: Any) -> dict[str, Any]:
    """An answer or a chunk."""
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}]}}
    if reason:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "responseId": "r", **more}


def test_counts_beside_the_two_are_added() -> None:
    """What tools brought back is input, thoughts are output: input and output add up to the vendor's total."""
    usage = read_response(answer(usageMetadata=USAGE)).usage
    assert usage == TokenUsage(
        input_tokens=107,
        output_tokens=50,
        cached_input_tokens=60,
        reasoning_output_tokens=30,
        audio_output_tokens=5,
        cached_audio_input_tokens=3,
        image_input_tokens=22,
    )
    assert usage.input_tokens + usage.output_tokens == USAGE["totalTokenCount"]


def test_names_of_an_answer() -> None:
    """Model, id and why each candidate ended."""
    reply = read_response(answer(usageMetadata=USAGE))
    assert (reply.model, reply.id, reply.finish_reasons, reply.outcome) == ("gemini-2.5-flash", "r", ("STOP",), None)


def test_a_refused_prompt() -> None:
    """A prompt that was blocked has no candidates; the reason says so, and its input is counted."""
    reply = read_response({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}})
    assert (reply.finish_reasons, reply.usage) == (("SAFETY",), TokenUsage(input_tokens=9))


@pytest.mark.parametrize(
    ("traffic", "tier"), [("ON_DEMAND", None), ("PROVISIONED_THROUGHPUT", "provisioned_throughput"), (None, None)]
)
def test_traffic_that_has_a_price_of_its_own(traffic: str | None, tier: str | None) -> None:
    """Only what is not the plain way of being served is a tier."""
    assert read_response(answer(usageMetadata={**USAGE, "trafficType": traffic})).service_tier == tier


@pytest.mark.parametrize(("model", "searches"), [("gemini-2.5-pro", 1), ("gemini-3-pro", 2)])
def test_searches(model: str, searches: int) -> None:
    """Grounding is charged by the prompt up to Gemini 2, by the search after it."""
    grounded = answer(usageMetadata=USAGE) | {"modelVersion": model}
    grounded["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["a", "b"]}
    usage = read_response(grounded).usage
    assert usage is not None
    assert usage.web_searches == searches


def test_embeddings() -> None:
    """The Gemini API counts all texts together, Vertex each by itself; a text without a count leaves all unknown."""
    assert read_response({"embeddings": [], "usageMetadata": {"promptTokenCount": 4}}).usage == TokenUsage(4)

    def predictions(*counts: Any) -> TokenUsage | None:
        parts = [{"embeddings": {"statistics": {"token_count": one}}} for one in counts]
        return read_response({"predictions": parts}).usage

    assert predictions(3, 4.0) == TokenUsage(7)
    assert predictions(3, None) is None


def test_the_last_counts_of_a_stream_hold() -> None:
    """Every chunk repeats the counts so far: they are replaced, never added."""
    chunks = [
        answer("a", None, usageMetadata={"promptTokenCount": 100, "candidatesTokenCount": 1}),
        answer("b", None, usageMetadata={"promptTokenCount": 100, "candidatesTokenCount": 9}),
        answer("", "MAX_TOKENS", usageMetadata=USAGE),
    ]
    reply = read_stream(chunks[0], chunks, 3)
    assert reply.usage == read_response(answer(usageMetadata=USAGE)).usage
    assert (reply.finish_reasons, reply.outcome) == (("MAX_TOKENS",), None)


def test_a_stream_without_its_end() -> None:
    """A cut stream is partial and its counts are estimates; without counts, four bytes of text are a token."""
    counted = [answer("a", None, usageMetadata={"promptTokenCount": 5, "candidatesTokenCount": 9})]
    assert read_stream(counted[0], counted, 1).usage == TokenUsage(5, 9, source="estimated")
    silent = [answer("x" * 40, None)]
    reply = read_stream(silent[0], silent, 10)
    assert (reply.outcome, reply.usage) == ("partial", TokenUsage(output_tokens=100, source="estimated"))


def test_an_error_in_a_stream() -> None:
    """An error chunk after a 200 is the call's error, by Google's name of it."""
    chunks = [answer("a", None), {"error": {"code": 503, "status": "UNAVAILABLE", "message": "m"}}]
    reply = read_stream(chunks[0], chunks, 2)
    assert (reply.outcome, reply.error_type) == ("error", "UNAVAILABLE")


@pytest.mark.parametrize(
    ("path", "operation", "model", "stream"),
    [
        ("/v1beta/models/gemini-2.5-flash:generateContent", "chat", "gemini-2.5-flash", False),
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", "chat", "gemini-2.5-flash", True),
        ("/v1/projects/p/locations/l/publishers/google/models/g:generateContent", "chat", "g", False),
        ("/v1/projects/p/locations/l/endpoints/12:generateContent", "chat", "endpoints/12", False),
        ("/v1beta/tunedModels/t:generateContent", "chat", "tunedModels/t", False),
        ("/v1beta/models/e:batchEmbedContents", "embeddings", "e", False),
        ("/v1beta/models/g:countTokens", None, None, False),
        ("/v1beta/models/veo:predictLongRunning", None, None, False),
        ("/v1beta/models/imagen:predict", None, None, False),
    ],
)
def test_requests(path: str, operation: str | None, model: str | None, stream: bool) -> None:
    """Inference calls have an operation and the model of their path; the rest are no calls."""
    request = read_request(path, {"contents": [], "instances": [{"prompt": "an image"}]})
    assert (request.operation if request else None) == operation
    if request is not None:
        assert (request.model, request.stream) == (model, stream)


def test_vertex_embeds_by_predict() -> None:
    """``:predict`` with texts is an embedding."""
    request = read_request("/v1/x/publishers/google/models/e:predict", {"instances": [{"content": "a"}]})
    assert request is not None
    assert request.operation == "embeddings"


def test_settings_of_a_request() -> None:
    """generationConfig under the conventions' names, whole numbers sent as floats included; a tier that is not the plain one."""
    config = {
        "temperature": 1,
        "topK": 40.0,
        "maxOutputTokens": 9,
        "candidateCount": 1,
        "stopSequences": ["x"],
        "responseMimeType": "application/json",
        "thinkingConfig": {"thinkingLevel": "HIGH"},
    }
    request = read_request("/v1/models/g:generateContent", {"generationConfig": config, "serviceTier": "flex"})
    assert request is not None
    assert dict(request.attributes) == {
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.top_k": 40,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.stop_sequences": ("x",),
        "gen_ai.output.type": "json",
        "gen_ai.request.reasoning.level": "high",
        "tracewrap.service_tier": "flex",
    }


def test_the_server_s_own_time() -> None:
    """Server-Timing says milliseconds; a header without a duration says nothing."""
    said = ["gfet4t7; dur=598", "gfet4t7;dur=55, afe; dur=23", "cache;desc=hit;dur=23.3", "gfet4t7", "x; dur=-1", ""]
    assert [server_timing(value) for value in said] == [0.598, 0.055, 0.0233, None, None, None]
