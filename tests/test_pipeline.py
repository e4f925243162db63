"""configure(): what it sets up, with whose provider, and what a second call does; a mistake is raised and changes nothing."""

from __future__ import annotations

import json
import os
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import tracewrap
from tracewrap import pipeline, semconv, systems
from tracewrap.errors import ConfigurationError, SettingIgnoredWarning
from tracewrap.sources import read_calls

OPEN_MODEL = "meta-llama/Llama-3.1-8B-Instruct"


def client(model: str = OPEN_MODEL) -> httpx.Client:
    """A wrapped HTTP client whose vendor answers from memory."""
    answer = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107},
    }
    return tracewrap.wrap(httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=answer))))


def ask(asked: httpx.Client, model: str = OPEN_MODEL) -> None:
    """One call."""
    body = {"model": model, "messages": [{"role": "user", "content": "q"}]}
    asked.post("http://127.0.0.1:9/v1/chat/completions", json=body)


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder without pyproject.toml; what a test set up is taken down."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACEWRAP_DENOISE", "false")
    yield
    pipeline.shutdown()


@pytest.fixture
def own_provider(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The program's own TracerProvider, and the exporter behind it."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return memory


def test_calls_reach_log_and_exporter_joined(tmp_path: Path) -> None:
    """Both have the call's facts and its estimates; ids and times are the same."""
    memory = InMemorySpanExporter()
    set_up = tracewrap.configure(memory, span_log=tmp_path / "calls")
    ask(client())
    set_up.flush()
    (call,) = read_calls(str(tmp_path / "calls"))
    (span,) = memory.get_finished_spans()
    assert span.context is not None
    assert (call.trace_id, call.span_id) == (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}")
    assert (call.start_time_ns, call.usage.output_tokens if call.usage else None) == (span.start_time, 7)
    assert span.attributes is not None
    assert span.attributes[semconv.RUNTIME_IDEALIZED] > 0
    assert set_up.losses == {}


def test_stand_ins_are_the_right_way_round() -> None:
    """A closed model has the idealized runtime of its open stand-in, marked as assumed; the open model keeps its own."""
    memory = InMemorySpanExporter()
    set_up = tracewrap.configure(memory, stand_ins={"closed-1": OPEN_MODEL})
    ask(client("closed-1"), "closed-1")
    ask(client())
    set_up.flush()
    closed, opened = (span.attributes or {} for span in memory.get_finished_spans())
    assert closed[semconv.RUNTIME_IDEALIZED] == opened[semconv.RUNTIME_IDEALIZED]
    assert closed[semconv.PROVENANCE] == "assumed"
    assert opened[semconv.PROVENANCE] != "assumed"


def test_inline_joins_before_the_span_ends(own_provider: InMemorySpanExporter) -> None:
    """An exporter of the program's own, which tracewrap knows nothing of, gets the estimates."""
    tracewrap.configure(inline=True)
    ask(client())
    (span,) = own_provider.get_finished_spans()
    assert (span.attributes or {})[semconv.RUNTIME_IDEALIZED] > 0


def test_the_programs_provider_is_kept(own_provider: InMemorySpanExporter, tmp_path: Path) -> None:
    """Calls are in its traces, below its spans, and in the log with the same ids; it is still the program's provider afterwards."""
    before = trace.get_tracer_provider()
    set_up = tracewrap.configure(span_log=tmp_path / "calls")
    asked = client()
    with before.get_tracer("app").start_as_current_span("request") as request:
        ask(asked)
    set_up.flush()
    assert trace.get_tracer_provider() is before
    (call,) = read_calls(str(tmp_path / "calls"))
    chat = next(span for span in own_provider.get_finished_spans() if span.name != "request")
    assert chat.context is not None
    assert call.span_id == f"{chat.context.span_id:016x}"
    assert call.parent_span_id == f"{request.get_span_context().span_id:016x}"


def test_other_spans_of_the_program_reach_our_exporters_unchanged(own_provider: InMemorySpanExporter) -> None:
    """Traces are whole at the exporter that configure() is given; a span that is no model call has no attribute of ours."""
    memory = InMemorySpanExporter()
    set_up = tracewrap.configure(memory)
    agent = {semconv.OPERATION: "invoke_agent", semconv.PROVIDER: "openai", semconv.INPUT_TOKENS: 900}
    with trace.get_tracer_provider().get_tracer("app").start_as_current_span("agent", attributes=agent):
        ask(client())
    set_up.flush()
    spans = {span.name: dict(span.attributes or {}) for span in memory.get_finished_spans()}
    assert len(spans) == 2
    assert spans["agent"] == agent


@pytest.mark.parametrize("when", ["begun before the call", "begun after the answer", "of another answer"])
def test_another_librarys_span_that_is_not_current(
    own_provider: InMemorySpanExporter, tmp_path: Path, when: str
) -> None:
    """One call, recorded once: a span begun right before it is the call's, one of the same answer is exported and no second call."""
    memory = InMemorySpanExporter()
    set_up = tracewrap.configure(memory, span_log=tmp_path / "calls")
    other = trace.get_tracer_provider().get_tracer("another library")
    facts = {semconv.OPERATION: "chat", semconv.PROVIDER: "openai", semconv.REQUEST_MODEL: OPEN_MODEL}
    asked = client()
    if when == "begun before the call":
        theirs = other.start_span("theirs", attributes=facts)
        ask(asked)
    else:
        ask(asked)
        theirs = other.start_span("theirs", attributes=facts)
        theirs.set_attribute(semconv.RESPONSE_ID, "c" if when == "begun after the answer" else "another")
    theirs.end()
    set_up.flush()
    calls = list(read_calls(str(tmp_path / "calls")))
    assert len(calls) == (2 if when == "of another answer" else 1)
    named = {f"{span.context.span_id:016x}": span.name for span in memory.get_finished_spans() if span.context}
    if when == "begun before the call":
        (span,) = own_provider.get_finished_spans()
        assert span.name == "theirs"
        assert span.context is not None
        assert set(named) == {calls[0].span_id} == {f"{span.context.span_id:016x}"}
    else:
        assert "theirs" in named.values()
        assert calls[0].span_id in named


def test_another_librarys_span_begun_before_we_looked(own_provider: InMemorySpanExporter, tmp_path: Path) -> None:
    """A failed call whose span began before configure(), and which was recorded meanwhile, is no second call."""
    other = trace.get_tracer_provider().get_tracer("another library")
    facts = {semconv.OPERATION: "chat", semconv.PROVIDER: "openai", semconv.REQUEST_MODEL: OPEN_MODEL}
    theirs = other.start_span("theirs", attributes=facts)
    set_up = tracewrap.configure(span_log=tmp_path / "calls")
    ask(client())
    theirs.end()
    set_up.flush()
    assert len(list(read_calls(str(tmp_path / "calls")))) == 1


@pytest.mark.parametrize("way", ["environment", "file"])
def test_wrap_configures_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """A place named outside the program is enough: no call of configure()."""
    if way == "environment":
        monkeypatch.setenv("TRACEWRAP_SPAN_LOG", "calls")
    else:
        Path("pyproject.toml").write_text('[tool.tracewrap]\nspan_log = "calls"\n')
    ask(client())
    tracewrap.flush()
    assert len(list(read_calls(str(tmp_path / "calls")))) == 1


def test_a_second_configure_replaces_the_first(tmp_path: Path) -> None:
    """Calls go to the new place only; what the first had queued is delivered."""
    tracewrap.configure(span_log=tmp_path / "one")
    asked = client()
    ask(asked)
    second = tracewrap.configure(span_log=tmp_path / "two")
    ask(asked)
    second.flush()
    assert [len(list(read_calls(str(tmp_path / name)))) for name in ("one", "two")] == [1, 1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"references": ["no-such-stack"]}, "no-such-stack"),
        ({"profiles": ["no-such-file.json"]}, "no-such-file.json: no such file or folder of profiles"),
        ({"stand_ins": {"gpt-x": "nobody-knows-me"}}, "stand_ins: gpt-x=nobody-knows-me: no profile or architecture"),
        ({"prices": "no-prices.toml"}, "no-prices.toml"),
        ({"semconv_metrics": "v9"}, "v9"),
    ],
)
def test_a_mistake_is_raised_and_changes_nothing(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    """One line that names the thing; the earlier set-up still records."""
    before = tracewrap.configure(span_log=tmp_path / "calls")
    with pytest.raises(ConfigurationError, match=said) as raised:
        tracewrap.configure(**options)
    assert "\n" not in str(raised.value)
    ask(client())
    before.flush()
    assert len(list(read_calls(str(tmp_path / "calls")))) == 1


def test_opentelemetrys_switch_turns_everything_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED: nothing is recorded, and one line says so."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with pytest.warns(SettingIgnoredWarning, match="OTEL_SDK_DISABLED=true: nothing is recorded") as said:
        set_up = tracewrap.configure(span_log=tmp_path / "calls")
    ask(client())
    set_up.flush()
    assert len(said) == 1
    assert not (tmp_path / "calls").exists()


def test_a_refused_batch_setting_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue smaller than a batch, which OpenTelemetry's processor refuses: the log has every call, the exporter too, and it is said."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "soon")
    memory = InMemorySpanExporter()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        set_up = tracewrap.configure(memory, span_log=tmp_path / "calls")
    asked = client()
    for _ in range(3):
        ask(asked)
    set_up.flush()
    assert [str(one.message).split(" ")[0] for one in said] == ["OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_MAX_QUEUE_SIZE=10"]
    assert len(memory.get_finished_spans()) == 3
    assert len(list(read_calls(str(tmp_path / "calls")))) == 3


def test_nothing_of_the_program_is_left_changed(tmp_path: Path) -> None:
    """Signal handlers, os._exit, umask and the excepthook are as before once the pipeline is closed; the umask and hook all along."""
    import signal
    import sys

    before = (signal.getsignal(signal.SIGTERM), os._exit, sys.excepthook)
    umask = os.umask(0o22)
    os.umask(umask)
    set_up = tracewrap.configure(span_log=tmp_path / "calls")
    ask(client())
    set_up.flush()
    now = os.umask(umask)
    os.umask(now)
    assert (now, sys.excepthook) == (umask, before[2])
    set_up.close()
    assert (signal.getsignal(signal.SIGTERM), os._exit, sys.excepthook) == before


def test_calls_are_on_disk_without_being_asked(tmp_path: Path) -> None:
    """No flush, no exit: a fraction of a second later the call is in the log. That is what kill -9 can cost."""
    tracewrap.configure(span_log=tmp_path / "calls")
    ask(client())
    until = time.monotonic() + 20
    while not list(tmp_path.glob("calls/*.jsonl")) and time.monotonic() < until:
        time.sleep(0.02)
    (file,) = tmp_path.glob("calls/*.jsonl")
    assert json.loads(file.read_text().splitlines()[0])["resourceSpans"]


class _Held(InMemorySpanExporter):
    """An exporter whose receiver answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def export(self, spans: Any) -> Any:
        """Wait, then take *spans*."""
        self.go.wait(60)
        return super().export(spans)


def test_flush_says_whether_all_was_delivered_in_its_time() -> None:
    """Before a serverless freeze: flush(timeout_s) gives up after that time and says so; once the receiver answers all is there."""
    held = _Held()
    tracewrap.configure(held)
    ask(client())
    assert tracewrap.flush(timeout_s=0.05) is False
    held.go.set()
    assert tracewrap.flush(timeout_s=30) is True
    assert len(held.get_finished_spans()) == 1


def test_configuring_again_and_again_is_one_pipeline(tmp_path: Path) -> None:
    """A notebook cell that is run again and again: threads of earlier set-ups are gone, and each call is recorded once."""
    counts = []
    for _ in range(4):
        tracewrap.configure(span_log=tmp_path / "calls")
        ask(client())
        tracewrap.flush()
        counts.append(len(systems.OwnThread.running))
    deadline = time.monotonic() + 10
    while len(systems.OwnThread.running) > counts[1] and time.monotonic() < deadline:
        time.sleep(0.01)  # one that was told to end may be at its last batch
    assert len(systems.OwnThread.running) <= counts[1], counts
    assert len(list(read_calls(str(tmp_path / "calls")))) == 4


def test_switched_off_nothing_is_wrapped_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRACEWRAP_ENABLED=false: the same program runs with its SDKs untouched, no thread of ours and no file."""
    import openai

    monkeypatch.setenv("TRACEWRAP_ENABLED", "false")
    before, threads = vars(openai.resources.chat.Completions).copy(), systems.OwnThread.running.copy()
    set_up = tracewrap.configure(span_log=tmp_path / "calls", terminal=True)
    tracewrap.instrument()
    plain = openai.OpenAI(api_key="k")
    assert tracewrap.wrap(plain) is plain
    assert vars(openai.resources.chat.Completions) == before
    assert (set_up.flush(), list(tmp_path.iterdir())) == (True, [])
    assert systems.OwnThread.running <= threads
    plain.close()


def test_a_program_that_changes_its_folder_writes_where_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative span log is that of the folder where configure() was called; that folder may be gone by then."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path)
    pipeline = tracewrap.configure(span_log="calls", denoise=False)
    pipeline.close()
    assert pipeline.settings.span_log == str(tmp_path / "calls")
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    pipeline = tracewrap.configure(span_log=str(tmp_path / "calls"), denoise=False)
    pipeline.close()
    assert pipeline.settings.span_log == str(tmp_path / "calls")
