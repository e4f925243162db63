"""The live view's figures and its reader: a span log is followed line by line, every call counts once, for as long as the window."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from made_days import DAY_NS, HOUR_NS, attributes, call, line, span
from tracewrap import semconv
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.exporter import JoiningExporter
from tracewrap.live import follow
from tracewrap.live.calls import document, spans
from tracewrap.live.follow import Follower
from tracewrap.live.window import Figures, Window, _quantile
from tracewrap.records import TokenUsage
from tracewrap.report import build
from tracewrap.sinks import SpanLog

NOW = DAY_NS + HOUR_NS
SECOND = 10**9
AGES_AGO = 0


def _span(number: int, ago_s: float, *, estimates: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The span of call *number*, which ended *ago_s* seconds before ``NOW``."""
    raw = changes.setdefault("raw_runtime_s", 1.0)
    made = span(call(number, start_time_ns=NOW - int((ago_s + raw) * SECOND), **changes))
    made["attributes"] += attributes(estimates or {})
    return made


def _line(*spans: dict[str, Any], service: str | None = "app") -> bytes:
    return line(spans, service).encode() + b"\n"


def _filled(lines: Iterable[bytes], window_s: float = 60.0, **options: Any) -> Window:
    window = Window(window_s, **options)
    for one in lines:
        window.add(one, NOW)
    return window


def _numbers(lines: Iterable[bytes]) -> list[int]:
    """The numbers of the calls in *lines*."""
    found_spans = (found for one in lines for _, found in spans(document(one)))
    return [int(found["spanId"], 16) for found in found_spans]


def _new(follower: Follower, since_ns: int = AGES_AGO) -> list[int]:
    return _numbers(follower.new_lines(since_ns, NOW))


@pytest.fixture
def hand_made() -> Window:
    """Four calls of m-a and one of m-b in the last minute, one of m-a before it."""
    quiet, ideal, cost = semconv.RUNTIME_DENOISED, semconv.RUNTIME_IDEALIZED, semconv.COST_LIST
    return _filled(
        [
            _line(_span(1, 100.0, raw_runtime_s=30.0)),
            _line(
                _span(
                    2,
                    50.0,
                    raw_runtime_s=4.0,
                    retry_s=1.0,
                    attempts=2,
                    usage=TokenUsage(input_tokens=100, output_tokens=20),
                    estimates={quiet: 1.5, ideal: 1.0, cost: 0.01, semconv.SPLIT_VERDICT: "provider"},
                ),
                _span(
                    3,
                    40.0,
                    raw_runtime_s=2.0,
                    usage=TokenUsage(input_tokens=200, output_tokens=40),
                    estimates={
                        **{quiet: 1.5, ideal: 0.5, cost: 0.03},
                        **{semconv.SPLIT_VERDICT: "us", semconv.SPLIT_KIND: "event_loop"},
                    },
                ),
            ),
            _line(_span(4, 30.0, raw_runtime_s=1.0)),
            _line(_span(5, 20.0, raw_runtime_s=9.0, outcome="error", error_type="APIError")),
            _line(_span(6, 10.0, raw_runtime_s=0.5, request_model="m-b", response_model="m-b", provider="cohere")),
        ]
    )


def test_figures_by_hand(hand_made: Window) -> None:
    """m-a: complete calls took 1, 2 and 4 s: p50 is 2, p95 lies at index 1.9, so 2 + 0.9 * 2; the failed one has no runtime.

    Contention: last attempts of 4 - 1 and 2 s against twice 1.5 s: (5 - 3) / 5. Cost: 0.04 $ in 60 s are 2.4 $ an hour.
    """
    total, rows = hand_made.rows(NOW, "model", "calls")
    assert rows[0] == {
        "key": "m-a",
        "calls": 4,
        "calls_per_min": pytest.approx(4.0),
        "error_share": 0.25,
        "input_tokens_per_s": pytest.approx(5.0),
        "output_tokens_per_s": pytest.approx(1.0),
        "raw_p50_s": pytest.approx(2.0),
        "raw_p95_s": pytest.approx(3.8),
        "denoised_p50_s": pytest.approx(1.5),
        "idealized_p50_s": pytest.approx(0.75),
        "contention_share": pytest.approx(0.4),
        "slow_by": "provider 1/4",
        "retries": 1,
        "priced_calls": 2,
        "unsure": {},
        "list_cost_usd": pytest.approx(0.04),
        "list_cost_usd_per_h": pytest.approx(2.4),
    }
    # Complete calls of both took 0.5, 1, 2 and 4 s.
    assert (total["key"], total["calls"], total["error_share"]) == (None, 5, 0.2)
    assert total["raw_p50_s"] == pytest.approx(1.5)


def test_slow_by_nobody_knows_whom() -> None:
    """A call with a quiet day that says neither who made it slow nor that it was not: the report calls that unknown, and so is it here."""
    quiet, verdict = semconv.RUNTIME_DENOISED, semconv.SPLIT_VERDICT
    window = _filled(
        [
            _line(_span(1, 30.0, raw_runtime_s=4.0, estimates={quiet: 1.5})),
            _line(_span(2, 20.0, raw_runtime_s=1.5, estimates={quiet: 1.5, verdict: "model"})),
            _line(_span(3, 10.0, raw_runtime_s=4.0)),
        ]
    )
    assert window.rows(NOW, "model", "calls")[0]["slow_by"] == "unknown 1/3"


def test_what_is_unknown_is_none(hand_made: Window) -> None:
    """m-b has neither token counts nor estimates nor a price."""
    row = hand_made.rows(NOW, "model", "calls")[1][1]
    unknown = {name for name, value in row.items() if value is None}
    assert row["key"] == "m-b"
    assert unknown == {
        *("input_tokens_per_s", "output_tokens_per_s", "denoised_p50_s", "idealized_p50_s"),
        *("contention_share", "list_cost_usd", "list_cost_usd_per_h", "slow_by"),
    }


def test_no_calls_have_no_figures() -> None:
    """An empty window has no error share and no runtime."""
    total, rows = Window(60.0).rows(NOW, "model", "calls")
    assert (rows, total["calls"], total["error_share"], total["raw_p50_s"]) == ([], 0, None, None)


def test_same_figures_as_the_report(tmp_path: Path) -> None:
    """The report over the same calls, by another reader, finds the same."""
    spans = [
        _span(1, 5.0, raw_runtime_s=3.0, usage=TokenUsage(input_tokens=7, output_tokens=3), attempts=3, retry_s=1.0),
        _span(2, 4.0, raw_runtime_s=1.0, outcome="partial"),
        _span(3, 3.0, raw_runtime_s=0.25),
        _span(4, 2.0, outcome="error", error_type="E"),
        # Another instrumentor's: old name of the provider, no runtime but the span's own.
        _span(5, 1.0)
        | {"attributes": attributes({"gen_ai.operation.name": "chat", "gen_ai.system": "x"}), "status": {"code": 2}},
    ]
    (tmp_path / "spans.jsonl").write_bytes(_line(*spans))
    total, _ = _filled([_line(*spans)]).rows(NOW, "model", "calls")
    found = build(str(tmp_path))["totals"]
    assert (total["calls"], total["error_share"]) == (found["calls"], found["error_share"]) == (5, 0.4)
    assert total["raw_p50_s"] == pytest.approx(found["raw"]["p50_s"])
    assert total["raw_p95_s"] == pytest.approx(found["raw"]["p95_s"])
    assert total["retries"] == found["attempts"] - found["calls"] == 2


@pytest.mark.parametrize(
    ("group_by", "keys"),
    [
        ("model", ["m-a", "m-b"]),
        ("provider", ["openai", "cohere"]),
        ("service", ["app"]),
        ("deployment", ["openai|api.openai.com:443|m-a|chat|plain", "cohere|api.openai.com:443|m-b|chat|plain"]),
    ],
)
def test_groups(hand_made: Window, group_by: str, keys: list[str]) -> None:
    """Rows by model, provider, deployment or service."""
    assert [row["key"] for row in hand_made.rows(NOW, group_by, "calls")[1]] == keys


def test_unknown_names_are_a_group() -> None:
    """A call without a service name is in a group without a name."""
    window = _filled([_line(_span(1, 1.0), service=None), _line(_span(2, 1.0))])
    assert [row["key"] for row in window.rows(NOW, "service", "calls")[1]] == [None, "app"]


def test_orders() -> None:
    """Largest first, unknown last: after a model that is faster than on a quiet day, whose contention is negative."""

    def model(number: int, name: str, raw_s: float, **estimates: float) -> dict[str, Any]:
        named = {f"tracewrap.{key.replace('_', '.')}": value for key, value in estimates.items()}
        changes = {"request_model": name, "response_model": name, "raw_runtime_s": raw_s}
        return _span(number, 1.0, estimates=named, **changes)

    window = _filled(
        [
            _line(
                model(1, "half", 2.0, runtime_denoised=1.0, cost_list=0.1),
                model(2, "tenth", 10.0, runtime_denoised=9.0, cost_list=0.3),
                model(3, "unknown", 1.0),
                model(4, "unknown", 1.0),
                model(5, "fast", 0.5, runtime_denoised=1.0),
            )
        ]
    )

    def order(sort: str) -> list[str | None]:
        return [row["key"] for row in window.rows(NOW, "model", sort)[1]]

    assert order("contention") == ["half", "tenth", "fast", "unknown"]
    assert order("cost") == ["tenth", "half", "unknown", "fast"]
    assert order("calls") == ["unknown", "fast", "half", "tenth"]
    assert order("raw") == ["tenth", "half", "unknown", "fast"]


def test_rates_are_over_the_time_since_the_log_began() -> None:
    """Two calls, the first began 10 s ago (ended 6 s ago, took 4 s): 12 a minute, not 2 a minute of a window of 60 s."""
    window = _filled([_line(_span(1, 6.0, raw_runtime_s=4.0)), _line(_span(2, 1.0))])
    assert window.covered_s(NOW) == pytest.approx(10.0)
    assert window.rows(NOW, "model", "calls")[0]["calls_per_min"] == pytest.approx(12.0)
    assert window.covered_s(NOW + 55 * SECOND) == 60.0


def test_calls_leave_the_window() -> None:
    """A call counts until 60 s after its end, not a nanosecond longer, and is forgotten then."""
    window = _filled([_line(_span(1, 0.0), _span(2, -0.0, raw_runtime_s=2.0)), _line(_span(3, 30.0))])

    def calls(after_s: float) -> int:
        return window.rows(NOW + int(after_s * SECOND), "model", "calls")[0]["calls"]

    assert [calls(after_s) for after_s in (0.0, 29.999, 30.0, 59.999, 60.0)] == [3, 3, 2, 2, 0]
    assert not window._calls
    assert not window._by_end
    assert window.calls_read == 3
    assert window.last_ns == NOW


def test_a_call_counts_once() -> None:
    """The same trace and span id, however written, is the same call."""
    again = _span(10, 1.0) | {"traceId": f"{10:032X}", "spanId": f"{10:016X}"}
    window = _filled([_line(_span(10, 1.0), _span(11, 1.0)), _line(again)])
    assert (window.calls_read, window.duplicates) == (2, 1)
    assert window.rows(NOW, "model", "calls")[0]["calls"] == 2


def test_a_clock_that_is_ahead_does_not_keep_calls_longer() -> None:
    """A call that says it ends in an hour counts from now on, and leaves with those that ended now."""
    window = _filled([_line(_span(1, -3600.0))])
    assert window.last_ns == NOW
    assert window.rows(NOW + 59 * SECOND, "model", "calls")[0]["calls"] == 1
    assert window.rows(NOW + 60 * SECOND, "model", "calls")[0]["calls"] == 0


def test_memory_is_bounded() -> None:
    """Of five calls, one a second, three are held: the oldest go, and rates are over the 3 s since the last of those ended."""
    lines = [_line(_span(number, 5.0 - number)) for number in range(1, 6)]
    window = _filled([lines[0], *lines[1:]], max_calls=3)
    total, _ = window.rows(NOW, "model", "calls")
    assert (total["calls"], window.calls_read, len(window._by_end)) == (3, 5, 3)
    assert window.covered_s(NOW) == pytest.approx(3.0)
    assert total["calls_per_min"] == pytest.approx(60.0)
    window.add(lines[0], NOW)
    assert window.calls_read == 5


def test_torn_and_foreign_lines_are_counted() -> None:
    """No JSON: torn. JSON but not of OTLP spans: foreign. Blank lines are nothing."""
    torn, foreign = [b'{"resourceSpans":[{\n', b"\xff\xfe\n"], [b'{"resourceLogs":[]}\n', b"[1]\n", b"3\n"]
    window = _filled([*torn, *foreign, b"\n", b"  \n", _line(_span(1, 1.0))])
    assert (window.torn_lines, window.foreign_lines, window.calls_read) == (2, 3, 1)


@pytest.mark.parametrize(
    "odd",
    [
        {"resourceSpans": [None, 3, {"scopeSpans": 4}, {"scopeSpans": [{"spans": {}}, []]}]},
        {"resourceSpans": [{"resource": [], "scopeSpans": [{"spans": [7, {}, {"traceId": 1, "attributes": "x"}]}]}]},
    ],
)
def test_odd_shapes_are_passed_over(odd: dict[str, Any]) -> None:
    """Lines that only look like OTLP hold no call, and the view goes on."""
    window = _filled([json.dumps(odd).encode()])
    assert (window.calls_read, window.torn_lines, window.foreign_lines) == (0, 0, 0)


@pytest.mark.parametrize("value", ["NaN", "Infinity", True, [], 10**400, "x" * 9])
def test_odd_values_are_unknown(value: Any) -> None:
    """A denoised runtime that is no finite number is unknown; the call stays."""
    made = _span(1, 1.0)
    made["attributes"].append({"key": semconv.RUNTIME_DENOISED, "value": {"doubleValue": value, "arrayValue": {}}})
    made["attributes"].append({"key": semconv.INPUT_TOKENS, "value": {"intValue": "ten"}})
    total, _ = _filled([_line(made)]).rows(NOW, "model", "calls")
    expected = 1.0 if value is True else None
    assert (total["calls"], total["denoised_p50_s"], total["input_tokens_per_s"]) == (1, expected, None)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([3.0], 0.95, 3.0), ([4.0, None, 1.0], 0.5, 2.5), ([1.0, 2.0, 3.0, 4.0, 5.0], 0.95, 4.8)],
)
def test_quantiles_are_interpolated(values: list[float | None], share: float, expected: float | None) -> None:
    """Linearly, unknown values left out: 0.95 * 4 = 3.8, between 4 and 5."""
    assert _quantile(values, share) == (expected if expected is None else pytest.approx(expected))


def test_only_new_lines_are_read(tmp_path: Path) -> None:
    """A line is handed out when it is there; files that come later and those in sub-folders are noticed; others are not ours."""
    one, two = tmp_path / "spans-1.jsonl", tmp_path / "pod" / "spans-2.jsonl"
    follower = Follower(tmp_path)
    assert _new(follower) == []
    one.write_bytes(_line(_span(1, 1.0)))
    (tmp_path / "notes.txt").write_bytes(_line(_span(8, 1.0)))
    (tmp_path / ".denoiser-7.json").write_bytes(_line(_span(9, 1.0)))
    assert _new(follower) == [1]
    assert _new(follower) == []
    two.parent.mkdir()
    two.write_bytes(_line(_span(2, 1.0)))
    _append(one, _line(_span(3, 1.0)) + _line(_span(4, 1.0)))
    assert sorted(_new(follower)) == [2, 3, 4]
    assert (len(follower.files), follower.skipped) == (2, False)


def _append(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def test_a_torn_line_that_is_finished_later_counts_once(tmp_path: Path) -> None:
    """The last line waits for its rest, and is not counted as torn while it may still come."""
    path, whole = tmp_path / "spans.jsonl", _line(_span(2, 1.0))
    path.write_bytes(_line(_span(1, 1.0)) + whole[:100])
    follower = Follower(tmp_path)
    assert (_new(follower), follower.unfinished_lines) == ([1], 1)
    _append(path, whole[100:200])
    assert (_new(follower), follower.unfinished_lines) == ([], 1)
    _append(path, whole[200:] + _line(_span(3, 1.0)))
    assert (_new(follower), follower.unfinished_lines) == ([2, 3], 0)
    assert _new(follower) == []


def test_a_whole_last_line_needs_no_line_end(tmp_path: Path) -> None:
    """A file whose last line has no line end is read to its end; the line end that comes later adds no call."""
    path = tmp_path / "spans.jsonl"
    path.write_bytes(_line(_span(1, 1.0)).strip())
    follower, window = Follower(tmp_path), Window(60.0)
    for rest in (b"\n", _line(_span(2, 1.0))):
        for one in follower.new_lines(AGES_AGO, NOW):
            window.add(one, NOW)
        assert (window.calls_read, window.torn_lines, follower.unfinished_lines) == (1, 0, 0)
        _append(path, rest)
    assert _new(follower) == [2]


def test_rotation(tmp_path: Path) -> None:
    """A file that is renamed is not read again, what was appended to it before is; its successor is read from the start."""
    path = tmp_path / "spans.jsonl"
    path.write_bytes(_line(_span(1, 1.0)))
    follower = Follower(tmp_path)
    assert _new(follower) == [1]
    _append(path, _line(_span(2, 1.0)))
    path.rename(tmp_path / "spans-2026-11-20T01-00-00.jsonl")
    path.write_bytes(_line(_span(3, 1.0)))
    assert sorted(_new(follower)) == [2, 3]
    assert len(follower.files) == 2


@pytest.mark.parametrize("more", [0, 3], ids=["shorter", "longer"])
def test_a_file_that_is_written_anew_is_read_from_its_start(tmp_path: Path, more: int) -> None:
    """Truncated in place (the same inode), whether it is shorter now or has outgrown what was read."""
    path = tmp_path / "spans.jsonl"
    path.write_bytes(_line(_span(1, 1.0)) + _line(_span(2, 1.0)))
    follower = Follower(tmp_path)
    assert _new(follower) == [1, 2]
    inode = path.stat().st_ino
    path.write_bytes(b"".join(_line(_span(number, 1.0)) for number in range(3, 4 + more)))
    assert path.stat().st_ino == inode
    assert _new(follower) == list(range(3, 4 + more))


def test_a_file_that_lost_its_end_is_read_again(tmp_path: Path) -> None:
    """What is appended after the cut is found, though the file still begins as before; the rest comes again, as duplicates."""
    path, first = tmp_path / "spans.jsonl", _line(*(_span(number, 1.0) for number in range(1, 9)))
    assert len(first) > follow._HEAD
    path.write_bytes(first + _line(_span(9, 1.0)))
    follower = Follower(tmp_path)
    assert _new(follower) == [*range(1, 10)]
    os.truncate(path, len(first))
    assert _new(follower) == [*range(1, 9)]
    _append(path, _line(_span(10, 1.0)))
    assert _new(follower) == [10]


def test_deleted_files_and_a_deleted_folder(tmp_path: Path) -> None:
    """What is gone is forgotten; following goes on when the folder comes back."""
    folder = tmp_path / "calls"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"spans-{number}.jsonl").write_bytes(_line(_span(number, 1.0)))
    follower = Follower(folder)
    assert _new(follower) == [1, 2]
    (folder / "spans-1.jsonl").unlink()
    assert (_new(follower), len(follower.files)) == ([], 1)
    (folder / "spans-2.jsonl").unlink()
    folder.rmdir()
    assert (_new(follower), len(follower.files)) == ([], 0)
    folder.mkdir()
    (folder / "spans-3.jsonl").write_bytes(_line(_span(3, 1.0)))
    assert _new(follower) == [3]


def test_one_file_can_be_followed(tmp_path: Path) -> None:
    """Its neighbours are left alone."""
    for number in (1, 2):
        (tmp_path / f"spans-{number}.jsonl").write_bytes(_line(_span(number, 1.0)))
    assert _new(Follower(tmp_path / "spans-2.jsonl")) == [2]


def test_two_names_of_one_file_are_read_once(tmp_path: Path) -> None:
    """Links do not double calls."""
    (tmp_path / "spans-1.jsonl").write_bytes(_line(_span(1, 1.0)))
    os.link(tmp_path / "spans-1.jsonl", tmp_path / "spans-2.jsonl")
    (tmp_path / "spans-3.jsonl").symlink_to(tmp_path / "spans-1.jsonl")
    assert _new(Follower(tmp_path)) == [1]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """The others are read; a link that leads nowhere is nothing."""
    (tmp_path / "spans-1.jsonl").write_bytes(_line(_span(1, 1.0)))
    (tmp_path / "spans-2.jsonl").symlink_to(tmp_path / "spans-2.jsonl")
    (tmp_path / "spans-3.jsonl").symlink_to(tmp_path / "nowhere.jsonl")
    follower = Follower(tmp_path)
    assert _new(follower) == [1]
    assert list(follower.unreadable) == [tmp_path / "spans-2.jsonl"]


def test_files_from_before_the_window_are_not_opened(tmp_path: Path) -> None:
    """Their calls are over; once something is appended, it is read, and what is older is left to the window to drop."""
    path = tmp_path / "spans.jsonl"
    path.write_bytes(_line(_span(1, 7200.0)))
    os.utime(path, ns=(NOW - 2 * HOUR_NS, NOW - 2 * HOUR_NS))
    follower = Follower(tmp_path)
    assert _new(follower, NOW - 60 * SECOND) == []
    assert (len(follower.files), follower.skipped) == (1, True)
    _append(path, _line(_span(2, 1.0)))
    window = _filled(follower.new_lines(NOW - 60 * SECOND, NOW))
    assert window.calls_read == 1


@pytest.fixture
def long_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A thousand lines, one call every 10 s, the last one 10 s ago, in ``spans.jsonl``; tails start at 1 KiB. Sizes of the lines."""
    monkeypatch.setattr(follow, "_FIRST_TAIL", 1024)
    lines = [_line(_span(number, 10.0 * (1000 - number + 1))) for number in range(1, 1001)]
    (tmp_path / "spans.jsonl").write_bytes(b"".join(lines))
    os.utime(tmp_path / "spans.jsonl", ns=(NOW, NOW))
    return [len(one) for one in lines]


def test_history_is_not_read(tmp_path: Path, long_history: list[int]) -> None:
    """For 5 min and the minute that exporters may be late, 36 lines are needed; with tails doubled, at most about 80 are read."""
    follower = Follower(tmp_path)
    found = _new(follower, NOW - 300 * SECOND)
    assert found == list(range(found[0], 1001))
    assert 36 <= len(found) <= 80
    assert (follower.cut_files(NOW - 300 * SECOND), follower.skipped) == (0, True)


def test_the_bound_on_a_tail_shows(tmp_path: Path, long_history: list[int]) -> None:
    """With room for ten lines of the 36, the last ten or nine are read, and for the length of a window the cut is said."""
    follower = Follower(tmp_path, tail_bytes=10 * long_history[-1])
    found = _new(follower, NOW - 300 * SECOND)
    assert found[-1] == 1000
    assert len(found) in (9, 10)
    assert follower.cut_files(NOW - 300 * SECOND) == 1
    assert follower.cut_files(NOW + SECOND) == 0


def test_a_line_that_is_too_long_is_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is passed over in parts, whole or not, and those beside it count."""
    monkeypatch.setattr(follow, "_LONGEST_LINE", 4096)
    path, long = tmp_path / "spans.jsonl", _line(*(_span(number, 1.0) for number in range(100, 120)))
    assert len(long) > 2 * 4096
    path.write_bytes(_line(_span(1, 1.0)) + long + _line(_span(2, 1.0)))
    window = _filled(Follower(tmp_path).new_lines(AGES_AGO, NOW))
    assert (window.calls_read, window.torn_lines) == (2, 1)


def test_what_our_own_exporter_writes_is_read(tmp_path: Path) -> None:
    """A call that goes through the join and ``SpanLog`` into the folder is in the window with its runtime, beside a span that is none."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(JoiningExporter(SpanLog(tmp_path), Catalog)))
    tracer, known = provider.get_tracer("tracewrap"), call(1, raw_runtime_s=0.75)
    for given in (semconv.call_attributes(known), {"http.route": "/"}):
        tracer.start_span("span", attributes=given).end()
    now_ns, window = time.time_ns(), Window(60.0)
    for one in Follower(tmp_path).new_lines(now_ns - 60 * SECOND, now_ns):
        window.add(one, now_ns)
    total, rows = window.rows(now_ns, "model", "calls")
    assert (total["calls"], total["raw_p50_s"], window.torn_lines) == (1, 0.75, 0)
    assert rows[0]["key"] == "m-a"


def _total(window: Window) -> Figures:
    return window.rows(NOW, "model", "calls")[0]


def test_reading_can_be_spread_over_time(tmp_path: Path) -> None:
    """Lines are handed out one by one: who stops in between goes on where they stopped, and nothing is lost or doubled."""
    for number in (1, 4):
        lines = [_line(_span(number + more, 1.0)) for more in range(3)]
        (tmp_path / f"spans-{number}.jsonl").write_bytes(b"".join(lines))
    follower, window = Follower(tmp_path), Window(60.0)
    reading = follower.new_lines(AGES_AGO, NOW)
    window.add(next(reading), NOW)
    assert _total(window)["calls"] == 1
    _append(tmp_path / "spans-1.jsonl", _line(_span(9, 1.0)))
    for one in [*reading, *follower.new_lines(AGES_AGO, NOW)]:
        window.add(one, NOW)
    assert (_total(window)["calls"], window.duplicates) == (7, 0)
