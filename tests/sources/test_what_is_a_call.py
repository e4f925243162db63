"""What counts as a call: agents and tools do not, and a framework's span round an SDK's span of the same call is that call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from made_days import call, write_log
from tracewrap import semconv
from tracewrap.records import TokenUsage
from tracewrap.sources import read_calls

USAGE = TokenUsage(150, 15)


def kept(folder: Path, *calls: object) -> list[str]:
    """Span ids of the calls that are left."""
    return [one.span_id for one in read_calls(str(write_log(folder / "log.jsonl", list(calls))))]  # type: ignore[arg-type]


@pytest.mark.parametrize("operation", sorted(semconv.OTHER_OPERATIONS))
def test_other_operations_are_no_calls(tmp_path: Path, operation: str) -> None:
    """An agent's span, which sums up its calls' tokens, a tool's, a memory's: read from a file or live, no call."""
    inner = call(2, usage=USAGE)
    outer = call(1, usage=TokenUsage(300, 30), operation=operation)
    assert kept(tmp_path, outer, inner) == [inner.span_id]
    attributes = semconv.call_attributes(outer)
    assert semconv.call_from_attributes(attributes, trace_id="a", span_id="b", start_time_ns=1) is None


def test_a_framework_round_an_sdk_is_one_call(tmp_path: Path) -> None:
    """Of a chat span whose child is a chat span the child is the call; an embedding below a chat is a call of its own."""
    outer = call(1, usage=USAGE, scope_name="framework")
    inner = call(2, trace_id=outer.trace_id, parent_span_id=outer.span_id, usage=USAGE)
    assert kept(tmp_path, outer, inner) == [inner.span_id]
    other = call(3, trace_id=outer.trace_id, parent_span_id=outer.span_id, usage=USAGE, operation="embeddings")
    assert sorted(kept(tmp_path, outer, other)) == sorted([outer.span_id, other.span_id])


@pytest.mark.parametrize("operation", ["generate_content", "text_completion"])
def test_a_framework_calls_every_generation_a_chat(tmp_path: Path, operation: str) -> None:
    """A framework's chat round an SDK's generation of another name is that one call, too."""
    outer = call(1, usage=USAGE, scope_name="framework")
    inner = call(2, trace_id=outer.trace_id, parent_span_id=outer.span_id, usage=USAGE, operation=operation)
    assert kept(tmp_path, outer, inner) == [inner.span_id]


MODEL = {"gen_ai.request.model": "gpt-4o"}
COUNTS = {"gen_ai.usage.prompt_tokens": 10, "gen_ai.usage.completion_tokens": 5}
OTHERS: dict[str, tuple[dict[str, Any], str | None]] = {
    "the first names": ({**MODEL, **COUNTS, "gen_ai.operation.name": "chat"}, "chat"),
    "OpenLLMetry's first": ({**MODEL, **COUNTS, "llm.request.type": "completion"}, "text_completion"),
    "failed": ({**MODEL, "llm.request.type": "chat"}, "chat"),
    "no operation": ({**MODEL, "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5}, "chat"),
    "no operation, an embedding": ({**MODEL, "gen_ai.usage.input_tokens": 10}, "embeddings"),
    "no operation, no model": (COUNTS, None),
    "no operation, no tokens": (MODEL, None),
    "OpenInference": (
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "gpt-4o",
            "llm.token_count.prompt": 10,
            "llm.token_count.completion": 5,
            "llm.token_count.prompt_details.cache_read": 4,
            "llm.input_messages.0.message.content": "secret",
            "input.value": "secret",
        },
        "chat",
    ),
    "OpenInference's agent": ({**MODEL, **COUNTS, "openinference.span.kind": "AGENT"}, None),
    "a workflow": ({**MODEL, **COUNTS, "traceloop.span.kind": "workflow"}, None),
    "a task": ({**MODEL, **COUNTS, "gen_ai.operation.name": "task"}, None),
}


@pytest.mark.parametrize("style", OTHERS)
def test_others_spans(tmp_path: Path, style: str) -> None:
    """Spans of other instrumentors, older names too, in SQL as in the record: the operation by its name, or by model and tokens."""
    said, operation = OTHERS[style]
    attributes = {"gen_ai.system": "openai", "gen_ai.prompt.0.content": "secret", "tenant": "a", **said}
    pairs = [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in attributes.items()
    ]
    ids = {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "2"}
    times = {"startTimeUnixNano": "1795000000000000000", "endTimeUnixNano": "1795000001000000000"}
    spans = [
        {"scopeSpans": [{"scope": {"name": "other"}, "spans": [{**ids, **times, "name": "s", "attributes": pairs}]}]}
    ]
    (tmp_path / "log.jsonl").write_text(json.dumps({"resourceSpans": spans}) + "\n")
    read = list(read_calls(str(tmp_path / "log.jsonl")))
    live = semconv.call_from_attributes(
        attributes,
        trace_id=ids["traceId"],
        span_id=ids["spanId"],
        start_time_ns=1795000000000000000,
        end_time_ns=1795000001000000000,
        scope_name="other",
    )
    assert read == ([] if live is None else [live])
    assert (None if live is None else live.operation) == operation
    if live is not None:
        assert live.tags == {"tenant": "a", "gen_ai.system": "openai"}
        assert live.model == "gpt-4o"
        assert (live.usage and live.usage.cached_input_tokens) == (4 if style == "OpenInference" else None)
        counted = None if style == "failed" else (10, None if style.endswith("embedding") else 5)
        assert (live.usage and (live.usage.input_tokens, live.usage.output_tokens)) == counted


def test_counts_below_zero_are_refused(tmp_path: Path) -> None:
    """A negative count is no count, in SQL and in the record."""
    made = call(1, usage=TokenUsage(-5000, -7))
    (read,) = read_calls(str(write_log(tmp_path / "log.jsonl", [made])))
    assert read.usage is None or (read.usage.input_tokens, read.usage.output_tokens) == (None, None)
    live = semconv.call_from_attributes(semconv.call_attributes(made), trace_id="a", span_id="b", start_time_ns=1)
    assert live is not None
    assert live.usage is not None
    assert (live.usage.input_tokens, live.usage.output_tokens) == (None, None)
