"""Charts: well-formed SVG, and the same points in braille."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from tracewrap.formats.profile_drawing import Chart, Series, svg, text
from tracewrap.words import short

LINE = Series(points=[(0.0, 0.0), (10.0, 5.0)], name="a < b & c")


def test_svg_is_well_formed_and_escaped() -> None:
    """Names with markup in them do not break the document."""
    chart = Chart(series=[LINE], title='"quoted" <title>', x_label="x", y_label="y")
    root = ET.fromstring(svg(chart))
    texts = [e.text for e in root.iter() if e.tag.endswith("text")]
    assert "a < b & c" in texts
    assert '"quoted" <title>' in texts


def test_points_land_inside_the_frame() -> None:
    """Every drawn circle lies within the picture, on logarithmic axes too; what a log axis cannot show is left out."""
    points = [(10.0**k, 3.0**k) for k in range(-3, 4)] + [(0.0, 1.0), (1.0, -1.0), (math.nan, 1.0)]
    chart = Chart(series=[Series(points=points, kind="points")], log_x=True, log_y=True)
    circles = [e for e in ET.fromstring(svg(chart)).iter() if e.tag.endswith("circle")]
    assert len(circles) == 7
    assert all(0 < float(c.get("cx", "")) < chart.width and 0 < float(c.get("cy", "")) < chart.height for c in circles)


@pytest.mark.parametrize("plain", [True, False])
def test_text_draws_a_rising_line(plain: bool) -> None:
    """The first row holds the end of a rising line, the last row its start."""
    rows = text(Chart(series=[Series(points=[(0.0, 0.0), (1.0, 1.0)])]), columns=40, rows=10, plain=plain).split("\n")
    mark = "|" if plain else "│"
    columns = [[i for i, c in enumerate(row.split(mark)[1]) if c != " "] for row in rows if mark in row]
    drawn = [c for c in columns if c]
    assert max(drawn[0]) > 30
    assert min(drawn[-1]) < 5
    assert plain == (not any(ord(c) >= 0x2800 for row in rows for c in row))


@pytest.mark.parametrize("points", [[], [(1.0, 1.0)], [(1.0, 2.0), (1.0, 2.0)]])
def test_degenerate_data_is_drawn(points: list[tuple[float, float]]) -> None:
    """No point, one point and equal points give a chart, not an error."""
    chart = Chart(series=[Series(points=points)], log_x=True)
    ET.fromstring(svg(chart))
    assert text(chart)


def test_numbers_are_short() -> None:
    """Tick labels stay readable over twelve decades."""
    assert [short(v) for v in (0, 0.02, 1500, 1e-7, 2.5e9)] == ["0", "0.02", "1.5k", "1e-07", "2.5e+09"]
