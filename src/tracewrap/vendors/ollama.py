"""Ollama's own wire format: chat, generate and embed, answered whole or in JSON lines. Its SDK sends by httpx and is read there.

Counts: ``prompt_eval_count`` and ``eval_count``, which a cached prompt leaves out or at what was evaluated anew. Times are nanoseconds;
``total_duration`` is the server's. The last line of a stream, ``done``, carries all of them; a stream is the default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.records import TokenUsage
from tracewrap.vendors.adapter import NOTHING, Adapter, Reply, Request, get
from tracewrap.vendors.checks import count, text
from tracewrap.vendors.ollama_content import read_asked, read_said

_OPERATIONS = {
    "/api/chat": "chat",
    "/api/generate": "text_completion",
    "/api/embed": "embeddings",
    "/api/embeddings": "embeddings",
}
_OPTIONS: Mapping[str, tuple[str, type[Any]]] = {
    "temperature": ("gen_ai.request.temperature", float),
    "top_p": ("gen_ai.request.top_p", float),
    "top_k": ("gen_ai.request.top_k", int),
    "num_predict": ("gen_ai.request.max_tokens", int),
    "seed": ("gen_ai.request.seed", int),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
}
_MARKS = re.compile(rb'"done"\s*:\s*true|"error"\s*:')


def read_request(path: str, body: Mapping[str, Any]) -> Request | None:
    """The inference call that *path* and *body* ask for, or None."""
    bare = path.partition("?")[0].rstrip("/")
    operation = next((known for ending, known in _OPERATIONS.items() if bare.endswith(ending)), None)
    if operation is None:
        return None
    attributes: dict[str, Any] = {}
    options = body.get("options")
    for field, value in options.items() if isinstance(options, Mapping) else ():
        known = _OPTIONS.get(field)
        if known is not None and (type(value) is known[1] or (known[1] is float and type(value) is int)):
            attributes[known[0]] = known[1](value)
    if body.get("format"):
        attributes["gen_ai.output.type"] = "json"
    stream = operation != "embeddings" and body.get("stream") is not False
    return Request(operation, text(body.get("model")), stream, attributes or NOTHING)


def _usage(answer: Any) -> TokenUsage | None:
    inputs, outputs = count(get(answer, "prompt_eval_count")), count(get(answer, "eval_count"))
    return None if inputs is None and outputs is None else TokenUsage(inputs, outputs)


def read_response(response: Any) -> Reply:
    """A whole answer, or the last line of a stream."""
    error = get(response, "error")
    total_ns = count(get(response, "total_duration"))
    reason = text(get(response, "done_reason"))
    return Reply(
        model=text(get(response, "model")),
        usage=_usage(response),
        finish_reasons=(reason,) if reason else (),
        attributes=NOTHING if total_ns is None else {"tracewrap.server.processing": total_ns / 1e9},
        outcome=None if error is None else "error",
        error_type=None if error is None else "_OTHER",
    )


def is_notable(line: Any) -> bool:
    """Whether *line* says more than generated text."""
    return bool(get(line, "done")) or get(line, "error") is not None


def read_stream(first: Any, last: Sequence[Any], seen: int) -> Reply:
    """A stream that ended in any way; without its last line a line is about a token."""
    end = next((line for line in reversed(last) if is_notable(line)), None)
    if end is not None:
        # The server's time is that of the whole stream, not to its first line.
        return read_response(end)._replace(
            attributes=NOTHING, model=text(get(end, "model")) or text(get(first, "model"))
        )
    usage = TokenUsage(output_tokens=seen, source="estimated") if seen else None
    return Reply(model=text(get(first, "model")), usage=usage, outcome="partial")


def probe_request(model: str, prompt: str, output_tokens: int, stream: bool) -> dict[str, Any]:
    """Arguments of ``chat`` that stop at *output_tokens*."""
    options = {"num_predict": output_tokens, "temperature": 0.0}
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "options": options, "stream": stream}


ADAPTER = Adapter(
    provider="ollama",
    package="ollama",
    seams=(),
    http_clients={"ollama:Client": ("_client",), "ollama:AsyncClient": ("_client",)},
    read_request=read_request,
    read_response=read_response,
    read_stream=read_stream,
    probe_request=probe_request,
    read_asked=read_asked,
    read_said=read_said,
    endpoints=tuple(_OPERATIONS),
    is_notable=is_notable,
    marks=_MARKS,
    prompt_fields=("messages", "prompt", "system", "input"),
    marker_fields=("messages", "prompt", "input"),
    hosts={"ollama.com": "ollama"},
)
