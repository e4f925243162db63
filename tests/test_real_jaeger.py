"""A real Jaeger: what it answers is what the fake one of ``tests/sources`` is built from, and a day in it reads as the span log does."""

from __future__ import annotations

import datetime as dt
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tracewrap
from fake_vendor import FakeVendor, Fault
from made_days import DAY_NS, attributes, call, line, span, write_log
from real_servers import RealJaeger, needed
from test_nightly_recipes import CALLS_A_DAY, YESTERDAY, contended_days, environment, nightly
from tracewrap import report
from tracewrap.errors import SourceError
from tracewrap.estimate.catalog import Catalog
from tracewrap.pipeline import shutdown
from tracewrap.records import Call, TokenUsage
from tracewrap.sources import ReadStatus, read_calls

pytestmark = pytest.mark.real
DAY_END_NS = DAY_NS + 86_400 * 10**9


def made_day(count: int = 2500) -> list[Call]:
    """Calls of two services and models, some failed, streamed, cached, retried; three traces of several calls."""
    draw = random.Random(4)
    made = []
    for i in range(1, count + 1):
        usage = TokenUsage(
            draw.randrange(20, 4000), draw.randrange(1, 600), cached_input_tokens=draw.choice((None, 0, 10))
        )
        failed = draw.random() < 0.02
        made.append(
            call(
                i,
                23.9 * i / count,
                trace_id=f"{i if i > 30 else i % 3 + 1:032x}",
                service_name=draw.choice(("shop", "search")),
                request_model=(model := draw.choice(("gpt-4o", "gpt-4o-mini"))),
                response_model=model,
                usage=None if failed else usage,
                stream=draw.random() < 0.5,
                raw_runtime_s=round(draw.lognormvariate(0.0, 0.6), 9),
                attempts=(attempts := draw.choice((1, 1, 2))),
                retry_s=0.1 * (attempts - 1),
                outcome="error" if failed else "complete",
                error_type="RateLimitError" if failed else None,
                finish_reasons=() if failed else ("stop",),
                tags={"route": draw.choice(("/a", "/b"))},
            )
        )
    return made


def web_spans(count: int) -> list[dict[str, Any]]:
    """Spans that are no model calls."""
    return [
        {
            "traceId": f"{10**6 + i:032x}",
            "spanId": f"{10**6 + i:016x}",
            "name": "GET /orders",
            "kind": 2,
            "startTimeUnixNano": str(DAY_NS + i * 10**9),
            "endTimeUnixNano": str(DAY_NS + i * 10**9 + 10**6),
            "attributes": attributes({"url.path": "/orders"}),
        }
        for i in range(count)
    ]


def fill(server: RealJaeger, calls: list[Call]) -> None:
    """Send *calls* and some web traffic, a few hundred spans a request."""
    for service in ("shop", "search"):
        mine = [one for one in calls if one.service_name == service]
        for first in range(0, len(mine), 400):
            server.send(line(map(span, mine[first : first + 400]), service=service))
    server.send(line(web_spans(300), service="shop", scope="web"))
    server.wait_for_services("shop", "search")


@pytest.fixture(scope="module", params=["memory", "badger"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealJaeger]:
    """A Jaeger that holds the day; on disk it has a base path too."""
    needed("jaeger")
    on_disk = request.param == "badger"
    folder = tmp_path_factory.mktemp(request.param)
    with RealJaeger(folder, badger=on_disk, base_path="/trace" if on_disk else "") as server:
        fill(server, made_day())
        yield server


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two reports differ by more than 1e-9 of a figure."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = one.keys() | other.keys()
        return [text for key in sorted(keys) for text in differences(one.get(key), other.get(key), f"{path}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [text for i, (a, b) in pairs for text in differences(a, b, f"{path}[{i}]")]
    if isinstance(one, float) and isinstance(other, float):
        return [] if one == pytest.approx(other, rel=1e-9, abs=1e-12) else [f"{path}: {one} {other}"]
    return [] if one == other else [f"{path}: {one} {other}"]


def test_a_report_is_the_span_logs(filled: RealJaeger, tmp_path: Path) -> None:
    """Every figure of the day, from Jaeger and from the span log, equal to 1e-9; also through many small windows."""
    write_log(tmp_path / "log" / "a.jsonl", made_day())
    options: dict[str, Any] = {"day": "2026-11-20", "group_by": ("model", "service", "route"), "now_ns": DAY_END_NS}
    expected = report.build(str(tmp_path / "log"), **options)
    assert expected["totals"]["calls"] == 2500
    for more in ("", "?depth=150"):
        found = report.build(filled.source + more, **options)
        left_out = ("sources", "notes", "generated_at")
        assert differences(
            {key: value for key, value in found.items() if key not in left_out},
            {key: value for key, value in expected.items() if key not in left_out},
        ) == []  # fmt: skip


def test_an_export_is_the_span_log(tmp_path: Path) -> None:
    """A span log sent to an empty Jaeger by ``tracewrap export``: every figure of a report is the span log's, to 1e-9."""
    needed("jaeger")
    write_log(tmp_path / "log" / "a.jsonl", made_day())
    options: dict[str, Any] = {"day": "2026-11-20", "group_by": ("model", "service"), "now_ns": DAY_END_NS}
    expected = report.build(str(tmp_path / "log"), **options)
    (tmp_path / "jaeger").mkdir()
    with RealJaeger(tmp_path / "jaeger") as server:
        command = [sys.executable, "-m", "tracewrap", "export", str(tmp_path / "log"), "--otlp", server.otlp]
        sent = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert sent.returncode == 0, sent.stderr
        server.wait_for_services("shop", "search")
        found = report.build(server.source, **options)
    left_out = ("sources", "notes", "generated_at")
    assert differences(
        {key: value for key, value in found.items() if key not in left_out},
        {key: value for key, value in expected.items() if key not in left_out},
    ) == []  # fmt: skip


def test_calls_are_the_span_logs(filled: RealJaeger, tmp_path: Path) -> None:
    """Every field of every call."""
    write_log(tmp_path / "log" / "a.jsonl", made_day())
    period = {"since_ns": DAY_NS, "until_ns": DAY_END_NS}
    statuses: list[ReadStatus] = []
    found = list(read_calls(filled.source, statuses=statuses, **period))
    assert found == list(read_calls(str(tmp_path / "log"), **period))
    assert statuses[0].complete


def test_web_traffic_is_not_fetched(filled: RealJaeger) -> None:
    """What Jaeger's operations say cannot be calls stays where it is."""
    statuses: list[ReadStatus] = []
    list(read_calls(filled.source, since_ns=DAY_NS, until_ns=DAY_END_NS, statuses=statuses))
    assert statuses[0].foreign_spans == 0
    assert "read 4 of 5 span names" in statuses[0].notes[0]


def test_an_unknown_service(filled: RealJaeger) -> None:
    """A real server's empty answer for it is no empty day."""
    with pytest.raises(SourceError, match="no service 'shpo' in this Jaeger; there is shop"):
        list(read_calls(filled.source + "?service=shpo", since_ns=DAY_NS, until_ns=DAY_END_NS))


def test_a_wrong_base_path(filled: RealJaeger) -> None:
    """Where the real server answers with its page or with 404, the message speaks of the base path."""
    with pytest.raises(SourceError, match="is the base path right"):
        list(read_calls(filled.source + "/elsewhere", since_ns=DAY_NS, until_ns=DAY_END_NS))


def test_a_depth_that_the_server_refuses(tmp_path: Path) -> None:
    """A memory store of 600 traces refuses a depth of 1,000; what it holds is read all the same."""
    needed("jaeger")
    with RealJaeger(tmp_path, max_traces=600) as server:
        server.send(line([span(call(i, i / 30)) for i in range(1, 501)]))
        server.wait_for_services()
        assert len(list(read_calls(server.source, since_ns=DAY_NS, until_ns=DAY_END_NS))) == 500


def test_three_nights(tmp_path: Path) -> None:
    """Calls of three days in a Jaeger and nowhere else: nightly.sh fills its lake from there and shows denoised runtimes."""
    needed("jaeger")
    with RealJaeger(tmp_path) as server:
        calls = contended_days(3)
        for first in range(0, len(calls), 400):
            server.send(line(map(span, calls[first : first + 400])))
        server.wait_for_services()
        days = [(YESTERDAY - dt.timedelta(days=back)).isoformat() for back in (2, 1, 0)]
        for day in days:
            done = nightly(environment(tmp_path, TRACEWRAP_SOURCE=server.source), day)
            assert done.returncode in (0, 1), done.stderr
    built = json.loads((tmp_path / "reports" / f"{days[-1]}.json").read_text())
    assert built["totals"]["denoised"]["n"] == built["totals"]["calls"] == CALLS_A_DAY
    assert f"{CALLS_A_DAY} calls" in (tmp_path / "reports" / f"{days[-1]}.md").read_text()


def test_what_a_program_exports_reads_as_its_span_log(tmp_path: Path, vendor: FakeVendor) -> None:
    """Calls of a wrapped client, plain, streamed and failed, through OTLP into a Jaeger: its report is the span log's to 1e-9."""
    needed("jaeger")
    openai = pytest.importorskip("openai")
    with RealJaeger(tmp_path) as server:
        tracewrap.configure(span_log=str(tmp_path / "log"), otlp=server.otlp)
        try:
            with openai.OpenAI(base_url=vendor.openai_url, api_key="k", max_retries=0) as plain:
                client = tracewrap.wrap(plain)
                question: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
                for _ in range(10):
                    client.chat.completions.create(**question)
                    list(client.chat.completions.create(stream=True, **question))
                vendor.fail_next(Fault(status=429))
                with pytest.raises(openai.RateLimitError):
                    client.chat.completions.create(**question)
        finally:
            shutdown()
        server.wait_for_services()
        options: dict[str, Any] = {"since": "2020-01-01", "now_ns": time.time_ns() + 10**9, "catalog": Catalog()}
        found, expected = report.build(server.source, **options), report.build(str(tmp_path / "log"), **options)
        assert found["totals"]["calls"] == 21
        left_out = ("sources", "notes", "generated_at", "period", "hours")
        assert differences(
            {key: value for key, value in found.items() if key not in left_out},
            {key: value for key, value in expected.items() if key not in left_out},
        ) == []  # fmt: skip
        (failed,) = [
            one for one in read_calls(server.source, since_ns=0, until_ns=time.time_ns()) if one.outcome == "error"
        ]
        assert failed.tags["http.response.status_code"] == "429"
