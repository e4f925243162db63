"""Drift: the quiet-day runtime of a deployment moved and stayed moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracewrap.report.model import Drift

if TYPE_CHECKING:
    from tracewrap.report.nightly import Joined


def events(joined: Joined) -> tuple[list[Drift], str | None]:
    """Drift events, and why none could be looked for."""
    return [], "drift needs at least 4 days of calls"
