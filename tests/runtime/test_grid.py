"""Emissions: joules by a stated or a sourced factor, and nothing without one."""

from __future__ import annotations

import pytest

from tracewrap.errors import ConfigurationError
from tracewrap.runtime.files import reference_folder
from tracewrap.runtime.grid import load_grid
from tracewrap.runtime.toml_files import read_toml


def test_a_kilowatt_hour_is_what_the_grid_says() -> None:
    """3.6 MJ at 400 g a kWh are 400 g, a joule a 3.6-millionth of that; unknown energy has unknown emissions."""
    grid = load_grid("400")
    assert (grid.grams(3.6e6), grid.grams(1.0), grid.grams(None)) == (400.0, pytest.approx(400 / 3.6e6), None)


def test_countries_by_letters_or_name_with_year_and_source() -> None:
    """The shipped figure, and who says so."""
    assert load_grid("deu") == load_grid("Germany")
    assert (load_grid("FRA").name, load_grid("FRA").g_per_kwh < load_grid("POL").g_per_kwh) == ("France", True)
    assert load_grid("DEU").source.startswith("2023, Our World in Data")


def test_every_shipped_grid_is_plausible() -> None:
    """From hydro alone to coal alone, of the last years, under three letters."""
    table = read_toml(reference_folder() / "grids.toml")
    assert table["source"]
    for key, row in table["grids"].items():
        assert (len(key), key) == (3, key.upper())
        assert 5 <= row["g_per_kwh"] <= 1100
        assert row["year"] >= 2022


@pytest.mark.parametrize(
    ("text", "word"),
    [("germny", "did you mean DEU"), ("xx", "there is ARE"), ("-1", "0 or more"), ("nan", "0 or more")],
)
def test_another_grid_is_one_line(text: str, word: str) -> None:
    """The text, what is near or known, what else may be written."""
    with pytest.raises(ConfigurationError, match=word) as caught:
        load_grid(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)
