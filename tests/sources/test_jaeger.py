"""Jaeger's /api/v3, against a server that keeps its rules: required times, 404 for nothing, a depth cap, whole traces, numbers as text."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from fake_jaeger import FakeJaeger
from made_days import DAY_NS, attributes, call, span
from tracewrap import report
from tracewrap.errors import SourceError
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import Call, TokenUsage
from tracewrap.report.render import html
from tracewrap.sources import ReadStatus, read_calls
from tracewrap.sources.jaeger import may_be_call

DAY_END_NS = DAY_NS + 86_400 * 10**9


@pytest.fixture
def jaeger() -> Iterator[FakeJaeger]:
    """A running server without traces."""
    server = FakeJaeger([])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def read(source: str) -> tuple[list[Call], ReadStatus]:
    """The day's calls and how reading went."""
    statuses: list[ReadStatus] = []
    return list(read_calls(source, since_ns=DAY_NS, until_ns=DAY_END_NS, statuses=statuses)), statuses[0]


def test_a_full_window_is_cut_until_everything_is_seen(jaeger: FakeJaeger) -> None:
    """500 traces of two services through a depth of 7: every call once, the day's only, none missing."""
    usage = TokenUsage(input_tokens=10, output_tokens=5)
    inside = [call(i, 23.99 * i / 500, service_name=("a", "b")[i % 2], usage=usage) for i in range(1, 501)]
    outside = [call(600, -0.5), call(601, 24.0)]
    jaeger.calls = inside + outside
    found, status = read(jaeger.source + "?depth=7")
    assert sorted(int(one.trace_id, 16) for one in found) == list(range(1, 501))
    assert (status.complete, status.notes) == (True, [])
    assert found[0].usage == usage
    assert jaeger.searches >= 500 / 7


def test_the_density_of_a_full_window_sizes_the_next_ones(jaeger: FakeJaeger) -> None:
    """Even traffic of 50 full answers takes one full search and about 50 / 0.6 others; halving would throw 63 full ones away."""
    jaeger.calls = [call(i, 24.0 * i / 1001) for i in range(1, 1001)]
    found, _ = read(jaeger.source + "?depth=20")
    assert len(found) == 1000
    assert jaeger.searches <= 100


def test_only_names_that_model_calls_have_are_searched(jaeger: FakeJaeger) -> None:
    """Operations are asked for first: what serves HTTP or asks a database is never fetched; the report says so; an option reads all."""
    jaeger.calls = [call(1, 1.0), call(2, 2.0, response_model="m-b")]
    jaeger.other_names = ["GET /api/messages", "SELECT shop.orders", "checkout"]
    found, status = read(jaeger.source)
    assert len(found) == 2
    assert sorted(map(str, jaeger.searched)) == ["chat m-a", "chat m-b"]
    assert status.notes == ["read 2 of 5 span names, those that model calls have; ?operations=all reads every trace"]
    jaeger.searched.clear()
    _, status = read(jaeger.source + "?operations=all")
    assert (jaeger.searched, status.notes) == ([None], [])


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("chat gpt-4o", "client", True),
        ("embeddings text-embedding-3-small", "", True),
        ("rerank rerank-v3.5", "client", True),
        ("openai.chat", "client", True),
        ("ChatCompletion", "internal", True),
        ("Chat Completion with 'gpt-4o'", "internal", True),
        ("ai.generateText.doGenerate", "internal", True),
        ("litellm_request", "internal", True),
        ("raw_gen_ai_request", "internal", True),
        ("bedrock.converse", "client", True),
        ("Messages", "client", True),
        ("chat gpt-4o", "server", False),
        ("POST /v1/chat/completions", "client", False),
        ("POST", "client", False),
        ("SELECT shop.orders", "client", False),
        ("redis.get", "client", False),
        ("publish orders", "producer", False),
    ],
)
def test_names_of_model_calls(name: str, kind: str, expected: bool) -> None:
    """Conventions' names and those of other instrumentations are read; servers, queues, HTTP and databases are not."""
    assert may_be_call(name, kind) is expected


def test_a_refused_depth_is_made_smaller(jaeger: FakeJaeger) -> None:
    """A server whose maximum is below ours is asked for less until it answers: every call is read, nothing is said."""
    jaeger.calls, jaeger.max_depth = [call(i, i / 10) for i in range(1, 101)], 10
    found, status = read(jaeger.source)
    assert (len(found), status.complete, status.notes) == (100, True, [])


def test_a_burst_is_read_whole(jaeger: FakeJaeger) -> None:
    """Nine tenths of a day's calls in two minutes of it, at a hundredth of the usual depth: none is missing, in half as many searches."""
    burst = [call(i, 9.5 + i / 30 / 400) for i in range(1, 361)]
    jaeger.calls = burst + [call(400 + i, i / 2) for i in range(1, 41)]
    found, status = read(jaeger.source + "?depth=40")
    assert (len(found), status.complete) == (400, True)
    assert jaeger.searches < 400 / 2


def test_a_deep_search_takes_a_day(jaeger: FakeJaeger) -> None:
    """Where the server allows it, thousands of traces come in one search: a store in memory looks at all that it holds each time."""
    jaeger.calls, jaeger.max_depth = [call(i, i / 200) for i in range(1, 3001)], 100_000
    found, _ = read(jaeger.source)
    assert (len(found), jaeger.searches) == (3000, 1)


def test_a_busy_server_is_asked_again(jaeger: FakeJaeger, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 is no verdict: the same request is made again, three times in all."""
    monkeypatch.setattr("tracewrap.sources.jaeger_api.time.sleep", lambda _: None)
    jaeger.calls, jaeger.busy = [call(1)], 2
    assert len(read(jaeger.source)[0]) == 1
    jaeger.busy = 3
    with pytest.raises(SourceError, match="503"):
        read(jaeger.source)


def test_headers_come_from_the_environment_or_the_address(jaeger: FakeJaeger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token opens the door whichever way it is given; without it the error names the setting; it is never printed."""
    jaeger.calls, jaeger.token = [call(1)], "s3cret"
    with pytest.raises(SourceError, match=r"401 .*set TRACEWRAP_JAEGER_HEADERS"):
        read(jaeger.source)
    given = jaeger.source + "?header=Authorization:Bearer%20s3cret"
    found, status = read(given)
    assert (len(found), status.location) == (1, jaeger.source)
    monkeypatch.setenv("TRACEWRAP_JAEGER_HEADERS", "X-Scope-OrgID=team,Authorization=Bearer%20s3cret")
    assert len(read(jaeger.source)[0]) == 1
    monkeypatch.setenv("TRACEWRAP_JAEGER_HEADERS", "s3cret")
    with pytest.raises(SourceError, match="TRACEWRAP_JAEGER_HEADERS") as caught:
        read(jaeger.source)
    assert "s3cret" not in str(caught.value)


def test_an_unknown_service_is_an_error_with_near_names(jaeger: FakeJaeger) -> None:
    """A mistyped service is no empty day."""
    jaeger.calls = [call(1, service_name="checkout"), call(2, service_name="search")]
    with pytest.raises(SourceError, match="no service 'chekout' in this Jaeger; there is checkout"):
        read(jaeger.source + "?service=chekout")


def test_a_page_is_no_interface(jaeger: FakeJaeger) -> None:
    """A wrong base path answers with the UI's page: said so, not "cannot be reached"."""
    jaeger.page = b"<!doctype html><title>Jaeger UI</title>"
    with pytest.raises(SourceError, match=r"sent a web page, not Jaeger's interface; is the base path right"):
        read(jaeger.source)


def test_lists_may_come_as_text(jaeger: FakeJaeger) -> None:
    """Some storages give a list of strings back as JSON text: the same finish reasons."""
    jaeger.calls = [call(1, finish_reasons=("stop", "length"))]
    (plain,) = read(jaeger.source)[0]
    spans = [span(jaeger.calls[0])]
    for one in spans[0]["attributes"]:
        if "arrayValue" in one["value"]:
            one["value"] = {"stringValue": '["stop","length"]'}
    resource = {"attributes": attributes({"service.name": "app"})}
    scopes = [{"scope": {"name": "tracewrap"}, "spans": spans}]
    body = {"result": {"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}}
    jaeger.find = lambda query: (200, body)  # type: ignore[method-assign]
    (as_text,) = read(jaeger.source)[0]
    assert as_text == plain
    assert plain.finish_reasons == ("stop", "length")


def test_other_spellings_of_an_answer(jaeger: FakeJaeger) -> None:
    """An answer in several lines, with more beside its result, or without the envelope, is read too."""
    jaeger.calls = [call(1), call(2)]
    period = {"query.start_time_min": "2026-11-20T00:00:00Z", "query.start_time_max": "2026-11-21T00:00:00Z"}
    _, body = jaeger.find({"query.service_name": "app"} | period)
    for other in (json.dumps(body, indent=1), json.dumps(body | {"next": 1}), json.dumps(body["result"])):
        jaeger.answer = other.encode()
        assert len(read(jaeger.source)[0]) == 2


def test_the_page_links_to_the_jaeger_it_was_read_from(jaeger: FakeJaeger) -> None:
    """Trace links need no option."""
    jaeger.calls = [call(1)]
    built = report.build(jaeger.source, day="2026-11-20", catalog=Catalog())
    port = jaeger.server_address[1]
    assert f'href="http://127.0.0.1:{port}/trace/{1:032x}"' in html.render(built)


def test_a_trace_over_several_windows_is_counted_once(jaeger: FakeJaeger) -> None:
    """Spans of one trace hours apart come whole with every window; each call is there once."""
    jaeger.calls = [
        call(i, hour, trace_id="f" * 32, span_id=f"{i:016x}") for i, hour in ((1, 1.0), (2, 12.0), (3, 23.0))
    ]
    jaeger.calls += [call(10 + i, i / 10) for i in range(30)]
    found, status = read(jaeger.source + "?depth=4")
    assert len(found) == 33
    assert status.duplicates == 0


def test_a_full_millisecond_is_said_to_be_incomplete(jaeger: FakeJaeger) -> None:
    """More traces in one millisecond than a search returns: read what there is, and say so in the report."""
    jaeger.calls = [call(i, start_time_ns=DAY_NS + 5_000_000_000 + i) for i in range(1, 10)]
    found, status = read(jaeger.source + "?depth=5")
    assert len(found) >= 5
    assert not status.complete
    built = report.build(jaeger.source + "?depth=5", day="2026-11-20", catalog=Catalog())
    assert "incomplete" in "\n".join(built["notes"])
    assert built["sources"][0]["complete"] is False


def test_nothing_found_is_an_empty_day(jaeger: FakeJaeger) -> None:
    """404 means no traces: a report without calls, not an error."""
    jaeger.calls = [call(1, 30.0)]
    built = report.build(jaeger.source, day="2026-11-20", catalog=Catalog())
    assert built["totals"]["calls"] == 0
    assert "no calls" in built["notes"][0]


def test_errors_name_jaeger_and_the_next_step(jaeger: FakeJaeger) -> None:
    """A depth that is refused down to one, a missing period, an unreachable server, a malformed address: one line each."""
    jaeger.calls, jaeger.max_depth = [call(1)], 0
    with pytest.raises(SourceError, match=r"500 to /api/v3/traces .search depth must be greater than 0"):
        read(jaeger.source)
    with pytest.raises(SourceError, match="give a period"):
        list(read_calls(jaeger.source))
    with pytest.raises(SourceError, match="cannot be reached"):
        read("jaeger://127.0.0.1:9")
    with pytest.raises(SourceError, match="names no host"):
        read("jaeger://")
    with pytest.raises(SourceError, match="depth"):
        read("jaeger://127.0.0.1?depth=0")
    with pytest.raises(SourceError, match="an address has no option 'limit'; there is service, depth"):
        read("jaeger://127.0.0.1?limit=5")


@pytest.mark.parametrize(
    "address",
    [
        "jaeger://u:SECRET@127.0.0.1:9",
        "clickhouse://u:SEC@SECRET@127.0.0.1:9/d",
        "jaeger://u:SECRET@127.0.0.1:99999",
        "clickhouse://u:SECRET@127.0.0.1:abc/x",
        "jaeger://u:x/SECRET@127.0.0.1",
        "jaeger://u:1?SECRET@127.0.0.1",
        "clickhouse://u:SECRET@[::1/x",
        "other://u:SECRET@host",
        "jaeger://127.0.0.1:9?header=X-Key:SECRET",
    ],
)
def test_secrets_of_an_address_are_never_printed(address: str) -> None:
    """Whatever is wrong with an address: one line, no password, no header."""
    with pytest.raises(SourceError) as caught:
        read(address)
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_large_answer_is_cut_before_it_is_held(jaeger: FakeJaeger, monkeypatch: pytest.MonkeyPatch) -> None:
    """More bytes than a search may hold count as full: smaller windows are asked for, and every call is read."""
    monkeypatch.setattr("tracewrap.sources.jaeger_api.LARGEST_ANSWER", 20_000)
    jaeger.calls = [call(i, 24.0 * i / 201) for i in range(1, 201)]
    found, status = read(jaeger.source)
    assert (len(found), status.complete) == (200, True)
    assert jaeger.searches > 8


def test_progress_is_for_terminals(
    jaeger: FakeJaeger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal sees how much of the period was read, and no trace of it in the end; a pipe sees nothing."""
    jaeger.calls = [call(i, 24.0 * i / 101) for i in range(1, 101)]
    monkeypatch.setattr("tracewrap.sources.progress.QUIET_S", 0.0)
    read(jaeger.source + "?depth=10")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    read(jaeger.source + "?depth=10")
    shown = capsys.readouterr().err
    assert "% read, " in shown
    assert shown.endswith("\r")
    assert shown.rpartition("\r")[0].rpartition("\r")[2].isspace()
