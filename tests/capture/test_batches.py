"""Results of Anthropic's message batches: a span a result as the program reads it, with tokens and a price, and no runtime."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tracewrap import testing, wrap
from tracewrap.capture.seams import vendor_batches as result_lines

anthropic = pytest.importorskip("anthropic")
httpx = pytest.importorskip("httpx2") if int(anthropic.__version__.split(".")[0]) >= 2 else pytest.importorskip("httpx")

BATCH = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "ended",
    "results_url": "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results",
    "request_counts": {"processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 1},
    "created_at": "2026-11-20T00:00:00Z",
    "expires_at": "2026-11-21T00:00:00Z",
    "ended_at": "2026-11-20T01:00:00Z",
    "archived_at": None,
    "cancel_initiated_at": None,
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "cache_read_input_tokens": 30, "output_tokens": 34, "service_tier": "batch"},
}
LINES = [
    {"custom_id": "a", "result": {"type": "succeeded", "message": MESSAGE}},
    {
        "custom_id": "b",
        "result": {
            "type": "errored",
            "error": {"type": "error", "error": {"type": "invalid_request_error", "message": "too long"}},
        },
    },
    {"custom_id": "c", "result": {"type": "expired"}},
]


def serve(request: Any) -> Any:
    """The vendor's three endpoints."""
    if request.url.path.endswith("/results"):
        return httpx.Response(200, text="".join(json.dumps(line) + "\n" for line in LINES))
    return httpx.Response(200, json=BATCH)


def client(wrapped: bool = True) -> Any:
    """A client of that vendor."""
    made = anthropic.Anthropic(api_key="k", http_client=httpx.Client(transport=httpx.MockTransport(serve)))
    return wrap(made) if wrapped else made


def test_a_span_a_result(recorded: testing.Recording) -> None:
    """Making and asking after the batch is no generation; its results are, as they are read, with the very objects of the SDK."""
    plain = [line.to_dict() for line in client(wrapped=False).messages.batches.results("msgbatch_1")]
    ours = client()
    ours.messages.batches.create(requests=[])
    ours.messages.batches.retrieve("msgbatch_1")
    results = ours.messages.batches.results("msgbatch_1")
    assert type(results).__name__ == "JSONLDecoder"
    assert recorded() == []
    first = next(iter(results))
    assert len(recorded()) == 1
    assert [line.to_dict() for line in [first, *results]] == plain
    done, failed, expired = recorded()
    assert (done.operation, done.provider, done.response_model) == ("chat", "anthropic", "claude-sonnet-4-5-20250929")
    assert done.usage is not None
    assert (done.usage.input_tokens, done.usage.cached_input_tokens, done.usage.output_tokens) == (40, 30, 34)
    assert (done.service_tier, done.finish_reasons, done.raw_runtime_s) == ("batch", ("end_turn",), None)
    assert (failed.outcome, failed.error_type, failed.usage) == ("error", "invalid_request_error", None)
    assert (expired.outcome, expired.error_type) == ("cancelled", "expired")


def test_asynchronous(recorded: testing.Recording) -> None:
    """The same with an asynchronous client."""

    async def go() -> list[str]:
        transport = httpx.MockTransport(serve)
        async with anthropic.AsyncAnthropic(api_key="k", http_client=httpx.AsyncClient(transport=transport)) as made:
            return [line.custom_id async for line in await wrap(made).messages.batches.results("msgbatch_1")]

    assert asyncio.run(go()) == ["a", "b", "c"]
    assert [call.outcome for call in recorded()] == ["complete", "error", "cancelled"]


def test_results_left_unread_are_not_recorded(recorded: testing.Recording) -> None:
    """The program reads one of three and drops the rest."""
    results = client().messages.batches.results("msgbatch_1")
    next(iter(results))
    results.close()
    del results
    assert len(recorded()) == 1


def test_broken_recording_changes_nothing(recorded: testing.Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """The results pass whatever our reader does."""

    def broken(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(result_lines, "endpoint_of_client", broken)
    assert [line.custom_id for line in client().messages.batches.results("msgbatch_1")] == ["a", "b", "c"]
    assert recorded() == []
