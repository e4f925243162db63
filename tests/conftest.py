"""What all tests share: shared data, recorded calls, and a guard that keeps every socket on this machine."""

from __future__ import annotations

import gc
import signal
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_vendor import SLOW_ANSWER_S, FakeVendor, Timing
from tracewrap import testing
from tracewrap.capture import stream_usage
from tracewrap.capture.state import state
from tracewrap.capture.wrap import uninstrument

ROOT = Path(__file__).resolve().parents[1]
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A suite started in the background ignores Ctrl-C, and so would every program that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
_LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Measured data beside the project; tests that need it are skipped where it is not."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("measured data (../shared/data) is not here")
    return folder


@pytest.fixture
def recorded() -> Iterator[testing.Recording]:
    """Calls of wrapped clients, in memory, with counting ids."""
    with testing.recording() as recording:
        yield recording


@pytest.fixture
def vendor() -> Iterator[FakeVendor]:
    """A vendor on loopback that speaks all three wire formats and answers at once."""
    with FakeVendor() as server:
        yield server


@pytest.fixture
def slow() -> Iterator[FakeVendor]:
    """A vendor on loopback that takes SLOW_ANSWER_S."""
    with FakeVendor(Timing(overhead_s=SLOW_ANSWER_S)) as server:
        yield server


@pytest.fixture(scope="module")
def leaves_clients_open() -> Iterator[None]:
    """For modules whose clients are left to the collector, as programs leave them: collect them before others are watched."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture(autouse=True)
def _clean_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No environment of the developer's leaks into a test, and no test leaves an SDK instrumented."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED", "TRACEWRAP_SPAN_LOG", "TRACEWRAP_DENOISE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    # Servers of tests live for one test: what streams of unknown servers report is not learned first but asked for.
    monkeypatch.setattr(state, "stream_usage", "always")
    monkeypatch.setattr(stream_usage, "_manners", {})
    yield
    uninstrument()


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that would leave this machine fails the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> object:
        if isinstance(address, tuple) and not str(address[0]).startswith(_LOOPBACK):
            pytest.fail(f"a test tried to reach {address}")
        return connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)
