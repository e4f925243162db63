"""The span log: whole lines, one file a process, readable after any death."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

import tracewrap
from tracewrap import semconv
from tracewrap.capture.state import state
from tracewrap.errors import ConfigurationError, SettingIgnoredWarning
from tracewrap.records import Call, CallRecord, TokenUsage
from tracewrap.sinks import SpanLog
from tracewrap.sinks.folder import unwritable
from tracewrap.sources import ReadStatus, read_calls

CALL = Call(
    trace_id="",
    span_id="",
    start_time_ns=0,
    provider="openai",
    operation="chat",
    request_model="m",
    usage=TokenUsage(input_tokens=10, output_tokens=3),
    raw_runtime_s=1.5,
)


def _write(log: SpanLog, count: int) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(log))
    tracer = provider.get_tracer(semconv.SCOPE)
    for _ in range(count):
        tracer.start_span("chat m", attributes=semconv.call_attributes(CALL)).end()


def test_a_span_log_in_an_object_store_is_refused() -> None:
    """A URL never becomes a local folder of that name."""
    with pytest.raises(ConfigurationError, match="only local files and folders are written"):
        SpanLog("s3://bucket/calls")


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """A call survives the way into the log and out of it."""
    _write(SpanLog(tmp_path), 3)
    calls = list(read_calls(str(tmp_path)))
    assert len(calls) == 3
    assert {(call.provider, call.request_model, call.usage, call.raw_runtime_s) for call in calls} == {
        ("openai", "m", CALL.usage, 1.5)
    }


def test_folder_appears_with_the_first_span(tmp_path: Path) -> None:
    """Nothing is made before there is something to write."""
    log = SpanLog(tmp_path / "calls")
    assert not (tmp_path / "calls").exists()
    _write(log, 1)
    assert len(list((tmp_path / "calls").iterdir())) == 1


def test_two_processes_write_two_files(tmp_path: Path) -> None:
    """A forked child never appends to its parent's file."""
    log = SpanLog(tmp_path)
    _write(log, 1)
    child = os.fork()
    if child == 0:
        _write(log, 1)
        os._exit(0)
    os.waitpid(child, 0)
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    assert len(list(read_calls(str(tmp_path)))) == 2


def test_unwritable_folder_drops_and_counts(tmp_path: Path) -> None:
    """A log that cannot be written counts what it drops; nothing is raised."""
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    log = SpanLog(blocker / "calls")
    _write(log, 2)
    assert log.dropped == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with a name")
def test_a_place_that_is_no_folder_is_said_at_once_and_counted(tmp_path: Path) -> None:
    """A device, a pipe, a file, a path below one, no possible name: configure() says so in a line, nothing waits, each call is counted."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    why = {
        "/dev/null": "/dev/null is no folder",
        str(tmp_path / "pipe"): f"{tmp_path / 'pipe'} is no folder",
        str(tmp_path / "file" / "calls"): f"{tmp_path / 'file'} is no folder",
        str(tmp_path / ("x" * 300)): "file name too long",
        str(tmp_path / "a\0b"): "this system can have no folder of that name",
    }
    for place, reason in why.items():
        with pytest.warns(SettingIgnoredWarning, match="calls are counted as lost") as said:
            pipeline = tracewrap.configure(span_log=place)
        assert [str(one.message).partition(": ")[2].partition(";")[0] for one in said] == [reason]
        assert state.record is not None
        state.record(CallRecord(1, 2, None, True, None, False, {}, "chat", 1, 2, {}, None))
        assert pipeline.flush(5.0)
        assert pipeline.losses == {("span_log", "not_writable"): 1}
        pipeline.close()


def test_a_folder_that_may_be_made_is_fine(tmp_path: Path) -> None:
    """One that is not there yet, with folders above it that are not there either."""
    assert unwritable(tmp_path) is None
    assert unwritable(tmp_path / "a" / "b") is None


def test_a_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that refuses, not the one that would be made in it."""
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != tmp_path)
    assert unwritable(tmp_path / "calls") == f"{tmp_path} is not writable"


def test_a_folder_that_is_removed_is_made_again(tmp_path: Path) -> None:
    """Somebody cleans up while the program runs: what comes later is written."""
    log = SpanLog(tmp_path / "calls")
    _write(log, 1)
    shutil.rmtree(tmp_path / "calls")
    _write(log, 2)
    assert len(list(read_calls(str(tmp_path / "calls")))) == 2
    assert log.dropped == 0


def test_folder_and_file_are_private(tmp_path: Path) -> None:
    """Only their user reads them, whatever the umask; the umask itself stays."""
    before = os.umask(0)
    try:
        log = SpanLog(tmp_path / "calls")
        _write(log, 1)
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert log.path is not None
    assert (log.path.stat().st_mode & 0o777, log.folder.stat().st_mode & 0o777) == (0o600, 0o700)


def test_lines_are_strict_json_whatever_the_values(tmp_path: Path) -> None:
    """NaN, infinities and integers beyond 64 bits are absent; half a surrogate pair is replaced; the other values stay."""
    record = CallRecord(1, 2, None, True, None, False, {}, "chat \ud800", 1, 2, {}, "failed \udfff")
    odd = {"nan": math.nan, "inf": -math.inf, "large": 10**400, "half": "a\ud800b", "list": ("x", math.nan), "good": 3}
    log = SpanLog(tmp_path)
    log.write([log.encoded(record, odd)])
    assert log.path is not None

    def refuse(name: str) -> float:
        raise AssertionError(name)

    (span,) = json.loads(log.path.read_text(), parse_constant=refuse)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert {pair["key"]: pair["value"] for pair in span["attributes"]} == {
        "half": {"stringValue": "a\ufffdb"},
        "list": {"arrayValue": {"values": [{"stringValue": "x"}]}},
        "good": {"intValue": "3"},
    }
    assert (span["name"], span["status"]["message"]) == ("chat \ufffd", "failed \ufffd")


def test_a_record_says_whether_its_trace_was_sampled(tmp_path: Path) -> None:
    """OTLP's flags hold it, and the trace state goes along."""
    log = SpanLog(tmp_path)
    for sampled in (True, False):
        record = CallRecord(1, 2, 3, sampled, "ot=th:8", False, {"service.name": "shop"}, "chat", 1, 2, {}, None)
        log.write([log.encoded(record, {})])
    assert log.path is not None
    lines = [json.loads(line)["resourceSpans"][0] for line in log.path.read_text().splitlines()]
    spans = [line["scopeSpans"][0]["spans"][0] for line in lines]
    assert [(span["flags"], span["traceState"], span["parentSpanId"]) for span in spans] == [
        (1, "ot=th:8", "0000000000000003"),
        (0, "ot=th:8", "0000000000000003"),
    ]
    assert lines[0]["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "shop"}}]


def test_losses_are_a_record_and_no_call(tmp_path: Path) -> None:
    """Readers of calls pass it over; its attributes say how many, where and why."""
    log = SpanLog(tmp_path)
    _write(log, 1)
    log.write_losses([("otlp", "http_503", 7)], since_ns=5)
    assert len(list(read_calls(str(tmp_path)))) == 1
    assert log.path is not None
    last = json.loads(log.path.read_text().splitlines()[-1])["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    values = {pair["key"]: next(iter(pair["value"].values())) for pair in last["attributes"]}
    assert (last["name"], last["startTimeUnixNano"]) == ("tracewrap.losses", "5")
    assert values == {"tracewrap.lost.calls": "7", "tracewrap.lost.place": "otlp", "tracewrap.lost.reason": "http_503"}


def test_short_write_leaves_no_part_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the middle of a line leaves the file as it was."""
    log = SpanLog(tmp_path)
    _write(log, 1)
    assert log.path is not None
    before = log.path.read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[: len(data) // 2]))
    _write(log, 1)
    assert log.path.read_bytes() == before
    assert log.dropped == 1
    assert log.export([]) is SpanExportResult.SUCCESS


PROGRAM = textwrap.dedent(
    """
    import json, sys, time
    import httpx2, openai, tracewrap

    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=answer))
    tracewrap.configure(span_log=sys.argv[1], denoise=False)
    client = tracewrap.wrap(openai.OpenAI(api_key="k", http_client=httpx2.Client(transport=transport)))
    for number in range(1, 100000):
        client.chat.completions.create(model="m", messages=[])
        print(number, flush=True)
        time.sleep(0.002)
    """
)


def test_killed_process_loses_at_most_one_interval(tmp_path: Path) -> None:
    """kill -9 in the middle of a run: every line written is read, only calls of the last export interval are missing."""
    environment = {**os.environ, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None
    made: list[tuple[int, float]] = []
    start = time.monotonic()
    for line in process.stdout:
        made.append((int(line), time.monotonic()))
        if time.monotonic() - start > 1.5 and len(made) > 100:
            break
    process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    made += [(int(line), killed) for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    calls = list(read_calls(str(tmp_path)))
    assert len({call.span_id for call in calls}) == len(calls)
    # Calls older than a generous multiple of the interval, joining and writing included, must all be there.
    settled = sum(1 for _, when in made if when < killed - 1.0)
    assert settled <= len(calls) <= len(made) + 1
    assert len(calls) > 50


def test_torn_last_line_is_skipped_and_counted(tmp_path: Path) -> None:
    """Half a line at the end, as after a crash of the machine, costs that line alone."""
    log = SpanLog(tmp_path)
    _write(log, 2)
    assert log.path is not None
    line = log.path.read_text().splitlines()[0]
    json.loads(line)
    with log.path.open("a") as file:
        file.write(line[: len(line) // 2])
    statuses: list[ReadStatus] = []
    assert len(list(read_calls(str(tmp_path), statuses=statuses))) == 2
    assert [status.torn_lines for status in statuses] == [1]
