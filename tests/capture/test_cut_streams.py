"""Every vendor's stream, cut at every byte, with every line end, with comments and keep-alives between any two events: the same answer.

Texts hold characters of two to four bytes, so that cuts fall inside them; events are one line of data or several.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fake_wire as wire
from fake_wire import Answer, Asked
from tracewrap.capture.bodies import Body
from tracewrap.records import TokenUsage
from tracewrap.vendors import anthropic, cohere, openai
from tracewrap.vendors.adapter import Adapter, Reply

ANSWER = Answer(cached_tokens=1, reasoning_tokens=1)
Events = Callable[[Asked], Iterator[tuple[int, dict[str, Any]]]]
SHAPES: dict[str, tuple[Adapter, Events, str]] = {
    "openai chat": (openai.ADAPTER, wire.openai_chat_events, "done"),
    "openai completions": (openai.ADAPTER, wire.openai_completion_events, "done"),
    "openai responses": (openai.ADAPTER, wire.openai_response_events, "events"),
    "anthropic": (anthropic.ADAPTER, wire.anthropic_events, "events"),
    "cohere v2": (cohere.ADAPTER, wire.cohere_v2_events, "events"),
    "cohere v1": (cohere.ADAPTER, wire.cohere_v1_events, "lines"),
    "cohere generate": (cohere.ADAPTER, wire.cohere_generate_events, "lines"),
}
NOISE = (
    b": keep-alive\n\n",
    b":\n\n",
    b"retry: 10\n\n",
    b'event: ping\ndata: {"type": "ping"}\n\n',
    b"data: \n\n",
    b"\n\n",
)


def packed(name: str, *, several: bool = False) -> list[bytes]:
    """The events of the stream *name* as bytes; *several*: their data in more than one line."""
    _, events, form = SHAPES[name]
    asked = Asked("x", "m", 3, 3, True, {"stream_options": {"include_usage": True}}, ANSWER)
    made = []
    for _, event in events(asked):
        text = json.dumps(event, ensure_ascii=False, indent=1 if several else None).replace(wire.WORD, "é漢😀 ")
        if form == "lines":
            made.append(text.encode() + b"\n")
            continue
        named = f"event: {event['type']}\n" if "type" in event else ""
        made.append((named + "".join(f"data: {line}\n" for line in text.splitlines()) + "\n").encode())
    return [*made, b"data: [DONE]\n\n"] if form == "done" else made


def read(adapter: Adapter, *pieces: bytes) -> tuple[Reply, int]:
    """The reply in a body that comes in *pieces*, and how many chunks it had."""
    body = Body(adapter, kind="events")
    for piece in pieces:
        body.feed(piece)
    return body.reply(), body.count


@pytest.mark.parametrize("name", list(SHAPES))
def test_the_whole_stream_is_right(name: str) -> None:
    """In one piece: reported counts, a reason, no outcome of its own."""
    reply, count = read(SHAPES[name][0], b"".join(packed(name)))
    assert reply.usage is not None
    if name == "cohere generate":  # reports nothing
        assert reply.usage == TokenUsage(None, 2, source="estimated")
    else:
        assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.source) == (3, 3, "reported")
    assert (bool(reply.finish_reasons), reply.outcome) == (True, None)
    assert count == sum(b"ping" not in event and b"[DONE]" not in event for event in packed(name))


@pytest.mark.parametrize("several", [False, True], ids=["one line", "several lines"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("name", list(SHAPES))
def test_cut_at_every_byte(name: str, end: bytes, several: bool) -> None:
    """Two pieces, a byte order mark before them: the same reply, the same chunks, and the first of them as soon as it is whole."""
    adapter, _, form = SHAPES[name]
    if several and form == "lines":
        pytest.skip("a line of JSON is one line")
    whole = read(adapter, b"".join(packed(name, several=several)))
    events = [event.replace(b"\n", end) for event in packed(name, several=several)]
    data = b"\xef\xbb\xbf" + b"".join(events)
    begun = 3 + len(events[0])
    for at in range(len(data)):
        body = Body(adapter, kind="events")
        body.feed(data[:at])
        if at < begun - len(end):
            assert body.count == 0, at
        elif at >= begun:
            assert body.count >= 1, at
        body.feed(data[at:])
        assert (body.reply(), body.count) == whole, at


@pytest.mark.parametrize("name", list(SHAPES))
def test_noise_between_events_in_pieces_of_any_size(name: str) -> None:
    """Comments, empty data, pings, retry times; pieces of one to sixty bytes."""
    adapter, events = SHAPES[name][0], packed(name)
    whole, rng = read(adapter, b"".join(events)), random.Random(7)
    for _ in range(60):
        data = b"".join(rng.choice(NOISE) * rng.randrange(3) + event for event in events) + rng.choice(NOISE)
        cuts = [0, *sorted(rng.sample(range(1, len(data)), rng.randrange(1, len(data) // 4))), len(data)]
        pieces = [data[start:stop] for start, stop in itertools.pairwise(cuts)]
        assert read(adapter, *pieces) == whole


@pytest.mark.parametrize("name", list(SHAPES))
def test_a_stream_that_stops_anywhere_is_never_whole(name: str) -> None:
    """Cut off after any event but those of its end: partial, with counts that nobody reported, never an error and never complete."""
    adapter, events = SHAPES[name][0], packed(name)
    ends = {"done": 3, "events": 2, "lines": 1}[SHAPES[name][2]]
    for kept in range(1, len(events) - ends):
        reply, _ = read(adapter, b"".join(events[:kept]))
        assert reply.outcome == "partial", kept
        assert reply.usage is None or reply.usage.source == "estimated", kept
