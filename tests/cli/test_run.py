"""``tracewrap run``: an unchanged program is traced, and however it ends, what was measured is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tracewrap.sources import read_calls

NOT_WRITTEN = "tracewrap: calls could not be written to /dev/null: /dev/null is no folder; give a folder to write in"

PROGRAM = textwrap.dedent(
    """
    import multiprocessing, os, signal, sys, time
    import httpx2, openai

    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=answer))
    client = openai.OpenAI(api_key="k", http_client=httpx2.Client(transport=transport))

    def ask():
        return client.chat.completions.create(model="m", messages=[]).choices[0].message.content

    print(ask(), ask(), flush=True)
    how = sys.argv[1]
    if how == "exit":
        sys.exit(7)
    if how == "raise":
        raise ValueError("theirs")
    if how == "wait":
        time.sleep(30)
    if how == "own handler":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
        os.kill(os.getpid(), signal.SIGTERM)
    if how == "workers":
        workers = [multiprocessing.get_context("fork").Process(target=ask) for _ in range(2)]
        [worker.start() for worker in workers]
        [worker.join() for worker in workers]
    """
)


def _command(tmp_path: Path, *program: str) -> list[str]:
    return [sys.executable, "-m", "tracewrap", "run", "--quiet", "--span-log", str(tmp_path / "calls"), "--", *program]


def _environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TRACEWRAP_DENOISE": "false", "HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("how", "code", "calls"),
    [("end", 0, 2), ("exit", 7, 2), ("raise", 1, 2), ("own handler", 9, 2), ("workers", 0, 4)],
)
def test_program_ends_as_without_tracewrap(tmp_path: Path, how: str, code: int, calls: int) -> None:
    """Exit code, output and traceback are the program's own; its calls are in the span log."""
    program = tmp_path / "app.py"
    program.write_text(PROGRAM)
    command = _command(tmp_path, sys.executable, str(program), how)
    ran = subprocess.run(command, capture_output=True, text=True, env=_environment(tmp_path), timeout=60)
    assert (ran.returncode, ran.stdout) == (code, "hi hi\n"), ran.stderr
    assert ("ValueError: theirs" in ran.stderr) == (how == "raise")
    assert len(list(read_calls(str(tmp_path / "calls")))) == calls


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_keep_what_was_measured(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """SIGTERM to ``tracewrap run`` is passed on; Ctrl-C reaches the whole group, as in a terminal."""
    program = tmp_path / "app.py"
    program.write_text(PROGRAM)
    command = _command(tmp_path, sys.executable, str(program), "wait")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(tmp_path), start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"hi hi\n"
    time.sleep(0.1)
    if number is signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(timeout=30) == code
    process.stdout.close()
    assert len(list(read_calls(str(tmp_path / "calls")))) == 2


def test_wrong_use_is_one_line(tmp_path: Path) -> None:
    """No program, or one that does not exist, is said in one line with the shell's exit code."""
    nothing = subprocess.run(_command(tmp_path), capture_output=True, text=True, timeout=60)
    assert nothing.returncode == 2
    assert nothing.stderr == "tracewrap: no program given; write: tracewrap run -- python app.py\n"
    missing = subprocess.run(_command(tmp_path, "no-such-program"), capture_output=True, text=True, timeout=60)
    assert missing.returncode == 127
    assert missing.stderr == "tracewrap: no-such-program: cannot be started (No such file or directory)\n"


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="the system has no such device")
def test_a_span_log_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A device for a folder: the program runs as it would, and the last line says where nothing could be written and what to do."""
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "tracewrap", "run", "--quiet", "--span-log", "/dev/null", "--"]
    command += [sys.executable, str(tmp_path / "program.py"), "exit"]
    ran = subprocess.run(command, capture_output=True, text=True, env=_environment(tmp_path), timeout=60)
    assert (ran.returncode, ran.stdout) == (7, "hi hi\n")
    assert ran.stderr.splitlines()[-1].startswith(NOT_WRITTEN)
    assert "Traceback" not in ran.stderr


def test_environment_own_sitecustomize_still_runs(tmp_path: Path) -> None:
    """A sitecustomize module that the program's environment has is not hidden by ours."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("print('theirs')\n")
    environment = {**_environment(tmp_path), "PYTHONPATH": str(tmp_path / "site")}
    command = _command(tmp_path, sys.executable, "-c", "import sys; print(any('bootstrap' in p for p in sys.path))")
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    # Once in the interpreter of tracewrap run (which may print its own when it ends), once in the program's.
    assert (ran.returncode, sorted(ran.stdout.split())) == (0, ["False", "theirs", "theirs"]), ran.stderr


@pytest.mark.parametrize("flag", ["-I", "-E"])
def test_a_python_that_was_not_traced_is_said(tmp_path: Path, flag: str) -> None:
    """The interpreter ignores PYTHONPATH: the last line says that nothing was traced, not where calls are."""
    command = _command(tmp_path, sys.executable, flag, "-c", "pass")
    ran = subprocess.run(command, capture_output=True, text=True, env=_environment(tmp_path), timeout=60)
    assert ran.returncode == 0
    assert ran.stderr.startswith("tracewrap: no Python of this program was traced")
    assert "calls are in" not in ran.stderr


def test_a_program_without_calls_is_said(tmp_path: Path) -> None:
    """Traced, but nothing to record: no folder is promised."""
    command = _command(tmp_path, sys.executable, "-c", "pass")
    ran = subprocess.run(command, capture_output=True, text=True, env=_environment(tmp_path), timeout=60)
    assert ran.stderr.startswith("tracewrap: the program made no call that is recorded")
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"TRACEWRAP_REFERENCES": "no-such"}, "tracewrap: not tracing this process (no reference stack 'no-such'"),
        ({"OTEL_SDK_DISABLED": "true"}, "tracewrap: OTEL_SDK_DISABLED=true: nothing is recorded"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1"},
            "tracewrap: OTEL_EXPORTER_OTLP_ENDPOINT is no http:// or https://",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    """Nobody can catch an error here: it is a line, and the program runs as it would have."""
    command = _command(tmp_path, sys.executable, "-c", "print('theirs')")
    environment = _environment(tmp_path) | variables
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "theirs\n")
    assert ran.stderr.splitlines()[0].startswith(said)
    assert "Traceback" not in ran.stderr
