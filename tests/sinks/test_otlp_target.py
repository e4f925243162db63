"""OpenTelemetry's variables for OTLP: each is honoured, or named in one line with what to do instead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tracewrap.background.program import same_place
from tracewrap.sinks.otlp_target import GRPC_PACKAGE, target, wanted

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the test's own variables."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def _set(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)


@pytest.mark.parametrize(
    ("setting", "variables", "url"),
    [
        (None, {"ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        (None, {"ENDPOINT": "http://c:4318/base/"}, "http://c:4318/base/v1/traces"),
        (None, {"ENDPOINT": "http://c", "TRACES_ENDPOINT": "http://t:9/exactly"}, "http://t:9/exactly"),
        ("", {}, "http://localhost:4318/v1/traces"),
        ("http://mine:1", {"ENDPOINT": "http://c"}, "http://mine:1/v1/traces"),
        ("https://mine/v1/traces", {}, "https://mine/v1/traces"),
    ],
)
def test_where_to(monkeypatch: pytest.MonkeyPatch, setting: str | None, variables: dict[str, str], url: str) -> None:
    """The general endpoint gets the path of the signal, the one for traces is used as it is; the setting wins."""
    _set(monkeypatch, **variables)
    found = target(setting)
    assert found is not None
    assert (found.url, found.notes) == (url, ())


@pytest.mark.parametrize(
    ("exporters", "sent"),
    [("", True), ("none", False), ("console", False), ("otlp", True), ("console,otlp", True), ("tracewrap_otlp", True)],
)
def test_traces_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, exporters: str, sent: bool) -> None:
    """OTEL_TRACES_EXPORTER decides where only the environment names an endpoint; the setting is asked for by name."""
    _set(monkeypatch, ENDPOINT="http://c:4318")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", exporters)
    assert wanted(None) is sent
    assert wanted("http://mine") is True


def test_the_rest_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Headers (percent-decoded), compression, timeout and certificates; those for traces win over the general ones."""
    pem = tmp_path / "ca.pem"
    pem.write_text("")
    _set(
        monkeypatch,
        ENDPOINT="https://c",
        HEADERS="general=1",
        TRACES_HEADERS="api-key=a%20b, x=y=z",
        COMPRESSION="gzip",
        TIMEOUT="2.5",
        CERTIFICATE=str(pem),
        TRACES_CLIENT_KEY=str(pem),
    )
    found = target(None)
    assert found is not None
    assert (found.headers, found.compression, found.timeout_s) == ({"api-key": "a b", "x": "y=z"}, "gzip", 2.5)
    assert (found.files, found.notes) == ({"CERTIFICATE": str(pem), "CLIENT_KEY": str(pem)}, ())


@pytest.mark.parametrize(
    ("variables", "sent", "said"),
    [
        ({"PROTOCOL": "grpc"}, False, f"OTEL_EXPORTER_OTLP_PROTOCOL=grpc needs: pip install {GRPC_PACKAGE}"),
        ({"TRACES_PROTOCOL": "http/json"}, False, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is 'http/json'"),
        ({"ENDPOINT": "c:4318"}, False, "OTEL_EXPORTER_OTLP_ENDPOINT is no http:// or https:// URL"),
        ({"ENDPOINT": "http://c:port"}, False, "OTEL_EXPORTER_OTLP_ENDPOINT is no http:// or https:// URL"),
        ({"CERTIFICATE": "/no/such.pem"}, False, "OTEL_EXPORTER_OTLP_CERTIFICATE: /no/such.pem cannot be read"),
        ({"COMPRESSION": "zstd"}, True, "OTEL_EXPORTER_OTLP_COMPRESSION is 'zstd': sent uncompressed"),
        ({"TIMEOUT": "soon"}, True, "OTEL_EXPORTER_OTLP_TIMEOUT is 'soon': 10 s are used"),
        ({"TRACES_HEADERS": "key: secret"}, True, "OTEL_EXPORTER_OTLP_TRACES_HEADERS: a header is left out"),
    ],
)
def test_what_cannot_be_honoured_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sent: bool, said: str
) -> None:
    """One line: the variable, what happens, what to do; a header's value, which may be a key, is never in it."""
    _set(monkeypatch, **{"ENDPOINT": "http://c:4318"} | variables)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = target(None)
    assert found is not None
    (note,) = found.notes
    assert note.startswith(said)
    assert (found.url is not None) is sent
    assert "secret" not in note
    assert "\n" not in note


def test_grpc_where_its_exporter_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint is as it is written, scheme or none."""
    installed: Any = object()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: installed)
    _set(monkeypatch, ENDPOINT="collector:4317", PROTOCOL="grpc")
    found = target(None)
    assert found is not None
    assert (found.protocol, found.url, found.notes) == ("grpc", "http://collector:4317", ())


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("http://c:4318/v1/traces", "http://c:4318", True),
        ("http://c:4318", "c:4317", True),
        ("http://localhost:4318", "http://127.0.0.1:4318/v1/traces", True),
        ("http://c:4318", "http://d:4318", False),
        ("http://c:9000", "http://c:4317", False),
    ],
)
def test_one_receiver_has_several_addresses(a: str, b: str, same: bool) -> None:
    """By HTTP and by gRPC it is the same back end, which must not get each span twice."""
    assert same_place(a, b) is same
