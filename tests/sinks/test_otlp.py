"""OTLP output decoded by something not written here: rotel, an independent receiver."""

from __future__ import annotations

import re
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from tracewrap import JoiningExporter, semconv
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import Call, TokenUsage
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.stack import Price, ReferenceStack
from tracewrap.sinks.otlp import sender
from tracewrap.sinks.otlp_target import target

AGENT = Path(sysconfig.get_paths()["purelib"]) / "rotel" / "rotel-agent"


class Sending(SpanExporter):
    """Our sender as an exporter, so that a span of the SDK's goes the whole way."""

    def __init__(self, url: str) -> None:
        to = target(url)
        assert to is not None
        self._sender = sender(to)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Success where the receiver took every span."""
        return SpanExportResult.FAILURE if self._sender.send(spans).lost else SpanExportResult.SUCCESS


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Receiver:
    """A running rotel agent that prints every span it decodes."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self._log = log

    def wait_for(self, text: str) -> str:
        """What it printed, once *text* is among it."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            printed = self._log.read_text(errors="replace")
            if text in printed:
                return printed
            time.sleep(0.05)
        raise AssertionError(f"{text!r} never arrived; rotel printed:\n{self._log.read_text(errors='replace')[-2000:]}")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """rotel on loopback."""
    if not AGENT.exists():
        pytest.skip("rotel is not installed (pip install rotel)")
    grpc, http = _free_port(), _free_port()
    log = tmp_path / "rotel.log"
    command = [str(AGENT), "start", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"]
    command += ["--otlp-http-endpoint", f"127.0.0.1:{http}", "--exporter", "blackhole"]
    command += ["--debug-log", "traces", "--debug-log-verbosity", "detailed"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=tmp_path)
        try:
            _wait_for_port(http)
            yield Receiver(f"http://127.0.0.1:{http}", log)
        finally:
            process.kill()
            process.wait()


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}")


CALL = Call(
    trace_id="",
    span_id="",
    start_time_ns=0,
    provider="openai",
    operation="chat",
    request_model="m",
    response_model="m-1",
    server_address="127.0.0.1",
    server_port=8080,
    stream=True,
    usage=TokenUsage(input_tokens=100, output_tokens=11, cached_input_tokens=4),
    raw_runtime_s=2.5,
    time_to_first_chunk_s=0.5,
    consumer_s=0.25,
    finish_reasons=("stop",),
)
# T(100, 11) = 0.1 + 10 * 0.02 = 0.3 s; r = 0, so low = high = 0.3. Cost 0.3 * 2 * 3600 / 3600 = 0.6 $, energy 0.3 * 2 * 100 = 60 J.
IDEAL = RuntimeProfile(
    id="ideal", model="m-1", prompt_knots=((1, 0.1), (200, 0.1)), d0=0.02, n_gpus=2, interval=Interval()
)
STACK = ReferenceStack(
    id="stack",
    gpu="g",
    precision="bf16",
    price=Price(3600.0, "test", "2026-11-01"),
    watts=100.0,
    profiles={"m-1": IDEAL},
)
# T = 0.5 + 10 * 0.1 = 1.5 s, so contention is 2.5 - 1.5 = 1.0 s, a share of 0.4; serving ratio 1.5 / 0.3 = 5.
QUIET = RuntimeProfile(id="quiet", model="m-1", prompt_knots=((1, 0.5), (200, 0.5)), d0=0.1)


def test_every_attribute_arrives_with_its_type(receiver: Receiver) -> None:
    """A joined span sent over OTLP/HTTP is decoded with every attribute, its value and its type."""
    catalog = Catalog(stacks=(STACK,), denoised={CALL.deployment.key: QUIET})
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(JoiningExporter(Sending(receiver.url), catalog)))
    span = provider.get_tracer("tracewrap").start_span("chat m", attributes=semconv.call_attributes(CALL))
    span.end()
    provider.shutdown()
    printed = receiver.wait_for(semconv.JOIN_STATUS)
    expected = {
        semconv.OPERATION: "Str(chat)",
        semconv.PROVIDER: "Str(openai)",
        semconv.REQUEST_MODEL: "Str(m)",
        semconv.RESPONSE_MODEL: "Str(m-1)",
        semconv.SERVER_PORT: "Int(8080)",
        semconv.REQUEST_STREAM: "Bool(true)",
        semconv.INPUT_TOKENS: "Int(100)",
        semconv.OUTPUT_TOKENS: "Int(11)",
        semconv.CACHE_READ: "Int(4)",
        semconv.RUNTIME_RAW: "Double(2.5)",
        semconv.TIME_TO_FIRST_CHUNK: "Double(0.5)",
        semconv.CONSUMER: "Double(0.25)",
        semconv.ATTEMPTS: "Int(1)",
        semconv.USAGE_SOURCE: "Str(reported)",
        semconv.RUNTIME_DENOISED: "Double(1.5)",
        semconv.CONTENTION_SECONDS: "Double(1)",
        semconv.CONTENTION_SHARE: "Double(0.4)",
        semconv.SERVING_RATIO: "Double(5)",
        semconv.PROFILE_DENOISED: "Str(quiet)",
        semconv.RUNTIME_IDEALIZED: "Double(0.3)",
        f"{semconv.RUNTIME_IDEALIZED}.low": "Double(0.3)",
        f"{semconv.RUNTIME_IDEALIZED}.high": "Double(0.3)",
        semconv.COST_IDEALIZED: "Double(0.6)",
        semconv.ENERGY_IDEALIZED: "Double(60)",
        semconv.PROVENANCE: "Str(measured)",
        semconv.REFERENCE_STACK: "Str(stack)",
        semconv.PROMPT_CACHED: "Bool(true)",
        semconv.JOIN_STATUS: "Str(ok)",
    }
    found = dict(re.findall(r"->\s*([\w.]+):\s*(\w+\(.*?\))\s*$", printed, re.MULTILINE))
    assert {name: _rounded(found.get(name, "absent")) for name in expected} == expected
    assert found[semconv.FINISH_REASONS].startswith(("Slice", "Array")), found[semconv.FINISH_REASONS]


def _rounded(text: str) -> str:
    """``Double(0.30000000000000004)`` as ``Double(0.3)``."""
    match = re.fullmatch(r"Double\((.*)\)", text)
    return f"Double({float(match[1]):.12g})" if match else text
