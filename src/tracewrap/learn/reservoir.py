"""A bounded set of calls of one deployment that keeps what is rare: quiet hours, and token counts that are seldom seen."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator

from tracewrap.runtime.quiet.usable import Row

MAX_CALLS = 350
"""Calls kept per deployment: 17 kB, so that 10,000 deployments stay under 500 MB."""
DRAWS = 6
"""Calls looked at when the set is full, from a random one on; the most replaceable of them gives way."""
_STRIDE = 61
_HOUR_S = 3600.0
_HOURS = 168
_WIDTH = 6
_CELLS = 16
_CELL_COUNT = _CELLS * _CELLS


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
        cell = min(p.bit_length() >> 1, _CELLS - 1) * _CELLS + min(o.bit_length(), _CELLS - 1)
        hour = int(start_s // _HOUR_S) % _HOURS
        hours, cells, crowds = self._hours, self._cells, self._crowds
        numbers = array("d", (start_s, p, o, seconds, -1.0 if first is None else first, cached))
        if len(crowds) < MAX_CALLS:
            self._values.extend(numbers)
            crowds.append(hour * _CELL_COUNT + cell)
        else:
            most, at = hours[hour] * 1024 + cells[cell], -1
            first_drawn = int(dice.random() * MAX_CALLS)
            for drawn in range(first_drawn, first_drawn + DRAWS * _STRIDE, _STRIDE):
                its = crowds[drawn % MAX_CALLS]
                crowd = hours[its // _CELL_COUNT] * 1024 + cells[its % _CELL_COUNT]
                if crowd >= most:
                    most, at = crowd, drawn % MAX_CALLS
            if at < 0:  # the newcomer is itself the most replaceable
                return
            its = crowds[at]
            hours[its // _CELL_COUNT] -= 1
            cells[its % _CELL_COUNT] -= 1
            self._values[at * _WIDTH : (at + 1) * _WIDTH] = numbers
            crowds[at] = hour * _CELL_COUNT + cell
        hours[hour] += 1
        cells[cell] += 1

    def rows(self) -> Iterator[Row]:
        """The calls held, in no order."""
        values = self._values
        for at in range(0, len(values), _WIDTH):
            start_s, p, o, seconds, first, cached = values[at : at + _WIDTH]
            yield Row(start_s, int(p), int(o), seconds, None if first < 0 else first, int(cached))
