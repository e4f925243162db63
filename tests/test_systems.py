"""Operating systems: what Windows or another system lacks is done another way, and everything else works without it.

There is no Windows here: its modules and attributes are taken away, or stood in for, on the system that runs the tests.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from tracewrap import systems

WITHOUT_POSIX = """
import os, signal, sys
import asyncio, concurrent.futures, multiprocessing, select, subprocess, tempfile  # their own POSIX parts are loaded before
import shutil; shutil._use_fd_functions = False  # as it is there
gone = {"fcntl", "termios", "tty", "resource", "pwd", "grp", "curses"}
for name in gone:
    sys.modules.pop(name, None)
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name in gone:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Gone())
for name in ("register_at_fork", "fork", "getuid", "geteuid", "getgid", "getloadavg", "sysconf", "sched_getaffinity", "fchmod",
             "mkfifo", "O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "killpg", "getpgid", "statvfs", "setsid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGTSTP", "SIGWINCH", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE", "SIGCHLD", "SIGCONT"):
    if hasattr(signal, name):
        delattr(signal, name)
"""

RECORD = """
import tracewrap
pipeline = tracewrap.configure(span_log="calls", terminal=True)
import httpx, openai
answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
          "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}],
          "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
http = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=answer)))
client = tracewrap.wrap(openai.OpenAI(api_key="k", http_client=http))
for _ in range(3):
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "q"}])
pipeline.flush()
pipeline.close()
"""

MAIN = "from tracewrap.cli import main; sys.exit(main(sys.argv[1:]))"


def _without_posix(code: str, *args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_POSIX + code, *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a process without the POSIX parts has recorded three calls in ``calls``."""
    pytest.importorskip("openai")
    folder = tmp_path_factory.mktemp("without_posix")
    ran = _without_posix(RECORD, folder=folder)
    assert (ran.returncode, "Traceback" in ran.stderr) == (0, False), ran.stderr
    return folder


def test_calls_are_recorded_without_posix(recorded: Path) -> None:
    """configure, wrap, flush and close work; every call is in the span log."""
    assert sum(file.read_text(encoding="utf-8").count('"spanId"') for file in (recorded / "calls").glob("*.jsonl")) == 3


@pytest.mark.parametrize(
    "args",
    [
        ["run", "--quiet", "--span-log", "run_calls", "--", sys.executable, "-c", "pass"],
        ["report", "calls", "--format", "json", "-o", "report.json"],
        ["top", "calls", "--once"],
        ["lake", "compact", "calls", "lake"],
        ["doctor"],
    ],
    ids=lambda args: " ".join(args[:2]),
)
def test_commands_work_without_posix(recorded: Path, args: list[str]) -> None:
    """The commands do their work; none ends in a traceback."""
    ran = _without_posix(MAIN, *args, folder=recorded)
    assert (ran.returncode, "Traceback" in ran.stderr) == (0, False), ran.stderr


def _windows_lock(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Take ``fcntl`` away and put a ``msvcrt`` there that locks as Windows does: a byte from where the file stands."""
    held: dict[tuple[int, int], int] = {}
    taken: list[tuple[int, int]] = []

    def locking(handle: int, mode: int, count: int) -> None:
        at = (os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR))
        if at in held:
            raise PermissionError(13, "Permission denied")
        held[at] = handle
        taken.append((at[1], count))

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(LK_NBLCK=2, locking=locking))  # type: ignore[arg-type]
    return taken


@pytest.mark.parametrize("way", ["posix", "windows", "neither"])
def test_a_lock_is_held_by_one(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one holds the lock another does not get it, whatever the system has to lock with."""
    if way == "windows":
        taken = _windows_lock(monkeypatch)
        (tmp_path / ".lock").write_bytes(b"what an earlier writer left")
    elif way == "neither":
        monkeypatch.setitem(sys.modules, "fcntl", None)
        monkeypatch.setitem(sys.modules, "msvcrt", None)
    with systems.lock(tmp_path / ".lock") as first, systems.lock(tmp_path / ".lock") as second:
        assert (first, second) == (True, False)
    if way == "windows":
        assert taken == [(0, 1)], "both must ask for the same byte, wherever a file is opened to append"
        return
    with systems.lock(tmp_path / ".lock") as again:
        assert again, "the lock is free once its holder is done"


def test_a_file_that_is_being_read_is_replaced_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses to replace an open file: the writer waits a moment for the reader instead of failing."""
    refusals, real = [1, 2, 3], os.replace

    def refusing(source: str, target: str) -> None:
        if refusals:
            refusals.pop()
            raise PermissionError(13, "Access is denied")
        real(source, target)

    monkeypatch.setattr(os, "replace", refusing)
    monkeypatch.setattr(os, "O_BINARY", 0, raising=False)
    (tmp_path / "new").write_text("new", encoding="utf-8")
    (tmp_path / "old").write_text("old", encoding="utf-8")
    systems.replace(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text(encoding="utf-8") == "new"


def test_a_refusal_elsewhere_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where open files can be replaced, a refusal is no reader's and is not waited out."""
    asked = []

    def refusing(source: str, target: str) -> None:
        asked.append(source)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refusing)
    monkeypatch.delattr(os, "O_BINARY", raising=False)
    with pytest.raises(PermissionError):
        systems.replace(tmp_path / "new", tmp_path / "old")
    assert len(asked) == 1


def test_what_the_system_does_not_say_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without a load average has none: not zero."""
    monkeypatch.delattr(os, "getloadavg", raising=False)
    assert systems.load() is None


def test_only_the_signals_of_the_system_are_named() -> None:
    """Signals that a system has not got are left out."""
    assert [number.name for number in systems.signals("SIGTERM", "SIGNOTHING")] == ["SIGTERM"]


def test_keys_of_a_windows_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without termios the console is asked whether a key was pressed, until the time is over."""
    typed = [b"x", b"q"]
    console = types.SimpleNamespace(kbhit=lambda: bool(typed), getch=lambda: typed.pop(0))
    monkeypatch.setitem(sys.modules, "termios", None)
    monkeypatch.setitem(sys.modules, "msvcrt", console)  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True, fileno=lambda: 0))
    keys = systems.keys()
    assert keys is not None
    assert [keys.pressed(0), keys.pressed(0), keys.pressed(0)] == [b"x", b"q", b""]


def test_bytes_are_written_as_they_are() -> None:
    """On Windows the flags say that lines end as they were written; a log written there is read anywhere."""
    code = "import os; os.O_BINARY = 1 << 30; from tracewrap import systems; print(systems.WRITE_BYTES >> 30)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert ran.stdout == "1\n"


def test_a_bundle_without_vendor_files_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bundler that left out what is imported by name: one line that names the way out, instead of silence."""
    import pkgutil

    from tracewrap import vendors

    monkeypatch.setattr(pkgutil, "iter_modules", lambda path: iter(()))
    assert vendors.adapters.__wrapped__() == ()
    (line,) = caplog.messages
    assert "--collect-all tracewrap" in line


def test_frozen_programs_get_what_is_imported_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyInstaller's hook names every vendor file and the home of every public name, and brings profiles and metadata."""
    import runpy
    import tomllib
    from importlib.metadata import EntryPoint

    import tracewrap
    from tracewrap import vendors

    project = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    declared = project["project"]["entry-points"]["pyinstaller40"]["hook-dirs"]
    (folder,) = EntryPoint("hook-dirs", declared, "pyinstaller40").load()()
    collected: list[str] = []
    hooks = types.ModuleType("PyInstaller.utils.hooks")
    hooks.__dict__["collect_submodules"] = lambda name: collected.append(name) or [name]
    hooks.__dict__["copy_metadata"] = lambda name: [(f"{name}.dist-info", ".")]
    for name in ("PyInstaller", "PyInstaller.utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "PyInstaller.utils.hooks", hooks)
    said = runpy.run_path(str(Path(folder) / "hook-tracewrap.py"))
    assert collected == [vendors.__name__]
    assert {f"tracewrap.{home}" for home in tracewrap._HOMES.values()} < set(said["hiddenimports"])
    (profiles, inside), *_ = said["datas"]
    assert (Path(profiles) / "gpus.toml").is_file()
    assert inside == "tracewrap/reference_profiles"
    assert ("tracewrap.dist-info", ".") in said["datas"]


def test_a_thread_of_ours_takes_no_signal_and_the_caller_s_mask_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens while it starts; faults are still told in it. Where systems have no masks, it starts as any other."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    masks: list[set[Any]] = []
    with systems.signals_elsewhere():
        thread = threading.Thread(target=lambda: masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        thread.start()
    thread.join()
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1} <= masks[0]
    assert signal.SIGSEGV not in masks[0]
    with contextlib.suppress(ValueError), systems.signals_elsewhere():
        raise ValueError
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    monkeypatch.delattr(signal, "pthread_sigmask")
    with systems.signals_elsewhere():
        pass


def test_a_thread_of_ours_is_none_of_the_program_s(caplog: pytest.LogCaptureFixture) -> None:
    """Not while it works, and not after it has logged, for which ``logging`` makes a stand-in; it can be waited for all the same."""
    before, go, logged = threading.enumerate(), threading.Event(), threading.Event()

    def work() -> None:
        logging.getLogger("tracewrap").warning("said")
        systems.out_of_sight()
        logged.set()
        go.wait(20)

    thread = systems.OwnThread("test", work)
    thread.start()
    assert logged.wait(20)
    assert (threading.enumerate(), thread in systems.OwnThread.running, thread.is_alive()) == (before, True, True)
    thread.join(0.01)
    assert thread.is_alive()
    go.set()
    thread.join(20)
    assert (thread.is_alive(), thread in systems.OwnThread.running) == (False, False)
    assert "said" in caplog.text


def test_a_thread_that_the_system_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told, and nobody waits for it."""

    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refused)
    thread = systems.OwnThread("test", list)
    with pytest.raises(RuntimeError):
        thread.start()
    assert not thread.is_alive()
