"""The lake: nothing lost, nothing twice, whole files or none, whoever writes and whatever happens."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from test_otlp_json import every_field

from made_days import DAY_NS, HOUR_NS, call, write_log
from tracewrap.errors import ConfigurationError, SourceError, check_local
from tracewrap.records import Call
from tracewrap.sinks import SpanLog
from tracewrap.sources import ReadStatus, connect, read_calls
from tracewrap.sources import compact as compact_module
from tracewrap.sources.compact import compact


def days(lake: Path) -> dict[str, int]:
    """Files by day folder; temporary ones would show as another suffix."""
    out: dict[str, int] = {}
    for file in lake.glob("day=*/*"):
        assert file.suffix == ".parquet", file
        out[file.parent.name] = out.get(file.parent.name, 0) + 1
    return out


def ids(lake: Path) -> list[int]:
    """Trace ids of the lake's calls, as numbers."""
    return sorted(int(one.trace_id, 16) for one in read_calls(str(lake)))


def test_compaction_loses_nothing(tmp_path: Path) -> None:
    """Every field of every call comes back from the lake, in folders by UTC day."""
    rng = random.Random(2)
    calls = [every_field(i, rng) for i in range(1, 200)] + [call(500, 24.5)]
    log = write_log(tmp_path / "log.jsonl", calls)
    done = compact([str(log)], tmp_path / "lake")
    assert (done.calls, done.added, done.days) == (200, 200, ("2026-11-20", "2026-11-21"))
    assert days(tmp_path / "lake") == {"day=2026-11-20": 1, "day=2026-11-21": 1}
    assert list(read_calls(str(tmp_path / "lake"))) == list(read_calls(str(log)))


def test_compaction_is_idempotent_and_appends_what_is_new(tmp_path: Path) -> None:
    """A second run adds nothing; a grown log adds its new calls only."""
    log = write_log(tmp_path / "log.jsonl", [call(1), call(2)])
    lake = tmp_path / "lake"
    assert compact([str(log)], lake).added == 2
    assert compact([str(log)], lake).added == 0
    write_log(log, [call(1), call(2), call(3)])
    assert compact([str(log)], lake).added == 1
    assert ids(lake) == [1, 2, 3]
    assert days(lake) == {"day=2026-11-20": 2}


def test_losses_come_along_once(tmp_path: Path) -> None:
    """What a span log says of lost calls is in the lake, by day, however often it is compacted and whatever else is read beside it."""
    folder, lake = tmp_path / "log", tmp_path / "lake"
    write_log(folder / "a.jsonl", [call(1)])
    log = SpanLog(folder)
    log.write_losses([("span_log", "no_space", 7), ("otlp", "http_503", 2)], DAY_NS)
    log.write_losses([("span_log", "queue_full", 5)], DAY_NS + 24 * HOUR_NS)  # a day without a call
    for _ in range(2):
        compact([str(folder)], lake)
    compact([str(lake)], tmp_path / "copy")
    both = {"otlp": {"http_503": 2}, "span_log": {"no_space": 7, "queue_full": 5}}
    for sources in ([str(lake)], [str(tmp_path / "copy")], [str(folder), str(lake)], [str(lake), str(folder)]):
        statuses: list[ReadStatus] = []
        assert len(list(read_calls(sources, statuses=statuses))) == 1
        assert [status.lost for status in statuses if status.lost] == [both], sources
    second: list[ReadStatus] = []
    list(read_calls(str(lake), since_ns=DAY_NS + 24 * HOUR_NS, until_ns=DAY_NS + 48 * HOUR_NS, statuses=second))
    assert second[0].lost == {"span_log": {"queue_full": 5}}


def test_a_lake_of_losses_alone_is_one(tmp_path: Path) -> None:
    """A program that lost every call leaves a lake without calls, which says so."""
    SpanLog(tmp_path / "log").write_losses([("span_log", "no_space", 3)], DAY_NS)
    compact([str(tmp_path / "log")], tmp_path / "lake")
    statuses: list[ReadStatus] = []
    assert list(read_calls(str(tmp_path / "lake"), statuses=statuses)) == []
    assert (statuses[0].kind, statuses[0].lost) == ("lake", {"span_log": {"no_space": 3}})


def test_losses_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A damaged file of losses hides no call: reading names it, compacting more losses into it says what to do."""
    folder, lake = tmp_path / "log", tmp_path / "lake"
    write_log(folder / "a.jsonl", [call(1)])
    SpanLog(folder).write_losses([("span_log", "no_space", 7)], DAY_NS)
    compact([str(folder)], lake)
    (damaged,) = lake.glob("day=*/.losses.json")
    for text in ("{", "[]", '{"losses": [[1]]}', '{"losses": 3}'):
        damaged.write_text(text)
        statuses: list[ReadStatus] = []
        assert len(list(read_calls(str(lake), statuses=statuses))) == 1
        assert str(damaged) in statuses[0].notes[0]
        with pytest.raises(SourceError, match="remove it and compact again"):
            compact([str(folder)], lake)


def test_two_writers_at_once(tmp_path: Path) -> None:
    """Three processes compacting overlapping logs into one lake at the same time: every call once."""
    lake = tmp_path / "lake"
    logs = [
        write_log(tmp_path / f"{name}.jsonl", [call(i) for i in numbers])
        for name, numbers in (("a", range(1, 60)), ("b", range(30, 90)))
    ]
    jobs = [
        subprocess.Popen([sys.executable, "-m", "tracewrap", "lake", "compact", str(log), str(lake)])
        for log in (logs[0], logs[1], logs[0])
    ]
    assert [job.wait(timeout=60) for job in jobs] == [0, 0, 0]
    assert ids(lake) == list(range(1, 90))


def test_a_writer_killed_halfway_leaves_a_readable_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed writer left behind is ignored by readers and cleared by the next run, which adds what was missing."""
    lake, log = tmp_path / "lake", write_log(tmp_path / "log.jsonl", [call(1), call(2, 24.5)])
    compact([str(write_log(tmp_path / "one.jsonl", [call(1)]))], lake)
    (lake / "day=2026-11-20" / ".part-dead.tmp").write_bytes(b"PAR1 half a file")
    assert ids(lake) == [1]
    replace = compact_module.os.replace

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compact_module.os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        compact([str(log)], lake)
    assert ids(lake) == [1]
    monkeypatch.setattr(compact_module.os, "replace", replace)
    assert compact([str(log)], lake).added == 1
    assert (ids(lake), days(lake)) == ([1, 2], {"day=2026-11-20": 1, "day=2026-11-21": 1})


def test_disk_full_leaves_nothing_half_written(tmp_path: Path) -> None:
    """A write that the system refuses half way: exit 2, one line, the lake as it was, and the next run succeeds."""
    rng = random.Random(4)
    log = write_log(tmp_path / "log.jsonl", [every_field(i, rng) for i in range(1, 3000)])
    lake = tmp_path / "lake"
    compact([str(write_log(tmp_path / "one.jsonl", [call(9999)]))], lake)
    program = textwrap.dedent("""
        import resource, signal, sys
        from tracewrap.cli import main
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        sys.exit(main(["lake", "compact", sys.argv[1], sys.argv[2]]))
    """)
    run = subprocess.run(
        [sys.executable, "-c", program, str(log), str(lake)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 2, run.stderr
    assert run.stderr.count("\n") == 1
    assert "nothing half written" in run.stderr
    assert (ids(lake), days(lake)) == ([9999], {"day=2026-11-20": 1})
    assert [path for path in lake.rglob("*") if path.name.endswith(".tmp")] == []
    assert compact([str(log)], lake).added == 2999


def test_a_writer_waits_for_its_turn_and_gives_up(tmp_path: Path) -> None:
    """A lake held by another writer for longer than the wait is one clear error."""
    fcntl = pytest.importorskip("fcntl")
    log = write_log(tmp_path / "log.jsonl", [call(1)])
    (tmp_path / "lake").mkdir()
    with open(tmp_path / "lake" / ".lock", "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SourceError, match="another writer"):
            compact([str(log)], tmp_path / "lake", wait_s=0.1)
    assert compact([str(log)], tmp_path / "lake").added == 1


def test_other_peoples_parquet_is_deduplicated(tmp_path: Path) -> None:
    """A lake that compact did not write may repeat spans; readers leave the copies out. Missing columns are absent values."""
    folder = tmp_path / "made" / "day=2026-11-20"
    folder.mkdir(parents=True)
    with connect() as connection:
        row = f"SELECT 'a' AS trace_id, 'b' AS span_id, {DAY_NS} AS start_time_ns, 'openai' AS provider, 'chat' AS operation"
        row += ", 1 AS attempts, 0.0 AS retry_s"
        connection.execute(f"COPY ({row} UNION ALL {row}) TO '{folder}/x.parquet' (FORMAT parquet)")
    found = list(read_calls(str(tmp_path / "made")))
    assert [(one.trace_id, one.usage, one.response_model) for one in found] == [("a", None, None)]


def test_only_the_days_asked_for_are_opened(tmp_path: Path) -> None:
    """A damaged file of another day does not matter; one of this day is named in one line."""
    lake = tmp_path / "lake"
    compact([str(write_log(tmp_path / "log.jsonl", [call(1), call(2, 24.5)]))], lake)
    for file in lake.glob("day=2026-11-21/*"):
        file.write_bytes(b"not parquet at all")
    until = DAY_NS + 86_400 * 10**9
    found: list[Call] = list(read_calls(str(lake), since_ns=DAY_NS, until_ns=until))
    assert len(found) == 1
    with pytest.raises(SourceError, match="cannot be read"):
        list(read_calls(str(lake), since_ns=DAY_NS, until_ns=until + 10))


def test_parquet_that_is_no_lake_is_refused(tmp_path: Path) -> None:
    """A Parquet file without the call columns is named, with the column."""
    with connect() as connection:
        connection.execute(f"COPY (SELECT 1 AS x) TO '{tmp_path}/x.parquet' (FORMAT parquet)")
    with pytest.raises(SourceError, match="has no column operation"):
        list(read_calls(str(tmp_path)))


def test_a_lake_in_an_object_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL never becomes a local folder of that name."""
    monkeypatch.chdir(tmp_path)
    log = write_log(tmp_path / "log" / "a.jsonl", [call(1)])
    for target in ("s3://bucket/lake", "gs://bucket/lake", Path("s3://bucket/lake")):
        with pytest.raises(ConfigurationError, match="only local files and folders are written"):
            compact([str(log)], target)
    assert {path.name for path in tmp_path.iterdir()} == {"log"}
    check_local("C:/lake")  # a drive is no scheme


def test_a_period_limits_what_is_added(tmp_path: Path) -> None:
    """Only calls that start in [since, until) are added."""
    log = write_log(tmp_path / "log" / "a.jsonl", [call(i, 6.0 * i) for i in range(1, 6)])
    done = compact([str(log)], tmp_path / "lake", since_ns=DAY_NS + 12 * HOUR_NS, until_ns=DAY_NS + 24 * HOUR_NS)
    assert (done.added, done.days) == (2, ("2026-11-20",))
