"""Accelerators: the shipped table and a user's overrides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tracewrap.errors import ProfileFormatError, ProfileNotFoundError
from tracewrap.runtime.roofline.gpus import get_gpu, load_gpus

TDP = {"v100-sxm-32gb": 300, "a100-sxm-80gb": 400, "a100-pcie-80gb": 300, "h100-sxm": 700, "h100-pcie": 350}
TDP |= {"h200-sxm": 700, "h20": 400, "b200": 1000, "l4": 72, "l40s": 350, "mi300x": 750, "t4": 70, "rtx-4090": 450}


def test_the_shipped_gpus_have_what_the_formulas_need() -> None:
    """Every GPU has positive rates, a source, and a 16-bit peak."""
    for key, gpu in load_gpus().items():
        assert gpu.source, key
        assert gpu.peak_flops("bf16") > 1e12
        assert 0 < gpu.batch_1_watts <= gpu.tdp_w
        assert 1e11 < gpu.bandwidth_bytes_s < 1e13


@pytest.mark.parametrize(("key", "watts"), TDP.items())
def test_power_limits_are_the_makers(key: str, watts: float) -> None:
    """Thermal design power as on the data sheets."""
    assert load_gpus()[key].tdp_w == watts


def test_every_price_has_source_and_date() -> None:
    """A price without where and when it was seen is not a price."""
    prices = [price for gpu in load_gpus().values() for price in gpu.prices]
    assert len(prices) >= 15
    for price in prices:
        assert price.source
        assert re.fullmatch(r"20\d\d-\d\d", price.date)


def test_names_are_found_in_any_case() -> None:
    """Aliases and case do not matter; an unknown name lists the known ones."""
    assert get_gpu("H100").id == "h100-sxm"
    assert get_gpu("A100_80GB").id == "a100-sxm-80gb"
    with pytest.raises(ProfileNotFoundError, match=r"no GPU 'h99'; known: .*h100-sxm"):
        get_gpu("h99")


def test_a_user_file_overrides_one_field_and_adds_a_gpu(tmp_path: Path) -> None:
    """A negotiated price changes the price alone; a new GPU stands beside the shipped ones."""
    file = tmp_path / "gpus.toml"
    file.write_text(
        '[h100-sxm]\nprices = [{ usd_per_gpu_hour = 2.0, source = "contract", date = "2026-11" }]\n'
        '[mine]\nname = "Mine"\nvendor = "me"\ntflops = { bf16 = 100 }\nbandwidth_gb_s = 1000\nmemory_gb = 48\n'
        'sm_count = 50\nclock_ghz = 1.5\ntdp_w = 250\nlink = "pcie"\nlink_gb_s = 32\n',
        encoding="utf-8",
    )
    gpus = load_gpus(file)
    assert gpus["h100-sxm"].price is not None
    assert gpus["h100-sxm"].price.usd_per_gpu_hour == 2.0
    assert gpus["h100-sxm"].bandwidth_bytes_s == load_gpus()["h100-sxm"].bandwidth_bytes_s
    assert gpus["mine"].price is None
    assert len(gpus) == len(load_gpus()) + 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[h100-sxm]\nbandwidth_gb_s = 0\n", "bandwidth_gb_s is 0"),
        ("[h100-sxm]\nmemory_gb = -80\n", "memory_gb is -80"),
        ("[h100-sxm]\npower_fraction = 1.5\n", "power_fraction is 1.5"),
        ("[h100-sxm]\nsm_count = 'many'\n", "many"),
        ("[h100-sxm]\ntdp_w = nan\n", "tdp_w is nan"),
        ("[new]\nname = 'x'\n", "'vendor' is missing"),
        ("h100-sxm = 3\n", "must be a table"),
        ("[h100-sxm\n", "not valid TOML"),
    ],
)
def test_an_impossible_value_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    """Errors name the file and the field."""
    file = tmp_path / "gpus.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ProfileFormatError, match=rf"gpus\.toml.*{message}"):
        load_gpus(file)
