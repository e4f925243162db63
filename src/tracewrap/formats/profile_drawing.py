"""Charts without a plotting library: inline SVG for pages, braille dots for terminals.

A chart is a list of ``Series`` in data units; axes may be logarithmic. ``svg`` and ``text`` draw the same chart.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from tracewrap.words import short

Point = tuple[float, float]

COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#65a30d", "#475569", "#92400e")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one kind. ``kind``: line, points, or step (a line with right angles). ``labels``: one a point."""

    points: Sequence[Point]
    name: str = ""
    kind: str = "line"
    colour: str | None = None
    dashed: bool = False
    labels: Sequence[str] = ()
    radius: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What to draw. ``zero``: the y axis starts at 0 (linear axes only)."""

    series: Sequence[Series]
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    log_x: bool = False
    log_y: bool = False
    zero: bool = False
    width: int = 520
    height: int = 320


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    log: bool

    def share(self, value: float) -> float:
        """Where *value* lies: 0 at the low end, 1 at the high end."""
        low, high, v = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return (v - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round values within the axis, about five."""
        return _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high)


def _axis(values: Sequence[float], log: bool, zero: bool) -> _Axis:
    usable = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    low, high = (min(usable), max(usable)) if usable else (0.1, 1.0)
    if log:
        low, high = low / 1.12, high * 1.12
        return _Axis(low, high if high > low else low * 2, True)
    low = min(low, 0.0) if zero else low
    span = (high - low) or abs(high) or 1.0
    return _Axis(low if zero and low == 0 else low - 0.04 * span, high + 0.06 * span, False)


def _linear_ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = math.log10(high / low)
    steps = (1, 2, 5) if decades < 2.5 else (1,)
    if decades < 0.7:
        steps = (1, 1.5, 2, 3, 4, 5, 6, 8)  # type: ignore[assignment]  # a denser choice of the same kind
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [m * 10.0**k for k in powers for m in steps if low <= m * 10.0**k <= high]


def _axes(chart: Chart) -> tuple[_Axis, _Axis]:
    points = [p for s in chart.series for p in s.points]
    x = _axis([p[0] for p in points], chart.log_x, False)
    return x, _axis([p[1] for p in points], chart.log_y, chart.zero)


def svg(chart: Chart) -> str:
    """The chart as one ``<svg>`` element, no script, fonts and colours of its own; scales with its container."""
    x, y = _axes(chart)
    names = [s.name for s in chart.series if s.name]
    left, top, bottom = 58.0, 34.0 if chart.title else 12.0, 44.0
    right = 16.0 + (min(190.0, 7.0 * max(map(len, names)) + 30.0) if names else 0.0)
    width, height = chart.width - left - right, chart.height - top - bottom

    def at(point: Point) -> Point:
        return left + width * x.share(point[0]), top + height * (1 - y.share(point[1]))

    body = [*_frame(chart, x, y, (left, top, width, height))]
    for i, series in enumerate(chart.series):
        body += _marks(series, series.colour or COLOURS[i % len(COLOURS)], at, chart)
    body += _legend(chart, left + width + 12, top + 6)
    label = escape(chart.title or f"{chart.y_label} against {chart.x_label}", quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {chart.width} {chart.height}" role="img"'
        f' aria-label="{label}" font-family="system-ui, sans-serif" font-size="11" fill="#334155">'
        f"{''.join(body)}</svg>"
    )


def _frame(chart: Chart, x: _Axis, y: _Axis, box: tuple[float, float, float, float]) -> list[str]:
    left, top, width, height = box
    out = []
    if chart.title:
        out.append(f'<text x="{left}" y="18" font-size="13" font-weight="600">{escape(chart.title)}</text>')
    for value in y.ticks():
        v = top + height * (1 - y.share(value))
        out.append(f'<path d="M{left:.1f} {v:.1f}h{width:.1f}" stroke="#e2e8f0"/>')
        out.append(f'<text x="{left - 6:.1f}" y="{v + 3.5:.1f}" text-anchor="end">{short(value)}</text>')
    for value in x.ticks():
        u = left + width * x.share(value)
        out.append(f'<path d="M{u:.1f} {top + height:.1f}v4" stroke="#94a3b8"/>')
        out.append(f'<text x="{u:.1f}" y="{top + height + 16:.1f}" text-anchor="middle">{short(value)}</text>')
    out.append(f'<path d="M{left:.1f} {top + height:.1f}h{width:.1f}" stroke="#94a3b8"/>')
    middle = left + width / 2
    out.append(f'<text x="{middle:.1f}" y="{chart.height - 8}" text-anchor="middle">{escape(chart.x_label)}</text>')
    v = top + height / 2
    out.append(
        f'<text x="14" y="{v:.1f}" text-anchor="middle" transform="rotate(-90 14 {v:.1f})">{escape(chart.y_label)}</text>'
    )
    return out


def _drawable(points: Sequence[Point], chart: Chart) -> list[tuple[int, Point]]:
    def good(value: float, log: bool) -> bool:
        return math.isfinite(value) and (value > 0 or not log)

    return [(i, p) for i, p in enumerate(points) if good(p[0], chart.log_x) and good(p[1], chart.log_y)]


def _marks(series: Series, colour: str, at: Callable[[Point], Point], chart: Chart) -> list[str]:
    points = [(i, at(p)) for i, p in _drawable(series.points, chart)]
    if series.kind == "points":
        out = []
        for i, (u, v) in points:
            tip = series.labels[i] if i < len(series.labels) else ""
            title = f"<title>{escape(tip)}</title>" if tip else ""
            out.append(
                f'<circle cx="{u:.1f}" cy="{v:.1f}" r="{series.radius}" fill="{colour}" fill-opacity=".75">{title}</circle>'
            )
        return out
    path = [f"{'M' if n == 0 else 'L'}{u:.1f} {v:.1f}" for n, (_, (u, v)) in enumerate(points)]
    if series.kind == "step":
        path = [
            f"{'M' if n == 0 else 'H'}{u:.1f}{f' {v:.1f}' if n == 0 else f'V{v:.1f}'}"
            for n, (_, (u, v)) in enumerate(points)
        ]
    dash = ' stroke-dasharray="5 4"' if series.dashed else ""
    return [f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.7"{dash}/>'] if path else []


def _legend(chart: Chart, u: float, v: float) -> list[str]:
    out, row = [], 0
    for i, series in enumerate(chart.series):
        if not series.name:
            continue
        y, colour = v + 16 * row, series.colour or COLOURS[i % len(COLOURS)]
        if series.kind == "points":
            out.append(f'<circle cx="{u + 8:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
        else:
            dash = ' stroke-dasharray="5 4"' if series.dashed else ""
            out.append(f'<path d="M{u:.1f} {y:.1f}h16" stroke="{colour}" stroke-width="2"{dash}/>')
        out.append(f'<text x="{u + 21:.1f}" y="{y + 3.5:.1f}">{escape(series.name)}</text>')
        row += 1
    return out


_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def text(chart: Chart, columns: int = 72, rows: int = 14, *, plain: bool = False) -> str:
    """The chart as lines of braille dots (2 x 4 a character), or of ``*`` when *plain*."""
    x, y = _axes(chart)
    wide, tall = (columns, rows) if plain else (2 * columns, 4 * rows)
    cells: set[tuple[int, int]] = set()
    for series in chart.series:
        dots = []
        for _, (a, b) in _drawable(series.points, chart):
            dots.append((round((wide - 1) * x.share(a)), round((tall - 1) * (1 - y.share(b)))))
        cells.update(dots if series.kind == "points" else _connected(dots))
    lines = [_row(cells, row, columns, plain) for row in range(rows)]
    margin = 9
    labels = {round((rows - 1) * (1 - y.share(value))): short(value) for value in y.ticks()}
    out = [f"{' ' * margin}{chart.title}"] if chart.title else []
    bar = "|" if plain else "│"
    out += [f"{labels.get(i, ''):>{margin - 2}} {bar}{line}".rstrip() for i, line in enumerate(lines)]
    out.append(" " * (margin - 1) + ("+" + "-" * columns if plain else "└" + "─" * columns))
    out.append(" " * margin + _ruler(x, columns))
    if chart.x_label or chart.y_label:
        out.append(f"{' ' * margin}{chart.y_label} against {chart.x_label}")
    return "\n".join(out)


def _connected(dots: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    out = list(dots[:1])
    for (u0, v0), (u1, v1) in itertools.pairwise(dots):
        steps = max(abs(u1 - u0), abs(v1 - v0), 1)
        out += [(round(u0 + (u1 - u0) * k / steps), round(v0 + (v1 - v0) * k / steps)) for k in range(1, steps + 1)]
    return out


def _row(cells: set[tuple[int, int]], row: int, columns: int, plain: bool) -> str:
    if plain:
        return "".join("*" if (c, row) in cells else " " for c in range(columns))
    out = []
    for c in range(columns):
        bits = sum(_DOTS[v][u] for u in range(2) for v in range(4) if (2 * c + u, 4 * row + v) in cells)
        out.append(chr(0x2800 + bits) if bits else " ")
    return "".join(out)


def _ruler(x: _Axis, columns: int) -> str:
    line = [" "] * (columns + 6)
    free = 0
    for value in x.ticks():
        label = short(value)
        start = max(0, round((columns - 1) * x.share(value)) - len(label) // 2)
        if start >= free:
            line[start : start + len(label)] = label
            free = start + len(label) + 1
    return "".join(line).rstrip()
