"""What was parsed of logs is kept beside them: read once, told apart when files change, whole or not there whatever happens."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from made_days import call, line, span
from tracewrap import systems
from tracewrap.records import Call
from tracewrap.sinks import SpanLog
from tracewrap.sources import ReadStatus, otlp_sql, parsed, parsed_index, read_calls
from tracewrap.sources.compact import compact


@pytest.fixture(autouse=True)
def _small_logs_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Logs of a few lines are kept as large ones are; no pyproject.toml decides."""
    monkeypatch.setattr(parsed, "LEAST_BYTES", 0)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A folder of two log files, twenty calls each."""
    folder = tmp_path / "log"
    folder.mkdir()
    write_log(folder / "a.jsonl", [call(i) for i in range(1, 21)])
    write_log(folder / "b.jsonl", [call(i, 2.0) for i in range(21, 41)])
    return folder


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lines each parse got."""
    counts: list[int] = []
    real = otlp_sql.parse

    def counting(connection: Any, table: str, lines: Iterator[Any], *rest: Any, **more: Any) -> Any:
        batches = list(lines)
        counts.append(sum(len(batch) for batch, _ in batches))
        return real(connection, table, iter(batches), *rest, **more)

    monkeypatch.setattr(otlp_sql, "parse", counting)
    return counts


def write_log(file: Path, calls: Sequence[Call]) -> None:
    """*file* anew, a line a call."""
    file.write_text("".join(line([span(one)]) + "\n" for one in calls), encoding="utf-8")


def read(log: Path, **period: int) -> tuple[list[Call], ReadStatus]:
    """Calls and status of *log*."""
    statuses: list[ReadStatus] = []
    found = list(read_calls(str(log), statuses=statuses, **period))
    return found, statuses[0]


def directly(log: Path, **period: int) -> tuple[list[Call], ReadStatus]:
    """The same with nothing kept."""
    os.environ["TRACEWRAP_READ_CACHE"] = "false"
    try:
        return read(log, **period)
    finally:
        del os.environ["TRACEWRAP_READ_CACHE"]


def append(file: Path, calls: Sequence[Call], end: str = "\n") -> None:
    """A line of *calls* at the end of *file*."""
    with open(file, "a", encoding="utf-8") as opened:
        opened.write(line([span(one) for one in calls]) + end)


def _named(log: Path) -> set[Path]:
    """Packs that the index names."""
    return {log / ".tracewrap" / pack for pack in parsed_index.read_index(log / ".tracewrap").packs}


def test_lines_are_parsed_once(log: Path, seen: list[int]) -> None:
    """The second reading parses nothing and tells the same, of any period and of any of the files."""
    first = read(log)
    lines = sum(seen)
    assert (first, lines) == (directly(log), 40)
    seen.clear()
    middle = first[0][25].start_time_ns
    answers = [read(log), read(log, since_ns=middle), read(log, until_ns=middle), read(log / "b.jsonl")]
    assert sum(seen) == 0
    assert answers == [first, directly(log, since_ns=middle), directly(log, until_ns=middle), directly(log / "b.jsonl")]


def test_small_logs_and_a_setting_leave_no_folder(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept of what is parsed in a moment, nor where the setting says so."""
    directly(log)
    monkeypatch.setattr(parsed, "LEAST_BYTES", 2**20)
    read(log)
    assert sorted(path.name for path in log.iterdir()) == ["a.jsonl", "b.jsonl"]


def test_logs_stay_as_they_are(log: Path) -> None:
    """What is kept is in a folder of its own, private, that no reader takes for a log or a lake."""
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in log.iterdir()}
    read(log)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    assert {path.name for path in log.iterdir()} == {"a.jsonl", "b.jsonl", ".tracewrap"}
    if os.name == "posix":
        assert (log / ".tracewrap").stat().st_mode & 0o077 == 0
    assert read(log)[1].files == 2


def test_a_growing_file_is_read_on(log: Path, seen: list[int]) -> None:
    """Only new lines are parsed; a line under way is read each time until it is whole, and counted once."""
    read(log)
    seen.clear()
    append(log / "a.jsonl", [call(50), call(51)])
    assert read(log) == directly(log)
    assert seen[0] == 1
    with open(log / "b.jsonl", "a", encoding="utf-8") as opened:
        opened.write(line([span(call(60))])[:-9])
    found, status = read(log)
    assert (found, status) == directly(log)
    assert (len(found), status.torn_lines) == (42, 1)
    with open(log / "b.jsonl", "a", encoding="utf-8") as opened:
        opened.write(line([span(call(60))])[-9:] + "\n")
    found, status = read(log)
    assert (found, status) == directly(log)
    assert (len(found), status.torn_lines) == (43, 0)


def test_an_old_line_without_an_end_is_a_line(log: Path, seen: list[int]) -> None:
    """A file that nobody writes any more is kept to its end; should it grow after all, it is read anew."""
    append(log / "a.jsonl", [call(50)], end="")
    os.utime(log / "a.jsonl", (1_700_000_000, 1_700_000_000))
    assert len(read(log)[0]) == 41
    seen.clear()
    assert read(log) == directly(log)
    assert sum(seen) == 0 + 41
    append(log / "a.jsonl", [call(51)])
    assert read(log) == directly(log)


@pytest.mark.parametrize("how", ["same size", "shorter", "replaced", "grown elsewhere", "removed", "new columns"])
def test_what_is_stale_is_parsed_anew(log: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were rewritten, cut, replaced or removed, and what another version kept, are never taken for what they were."""
    file = log / "a.jsonl"
    read(log)
    others = [call(i, 5.0) for i in range(101, 121)]
    if how == "same size":
        text = file.read_text(encoding="utf-8")
        changed = text.replace(f"{call(7).start_time_ns}", f"{call(7).start_time_ns + 1}")
        assert (len(changed), changed != text) == (len(text), True)
        file.write_text(changed, encoding="utf-8")
    elif how == "shorter":
        write_log(file, others[:3])
    elif how == "replaced":
        write_log(log / "new", others)
        (log / "new").replace(file)
    elif how == "grown elsewhere":
        write_log(file, [*others, *(call(i, 6.0) for i in range(121, 131))])
    elif how == "removed":
        file.unlink()
    else:
        monkeypatch.setattr(parsed_index, "_format", lambda: "another")
    assert read(log) == directly(log)
    assert read(log) == directly(log)


@pytest.mark.parametrize("damage", ["index cut", "index of nonsense", "pack cut", "pack gone"])
def test_damage_is_noticed(log: Path, damage: str) -> None:
    """What is kept and not whole is not used."""
    read(log)
    folder = log / ".tracewrap"
    pack = next(folder.glob("*.pack"))
    if damage == "pack gone":
        pack.unlink()
    else:
        file = pack if damage == "pack cut" else folder / "index"
        file.write_bytes(b'{"format": 7}' if damage.endswith("nonsense") else file.read_bytes()[:-20])
    assert read(log) == directly(log)
    assert read(log) == directly(log)


def test_folders_that_cannot_be_written_to_are_read(log: Path) -> None:
    """Without a place to keep it, everything is parsed, and nothing is said."""
    (log / ".tracewrap").write_text("a file is in the way")
    assert read(log) == directly(log)


def test_a_full_disk_keeps_what_was_kept(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a pack cannot be written, the rest is parsed for this command alone."""
    read(log)
    append(log / "a.jsonl", [call(50)])

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parsed, "_write_pack", full)
    assert read(log) == directly(log)
    assert len(read(log)[0]) == 41


def test_while_another_writes_nothing_is_kept(log: Path, seen: list[int]) -> None:
    """Who finds the folder locked uses what is kept, and parses the rest."""
    read(log)
    append(log / "a.jsonl", [call(50)])
    seen.clear()
    with systems.lock(log / ".tracewrap" / "lock") as ours:
        assert ours
        assert read(log) == directly(log)
        assert len(read(log)[0]) == 41
    assert seen[0] == 1


def test_calls_told_twice_are_found_among_what_is_kept(log: Path) -> None:
    """Copies, and a framework's span round the call, whether they come in together or later."""
    append(log / "b.jsonl", [call(3), call(4)])
    assert read(log) == directly(log)
    assert read(log)[1].duplicates == 2
    write_log(log / "b.jsonl", [call(i, 2.0) for i in range(21, 41)])
    read(log)
    assert parsed_index.read_index(log / ".tracewrap").unique is False, "once told twice, they are looked for each time"


def test_a_span_round_a_call_is_found_when_it_comes_later(log: Path) -> None:
    """The outer span of the same operation is written after the inner one, by another process even."""
    read(log)
    inner = call(70, parent_span_id=f"{71:016x}")
    append(log / "a.jsonl", [inner])
    read(log)
    outer = span(call(71), traceId=inner.trace_id, spanId=f"{71:016x}")
    with open(log / "b.jsonl", "a", encoding="utf-8") as opened:
        opened.write(line([outer]) + "\n")
    found, status = read(log)
    assert (found, status) == directly(log)
    assert (len(found), status.duplicates) == (41, 1)


def test_many_small_packs_become_one(log: Path) -> None:
    """A log that is read again and again while it grows leaves few packs, and none of what is gone."""
    for number in range(100, 100 + 3 * parsed.MANY_PACKS):
        append(log / "a.jsonl", [call(number)])
        assert len(read(log)[0]) == 40 + number - 99
        assert len(_named(log)) <= parsed.MANY_PACKS
    assert read(log) == directly(log)
    unnamed = set((log / ".tracewrap").glob("*.pack")) - _named(log)
    for file in unnamed:
        os.utime(file, (1.0, 1.0))
    append(log / "a.jsonl", [call(999)])
    read(log)
    assert unnamed, "they stay for who may still read them"
    assert not [file for file in unnamed if file.exists()], "and are removed when nobody can any more"


def test_compressed_files_and_losses_are_kept(log: Path, seen: list[int]) -> None:
    """A compressed file is kept whole; records of losses count once."""
    with gzip.open(log / "c.jsonl.gz", "wt", encoding="utf-8") as opened:
        opened.write(line([span(call(80))]) + "\n")
    SpanLog(log).write_losses([("otlp", "http_503", 3)], since_ns=call(1).start_time_ns)
    first = read(log)
    assert first[1].lost == {"otlp": {"http_503": 3}}
    seen.clear()
    assert read(log) == first
    assert sum(seen) == 0
    assert first == directly(log)


def test_a_lake_is_compacted_from_what_is_kept(log: Path, tmp_path: Path, seen: list[int]) -> None:
    """Compacting again parses nothing and adds what is new."""
    assert compact([str(log)], tmp_path / "lake").added == 40
    seen.clear()
    assert compact([str(log)], tmp_path / "lake").added == 0
    assert sum(seen) == 0
    append(log / "a.jsonl", [call(50)])
    assert compact([str(log)], tmp_path / "lake").added == 1
    assert sum(seen) == 1
    assert read(tmp_path / "lake")[0] == read(log)[0]


CHILD = """
    import os, signal, sys
    from tracewrap.sources import parsed, read_calls

    parsed.LEAST_BYTES, parsed.CHUNK_BYTES, parsed.MANY_PACKS = 0, 4000, 1
    left = int(sys.argv[2])

    def dying(real):
        def call(*args):
            global left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            done = real(*args)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return done
        return call

    os.fsync, os.replace = dying(os.fsync), dying(os.replace)
    print(len(list(read_calls(sys.argv[1]))))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_killed_at_any_moment_nothing_is_lost_or_doubled(log: Path) -> None:
    """A process killed before or after any write of what it keeps leaves a folder that the next one, killed later, reads right."""
    expected = directly(log)
    kills = 0
    for moment in range(1, 200, 3):
        child = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(CHILD), str(log), str(moment)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        with systems.lock(log / ".tracewrap" / "lock") as ours:
            assert ours, "the system frees the lock of a process that died"
            assert read(log) == expected
        if child.returncode == 0:
            assert child.stdout.split() == ["40"]
            break
        assert child.returncode == -signal.SIGKILL, child.stderr
        kills += 1
    assert kills >= 3
    assert read(log) == expected


def test_readers_at_once(log: Path) -> None:
    """Processes that read the same folder at the same time, while it grows, each tell whole calls, once."""
    code = (
        "import sys\nfrom tracewrap.sources import parsed, read_calls\nparsed.LEAST_BYTES, parsed.CHUNK_BYTES = 0, 3000\n"
        "print(len(list(read_calls(sys.argv[1]))))"
    )
    jobs = [
        subprocess.Popen([sys.executable, "-c", code, str(log)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for number in range(50, 60):
        append(log / "a.jsonl", [call(number)])
        time.sleep(0.05)
    counts = [int(job.communicate(timeout=120)[0]) for job in jobs]
    assert all(40 <= count <= 50 for count in counts)
    assert read(log) == directly(log)
    assert len(read(log)[0]) == 50
