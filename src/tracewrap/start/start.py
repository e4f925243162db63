"""Configure and instrument this process from the environment; what cannot be used is a line on standard error each."""

from __future__ import annotations

import sys


def start() -> None:
    """Called once, before the program's own code runs. Raises ConfigurationError, for the caller to show."""
    from tracewrap.capture.wrap import instrument
    from tracewrap.pipeline import configured, disabled

    for note in configured().notes:
        print(f"tracewrap: {note}", file=sys.stderr)
    if not disabled():
        instrument()
