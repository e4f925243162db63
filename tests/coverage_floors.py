"""Coverage with a floor a room: ``python tests/coverage_floors.py .coverage.json`` after ``pytest --cov --cov-report=json``.

Prints the share of lines and branches that the tests run, room by room; exit code 1 where one lies below its floor. Floors are set just
below what was measured when they were last raised: a room gets better or stays. Code that only other processes or other machines run
(an optional server, a GPU) is not seen, which is why no floor is 100.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

FLOORS: dict[str, int] = {
    "__main__": 0,  # runs in processes of its own, as `start` does
    "start": 0,
    "background": 50,
    "capture": 58,
    "cli": 75,
    "demo": 33,  # the rest: make test-real
    "estimate": 82,
    "formats": 95,
    "learn": 86,
    "live": 84,
    "pipeline": 50,
    "prices": 93,
    "profiler": 26,  # the decoder: make test-profiler
    "report": 90,
    "runtime": 92,
    "semconv": 93,
    "sinks": 70,
    "sources": 90,
    "testing": 95,
    "words": 95,
}
"""Room -> percent; ``_DEFAULT`` for the others."""
_DEFAULT = 78


def rooms(report: dict[str, dict[str, dict[str, dict[str, int]]]]) -> dict[str, float]:
    """Percent covered of every room in a JSON *report* of coverage.py."""
    seen: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path, file in report["files"].items():
        room = path.replace("\\", "/").partition("tracewrap/")[2].partition("/")[0].removesuffix(".py")
        summary = file["summary"]
        seen[room][0] += summary["covered_lines"] + summary.get("covered_branches", 0)
        seen[room][1] += summary["num_statements"] + summary.get("num_branches", 0)
    return {room: 100.0 * covered / whole for room, (covered, whole) in sorted(seen.items()) if whole}


def main(path: str) -> int:
    """Print the rooms of the report at *path*; 1 when one is below its floor."""
    low = 0
    for room, percent in rooms(json.loads(Path(path).read_text(encoding="utf-8"))).items():
        floor = FLOORS.get(room, _DEFAULT)
        low += percent < floor
        print(f"{room:<12} {percent:5.1f}%  floor {floor}%{'  BELOW' if percent < floor else ''}")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
