"""OTLP-JSON: the SQL codec equals the live one; torn, foreign and odd lines are skipped and counted."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from made_days import DAY_NS, attributes, call, line, span, write_log
from tracewrap.errors import SourceError
from tracewrap.records import Call, TokenUsage
from tracewrap.semconv import call_from_attributes
from tracewrap.sources import ReadStatus, read_calls


def read(path: Path | str, **period: int) -> tuple[list[Call], ReadStatus]:
    """Calls and status of one source."""
    statuses: list[ReadStatus] = []
    found = list(read_calls(str(path), statuses=statuses, **period))
    return found, statuses[0]


def every_field(number: int, rng: random.Random) -> Call:
    """A call with every field set, or absent, at random."""

    def maybe(value: Any) -> Any:
        return value if rng.random() < 0.7 else None

    counts = {
        name: maybe(rng.randrange(1000))
        for name in ("cached_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens")
    }
    billed = {"billed_input_tokens": 3, "billed_output_tokens": 4} if rng.random() < 0.3 else {}
    usage = TokenUsage(
        input_tokens=rng.randrange(10**6),
        output_tokens=rng.randrange(10**5),
        source=rng.choice(("reported", "estimated")),
        **counts,
        **billed,
    )
    failed = rng.random() < 0.2
    return call(
        number,
        rng.uniform(0, 24),
        parent_span_id=maybe("ab" * 8),
        request_model=maybe("r"),
        response_model=maybe("s"),
        server_address=maybe("h"),
        server_port=maybe(8080),
        stream=rng.random() < 0.5,
        usage=maybe(usage),
        raw_runtime_s=rng.uniform(0, 100),
        time_to_first_chunk_s=maybe(rng.random()),
        consumer_s=maybe(rng.random()),
        attempts=rng.randrange(1, 4),
        retry_s=rng.choice((0.0, 1.25)),
        outcome="error" if failed else rng.choice(("complete", "partial", "cancelled")),
        error_type="X" if failed else None,
        response_id=maybe("id"),
        request_id=maybe("rid"),
        service_tier=maybe("flex"),
        finish_reasons=rng.choice(((), ("stop",), ("stop", "length"))),
        server_processing_s=maybe(0.25),
        tags={"tenant": "t'1", "größe": "ü|x"} if rng.random() < 0.5 else {},
    )


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Every field of 300 random calls survives the span log, tags and absences included."""
    rng = random.Random(1)
    calls = sorted((every_field(i, rng) for i in range(1, 301)), key=lambda one: (one.start_time_ns, one.trace_id))
    log = tmp_path / "log.jsonl"
    log.write_text(
        "".join(line([span(one, parentSpanId=one.parent_span_id or "")]) + "\n" for one in calls), encoding="utf-8"
    )
    found, status = read(log)
    assert found == calls
    assert (status.lines, status.spans, status.dropped) == (300, 300, 0)


FOREIGN_SPANS: tuple[dict[str, Any], ...] = (
    {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 7,
    },
    {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "x",
        "gen_ai.usage.input_tokens": "12",
        "gen_ai.usage.cache_creation.input_tokens": 3,
    },
    {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "x",
        "gen_ai.usage.input_tokens": 12.0,
        "gen_ai.usage.output_tokens": 1.5,
    },
    {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "x", "gen_ai.usage.cache_read.input_tokens": 3},
    {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "x",
        "gen_ai.response.finish_reasons": "stop",
        "error.type": "429",
        "a.b": "c",
    },
    {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "x",
        "gen_ai.request.model": "",
        "tracewrap.runtime.raw": "oops",
        "server.port": "x",
    },
    {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "x",
        "openai.response.service_tier": "priority",
        "tracewrap.cost.list": 1.0,
    },
    {"gen_ai.provider.name": "x"},
    {"http.request.method": "POST"},
)


@pytest.mark.parametrize("values", FOREIGN_SPANS)
def test_other_instrumentors_spans_read_as_the_live_codec_reads_them(tmp_path: Path, values: dict[str, Any]) -> None:
    """The SQL codec and call_from_attributes agree on spans that tracewrap did not write."""
    raw = {
        "traceId": "AB" * 16,
        "spanId": "cd" * 8,
        "startTimeUnixNano": DAY_NS,
        "endTimeUnixNano": str(DAY_NS + 10**9),
        "attributes": attributes(values),
    }
    (tmp_path / "x.json").write_text(line([raw], scope="other") + "\n")
    found, status = read(tmp_path)
    expected = call_from_attributes(
        values,
        trace_id="ab" * 16,
        span_id="cd" * 8,
        start_time_ns=DAY_NS,
        end_time_ns=DAY_NS + 10**9,
        service_name="app",
        scope_name="other",
    )
    assert found == ([] if expected is None else [expected])
    assert status.foreign_spans == (1 if expected is None else 0)


def test_torn_foreign_and_repeated_lines_are_counted(tmp_path: Path) -> None:
    """A torn tail, binary damage, JSON that is no trace and repeated spans are skipped and counted; the rest is read."""
    log = write_log(tmp_path / "a.jsonl", [call(1), call(2)], tail=line([span(call(1)), span(call(3))]) + "\n")
    with open(log, "ab") as file:
        file.write(b'{"hello": 1}\n[1, 2]\n\n"text"\n\x00\x00\x00\xff\n' + line([span(call(9))]).encode()[:-40])
    found, status = read(tmp_path)
    assert [int(one.trace_id, 16) for one in found] == [1, 2, 3]
    assert (status.lines, status.torn_lines, status.foreign_lines, status.spans, status.duplicates) == (7, 2, 3, 4, 1)


def test_a_span_that_names_a_key_twice_is_read(tmp_path: Path) -> None:
    """A repeated attribute key does not lose the span; the first one counts."""
    one = span(call(1))
    one["attributes"] += attributes({"gen_ai.provider.name": "second", "tenant": "a"}) + attributes({"tenant": "b"})
    (tmp_path / "x.jsonl").write_text(line([one]))
    found, _ = read(tmp_path)
    assert (found[0].provider, dict(found[0].tags)) == ("openai", {"tenant": "a"})


def test_spans_without_identity_are_skipped_with_a_note(tmp_path: Path) -> None:
    """No trace id, no span id or no start: skipped, and the status says so."""
    spans = [
        span(call(1), traceId=""),
        span(call(2), spanId=None),
        span(call(3), startTimeUnixNano="soon"),
        span(call(4)),
    ]
    (tmp_path / "x.jsonl").write_text(line(spans))
    found, status = read(tmp_path)
    assert [int(one.trace_id, 16) for one in found] == [4]
    assert "3 LLM spans without" in status.notes[0]


def test_period_is_half_open_and_old_files_are_not_opened(tmp_path: Path) -> None:
    """since <= start < until; files last written a day before the period are skipped with a note."""
    write_log(
        tmp_path / "a.jsonl", [call(1, start_time_ns=100), call(2, start_time_ns=200), call(3, start_time_ns=300)]
    )
    found, _ = read(tmp_path, since_ns=100, until_ns=300)
    assert [one.start_time_ns for one in found] == [100, 200]
    os.utime(tmp_path / "a.jsonl", ns=(0, 0))
    found, status = read(tmp_path, since_ns=DAY_NS, until_ns=DAY_NS + 1)
    assert found == []
    assert "last written before the period" in status.notes[0]


def test_collector_files_rotated_and_packed(tmp_path: Path) -> None:
    """Rotated names and gzip are read; resource attributes become tags, telemetry.sdk.* and service.name do not."""
    body = json.loads(line([span(call(1))]))
    body["resourceSpans"][0]["resource"]["attributes"] += attributes(
        {"deployment.environment.name": "prod", "tenant": "shared"}
    )
    (tmp_path / "data-2026-11-20T05-02-14.173.json").write_text(json.dumps(body) + "\n")
    with gzip.open(tmp_path / "data.json.gz", "wt") as file:
        file.write(line([span(dataclasses.replace(call(2), tags={"tenant": "own"}))]) + "\n")
    found, _ = read(tmp_path)
    assert [dict(one.tags) for one in found] == [
        {"deployment.environment.name": "prod", "tenant": "shared"},
        {"tenant": "own"},
    ]


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    """No such folder, no log in it, an unknown scheme, a damaged gzip: one line each."""
    with pytest.raises(SourceError, match="no such file or folder"):
        read(tmp_path / "none")
    with pytest.raises(SourceError, match="holds no OTLP-JSON file"):
        read(tmp_path)
    with pytest.raises(SourceError, match="no such kind of source"):
        read("kafka://x")
    (tmp_path / "a.json.gz").write_bytes(b"\x1f\x8b\x08broken")
    with pytest.raises(SourceError, match=r"a\.json\.gz: cannot be read"):
        read(tmp_path)


def test_an_empty_log_has_no_calls(tmp_path: Path) -> None:
    """An empty file is a log without calls, not an error."""
    (tmp_path / "a.jsonl").write_text("")
    found, status = read(tmp_path)
    assert (found, status.lines) == ([], 0)


def test_several_sources_are_deduplicated_together(tmp_path: Path) -> None:
    """The same span in two sources is one call."""
    first, second = (
        write_log(tmp_path / "a.jsonl", [call(1), call(2)]),
        write_log(tmp_path / "b.jsonl", [call(2), call(3)]),
    )
    statuses: list[ReadStatus] = []
    found = list(read_calls([str(first), str(second)], statuses=statuses))
    assert [int(one.trace_id, 16) for one in found] == [1, 2, 3]
    assert sum(status.duplicates for status in statuses) == 1


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("cut \\ud83e", "cut \ufffd"),
        ("\\udc00 and \\ud83e\\udd16", "\ufffd and \U0001f916"),  # a low half alone; a whole pair stays
        ("\\\\ud83e", "\\ud83e"),  # a backslash and letters, no escape
    ],
)
def test_half_a_surrogate_pair_costs_a_sign(tmp_path: Path, text: str, read: str) -> None:
    """Half an emoji in one attribute of a line: every call of the line is read, the half as the sign for what is no text."""
    made = line([span(call(1, tags={"note": "NOTE"})), span(call(2))]).replace("NOTE", text)
    (tmp_path / "a.jsonl").write_text(made + "\n", encoding="utf-8")
    found = {one.span_id: one.tags.get("note") for one in read_calls(str(tmp_path))}
    assert found == {f"{1:016x}": read, f"{2:016x}": None}
