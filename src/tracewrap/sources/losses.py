"""Losses: the records in which a program wrote down how many calls did not reach a place, and why.

A span log holds them as lines; a lake in one file of each day (``LAKE_FILE``), so that what removes a day removes them too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tracewrap import semconv

MARK = f'"{semconv.LOSSES}"'
"""What a line that holds such a record holds, as text."""
LAKE_FILE = ".losses.json"
"""Name of the file, in the folder of a day, in which a lake holds the losses that began on it."""
_SCHEMA = "tracewrap.losses/1"


class Loss(NamedTuple):
    """*calls* calls that did not reach *place* from *start_ns* (Unix nanoseconds) on; ``ids`` tell copies of one record."""

    ids: tuple[str, str]
    start_ns: int
    place: str
    reason: str
    calls: int


def losses_in_line(line: str | bytes) -> list[Loss]:
    """The records of losses in one line of OTLP-JSON; what cannot be read as one is passed over."""
    found: list[Loss] = []
    try:
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    if span["name"] != semconv.LOSSES:
                        continue
                    values = {pair["key"]: next(iter(pair["value"].values())) for pair in span["attributes"]}
                    ids = (str(span["traceId"]), str(span["spanId"]))
                    place, reason = str(values[semconv.LOST_PLACE]), str(values[semconv.LOST_REASON])
                    calls = int(values[semconv.LOST_CALLS])
                    if calls > 0:
                        found.append(Loss(ids, int(span["startTimeUnixNano"]), place, reason, calls))
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration, RecursionError):
        return found
    return found


def losses_of(path: Path) -> list[Loss]:
    """The losses that a ``LAKE_FILE`` holds; none where there is none. Raises OSError, and ValueError when it holds something else."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["losses"]
        return [
            Loss((str(trace), str(span)), int(start), str(place), str(reason), int(calls))
            for trace, span, start, place, reason, calls in rows
        ]
    except FileNotFoundError:
        return []
    except (LookupError, TypeError) as error:
        raise ValueError(str(error)) from None


def lake_text(losses: Iterable[Loss]) -> str:
    """*losses* as the text of a ``LAKE_FILE``, each record once, in the order of their start."""
    once = sorted({loss.ids: loss for loss in losses}.values(), key=lambda loss: (loss.start_ns, loss.ids))
    return json.dumps({"schema": _SCHEMA, "losses": [[*loss.ids, *loss[1:]] for loss in once]})


def by_place(losses: Iterable[Loss]) -> dict[str, dict[str, int]]:
    """Calls lost by place and reason; copies of a record count once."""
    counted: dict[str, Counter[str]] = {}
    for loss in {loss.ids: loss for loss in losses}.values():
        counted.setdefault(loss.place, Counter())[loss.reason] += loss.calls
    return {place: dict(sorted(reasons.items())) for place, reasons in sorted(counted.items())}
