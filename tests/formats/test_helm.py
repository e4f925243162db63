"""HELM's tables: its own formula, import, export, and how far the two formulas agree."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracewrap.errors import ConfigurationError, ProfileFormatError
from tracewrap.formats.helm import (
    HelmRuntime,
    agreement,
    helm_from_profile,
    helm_json,
    profile_from_helm,
    read_helm,
)
from tracewrap.runtime.profile import RuntimeProfile

ENTRY = HelmRuntime(0.02, ((1, 0.016), (256, 0.065), (512, 0.184)), overhead=0.2)
TILED = RuntimeProfile(
    id="t",
    model="m",
    prompt_knots=((64.0, 0.02), (600.0, 0.1), (2048.0, 0.5)),
    d0=0.01,
    d1=2e-8,
    tile=128,
    tile_fraction=0.5,
    max_output_tokens=64,
)


def test_formula_is_helms() -> None:
    """The next larger key is scaled by p/key, beyond the last key that one is, and the prompt pass yields a token."""
    assert ENTRY.runtime(1, 1) == pytest.approx(0.2 + 0.016)
    assert ENTRY.runtime(2, 1) == pytest.approx(0.2 + 0.065 * 2 / 256)
    assert ENTRY.runtime(257, 3) == pytest.approx(0.2 + 0.184 * 257 / 512 + 2 * 0.02)
    assert ENTRY.runtime(1024, 0) == pytest.approx(0.2 + 0.184 * 2)


def test_import_agrees_at_every_key() -> None:
    """An imported profile gives HELM's own runtime at every key and output length."""
    profile = profile_from_helm("m", ENTRY)
    worst, where = agreement(profile, ENTRY, ((p, o) for p, _ in ENTRY.runtime_for_prompt_tokens for o in range(65)))
    assert worst < 1e-12, where


def test_import_is_continuous_where_helm_jumps() -> None:
    """Between keys HELM's rule drops to near nothing; the imported profile stays between its keys."""
    profile = profile_from_helm("m", ENTRY)
    assert ENTRY.runtime(2, 1) < ENTRY.runtime(1, 1)
    assert ENTRY.runtime(1, 1) <= profile.runtime(2, 1) <= ENTRY.runtime(256, 1)


def test_falling_keys_are_pooled_and_counted() -> None:
    """A prompt time that falls with length is replaced by the nearest that does not, and the profile says so."""
    entry = HelmRuntime(0.03, ((1, 0.03), (256, 0.06), (512, 0.04), (1024, 0.09)))
    profile = profile_from_helm("m", entry)
    assert [y for _, y in profile.prompt_knots] == pytest.approx([0.03, 0.05, 0.05, 0.09])
    assert profile.fit["keys_made_monotone"] == 2
    assert profile.fit["largest_change"] == pytest.approx(0.25)


@pytest.mark.parametrize("file", ["helm_inference_idealized_runtimes.json", "helm_inference_denoised_runtimes.json"])
def test_published_tables_round_trip(shared_data: Path, file: str) -> None:
    """Every published model comes back from import and export as it was, but for keys that fell."""
    path = shared_data / "helm-efficiency" / file
    table, kept = read_helm(path), 0
    for model, entry in table.items():
        profile = profile_from_helm(model, entry)
        back = helm_from_profile(profile)
        if profile.fit["keys_made_monotone"] == 0:
            assert back == entry
            kept += 1
        keys = [p for p, _ in back.runtime_for_prompt_tokens]
        assert agreement(profile, back, ((p, o) for p in keys for o in (0, 1, 7, 300)))[0] < 1e-12
    assert kept >= 7
    assert set(helm_json(table)) == set(json.loads(path.read_text(encoding="utf-8")))


def test_imported_intervals_hold_what_was_measured(shared_data: Path) -> None:
    """The table of davinci, imported, covers at least 85% of the 270 measurements it was made from."""
    table = read_helm(shared_data / "helm-efficiency" / "helm_inference_idealized_runtimes.json")
    profile = profile_from_helm("openai/davinci", table["openai/davinci"])
    with (shared_data / "helm-efficiency" / "megatron_a100.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "openai_davinci"]
    inside = 0
    for row in rows:
        estimate = profile.estimate(int(row["input_tokens"]), int(row["output_tokens"]))
        inside += estimate.low <= float(row["runtime_s"]) <= estimate.high
    assert len(rows) == 270
    assert inside / len(rows) > 0.85


def test_export_with_step_1_agrees_everywhere() -> None:
    """A key at every prompt size leaves HELM's formula nothing to scale: equal to tracewrap's but for the d1 term."""
    flat = RuntimeProfile.from_dict({**TILED.to_dict(), "d1": 0.0})
    entry = helm_from_profile(flat, step=1)
    assert agreement(flat, entry, ((p, o) for p in range(1, 2049, 7) for o in (0, 1, 64)))[0] < 1e-12


def test_export_of_context_term_is_right_where_said() -> None:
    """With d1 the exported slope is exact at the stated point and off by d1 times the difference elsewhere."""
    entry = helm_from_profile(TILED, step=1, at=(512, 64))
    assert entry.runtime(512, 64) == pytest.approx(TILED.runtime(512, 64), rel=1e-12)
    assert entry.runtime(1024, 64) - TILED.runtime(1024, 64) == pytest.approx(-2e-8 * 63 * 512)


@given(p=st.integers(1, 4096), o=st.integers(0, 256))
def test_import_of_export_is_the_exported_table(p: int, o: int) -> None:
    """tracewrap's formula on the re-imported table equals HELM's on it at keys and never leaves the keys' range."""
    entry = helm_from_profile(TILED)
    again = profile_from_helm("m", entry)
    keys = [k for k, _ in entry.runtime_for_prompt_tokens]
    if p in keys:
        assert again.runtime(p, o) == pytest.approx(entry.runtime(p, o), rel=1e-12)
    assert again.prompt_time(p) <= again.prompt_time(p + 1)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"m": 3}', "an object with runtime_for_prompt_tokens"),
        ('{"m": {"runtime_for_prompt_tokens": {}}}', "must map"),
        ('{"m": {"runtime_for_prompt_tokens": {"1": 0.1}}}', "'runtime_per_output_token' is missing"),
        ('{"m": {"runtime_per_output_token": -1, "runtime_for_prompt_tokens": {"1": 0.1}}}', "not a number of seconds"),
        ('{"m": {"runtime_per_output_token": 1, "runtime_for_prompt_tokens": {"x": 0.1}}}', "whole number above 0"),
        ("{}", "holds no model"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, text: str, part: str) -> None:
    """A table that breaks HELM's form gives one line with file and reason."""
    path = tmp_path / "t.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ProfileFormatError, match=r"t\.json") as caught:
        read_helm(path)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_step_is_refused() -> None:
    """A step of 0 tokens is a configuration error."""
    with pytest.raises(ConfigurationError, match="step is 0"):
        helm_from_profile(TILED, step=0)
