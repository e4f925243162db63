"""A bounded set of calls of one deployment that keeps what is rare: quiet hours, and token counts that are seldom seen."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from struct import Struct

from tracewrap.runtime.quiet.usable import Row

MAX_CALLS = 350
"""Calls kept per deployment: 17 kB, so that 10,000 deployments stay under 500 MB."""
DRAWS = 6
"""Calls looked at when the set is full, from a random one on; the most replaceable of them gives way."""
_STRIDE = 61
_DRAWN = tuple(tuple((first + turn * _STRIDE) % MAX_CALLS for turn in range(DRAWS)) for first in range(MAX_CALLS))
"""The places that are looked at, by the first of them: a table, because this is done for every call of a program."""
_HOUR_S = 3600.0
_HOURS = 168
_WIDTH = 6
_CELLS = 16
_CELL_COUNT = _CELLS * _CELLS
_CELL_BITS = _CELL_COUNT.bit_length() - 1
_CELL_MASK = _CELL_COUNT - 1
_ROW = Struct(f"{_WIDTH}d")
_ROW_BYTES = _ROW.size
_put = _ROW.pack_into


class Reservoir:
    """Calls of one deployment as numbers side by side.

    When full, a newcomer takes the place of a call from the hour of the week that holds the most calls, and within it of one whose token
    counts (powers of two) are the most frequent. So a busy hour cannot push the quiet ones out: each hour seen keeps its share.
    """

    __slots__ = ("_cells", "_crowds", "_hours", "_values", "model", "news", "seen")

    def __init__(self, model: str) -> None:
        self.model = model
        self.seen = 0
        """Calls ever taken in."""
        self.news = 0
        """Calls taken in since the last refit."""
        self._values = array("d")
        self._crowds = array("H")
        """Of each call held, its hour of the week and its cell, in one number: hour * cells + cell."""
        self._hours = [0] * _HOURS
        self._cells = [0] * _CELL_COUNT

    def __len__(self) -> int:
        return len(self._crowds)

    def add(self, row: Row, dice: random.Random) -> None:
        """Take *row* in."""
        self.seen += 1
        self.news += 1
        start_s, p, o, seconds, first, cached = row
        # tokens by powers of four and of two
        long, wide = p.bit_length() >> 1, o.bit_length()
        cell = (long if long < _CELLS else _CELLS - 1) * _CELLS + (wide if wide < _CELLS else _CELLS - 1)
        hour = int(start_s // _HOUR_S) % _HOURS
        hours, cells, crowds, values = self._hours, self._cells, self._crowds, self._values
        if first is None:
            first = -1.0
        if len(crowds) < MAX_CALLS:
            values.extend((start_s, p, o, seconds, first, cached))
            crowds.append(hour << _CELL_BITS | cell)
        else:
            most, at = hours[hour] * 1024 + cells[cell], -1
            for drawn in _DRAWN[int(dice.random() * MAX_CALLS)]:
                its = crowds[drawn]
                crowd = hours[its >> _CELL_BITS] * 1024 + cells[its & _CELL_MASK]
                if crowd >= most:
                    most, at = crowd, drawn
            if at < 0:  # the newcomer is itself the most replaceable
                return
            its = crowds[at]
            hours[its >> _CELL_BITS] -= 1
            cells[its & _CELL_MASK] -= 1
            _put(values, at * _ROW_BYTES, start_s, p, o, seconds, first, cached)
            crowds[at] = hour << _CELL_BITS | cell
        hours[hour] += 1
        cells[cell] += 1

    def rows(self) -> Iterator[Row]:
        """The calls held, in no order."""
        values = self._values
        for at in range(0, len(values), _WIDTH):
            start_s, p, o, seconds, first, cached = values[at : at + _WIDTH]
            yield Row(start_s, int(p), int(o), seconds, None if first < 0 else first, int(cached))
