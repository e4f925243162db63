"""tracewrap doctor says what is recorded, twice or not at all, and exits by it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from fake_vendor import FakeVendor
from tracewrap.cli import doctor, doctor_checks, main
from tracewrap.sinks import SpanLog


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No pyproject.toml and no variable of the developer's decides."""
    monkeypatch.chdir(tmp_path)
    for name in ("OTEL_TRACES_EXPORTER", "TRACEWRAP_OTLP", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "TRACEWRAP_PROFILES"):
        monkeypatch.delenv(name, raising=False)


def _findings(capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, str]]]:
    code = main(["doctor", "--json", "--timeout", "1"])
    return code, json.loads(capsys.readouterr().out)


def test_healthy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: FakeVendor, capsys: pytest.CaptureFixture[str]
) -> None:
    """Installed SDKs with all their seams, a reachable exporter and a writable folder are no failure."""
    monkeypatch.setenv("TRACEWRAP_SPAN_LOG", str(tmp_path / "calls"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", vendor.url)
    monkeypatch.setattr(doctor.metadata, "entry_points", lambda group: [])
    code, findings = _findings(capsys)
    assert code == 0
    said = {finding["about"]: finding for finding in reversed(findings)}
    assert "recorded at 2 seams" in said["openai"]["text"]
    assert {said[name]["status"] for name in ("anthropic", "cohere", "span log", "exporter", "profiles")} == {"ok"}


def test_failures(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A disabled SDK, disabled instrumentations and a dead exporter are failures, each with what to do."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "tracewrap-openai")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    code, findings = _findings(capsys)
    assert code == 1
    failed = [finding["text"] for finding in findings if finding["status"] == "fail"]
    assert any("OTEL_SDK_DISABLED" in text for text in failed)
    assert any("tracewrap-openai" in text for text in failed)
    assert any("not reachable" in text for text in failed)


def test_a_second_instrumentor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Another instrumentor of the same SDK is named; one that would double every span is a failure unless disabled."""
    dist = SimpleNamespace(name="opentelemetry-instrumentation-anthropic")
    other = SimpleNamespace(name="anthropic", value="x:Y", dist=dist)
    monkeypatch.setattr(doctor.metadata, "entry_points", lambda group: [other])
    code, findings = _findings(capsys)
    assert code == 1
    assert any(finding["about"] == dist.name and "second span" in finding["text"] for finding in findings)
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "anthropic")
    assert _findings(capsys)[0] == 0


def test_missing_and_broken_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An SDK that is not there is a note; one whose seams are gone is a failure; an old one a warning."""
    real = doctor.version_of
    monkeypatch.setattr(doctor, "version_of", lambda name: None if name == "cohere" else real(name))
    monkeypatch.setattr(doctor, "_has", lambda target, method: not target.startswith("openai"))
    found = {finding.about: finding for finding in reversed(list(doctor._vendors()))}
    assert (found["cohere"].status, found["openai"].status) == ("note", "fail")
    monkeypatch.setattr(doctor, "_has", lambda target, method: True)
    monkeypatch.setattr(doctor, "version_of", lambda name: "0.9.1")
    old = {finding.about: finding.status for finding in doctor._vendors() if finding.text.startswith("0.9")}
    assert {old[name] for name in ("openai", "anthropic", "cohere", "google-genai", "botocore")} == {"warn"}


def test_settings_are_checked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong value is a failure in the words of configure(); a misspelt variable and one that OTLP cannot honour are named."""
    monkeypatch.setenv("TRACEWRAP_SPANLOG", "calls")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    _, findings = _findings(capsys)
    texts = [finding["text"] for finding in findings]
    assert any(text.startswith("TRACEWRAP_SPANLOG is no setting; TRACEWRAP_SPAN_LOG") for text in texts)
    assert any(text.startswith("OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json'") for text in texts)
    monkeypatch.setenv("TRACEWRAP_TERMINAL", "maybe")
    code, findings = _findings(capsys)
    assert code == 1
    assert {
        "about": "settings",
        "status": "fail",
        "text": "TRACEWRAP_TERMINAL is 'maybe'; set it to true or false",
    } in findings


def test_prices_and_grid_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A price file that is not there is that, and nothing else: not that programs cannot be traced in this Python."""
    monkeypatch.setenv("TRACEWRAP_PRICES", "nope.toml")
    code, findings = _findings(capsys)
    failed = [finding for finding in findings if finding["status"] == "fail"]
    assert (code, [one["about"] for one in failed]) == (1, ["settings"])
    assert "nope.toml: cannot be read" in failed[0]["text"]
    own = tmp_path / "prices.toml"
    own.write_text('[[prices]]\nmodel = "m-a"\ninput_usd_per_million = 10\noutput_usd_per_million = 30\n')
    monkeypatch.setenv("TRACEWRAP_PRICES", str(own))
    monkeypatch.setenv("TRACEWRAP_GRID", "DEU")
    said = {finding["about"]: finding["text"] for finding in _findings(capsys)[1]}
    assert said["prices"] == f"{own}: 1 price of yours"
    assert said["grid"].startswith("Germany: ")


def test_what_is_not_estimated_without_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside what would mend it."""
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert [finding.text for finding in doctor._extras()] == [
        "nothing is denoised: pip install 'tracewrap[fit]'",
        "nothing is priced, but by a file of yours: pip install 'tracewrap[report]'",
    ]


def test_losses_and_other_sdks_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the span log says was lost, summed over its files; a model SDK that is installed and not recorded."""
    for count in (3, 4):
        SpanLog(tmp_path).write_losses([("otlp", "http_503", count)], since_ns=1)
    monkeypatch.setenv("TRACEWRAP_SPAN_LOG", str(tmp_path))
    monkeypatch.setitem(doctor_checks.UNRECORDED, "pytest", "a stand-in")
    monkeypatch.setitem(doctor_checks.BY_HTTP, "hypothesis", "another")
    _, findings = _findings(capsys)
    said = [finding["text"] for finding in findings if finding["status"] == "warn"]
    assert "7 calls did not reach otlp (http_503), as its newest files say" in said
    assert any(text.startswith("pytest ") and "is not recorded" in text for text in said)
    good = [finding["text"] for finding in findings if finding["status"] == "ok"]
    assert any(text.startswith("hypothesis ") and "is recorded by HTTP" in text for text in good)
