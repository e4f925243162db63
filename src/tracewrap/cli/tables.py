"""Plain tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> str:
    """*rows*, the first being the head, in columns two spaces apart; columns of numbers to the right."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    right = [all(_numeric(row[c]) for row in rows[1:]) for c in range(len(rows[0]))]
    lines = [
        "  ".join(
            f"{cell:>{w}}" if r else f"{cell:<{w}}" for cell, w, r in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def _numeric(cell: str) -> bool:
    return cell == "-" or cell.strip("%+-").replace(".", "", 1).replace("e-", "", 1).isdigit()
