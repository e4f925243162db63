"""Recorded calls sent again: every call once, in bounded batches, what cannot be delivered counted, an interrupted run goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from made_days import call, write_log
from tracewrap import semconv
from tracewrap.background.resending import Mark, resend
from tracewrap.errors import ConfigurationError
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.joiner import join_call
from tracewrap.estimate.live_join import LiveJoin
from tracewrap.records import Call, TokenUsage
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.sinks.otlp import Delivery

PROFILE = RuntimeProfile(id="q", model="m-a", prompt_knots=((0, 0.0), (1000, 0.1)), d0=0.01, overhead_s=0.1)


class Receiver:
    """A sender that answers as told, at last with success; ``spans`` holds what it took."""

    def __init__(self, *answers: Delivery) -> None:
        self.answers, self.spans, self.sizes = list(answers), list[ReadableSpan](), list[int]()

    def send(self, spans: Sequence[ReadableSpan]) -> Delivery:
        """Take *spans*, unless the next answer refuses them."""
        answer = self.answers.pop(0) if self.answers else Delivery()
        self.sizes.append(len(spans))
        if answer.lost == 0:
            self.spans += spans
        return answer

    def close(self) -> None:
        """Nothing to close."""


def made(count: int) -> list[Call]:
    """*count* calls with usage, a minute apart; every fifth failed."""
    usage = TokenUsage(500, 50, source="reported")
    return [
        call(n, n / 60, usage=usage, **({"outcome": "error", "error_type": "RateLimitError"} if n % 5 == 0 else {}))
        for n in range(1, count + 1)
    ]


def joining(calls: Sequence[Call]) -> tuple[LiveJoin, Catalog]:
    """A join that knows the quiet day of *calls*' deployment."""
    catalog = Catalog(denoised={calls[0].deployment.key: PROFILE})
    return LiveJoin(catalog, lambda: None), catalog


def test_every_call_arrives_once_with_the_estimates_of_the_join() -> None:
    """Ids, times, service and outcome are the call's, estimates those of ``join``, batches no larger than said."""
    calls = made(25)
    join, catalog = joining(calls)
    receiver = Receiver()
    done = resend(calls, join, receiver, batch=10)
    assert (done.calls, done.delivered, done.skipped, dict(done.lost), done.stopped) == (25, 25, 0, {}, None)
    assert receiver.sizes == [10, 10, 5]
    for one, span in zip(calls, receiver.spans, strict=True):
        context, attributes = span.context, span.attributes
        assert context is not None
        assert attributes is not None
        assert (f"{context.trace_id:032x}", f"{context.span_id:016x}") == (one.trace_id, one.span_id)
        assert span.start_time == one.start_time_ns
        assert span.end_time == one.start_time_ns + 10**9
        assert span.resource.attributes[semconv.SERVICE_NAME] == "app"
        assert span.status.is_ok is (one.outcome != "error")
        expected = join_call(one, catalog)
        assert attributes[semconv.JOIN_STATUS] == expected.join_status
        if expected.denoised_runtime is not None:
            assert attributes[semconv.RUNTIME_DENOISED] == expected.denoised_runtime.value
    assert receiver.spans[0].attributes[semconv.RUNTIME_DENOISED] == pytest.approx(0.1 + 0.05 + 0.49)  # type: ignore[index]


def test_a_batch_is_tried_again_as_the_receiver_asks() -> None:
    """Two refusals that may pass, one of which says when: the batch arrives at the third try, nothing twice."""
    calls, waits = made(4), list[float]()
    receiver = Receiver(Delivery(), Delivery(2, "http_429", True, 7.0), Delivery(2, "http_503", True))
    done = resend(calls, joining(calls)[0], receiver, batch=2, wait=waits.append)
    assert (done.delivered, done.stopped) == (4, None)
    assert len(receiver.spans) == 4
    assert waits == [7.0, 2.0]


@pytest.mark.parametrize("answer", [Delivery(2, "http_404"), Delivery(2, "unreachable", True)])
def test_a_refusal_that_stays_stops_and_is_told(answer: Delivery) -> None:
    """What came before it is delivered, what comes after it is not tried."""
    calls = made(6)
    receiver = Receiver(Delivery(), *[answer] * 6)
    done = resend(calls, joining(calls)[0], receiver, batch=2, wait=lambda _: None)
    assert (done.delivered, done.stopped) == (2, answer.reason)
    assert receiver.sizes == [2, 2] if not answer.again else [2] * 7


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The mark holds the last call of the last batch that arrived; the next run sends what comes after it, the third nothing."""
    calls, path = made(7), tmp_path / "mark.json"
    join = joining(calls)[0]
    broken = Receiver(Delivery(), Delivery(2, "http_404"))
    assert resend(calls, join, broken, batch=2, mark=Mark(path, "r")).delivered == 2
    second = Receiver()
    done = resend(calls, join, second, batch=2, mark=Mark(path, "r"))
    assert (done.skipped, done.delivered) == (2, 5)
    assert [span.context.span_id for span in broken.spans + second.spans] == list(range(1, 8))  # type: ignore[union-attr]
    assert resend(calls, join, Receiver(), mark=Mark(path, "r")).delivered == 0


@pytest.mark.parametrize(
    "text", ["", "[]", '{"after": 3}', '{"schema": "tracewrap.export/1", "receiver": "other", "after": [1, "a", "b"]}']
)
def test_a_file_that_is_no_mark_of_this_receiver_is_refused_by_name(text: str, tmp_path: Path) -> None:
    """It is left as it is."""
    path = tmp_path / "mark.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"mark\.json"):
        Mark(path, "r")
    assert path.read_text(encoding="utf-8") == text


class _Otlp(BaseHTTPRequestHandler):
    """Takes OTLP; ``bodies`` holds what came."""

    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        """Take a request."""
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_the_command_sends_learns_and_counts(tmp_path: Path) -> None:
    """``tracewrap export`` of a span log: every span arrives, calls with a known quiet day have it; a second run has nothing to do."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    calls = [
        call(
            n,
            n / 60,
            usage=TokenUsage(100 * (n % 7 + 1), 20 * (n % 5 + 1)),
            raw_runtime_s=0.2 + 0.002 * 20 * (n % 5 + 1),
        )
        for n in range(1, 61)
    ]
    write_log(tmp_path / "calls" / "spans-1.jsonl", calls)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Otlp)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    command = [sys.executable, "-m", "tracewrap", "export", "calls", "--otlp", url, "--resume", "mark", "--json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    try:
        ran = [
            subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
            for _ in range(2)
        ]
    finally:
        server.shutdown()
        server.server_close()
    assert [one.returncode for one in ran] == [0, 0], ran[0].stderr
    told = [json.loads(one.stdout) for one in ran]
    assert [(one["delivered"], one["skipped"], one["lost"], one["stopped"]) for one in told] == [
        (60, 0, {}, None),
        (0, 60, {}, None),
    ]
    spans = [
        span
        for body in _Otlp.bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert len({span.span_id for span in spans}) == len(spans) == 60
    assert all(any(one.key == semconv.RUNTIME_DENOISED for one in span.attributes) for span in spans)


@pytest.mark.parametrize("arguments", [["--otlp", "nonsense"], ["--otlp", "http://127.0.0.1:9"], []])
def test_a_receiver_that_is_none_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    """A word that is no URL, a port where nobody listens, no receiver at all: exit code 2 and a line that names it."""
    write_log(tmp_path / "calls" / "spans-1.jsonl", made(2))
    ran = subprocess.run(
        [sys.executable, "-m", "tracewrap", "export", "calls", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert (arguments or ["--otlp"])[-1] in ran.stderr
