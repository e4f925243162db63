"""``tracewrap profile probe`` against a vendor on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import fake_vendor
from tracewrap.cli import main
from tracewrap.profiler.probe.probe import Prober
from tracewrap.runtime.files import load_profile

TRUTH = fake_vendor.Timing(overhead_s=0.02, prompt_s_per_token=5e-5, seconds_per_output_token=0.002)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key as the SDK wants it."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")


def probe(url: str, out: Path, *more: str) -> int:
    small = ("--n", "8", "--repeats", "3", "--max-input-tokens", "1500")
    return main(["profile", "probe", "--model", "m", "--base-url", url, "-o", str(out), *small, *more])


@pytest.mark.parametrize("mode", [(), ("--stream",)])
def test_probe_recovers_the_vendors_times(
    tmp_path: Path, mode: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The profile is no more than 8 ms and 25% off the vendor's true times, and never clearly below them."""
    with fake_vendor.FakeVendor(TRUTH) as vendor:
        assert probe(vendor.openai_url, tmp_path / "p.json", "--yes", "--json", *mode) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["count"] == 24
    profile = load_profile(tmp_path / "p.json")
    for p, o in ((200, 1), (1000, 20), (100, 50)):
        assert TRUTH.seconds(p, o) * 0.9 < profile.runtime(p, o) < TRUTH.seconds(p, o) * 1.25 + 0.008
    assert profile.id.startswith("openai|127.0.0.1:")
    assert profile.id.endswith("|stream" if mode else "|plain")


def test_the_price_is_shown_before_anything_is_called(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown price needs --yes, a known one a yes: until then the vendor receives nothing."""
    with fake_vendor.FakeVendor(TRUTH) as vendor:
        assert probe(vendor.openai_url, tmp_path / "p.json") == 2
        assert "price unknown" in capsys.readouterr().err
        assert probe(vendor.openai_url, tmp_path / "p.json", "--usd-per-mtok-in", "1", "--usd-per-mtok-out", "2") == 2
        error = capsys.readouterr().err
        assert "dollars (given)" in error
        assert "give --yes" in error
        assert len(vendor.requests) == 0


def test_a_budget_stops_and_the_next_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run stopped by its token budget keeps its samples; runs after it make the rest and no more."""
    out = tmp_path / "p.json"
    with fake_vendor.FakeVendor() as vendor:
        assert probe(vendor.openai_url, out, "--yes", "--budget-tokens", "2500") == 2  # too few for a profile yet
        assert "run the probe again" in capsys.readouterr().err
        samples = (tmp_path / "p.samples.csv").read_text()
        assert not out.exists()
        assert probe(vendor.openai_url, out, "--yes", "--json") == 0
        assert (tmp_path / "p.samples.csv").read_text().startswith(samples)
        assert json.loads(capsys.readouterr().out)["count"] == 24
        seen = len(vendor.requests)
        assert probe(vendor.openai_url, out, "--json") == 0
        assert len(vendor.requests) == seen


def test_an_interrupt_says_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C exits with 130 and names the file with the samples."""

    def interrupted(self: Prober) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Prober, "run", interrupted)
    with fake_vendor.FakeVendor() as vendor:
        assert probe(vendor.openai_url, tmp_path / "p.json", "--yes") == 130
    assert "0 samples are kept in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--usd-per-mtok-in", "1"), "must be given together"),
        (("--repeats", "0"), "--repeats is 0"),
        (("--yes", "--budget-usd", "1"), "needs a price"),
        (("--budget-tokens", "-5"), "tokens is -5"),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Impossible options are named; nothing is called."""
    with fake_vendor.FakeVendor() as vendor:
        assert probe(vendor.openai_url, tmp_path / "p.json", *arguments) == 2
        assert len(vendor.requests) == 0
    assert message in capsys.readouterr().err


def test_a_missing_key_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a key the SDK's own complaint is handed on, with exit code 2."""
    monkeypatch.delenv("OPENAI_API_KEY")
    assert probe("http://127.0.0.1:9/v1", tmp_path / "p.json", "--yes") == 2
    assert "openai client cannot be made" in capsys.readouterr().err
