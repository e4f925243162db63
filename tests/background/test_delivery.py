"""Delivery that counts: a place that fails costs the others nothing, and whatever does not arrive is counted by reason and written down."""

from __future__ import annotations

import errno
import itertools
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from tracewrap import semconv
from tracewrap.background.background import Background, Sinks
from tracewrap.background.exports import Export, Pace
from tracewrap.background.losses import Losses
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.live_join import LiveJoin
from tracewrap.records import CallRecord
from tracewrap.sinks import SpanLog
from tracewrap.sinks.metrics import Metrics
from tracewrap.sinks.otlp import Delivery, ExporterSender, HttpSender
from tracewrap.sinks.otlp_target import Target
from tracewrap.sources import read_calls

FAST = Pace(limit=100, batch=10, linger_s=0.01)
_numbers = itertools.count(1)


def record(sampled: bool = True, **attributes: Any) -> CallRecord:
    """A finished call of two seconds."""
    number = next(_numbers)
    facts = {
        semconv.OPERATION: "chat",
        semconv.PROVIDER: "openai",
        semconv.REQUEST_MODEL: "m",
        semconv.INPUT_TOKENS: 10,
        semconv.OUTPUT_TOKENS: 3,
        semconv.RUNTIME_RAW: 2.0,
        semconv.OUTCOME: "complete",
    }
    start = 1_795_132_800 * 10**9
    return CallRecord(
        trace_id=number,
        span_id=number,
        parent_span_id=None,
        sampled=sampled,
        trace_state=None,
        program_span=False,
        resource=None,
        name="chat m",
        start_time_ns=start,
        end_time_ns=start + 2 * 10**9,
        attributes=facts | attributes,
        failure=None,
    )


class Made:
    """A background with a span log in *folder* and the exports given; ``end`` closes it within the bound and gives the seconds it took."""

    def __init__(
        self, folder: Path, *senders: tuple[str, Any], pace: Pace = FAST, queue_size: int = 1000, **sinks: Any
    ):
        self.folder, self.losses = folder, Losses()
        exports = [Export(place, sender, self.losses, pace) for place, sender in senders]
        log = SpanLog(folder, {})
        join = LiveJoin(Catalog(), lambda: None)
        self.background = Background(
            join, Sinks(span_log=log, exports=exports, **sinks), self.losses, Resource({}), queue_size, lambda _: None
        )

    def put(self, count: int, **changes: Any) -> None:
        """Make *count* calls."""
        for _ in range(count):
            self.background.put(record(**changes))

    def end(self, bound_s: float = 5.0) -> float:
        """Seconds that closing took."""
        began = time.monotonic()
        self.background.close(began + bound_s)
        return time.monotonic() - began

    def logged(self) -> int:
        """Calls in the span log."""
        return len(list(read_calls(str(self.folder))))

    def noted(self) -> dict[tuple[str, str], int]:
        """What the records of losses in the span log add up to."""
        found: dict[tuple[str, str], int] = {}
        for file in self.folder.glob("*.jsonl"):
            for line in file.read_text().splitlines():
                for span in json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]:
                    if span["name"] == semconv.LOSSES:
                        values = {pair["key"]: next(iter(pair["value"].values())) for pair in span["attributes"]}
                        key = (values[semconv.LOST_PLACE], values[semconv.LOST_REASON])
                        found[key] = found.get(key, 0) + int(values[semconv.LOST_CALLS])
        return found


class Receiver:
    """A sender whose answers a test decides; ``taken``: spans that it took."""

    def __init__(self, *answers: Delivery) -> None:
        self.answers, self.taken, self.tries = list(answers), 0, 0

    def send(self, spans: Sequence[ReadableSpan]) -> Delivery:
        """The next answer, at last success; a loss of -1 means the whole batch."""
        self.tries += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        lost = len(spans) if answer.lost < 0 else answer.lost
        self.taken += len(spans) - lost
        return answer._replace(lost=lost)

    def close(self) -> None:
        """Nothing to do."""


class Hanging:
    """A receiver that accepts and never answers."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def send(self, spans: Sequence[ReadableSpan]) -> Delivery:
        """Block until the test ends."""
        self.go_on.wait(30)
        return Delivery()

    def close(self) -> None:
        """Nothing to do."""


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Let go at the end of the test."""
    made = Hanging()
    yield made
    made.go_on.set()


def test_a_hanging_receiver_costs_the_log_nothing(tmp_path: Path, hanging: Hanging) -> None:
    """Every call is logged, another exporter has all of them, closing keeps its bound, and what the receiver missed is written down."""
    other = InMemorySpanExporter()
    made = Made(tmp_path, ("otlp", hanging), ("other", ExporterSender(lambda: other)))
    made.put(300)
    assert made.end(bound_s=1.0) < 10.0
    assert made.logged() == 300
    assert len(other.get_finished_spans()) + made.noted().get(("other", "queue_full"), 0) == 300
    assert sum(made.noted()[key] for key in made.noted() if key[0] == "otlp") == 300
    assert made.noted() == dict(made.losses.total)


@pytest.mark.parametrize(
    ("answers", "taken", "lost"),
    [
        ((Delivery(3, "partial_success"), Delivery()), 7, {("otlp", "partial_success"): 3}),
        ((Delivery(-1, "http_400"), Delivery()), 0, {("otlp", "http_400"): 10}),
        ((Delivery(-1, "http_500"), Delivery()), 0, {("otlp", "http_500"): 10}),
        ((Delivery(-1, "http_503", True, 0.01), Delivery(-1, "unreachable", True, 0.01), Delivery()), 10, {}),
    ],
)
def test_what_a_receiver_refuses_is_counted(
    tmp_path: Path, answers: tuple[Delivery, ...], taken: int, lost: dict[tuple[str, str], int]
) -> None:
    """Partial success, a final refusal, and one that is worth trying again until it is taken."""
    receiver = Receiver(*answers)
    made = Made(tmp_path, ("otlp", receiver), pace=Pace(100, 10, 60.0))
    made.put(10)
    made.background.flush(time.monotonic() + 20)
    assert (receiver.taken, dict(made.losses.total)) == (taken, lost)
    made.end()
    assert (made.noted(), made.logged()) == (lost, 10)


def test_a_receiver_that_comes_back_gets_what_the_queue_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down for a while: nothing is lost but what found the queue full, and that is counted."""
    monkeypatch.setattr("tracewrap.background.exports.FIRST_RETRY_S", 0.01)
    down = Delivery(-1, "unreachable", True)
    receiver = Receiver(*[down] * 4, Delivery())
    made = Made(tmp_path, ("otlp", receiver), pace=Pace(limit=50, batch=10, linger_s=0.001))
    made.put(200)
    made.background.flush(time.monotonic() + 20)
    full = made.losses.total[("otlp", "queue_full")]
    assert receiver.taken + full == 200
    assert receiver.taken >= 50
    assert made.logged() == 200
    made.end()


def test_a_full_queue_drops_the_newest_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls beyond the queue's size are not recorded; how many is in the log as soon as there is room."""
    monkeypatch.setattr("tracewrap.background.background.LINGER_S", 5.0)
    made = Made(tmp_path, queue_size=40)
    monkeypatch.setattr(made.background._worker, "_hurry_at", 10**6)
    made.put(100)
    made.end()
    assert made.logged() == 40
    assert made.noted() == {("span_log", "queue_full"): 60}


def test_only_sampled_calls_are_exported_and_all_are_logged(tmp_path: Path) -> None:
    """Sampling decides what is exported; a setting limits the log to the same."""
    for sampled_only, logged in ((False, 5), (True, 2)):
        memory, folder = InMemorySpanExporter(), tmp_path / str(sampled_only)
        made = Made(folder, ("other", ExporterSender(lambda memory=memory: memory)), sampled_only=sampled_only)  # type: ignore[misc]
        made.put(3, sampled=False)
        made.put(2, sampled=True)
        made.end()
        assert (len(memory.get_finished_spans()), made.logged()) == (2, logged)
        assert all((one.attributes or {})[semconv.SAMPLED] is True for one in memory.get_finished_spans())
        assert {one.sampled for one in read_calls(str(folder))} == ({True} if sampled_only else {None})


def test_where_every_call_is_sampled_nothing_says_sample(tmp_path: Path) -> None:
    """The mark of a sample is for processes that made calls which were not sampled."""
    memory = InMemorySpanExporter()
    made = Made(tmp_path, ("other", ExporterSender(lambda: memory)))
    made.put(2, sampled=True)
    made.end()
    assert not any(semconv.SAMPLED in (one.attributes or {}) for one in memory.get_finished_spans())


def test_a_full_disk_is_counted_and_written_down_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing torn is left behind; once there is room, the log says how many calls it missed."""
    made = Made(tmp_path)
    made.put(1)
    made.background.flush(time.monotonic() + 20)
    write, full = os.write, [True]

    def short(handle: int, data: bytes) -> int:
        if full[0] and b"resourceSpans" in data:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data)

    monkeypatch.setattr(os, "write", short)
    made.put(4)
    made.background.flush(time.monotonic() + 20)
    assert dict(made.losses.total) == {("span_log", "no_space"): 4}
    full[0] = False
    made.put(2)
    made.end()
    assert (made.logged(), made.noted()) == (3, {("span_log", "no_space"): 4})


def test_one_bad_call_costs_itself(tmp_path: Path) -> None:
    """An attribute that cannot be written is no reason to lose the call beside it."""
    made = Made(tmp_path)
    bad = record()
    bad.name = None  # type: ignore[assignment]
    made.put(1)
    made.background.put(bad)
    made.put(1)
    made.end()
    assert (made.logged(), made.noted()) == (2, {("span_log", "bad_call"): 1})


class Raising(SpanExporter):
    """An exporter with a mistake in it."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Raise."""
        raise RuntimeError("theirs")


def test_an_exporter_that_raises_is_counted(tmp_path: Path) -> None:
    """Its spans are lost for the reason ``error``; the thread lives on."""
    made = Made(tmp_path, ("theirs", ExporterSender(Raising)))
    made.put(3)
    made.background.flush(time.monotonic() + 20)
    made.put(2)
    made.end()
    assert (made.logged(), made.noted()) == (5, {("theirs", "error"): 5})


def test_losses_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The first at once, the rest together."""
    losses = Losses()
    for _ in range(3):
        losses.add("otlp", "http_400", 2)
        losses.log()
    losses.log(now=True)
    said = [one.getMessage() for one in caplog.records]
    assert said == [
        "tracewrap: calls not delivered: 2 at otlp (http_400)",
        "tracewrap: calls not delivered: 4 at otlp (http_400)",
    ]


def test_a_child_of_a_fork_has_a_queue_of_its_own(tmp_path: Path) -> None:
    """What the parent had queued is delivered by the parent alone, once; the child's calls are in the child's file."""
    made = Made(tmp_path)
    made.put(3)
    child = os.fork()
    if child == 0:
        made.put(2)
        made.end()
        os._exit(0)
    os.waitpid(child, 0)
    made.end()
    assert made.logged() == 5
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


def test_http_says_what_became_of_a_batch() -> None:
    """A port where nothing listens, and one that does not speak HTTP: worth trying again, each by its name."""
    import socket

    span = ReadableSpan("x", SpanContext(1, 1, False))
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]

        def answer() -> None:
            got, _ = door.accept()
            got.recv(10_000)
            got.sendall(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n\r\n")
            got.close()

        thread = threading.Thread(target=answer)
        thread.start()
        found = HttpSender(Target(f"http://127.0.0.1:{port}/v1/traces")).send([span])
        thread.join()
    assert (found.reason, found.again) == ("not_http", True)
    found = HttpSender(Target(f"http://127.0.0.1:{port}/v1/traces")).send([span])
    assert (found.reason, found.again, found.lost) == ("unreachable", True, 1)


class HangingProvider:
    """A provider of metrics whose receiver does not answer, which keeps to a timeout of its own."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def get_meter(self, *_: Any) -> Any:
        """Nothing is recorded."""
        return None

    def shutdown(self, timeout_millis: float = 0.0) -> None:
        """Hang."""
        self.released.wait(30)

    force_flush = shutdown


def test_metrics_keep_the_bound(tmp_path: Path) -> None:
    """A receiver of metrics that hangs delays neither a flush nor the end by more than what they may take."""
    metrics, hanging = Metrics(MeterProvider()), HangingProvider()
    metrics._own = hanging  # type: ignore[assignment]
    made = Made(tmp_path, metrics=metrics)
    made.put(5)
    began = time.monotonic()
    made.background.flush(began + 0.5)
    assert time.monotonic() - began < 10
    assert made.end(0.5) < 10
    hanging.released.set()
    assert made.logged() == 5
