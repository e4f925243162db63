"""Message content: nowhere unless OpenTelemetry's variable asks for it; then the same messages in every mode of every vendor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_contract import CASES, Entry, run

import tracewrap
from fake_answers import CannedVendor, canned
from fake_vendor import FakeVendor
from fake_wire import Answer
from tracewrap import semconv, testing, wrap
from tracewrap.capture import content
from tracewrap.capture.state import state
from tracewrap.errors import SettingIgnoredWarning
from tracewrap.pipeline import shutdown
from tracewrap.sources import read_calls
from tracewrap.vendors import anthropic, cohere, openai

pytestmark = [
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CHATS = [case for case in CASES if case.values[0].operation in ("chat", "text_completion")]


TOOLS = ("openai", "anthropic", "cohere")


def said(recorded: testing.Recording, name: str) -> Any:
    """The content under *name* of the one record; None without."""
    (record,) = recorded.records
    text = record.attributes.get(name)
    return None if text is None else json.loads(text)


@pytest.mark.parametrize(("entry", "is_async"), CHATS)
def test_nothing_unless_asked(entry: Entry, is_async: bool, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """By default no attribute holds a word of the prompt or of the answer."""
    run(entry, vendor, is_async)
    (record,), (span,) = recorded.records, recorded.spans
    for attributes in (record.attributes, span.attributes or {}):
        assert not semconv.CONTENT & set(attributes)
        assert not any("a b c" in str(value) or "tok tok" in str(value) for value in attributes.values())


@pytest.mark.parametrize(("entry", "is_async"), [case for case in CHATS if case.values[0].vendor != "google"])
def test_what_was_asked_and_answered(
    entry: Entry, is_async: bool, vendor: FakeVendor, recorded: testing.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's words and the model's, whole, on record and span alike, streamed or not, read by the SDK or raw."""
    monkeypatch.setattr(state, "content", True)
    run(entry, vendor, is_async)
    assert said(recorded, semconv.INPUT_MESSAGES) == [{"role": "user", "parts": [{"type": "text", "content": "a b c"}]}]
    (answer,) = said(recorded, semconv.OUTPUT_MESSAGES)
    text = '{"name": "tok"}' if "parse" in entry.name else ("tok " * 8).strip()
    assert [(part["type"], part["content"].strip()) for part in answer["parts"]] == [("text", text)]
    reason = {"openai": "stop", "anthropic": "end_turn"}.get(entry.vendor, "COMPLETE")
    if "responses" not in entry.name or not entry.streamed:
        assert (answer["role"], answer.get("finish_reason")) == ("assistant", reason)
    (span,) = recorded.spans
    assert (span.attributes or {})[semconv.OUTPUT_MESSAGES] == recorded.records[0].attributes[semconv.OUTPUT_MESSAGES]


@pytest.mark.parametrize(
    ("entry", "is_async"),
    [
        case
        for case in CHATS
        if case.values[0].name in ("plain", "raw", "beta", "stream", "helper") and case.values[0].vendor in TOOLS
    ],
)
def test_tools(
    entry: Entry, is_async: bool, vendor: FakeVendor, recorded: testing.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool call with its id, name and arguments."""
    if entry.vendor != "openai" and entry.streamed:
        pytest.skip("the fake streams no tool there")
    monkeypatch.setattr(state, "content", True)
    vendor.answer = Answer(tool_call=True)
    run(entry, vendor, is_async)
    (answer,) = said(recorded, semconv.OUTPUT_MESSAGES)
    (call,) = [part for part in answer["parts"] if part["type"] == "tool_call"]
    arguments = call["arguments"]
    assert (call["name"], json.loads(arguments) if isinstance(arguments, str) else arguments) in (
        ("look", {"at": "it"}),
        ("look", {}),
    )
    assert call["id"] in ("call_1", "toolu_1")


def test_what_requests_hold() -> None:
    """System prompts, histories, tool results, images by their kind alone, in the words of each vendor."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "u"}, image]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "r"},
        ],
        "tools": [{"type": "function"}],
    }
    asked = openai.ADAPTER.read_asked(body)  # type: ignore[misc]
    assert [(one["role"], one["parts"]) for one in asked.messages] == [
        ("system", [{"type": "text", "content": "s"}]),
        ("user", [{"type": "text", "content": "u"}, {"type": "image_url"}]),
        ("assistant", [{"type": "tool_call", "id": "1", "name": "f", "arguments": "{}"}]),
        ("tool", [{"type": "tool_call_response", "id": "1", "response": "r"}]),
    ]
    assert asked.tools == [{"type": "function"}]
    body = {
        "instructions": "i",
        "input": [{"role": "user", "content": "u"}, {"type": "function_call_output", "call_id": "1", "output": "r"}],
    }
    asked = openai.ADAPTER.read_asked(body)  # type: ignore[misc]
    assert (asked.instructions, [one["role"] for one in asked.messages]) == (
        [{"type": "text", "content": "i"}],
        ["user", "tool"],
    )
    result = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "r"}]}
    body = {"system": [{"type": "text", "text": "s"}], "messages": [{"role": "user", "content": [result]}]}
    asked = anthropic.ADAPTER.read_asked(body)  # type: ignore[misc]
    assert asked.instructions == [{"type": "text", "content": "s"}]
    assert asked.messages[0]["parts"] == [{"type": "tool_call_response", "id": "1", "response": "r"}]
    body = {"message": "u", "preamble": "p", "chat_history": [{"role": "USER", "message": "h"}], "tools": ...}
    asked = cohere.ADAPTER.read_asked(body)  # type: ignore[misc]
    assert [one["role"] for one in asked.messages] == ["user", "user"]
    assert (asked.instructions, asked.tools) == ([{"type": "text", "content": "p"}], [])


@pytest.mark.parametrize(
    "body", [{"messages": 5}, {"messages": ["x", None, 3]}, {"input": [None, 4]}, {"tools": 5}, {"system": 5}]
)
def test_nonsense_costs_the_content_alone(body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the program sends, the call is recorded with its tokens."""
    sdk = pytest.importorskip("openai")
    monkeypatch.setattr(state, "content", True)
    answer = {
        "id": "c",
        "choices": [{"message": 5, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    with CannedVendor(canned(answer)) as vendor, testing.recording() as recorded:
        client = wrap(sdk.OpenAI(api_key="k", base_url=vendor.url + "/v1", max_retries=0))
        client.post("/chat/completions", cast_to=object, body={"model": "m", **body})
        (call,) = recorded()
    assert call.usage is not None
    assert call.usage.output_tokens == 2


def test_content_is_bounded() -> None:
    """A text is cut, and what is longer than an attribute may be is left out."""
    read = openai.ADAPTER.read_asked
    assert read is not None
    (one,) = read({"messages": [{"role": "user", "content": "x" * 10**6}]}).messages
    assert len(one["parts"][0]["content"]) == 65_536
    attributes: dict[str, Any] = {}
    content._put(attributes, "a", [one] * 20)
    assert attributes == {}


@pytest.mark.parametrize(
    ("said", "on", "warned"),
    [("", False, None), ("no_content", False, None), ("span_only", True, None), ("SPAN_AND_EVENT", True, "spans alone"),
     ("EVENT_ONLY", False, "set it to SPAN_ONLY"), ("true", False, "there is NO_CONTENT, SPAN_ONLY")],
)  # fmt: skip
def test_the_variable(
    said: str, on: bool, warned: str | None, vendor: FakeVendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the values of the convention; what cannot be done is said in a line. In the span log it is no tag to group by."""
    pytest.importorskip("duckdb", reason="calls are read with the extra report")
    sdk = pytest.importorskip("openai")
    monkeypatch.setenv(content.VARIABLE, said)
    monkeypatch.setattr(state, "content", False)
    try:
        if warned is None:
            pipeline = tracewrap.configure(span_log=tmp_path)
        else:
            with pytest.warns(SettingIgnoredWarning, match=warned):
                pipeline = tracewrap.configure(span_log=tmp_path)
        with sdk.OpenAI(api_key="k", base_url=vendor.openai_url) as client:
            wrap(client).chat.completions.create(model="m", messages=[{"role": "user", "content": "secret"}])
        assert pipeline.flush(20)
    finally:
        shutdown()
    (path,) = tmp_path.glob("*.jsonl")
    assert ("secret" in path.read_text(encoding="utf-8")) is on
    (call,) = read_calls(str(tmp_path))
    assert not semconv.CONTENT & set(call.tags)
