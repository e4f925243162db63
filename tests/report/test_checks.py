"""tracewrap check: limits held, breached, or impossible to judge; wrong files are one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tracewrap import semconv
from tracewrap.cli import main
from tracewrap.records import Call, TokenUsage
from tracewrap.sinks import SpanLog


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Ten calls of model a (1 to 10 s, one of them failed) and two of model b (1 s)."""
    folder = tmp_path / "calls"
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(SpanLog(folder)))
    for model, seconds in [*(("a", float(s)) for s in range(1, 11)), ("b", 1.0), ("b", 1.0)]:
        call = Call(
            trace_id="",
            span_id="",
            start_time_ns=0,
            provider="openai",
            operation="chat",
            request_model=model,
            usage=TokenUsage(input_tokens=10, output_tokens=5),
            raw_runtime_s=seconds,
            outcome="error" if seconds == 10.0 else "complete",
            error_type="APIError" if seconds == 10.0 else None,
        )
        provider.get_tracer("tracewrap").start_span("chat", attributes=semconv.call_attributes(call)).end()
    return folder


def _check(calls: Path, limits: str, *options: str) -> int:
    path = calls.parent / "limits.toml"
    path.write_text(limits)
    return main(["check", str(calls), "--limits", str(path), *options])


def test_held_limits_exit_0(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Complete calls take 1..9 s and twice 1 s: eleven, p50 = 4 s (sorted 1 1 1 2 3 4 5 6 7 8 9); one of twelve failed."""
    assert _check(calls, "[limits]\nraw_p50_s = 4.0\nerror_share = 0.09\nmin_usage_share = 1.0\n") == 0
    assert capsys.readouterr().out.splitlines() == [
        "✓ raw_p50_s <= 4  found 4",
        "✓ error_share <= 0.09  found 0.08333",
        "✓ min_usage_share >= 1  found 1",
    ]


def test_breached_limit_exits_1(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a group, and in JSON: p95 of 1..9 s lies at index 7.6, so 8.6 s."""
    limits = '[limits]\nraw_p99_s = 60\n[[group]]\nby = { model = "a" }\nraw_p95_s = 8.5\n'
    assert _check(calls, limits, "--json") == 1
    results = json.loads(capsys.readouterr().out)["results"]
    assert [row["held"] for row in results] == [True, False]
    assert results[1]["found"] == pytest.approx(8.6)
    assert results[1]["by"] == {"model": "a"}


def test_unknown_figure_is_never_held(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No denoised profile, so no contention: exit 2."""
    assert _check(calls, "[limits]\ncontention_share = 0.9\n") == 2
    said = capsys.readouterr()
    assert said.out == "? contention_share <= 0.9  found unknown\n"
    assert "cannot be judged" in said.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no limit"),
        ("[limits]\nraw_p96_s = 1\n", "no limit 'raw_p96_s'"),
        ("[limits]\nraw_p95_s = 'fast'\n", "raw_p95_s is 'fast', must be a number"),
        ("[other]\n", "unknown table 'other'"),
        ("[[group]]\nraw_p95_s = 1\n", "group 1 has no 'by'"),
        ("[limits\n", "not valid TOML"),
        ("[[limits]]\nraw_p95_s = 1\n", "limits is no table of limits; write [limits]"),
        ("limits = 3\n", "limits is no table of limits"),
        ("[group]\nraw_p95_s = 1\n", "group is no list of tables; write [[group]]"),
    ],
)
def test_wrong_limits_are_one_line(calls: Path, text: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """File, table and key are named; exit 2."""
    assert _check(calls, text) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1


class _Chat(BaseHTTPRequestHandler):
    """A chat's webhook; ``taken`` holds what was posted, ``status`` what it answers."""

    taken: ClassVar[list[dict[str, str]]] = []
    status: ClassVar[int] = 200

    def do_POST(self) -> None:
        """Take a message."""
        self.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def chat() -> Iterator[str]:
    """The address of a webhook on loopback."""
    _Chat.taken, _Chat.status = [], 200
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Chat)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/services/secret"
    server.shutdown()
    server.server_close()


def test_webhook_is_told_what_did_not_hold(calls: Path, chat: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message with the period and the limits that broke, not those that held; none where all held; named by the variable too."""
    limits = "[limits]\nraw_p50_s = 3.5\nmin_usage_share = 1.0\ncontention_share = 0.9\n"
    assert _check(calls, limits, "--webhook", chat) == 1
    (message,) = _Chat.taken
    assert "raw_p50_s <= 3.5  found 4" in message["text"]
    assert "contention_share <= 0.9  found unknown" in message["text"]
    assert "min_usage_share" not in message["text"]
    monkeypatch.setenv("TRACEWRAP_WEBHOOK", chat)
    assert _check(calls, "[limits]\nraw_p50_s = 4.0\n") == 0
    assert len(_Chat.taken) == 1
    assert _check(calls, "[limits]\nraw_p50_s = 3.5\n") == 1
    assert len(_Chat.taken) == 2


@pytest.mark.parametrize("status", [404, 500])
def test_a_webhook_that_refuses_is_named_without_its_secret(
    status: int, calls: Path, chat: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The breach keeps its exit code; the line has the host and what it said."""
    _Chat.status = status
    assert _check(calls, "[limits]\nraw_p50_s = 3.5\n", "--webhook", chat) == 1
    said = capsys.readouterr().err
    assert f"127.0.0.1 did not take the message: {status}" in said
    assert "secret" not in said


def test_a_webhook_of_another_kind_is_refused_at_once(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file is no webhook, and is not opened."""
    assert _check(calls, "[limits]\nraw_p50_s = 3.5\n", "--webhook", "file:///etc/hosts") == 2
    assert "--webhook" in capsys.readouterr().err
