"""The span log: whole lines, one file a process, readable after any death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from tracewrap import semconv
from tracewrap.errors import ConfigurationError
from tracewrap.records import Call, TokenUsage
from tracewrap.sinks import SpanLog
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


def test_unwritable_folder_drops_and_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A log that cannot be written says so once and counts what it drops; nothing is raised."""
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    log = SpanLog(blocker / "calls")
    _write(log, 2)
    assert log.dropped == 2
    assert len([record for record in caplog.records if "cannot be written" in record.message]) == 1


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
