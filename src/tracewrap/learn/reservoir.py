"""A bounded set of calls of one deployment that keeps what is rare: quiet hours, and token counts that are seldom seen."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator

from tracewrap.runtime.quiet.usable import Row

MAX_CALLS = 350
"""Calls kept per deployment: 17 kB, so that 10,000 deployments stay under 500 MB."""
DRAWS = 6
"""Calls drawn when the set is full; the most replaceable of them gives way."""
_HOUR_S = 3600.0
_HOURS = 168
_WIDTH = 6
_CELLS = 16


class Reservoir:
    """Calls of one deployment as numbers side by side.

    When full, a newcomer takes the place of a call from the hour of the week that holds the most calls, and within it of one whose token
    counts (powers of two) are the most frequent. So a busy hour cannot push the quiet ones out: each hour seen keeps its share.
    """

    __slots__ = ("_cells", "_hours", "_values", "model", "news", "seen")

    def __init__(self, model: str) -> None:
        self.model = model
        self.seen = 0
        """Calls ever taken in."""
        self.news = 0
        """Calls taken in since the last refit."""
        self._values = array("d")
        self._hours = array("H", bytes(2 * _HOURS))
        self._cells = array("H", bytes(2 * _CELLS * _CELLS))

    def __len__(self) -> int:
        return len(self._values) // _WIDTH

    def add(self, row: Row, dice: random.Random) -> None:
        """Take *row* in."""
        self.seen += 1
        self.news += 1
        values = self._values
        start_s, p, o, seconds, first, cached = row
        hour, cell = int(start_s // _HOUR_S) % _HOURS, _cell(p, o)
        numbers = array("d", (start_s, p, o, seconds, -1.0 if first is None else first, cached))
        if len(values) < _WIDTH * MAX_CALLS:
            values.extend(numbers)
        else:
            at = self._victim(dice, self._hours[hour] * 1024 + self._cells[cell])
            if at < 0:
                return
            self._hours[int(values[at] // _HOUR_S) % _HOURS] -= 1
            self._cells[_cell(int(values[at + 1]), int(values[at + 2]))] -= 1
            values[at : at + _WIDTH] = numbers
        self._hours[hour] += 1
        self._cells[cell] += 1

    def _victim(self, dice: random.Random, most: int) -> int:
        """Where the most replaceable of the calls drawn stands; -1 where the newcomer, of crowd *most*, is itself the most replaceable."""
        values, hours, cells, found = self._values, self._hours, self._cells, -1
        for _ in range(DRAWS):
            at = int(dice.random() * MAX_CALLS) * _WIDTH
            cell = _cell(int(values[at + 1]), int(values[at + 2]))
            crowd = hours[int(values[at] // _HOUR_S) % _HOURS] * 1024 + cells[cell]
            if crowd >= most:
                most, found = crowd, at
        return found

    def rows(self) -> Iterator[Row]:
        """The calls held, in no order."""
        values = self._values
        for at in range(0, len(values), _WIDTH):
            start_s, p, o, seconds, first, cached = values[at : at + _WIDTH]
            yield Row(start_s, int(p), int(o), seconds, None if first < 0 else first, int(cached))


def _cell(p: int, o: int) -> int:
    return min(p.bit_length() >> 1, _CELLS - 1) * _CELLS + min(o.bit_length(), _CELLS - 1)
