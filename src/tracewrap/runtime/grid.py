"""The electricity behind a joule: grams of CO2 equivalent a kilowatt hour, of a country or as one states it.

``reference_profiles/grids.toml`` has yearly means of countries, with their source. There is no default: which grid a reference GPU would
hang on is for the reader to say.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from tracewrap.errors import ConfigurationError
from tracewrap.runtime.files import reference_folder
from tracewrap.runtime.toml_files import read_toml

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True)
class Grid:
    """``g_per_kwh``: grams of CO2 equivalent; ``source``: who says so, and of which year."""

    name: str
    g_per_kwh: float
    source: str

    def grams(self, joules: float | None) -> float | None:
        """Grams of CO2 equivalent of *joules*; None for None."""
        return None if joules is None else joules / JOULES_PER_KWH * self.g_per_kwh


def load_grid(text: str) -> Grid:
    """The grid that *text* names: a country's three letters, such as DEU, or grams a kilowatt hour, such as 381.

    Raises ConfigurationError, with near names, for another text.
    """
    try:
        stated = float(text)
    except ValueError:
        pass
    else:
        if not (math.isfinite(stated) and stated >= 0):
            raise ConfigurationError(f"grid {text!r}: grams of CO2e a kWh are 0 or more")
        return Grid("stated", stated, "as stated")
    table = read_toml(reference_folder() / "grids.toml")
    rows, wanted = table["grids"], text.strip().casefold()
    for key, row in rows.items():
        if wanted in (key.casefold(), row["name"].casefold()):
            return Grid(row["name"], float(row["g_per_kwh"]), f"{row['year']}, {table['source']}")
    names = {name.casefold(): key for key, row in rows.items() for name in (key, row["name"])}
    near = [names[one] for one in difflib.get_close_matches(wanted, names, n=3, cutoff=0.6)]
    known = f"did you mean {', '.join(dict.fromkeys(near))}?" if near else f"there is {', '.join(rows)}"
    raise ConfigurationError(f"grid {text!r} is not known; {known} Or state the grams of CO2e a kWh, such as 381")
