"""Message content: nowhere unless OpenTelemetry's variable asks for it; then the same messages in every mode of every vendor."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from test_contract import CASES, Entry, run

import tracewrap
from fake_answers import CannedVendor, canned
from fake_bedrock import FakeBedrock
from fake_vendor import FakeVendor
from fake_wire import Answer
from tracewrap import semconv, testing, wrap
from tracewrap.capture import content
from tracewrap.capture.state import state
from tracewrap.errors import SettingIgnoredWarning
from tracewrap.pipeline import shutdown
from tracewrap.sources import read_calls
from tracewrap.vendors import anthropic, bedrock, cohere, google_genai, ollama, openai

pytestmark = [
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),  # google-genai over aiohttp
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


@pytest.mark.parametrize(("entry", "is_async"), CHATS)
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
    reason = {"openai": "stop", "anthropic": "end_turn", "google": "STOP"}.get(entry.vendor, "COMPLETE")
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


def parts_of(adapter: Any, body: dict[str, Any]) -> list[tuple[str, Any]]:
    """(role, parts) of the messages that *adapter* reads in a request."""
    return [(one["role"], one["parts"]) for one in adapter.read_asked(body).messages]


def test_what_google_ollama_and_bedrock_hold() -> None:
    """Their own shapes of tool calls, results, instructions and images give the same messages."""
    call = {"functionCall": {"id": "1", "name": "f", "args": {"at": 2}}}
    result = {"functionResponse": {"id": "1", "name": "f", "response": {"r": 3}}}
    body: dict[str, Any] = {
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "u"}, {"inlineData": {"mimeType": "image/png", "data": "A"}}]},
            {"role": "model", "parts": [{"text": "why", "thought": True}, call]},
            {"role": "user", "parts": [result]},
        ],
        "tools": [{"functionDeclarations": []}],
    }
    called = {"type": "tool_call", "id": "1", "name": "f", "arguments": {"at": 2}}
    answered = {"type": "tool_call_response", "id": "1", "response": {"r": 3}}
    user, thought = {"type": "text", "content": "u"}, {"type": "reasoning", "content": "why"}
    assert parts_of(google_genai.ADAPTER, body) == [
        ("user", [user, {"type": "inlineData"}]),
        ("assistant", [thought, called]),
        ("user", [answered]),
    ]
    asked = google_genai.ADAPTER.read_asked(body)  # type: ignore[misc]
    assert (asked.instructions, len(asked.tools)) == ([{"type": "text", "content": "s"}], 1)
    body = {
        "messages": [
            {"role": "user", "content": "u", "images": ["AAAA"]},
            {
                "role": "assistant",
                "thinking": "why",
                "tool_calls": [{"function": {"name": "f", "arguments": {"at": 2}}}],
            },
            {"role": "tool", "tool_name": "f", "content": "r"},
        ]
    }
    assert parts_of(ollama.ADAPTER, body) == [
        ("user", [user, {"type": "image"}]),
        ("assistant", [thought, {**called, "id": None}]),
        ("tool", [{"type": "tool_call_response", "id": "f", "response": "r"}]),
    ]
    assert parts_of(ollama.ADAPTER, {"prompt": "u"}) == [("user", [user])]
    body = {
        "system": [{"text": "s"}],
        "messages": [
            {"role": "user", "content": [{"text": "u"}, {"image": {"format": "png"}}]},
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "why"}}},
                    {"toolUse": {"toolUseId": "1", "name": "f", "input": {"at": 2}}},
                ],
            },
            {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [{"json": {"r": 3}}]}}]},
        ],
    }
    assert parts_of(bedrock.ADAPTER, body) == [
        ("user", [user, {"type": "image"}]),
        ("assistant", [thought, called]),
        ("user", [answered]),
    ]
    assert parts_of(bedrock.ADAPTER, {"inputText": "u"}) == [("user", [user])]
    invoked = {"anthropic_version": "x", "system": "s", "messages": [{"role": "user", "content": "u"}]}
    assert parts_of(bedrock.ADAPTER, invoked) == [("user", [user])]


@pytest.mark.parametrize(
    ("adapter", "things", "parts", "reason"),
    [
        (google_genai.ADAPTER, [[{"candidates": [{"content": {"parts": [{"text": "a"}, {"functionCall": {"name": "f", "args": {}}}]}}]},
                                 {"candidates": [{"content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"}]}]],
         [("text", "ab"), ("tool_call", {})], "STOP"),
        (ollama.ADAPTER, [{"message": {"content": "a", "thinking": "w"}}, {"message": {"content": "b"}, "done_reason": "stop"}],
         [("reasoning", "w"), ("text", "ab")], "stop"),
        (ollama.ADAPTER, [{"response": "a", "done": True, "done_reason": "stop"}], [("text", "a")], "stop"),
        (bedrock.ADAPTER, [{"role": "assistant"}, {"contentBlockIndex": 0, "delta": {"text": "a"}},
                           {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "1", "name": "f"}}},
                           {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{}"}}}, {"stopReason": "tool_use"}],
         [("text", "a"), ("tool_call", "{}")], "tool_use"),
        (bedrock.ADAPTER, [{"generation": "a"}, {"generation": "b", "stop_reason": "stop"}], [("text", "ab")], "stop"),
        (bedrock.ADAPTER, [{"results": [{"outputText": "a", "completionReason": "FINISH"}]}], [("text", "a")], "FINISH"),
        (bedrock.ADAPTER, [{"outputs": [{"text": "a", "stop_reason": "stop"}]}], [("text", "a")], "stop"),
        (bedrock.ADAPTER, [{"type": "message", "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"}],
         [("text", "a")], "end_turn"),
    ],
)  # fmt: skip
def test_what_answers_hold(adapter: Any, things: list[Any], parts: list[Any], reason: str) -> None:
    """Whole or in pieces, in the words of each vendor, Bedrock's makers included: what was said and why it ended."""
    (one,) = adapter.read_said(things)
    assert [(part["type"], part.get("content", part.get("arguments"))) for part in one["parts"]] == parts
    assert one["finish_reason"] == reason


@pytest.mark.parametrize("streamed", [False, True])
def test_bedrock_and_ollama_by_their_sdks(
    streamed: bool, vendor: FakeVendor, recorded: testing.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Converse, an invoked model and Ollama's chat, on the real SDKs; what the program does to its messages afterwards is not seen."""
    boto3, sdk = pytest.importorskip("boto3"), pytest.importorskip("ollama")
    monkeypatch.setattr(state, "content", True)
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    messages: list[Any] = [{"role": "user", "content": [{"text": "a b c"}]}]
    invoked = json.dumps({"messages": [{"role": "user", "content": "a b c"}], "anthropic_version": "x"})
    with FakeBedrock() as server:
        client = wrap(boto3.Session().client("bedrock-runtime", endpoint_url=server.url, **keys))
        if streamed:
            stream = client.converse_stream(modelId=model, messages=messages)["stream"]
            messages[0]["content"][0]["text"] = "changed"
            messages.append({"role": "assistant", "content": [{"text": "later"}]})
            list(stream)
            list(client.invoke_model_with_response_stream(modelId=model, body=invoked)["body"])
        else:
            client.converse(modelId=model, messages=messages)
            client.invoke_model(modelId=model, body=invoked)["body"].read()
    answer = wrap(sdk.Client(host=vendor.url)).chat(
        model="m", messages=[{"role": "user", "content": "a b c"}], stream=streamed
    )
    if streamed:
        list(answer)
    assert len(recorded.records) == 3
    for record in recorded.records:
        asked, (said,) = (
            json.loads(record.attributes[name]) for name in (semconv.INPUT_MESSAGES, semconv.OUTPUT_MESSAGES)
        )
        assert asked == [{"role": "user", "parts": [{"type": "text", "content": "a b c"}]}]
        assert set("".join(part["content"] for part in said["parts"]).split()) == {"tok"}


@pytest.mark.parametrize("streamed", [False, True])
def test_json_is_not_the_caller_s_work(
    streamed: bool, vendor: FakeVendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a span of the program's own, content is written after the call has returned; the answer is as it was when the call ended."""
    sdk = pytest.importorskip("openai")
    monkeypatch.setenv(content.VARIABLE, "SPAN_ONLY")
    monkeypatch.setattr(state, "content", False)
    threads: list[int] = []
    put = content._put

    def watched(*args: Any) -> None:
        threads.append(threading.get_ident())
        put(*args)

    try:
        pipeline = tracewrap.configure(span_log=tmp_path)
        monkeypatch.setattr(content, "_put", watched)
        with sdk.OpenAI(api_key="k", base_url=vendor.openai_url) as client:
            answer = wrap(client).chat.completions.create(
                model="m", messages=[{"role": "user", "content": "secret"}], stream=streamed
            )
            if streamed:
                list(answer)
            else:
                answer.choices[0].message.content = "changed"
        assert threading.get_ident() not in threads
        assert pipeline.flush(20)
    finally:
        shutdown()
    assert threads
    (path,) = tmp_path.glob("*.jsonl")
    text = path.read_text(encoding="utf-8")
    assert "secret" in text
    assert "tok tok" in text
    assert "changed" not in text


def test_copies_are_one_s_own() -> None:
    """Lists and dictionaries are copied as deep as requests go, texts are shared, and a circle ends."""
    text, circle = "x" * 100, {}  # type: ignore[var-annotated]
    circle["self"] = circle
    value = {"a": [{"b": (text, 1, None)}], "c": circle}
    made = content.copied(value)
    assert made["a"] == [{"b": [text, 1, None]}]
    assert made["a"][0]["b"][0] is text
    value["a"].append(1)  # type: ignore[union-attr]
    assert len(made["a"]) == 1


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
