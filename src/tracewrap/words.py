"""How numbers, names and tables are written for people: once, for the terminal line, ``top``, reports, the demo and drawings.

Names come from outside (a model, a tenant, a path): whatever is printed passes ``clean`` first. Absent is ``ABSENT``, never 0.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

ABSENT = "-"
ENDLESS = 10**6
"""The width of what is no terminal: nothing is cut."""
LONGEST_NAME = 200
"""Characters of a name that are shown; the middle of a longer one is cut."""
_BARS = "▁▂▃▄▅▆▇█"
_GAP = 2
_FIGURE = re.compile(r"[-+x ]*\$?\d[\d,.]*(e[-+]?\d+)?\*?( ?(%|[a-zA-Z/]{1,6}))?( \d+ s)?")


_BETWEEN_WORDS = re.compile(r" (?!(?<=\d )(?:ms|s|min|h|[kM]?J|kWh)\b)")


def three(value: float) -> str:
    """*value* with three significant digits, without exponent: ``0.0123``, ``12.3``, ``1,230``."""
    size = abs(value)
    if 1.0 <= size < 999.5:  # most values; the bounds leave rounding no digit to add
        if size >= 100.0:
            return f"{value:.0f}"
        if 10.0 <= size < 99.95:
            return f"{value:.1f}"
        if size < 9.995:
            return f"{value:.2f}"
    if value == 0:
        return "0"
    rounded = f"{value:.2e}"
    digits = 2 - int(rounded.rpartition("e")[2])
    return f"{value:.{digits}f}" if digits >= 0 else f"{float(rounded):,.0f}"


def short(value: float) -> str:
    """*value* in few characters, for the ticks of an axis: 1.5k, 0.02, 3e-05."""
    if value == 0:
        return "0"
    size = abs(value)
    if 1000 <= size < 1e6:
        return f"{value / 1000:.3g}k"
    return f"{value:.2g}" if size >= 1e6 or size < 1e-4 else f"{value:.3g}"


def seconds(value: float | None) -> str:
    """``0.123 ms``, ``420 ms``, ``1.50 s``, ``12.3 s``, ``5 min 20 s``, ``3.20 h``."""
    if value is None:
        return ABSENT
    size = abs(value)
    if size < 0.9995:
        return f"{three(value * 1000)} ms"
    if size < 119.5:
        return f"{three(value)} s"
    whole = round(size)
    if whole < 7200:
        return f"{'-' if value < 0 else ''}{whole // 60} min {whole % 60} s"
    return f"{three(value / 3600)} h"


def usd(value: float | None) -> str:
    """Dollars: cents from one dollar up, three significant digits below."""
    if value is None:
        return ABSENT
    sign, size = "-" if value < 0 else "", abs(value)
    return f"{sign}${size:,.2f}" if size >= 0.9995 or size == 0 else f"{sign}${three(size)}"


def joules(value: float | None) -> str:
    """Joules as J, kJ, MJ or kWh."""
    if value is None:
        return ABSENT
    for limit, divisor, unit in ((1e3, 1.0, "J"), (1e6, 1e3, "kJ"), (3.6e6, 1e6, "MJ")):
        if abs(value) < limit:
            return f"{value / divisor:.3g} {unit}"
    return f"{value / 3.6e6:,.2f} kWh"


def grams(value: float | None) -> str:
    """Grams as mg, g, kg or t, three significant digits."""
    if value is None:
        return ABSENT
    for limit, divisor, unit in ((1.0, 1e-3, "mg"), (1e3, 1.0, "g"), (1e6, 1e3, "kg")):
        if abs(value) < limit:
            return f"{three(value / divisor)} {unit}"
    return f"{three(value / 1e6)} t"


def share(value: float | None) -> str:
    """Percent."""
    return ABSENT if value is None else f"{100 * value:.1f}%"


def ratio(value: float | None) -> str:
    """A plain ratio."""
    return ABSENT if value is None else f"{value:.2f}"


def rate(value: float | None) -> str:
    """An amount a second, three significant digits."""
    return ABSENT if value is None else three(value)


def count(value: float | None) -> str:
    """1,234,567."""
    return ABSENT if value is None else f"{value:,.0f}"


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """``1 call``, ``1,234 calls``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def tokens(value: float | None) -> str:
    """9,999, 34.0k, 1.20M."""
    if value is None:
        return ABSENT
    for limit, digits, unit in ((1e12, 2, "T"), (1e9, 2, "G"), (1e6, 2, "M"), (1e4, 1, "k")):
        if value >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.{digits}f}{unit}"
    return f"{value:,.0f}"


def duration(value: float) -> str:
    """A span of time that somebody chose: ``90 s``, ``5 min``, ``3 h``."""
    for unit_s, name in ((3600, "h"), (60, "min")):
        if value >= 2 * unit_s or value == unit_s:
            return f"{value / unit_s:.3g} {name}"
    return f"{value:.0f} s"


def bounds(show: Callable[[float | None], str], low: float | None, high: float | None) -> str:
    """`` (low to high)``; nothing where they are unknown or read alike."""
    if low is None or high is None or show(low) == show(high):
        return ""
    return f" ({show(low)} to {show(high)})"


def sparkline(values: Sequence[float | None], top: float | None = None) -> str:
    """Values as bars from 0 to *top* (their maximum); a space where there is none."""
    known = [value for value in values if value is not None]
    most = top or max(known, default=0.0)
    if not most or most <= 0:
        return "".join(" " if value is None else _BARS[0] for value in values)
    return "".join(" " if value is None else _BARS[min(int(max(value, 0.0) / most * 8), 7)] for value in values)


def blamed(verdict: str | None, kind: str | None = None) -> str | None:
    """Who made a call slow, for people: ``us (event loop)``, ``network``, ``provider``; None where nobody did or nobody knows."""
    if verdict not in ("us", "network", "provider"):
        return None
    return f"{verdict} ({kind.replace('_', ' ')})" if verdict == "us" and kind else verdict


def chosen(where: Mapping[str, str]) -> str:
    """Which calls alone, by name and value: `` with tenant=acme, status=error``; nothing where all are meant."""
    named = {("status" if name == "outcome" else name): value for name, value in where.items()}
    return f" with {', '.join(clean(f'{name}={value}') for name, value in named.items())}" if named else ""


def clean(text: str) -> str:
    """A name from outside on one line: ``printable``, at most ``LONGEST_NAME`` long."""
    if len(text) > LONGEST_NAME:
        half = (LONGEST_NAME - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return printable(text)


def printable(text: str) -> str:
    """*text* without what would move a terminal's cursor, end a line or turn the direction of writing."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)


def name(text: str | None) -> str:
    """A name from outside, ``clean``; ``ABSENT`` where there is none."""
    return clean(text) if text else ABSENT


def markdown(text: str) -> str:
    """*text* as plain words of a Markdown table: no markup, link, image or HTML of a name's own comes through."""
    return re.sub(r"([\\`*_\[\]<>|!#~&]|:(?=//)|(?<=www)\.)", r"\\\1", printable(text))


def csv_cell(value: object) -> object:
    """*value* for a CSV cell: text that a spreadsheet would take for a formula gets an apostrophe in front."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def cells(text: str) -> int:
    """Columns of a terminal that *text* takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def fitted(text: str, width: int, pad: bool = False) -> str:
    """*text* in *width* columns; what is too long loses its middle, for names differ at both ends."""
    if cells(text) > width:
        half, front, back = (width - 1) / 2, min(width, len(text)), min(width, len(text))
        while front and cells(text[:front]) > math.ceil(half):
            front -= 1
        while back and cells(text[-back:]) > math.floor(half):
            back -= 1
        text = f"{text[:front]}…{text[-back:] if back else ''}"
    return text + " " * (width - cells(text)) if pad else text


def packed(parts: Sequence[str], width: int, gap: str = "   ") -> list[str]:
    """*parts* on as few lines of *width* columns as they need."""
    lines: list[str] = []
    for part in parts:
        joined = f"{lines[-1]}{gap}{part}" if lines else part
        if lines and cells(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(fitted(part, width))
    return lines


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """*text* folded between words into lines of *width* columns, all but the first behind *indent*."""
    lines = packed(_BETWEEN_WORDS.split(text), max(width - len(indent), 1), " ")
    return [lines[0], *(fitted(indent + line, width) for line in lines[1:])]


def table(
    rows: Sequence[Sequence[str]],
    *,
    heads: int = 1,
    width: int = ENDLESS,
    ranks: Sequence[int] | None = None,
    rule: bool = True,
) -> list[str]:
    """*rows*, the first *heads* of them the head, as lines of columns two spaces apart: figures to the right, words to the left.

    Where *width* columns do not hold it, whole columns are left out, those of the highest *ranks* first (one a column; by
    default the last ones), and the first column, which is never left out, loses the middle of its names.
    """
    columns = list(zip(*rows, strict=True))
    sizes = [max(map(cells, column)) for column in columns]
    order = list(range(len(columns))) if ranks is None else list(ranks)
    least = min(sizes[0], 24 if width >= 72 else 12, width)
    kept, left = {0}, width - least
    for _, i in sorted((order[i], i) for i in range(1, len(columns))):
        if sizes[i] + _GAP > left:
            break
        kept.add(i)
        left -= sizes[i] + _GAP
    sizes[0] = min(sizes[0], least + left)
    right = [all(cell in (ABSENT, "") or _FIGURE.fullmatch(cell) for cell in column[heads:]) for column in columns]
    lines = []
    for row in rows:
        text = [_aligned(row[i], sizes[i], right[i]) for i in sorted(kept)]
        lines.append((" " * _GAP).join(text).rstrip())
    if rule:
        lines.insert(heads, (" " * _GAP).join("-" * sizes[i] for i in sorted(kept)))
    return lines


def _aligned(cell: str, size: int, right: bool) -> str:
    return " " * (size - cells(cell)) + cell if right else fitted(cell, size, pad=True)


_PLAIN = str.maketrans(
    {
        **dict.fromkeys("─━", "-"),
        **dict.fromkeys("│┃", "|"),
        **dict.fromkeys("├└┌┐┘┤┬┴┼", "+"),
        **dict.fromkeys("–—−", "-"),
        **dict.fromkeys("‘’", "'"),
        **dict.fromkeys("“”", '"'),
        **dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True)),
        **{"…": "~", "×": "x", "·": ".", "µ": "u", "≤": "<", "≥": ">", "→": ">", "✓": "+", "✗": "x"},
    }
)


def plain_signs(error: UnicodeError) -> tuple[str, int]:
    """For ``codecs.register_error``: for what an encoding lacks a plain sign, or ``?``, one for one, so that columns stay."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacked = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(sign if sign.isascii() else "?" for sign in lacked), error.end
