"""``tracewrap top``: one frame for scripts, a live one on a terminal that is left as it was found."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from made_days import attributes, call, line, span
from tracewrap import semconv, words
from tracewrap.cli import main, top
from tracewrap.errors import MissingExtraError
from tracewrap.live import terminal
from tracewrap.live.screen import _COLUMNS, render
from tracewrap.live.terminal import watch
from tracewrap.live.view import View
from tracewrap.records import TokenUsage

PATIENCE_S = 20.0


def _write(folder: Path, number: int, model: str, ago_s: float = 1.0, **estimates: float) -> Path:
    """Append call *number* of *model*, which took 2 s and ended *ago_s* ago by this machine's clock."""
    start_ns = time.time_ns() - int((ago_s + 2.0) * 1e9)
    made = span(call(number, start_time_ns=start_ns, raw_runtime_s=2.0, request_model=model, response_model=model))
    made["attributes"] += attributes({f"tracewrap.runtime.{name}": value for name, value in estimates.items()})
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "spans-1.jsonl", "a", encoding="utf-8") as file:
        file.write(line([made]) + "\n")
    return folder


def test_once_prints_a_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Plain text without escape codes: where, when, rows, total; contention is (2 - 0.5) / 2."""
    folder = _write(tmp_path, 1, "m-a", denoised=0.5, idealized=0.25)
    _write(folder, 2, "m-b")
    with open(folder / "spans-1.jsonl", "a") as file:
        file.write('{"torn\n[]\n')
    assert main(["top", str(folder), "--once"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert "\x1b" not in out
    assert lines[0] == f"tracewrap top {folder}   last 5 min   by model, contention first"
    assert re.fullmatch(
        r"last call [\d:]{8} UTC, \d+ s ago   2 calls read   1 file   lines skipped: 1 torn, 1 foreign", lines[1]
    )
    assert re.fullmatch(r"the log began \d+ s ago: rates are over that time", lines[2])
    rows = {text.split()[0]: text for text in lines[4:] if text}
    assert "2.00 s  2.00 s    500 ms     250 ms    75.0%" in rows["m-a"]
    assert rows["m-b"].split()[-6:] == ["-", "-", "-", "0", "-", "-"]
    assert rows["total"].split()[1] == "2"


def test_json_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object on one line; what is unknown is null."""
    folder = _write(tmp_path, 1, "m-a", denoised=0.5)
    assert main(["top", str(folder), "--once", "--json", "--group-by", "provider", "--window", "90s"]) == 0
    out = capsys.readouterr().out
    frame = json.loads(out)
    assert out.count("\n") == 1
    assert (frame["schema"], frame["source"], frame["window_s"]) == ("tracewrap.top/1", str(folder), 90.0)
    assert (frame["calls_read"], frame["files"], frame["still_reading"]) == (1, 1, False)
    row = frame["rows"][0]
    assert (row["key"], row["calls"], row["contention_share"], row["idealized_p50_s"]) == ("openai", 1, 0.75, None)
    assert frame["total"] == row | {"key": None}


def test_json_frames_follow_each_other(tmp_path: Path) -> None:
    """Without --once, an object a frame, in which calls appear as they are written; Ctrl-C ends it with 130."""
    folder = _write(tmp_path / "calls", 1, "m-a")
    command = [sys.executable, "-m", "tracewrap", "top", str(folder), "--json", "--interval", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert json.loads(process.stdout.readline())["total"]["calls"] == 1
            _write(folder, 2, "m-a")
            end = time.monotonic() + PATIENCE_S
            while json.loads(process.stdout.readline())["total"]["calls"] != 2:
                assert time.monotonic() < end
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            assert process.stderr.read() == "tracewrap: interrupted\n"
            assert process.wait(PATIENCE_S) == 130
        finally:
            process.kill()


def test_empty_folder_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file: how one comes about. Files, but no call of late: where the older ones are."""
    assert main(["top", str(tmp_path), "--once"]) == 0
    assert f"no span log in {tmp_path} yet; it appears with a program's first call" in capsys.readouterr().out
    _write(tmp_path, 1, "m-a", ago_s=600.0)
    assert main(["top", str(tmp_path), "--once"]) == 0
    out = capsys.readouterr().out
    assert f"no call ended in the last 5 min; for older ones: tracewrap report {tmp_path}" in out
    assert "UTC, 10 min ago" in out


def test_the_configured_folder_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """TRACEWRAP_SPAN_LOG, then pyproject.toml; without either, one line says so."""
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "by variable", 1, "m-a")
    _write(tmp_path / "by file", 1, "m-b")
    assert main(["top", "--once"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("tracewrap: no span-log folder is configured; name one")
    assert "TRACEWRAP_SPAN_LOG" in error
    assert error.count("\n") == 1
    (tmp_path / "pyproject.toml").write_text('[tool.tracewrap]\nspan_log = "by file"\n')
    assert main(["top", "--once"]) == 0
    assert "m-b" in capsys.readouterr().out
    monkeypatch.setenv("TRACEWRAP_SPAN_LOG", "by variable")
    assert main(["top", "--once"]) == 0
    assert "m-a" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such folder; it appears with the first call: tracewrap run --span-log nowhere"),
        (["jaeger://h:1"], "jaeger://h:1: only span-log folders and OTLP-JSON files can be followed"),
        (["old.jsonl.gz"], "old.jsonl.gz: only span-log folders and OTLP-JSON files can be followed"),
        ([".", "--window", "5 weeks"], "--window '5 weeks': write a time from 1s to 24h, such as 90s, 5m or 1h"),
        ([".", "--window", "0m"], "--window '0m': write a time from 1s to 24h"),
        ([".", "--window", "25h"], "--window '25h': write a time from 1s to 24h"),
        ([".", "--interval", "0"], "--interval 0: write seconds from 0.1 to 3600"),
        ([".", "--interval", "nan"], "--interval nan: write seconds from 0.1 to 3600"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """It names the thing, the value and the next step; exit code 2."""
    monkeypatch.chdir(tmp_path)
    assert main(["top", *arguments, "--once"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"tracewrap: {message}")
    assert error.count("\n") == 1


def test_rich_is_needed_for_the_live_view_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the extra, --once works, and the live view says what to install."""
    for name in ("rich", "rich.console", "rich.live", "rich.text"):
        monkeypatch.setitem(sys.modules, name, None)
    folder = _write(tmp_path, 1, "m-a")
    assert main(["top", str(folder), "--once"]) == 0
    assert "m-a" in capsys.readouterr().out
    with pytest.raises(MissingExtraError, match=r"tracewrap\[report\]"):
        watch(View(folder, 60.0, "model", "calls"), 1.0)


@pytest.fixture
def frame(tmp_path: Path) -> dict[str, Any]:
    """Thirty models with long, wide and hostile names."""
    names = [
        "m-a",
        "openai/a-model-with-a-name-of-some-length-2026-11-20",
        "模型" * 20,
        "e\x1b[31m\nvil",
        "e\u0301" * 30,
    ]
    for number in range(1, 31):
        _write(tmp_path, number, f"{names[number % 5]}-{number}", denoised=1.0)
    view = View(tmp_path, 300.0, "model", "calls")
    view.read()
    return view.frame()


@pytest.mark.parametrize("height", [1, 5, 24])
def test_frames_fit_any_terminal(frame: dict[str, Any], height: int) -> None:
    """Whatever the width, no line is wider and there are no more lines; nothing in a name moves the cursor."""
    for width in range(1, 200):
        lines = [text for text, _ in render(frame, width, height, end="q quits")]
        assert len(lines) <= height
        assert max(map(words.cells, lines)) <= width
        assert all(text.isprintable() for text in lines)


def test_rows_that_do_not_fit_are_counted(frame: dict[str, Any]) -> None:
    """24 lines: two of head, a note, a blank, two heads, rows, the count of the hidden, rule, total, a blank and the last line."""
    lines = [text for text, _ in render(frame, 120, 24, end="q quits")]
    assert len(lines) == 24
    shown = 24 - 2 - 1 - 1 - 2 - 1 - 1 - 1 - 2
    assert lines[-5] == f"and {30 - shown} more"
    assert lines[-3].startswith("total")
    assert lines[-1] == "q quits"


def test_narrow_terminals_drop_columns_by_rank(frame: dict[str, Any]) -> None:
    """Calls and raw p50 stay longest, cost an hour goes first; no column is cut in two."""

    def heads(width: int) -> str:
        return next(text for text, _ in render(frame, width) if text.startswith("model"))

    assert heads(200).split() == ["model", *(second for _, second, *_ in _COLUMNS)]
    wide, middle, narrow = ({*heads(width).split()} for width in (200, 80, 40))
    assert narrow < middle < wide
    assert {"calls", "p50", "tion"} <= narrow
    assert "$/h" not in middle


class _Screen:
    """``tracewrap top`` on a terminal of its own, 60 columns wide."""

    def __init__(self, folder: Path, interval: str = "0.1") -> None:
        self.master, self.slave = os.openpty()
        termios.tcsetwinsize(self.slave, (30, 60))
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        environment = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tracewrap", "top", str(folder), "--interval", interval],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=environment | {"TERM": "xterm-256color"},
            start_new_session=True,
        )

    def read_until(self, text: str) -> None:
        """Read what is printed until *text* has been; fail after ``PATIENCE_S``."""
        end = time.monotonic() + PATIENCE_S
        while text.encode() not in self.seen:
            assert time.monotonic() < end, self.seen[-2000:]
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536)

    def code(self) -> int:
        """The exit code; what is printed in the meantime is read."""
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None or select.select([self.master], [], [], 0)[0]:
            assert time.monotonic() < end, self.seen[-2000:]
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536)
        return self.process.returncode

    def canonical(self) -> bool:
        """Whether the terminal collects lines and shows keys, as shells leave it to programs."""
        flags = termios.tcgetattr(self.slave)[3]
        return bool(flags & termios.ICANON) and bool(flags & termios.ECHO)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[_Screen]:
    """A live view of an empty folder that shows its first frame."""
    (tmp_path / "calls").mkdir()
    found = _Screen(tmp_path / "calls")
    try:
        found.read_until("no span log in")
        yield found
    finally:
        found.close()


def test_live_view_shows_calls_as_they_are_written(tmp_path: Path, screen: _Screen) -> None:
    """A file that comes, then a line that is appended; then q: exit code 0, the terminal as before."""
    assert not screen.canonical()
    folder = _write(tmp_path / "calls", 1, "first-model")
    screen.read_until("first-model")
    _write(folder, 2, "second-model")
    screen.read_until("second-model")
    os.write(screen.master, b"q")
    assert screen.code() == 0
    assert termios.tcgetattr(screen.slave) == screen.before
    assert screen.seen.rindex(b"\x1b[?1049l") > screen.seen.rindex(b"\x1b[?1049h")
    assert screen.seen.rindex(b"\x1b[?25h") > screen.seen.rindex(b"\x1b[?25l")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_the_terminal_as_it_was(screen: _Screen, number: signal.Signals, code: int) -> None:
    """Ctrl-C and SIGTERM end the view by their codes, and the terminal collects lines again."""
    screen.process.send_signal(number)
    assert screen.code() == code
    assert termios.tcgetattr(screen.slave) == screen.before
    assert screen.seen.rindex(b"\x1b[?1049l") > screen.seen.rindex(b"\x1b[?1049h")


def test_live_view_follows_the_size_of_the_terminal(tmp_path: Path) -> None:
    """Made wider, it shows columns that 60 have no room for, long before the next frame is due."""
    screen = _Screen(_write(tmp_path / "calls", 1, "m-a"), interval="600")
    try:
        screen.read_until("total")
        assert b"retries" not in screen.seen
        termios.tcsetwinsize(screen.slave, (30, 180))
        screen.read_until("retries")
        os.write(screen.master, b"q")
        assert screen.code() == 0
    finally:
        screen.close()


def test_names_of_attributes_are_those_of_the_log() -> None:
    """The estimates that the tests write are what the join writes."""
    assert (semconv.RUNTIME_DENOISED, semconv.RUNTIME_IDEALIZED) == (
        "tracewrap.runtime.denoised",
        "tracewrap.runtime.idealized",
    )


def test_top_and_report_tell_one_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Forty calls without estimates on them, a quarter of them doubled: both learn the quiet day from the log and agree on it."""
    now_ns = time.time_ns()
    spans = []
    for number in range(40):
        p, o = (50, 400, 3000)[number % 3], (5, 50, 200)[number % 4 % 3]
        seconds = (0.2 + 2e-4 * p + 0.01 * o) * (2.0 if number % 4 == 0 else 1.0)
        started = now_ns - int((60 + number) * 1e9)
        usage = TokenUsage(p, o)
        spans.append(span(call(number + 1, start_time_ns=started, raw_runtime_s=seconds, usage=usage)))
    (tmp_path / "spans-1.jsonl").write_text(line(spans) + "\n")
    assert main(["top", str(tmp_path), "--once", "--json"]) == 0
    top = json.loads(capsys.readouterr().out)["total"]
    assert main(["report", str(tmp_path), "--json"]) == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    assert top["contention_share"] is not None
    assert top["contention_share"] == pytest.approx(totals["contention"]["share"])
    assert top["denoised_p50_s"] == pytest.approx(totals["denoised"]["p50_s"])
    assert main(["top", str(tmp_path), "--once", "--json", "--no-learn"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["contention_share"] is None


@pytest.mark.parametrize(("ends", "code"), [(0, 0), (KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_leaving_while_it_learns_ends_the_process_at_once(
    ends: int | BaseException, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that learns is not there when the interpreter is taken down, however the view is left; without one it is left as usual."""
    release = threading.Event()
    view = View(tmp_path, 60.0, "model", "calls", lambda: release.wait(30) and None)

    def watched(*_: object) -> int:
        if isinstance(ends, BaseException):
            raise ends
        return ends

    monkeypatch.setattr(terminal, "watch", watched)
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    assert top._watched(view, 1.0) == code
    assert left == []
    view.learn_beside()
    try:
        assert top._watched(view, 1.0) == code
        assert left == [code]
    finally:
        release.set()
