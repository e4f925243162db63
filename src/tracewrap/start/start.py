"""Configure and instrument this process from the environment; what cannot be used is a line on standard error each."""

from __future__ import annotations

import contextlib
import os
import sys


def start() -> None:
    """Called once, before the program's own code runs. Raises ConfigurationError, for the caller to show."""
    from tracewrap.capture.wrap import instrument
    from tracewrap.pipeline import configured, disabled

    pipeline = configured()
    for note in pipeline.notes:
        print(f"tracewrap: {note}", file=sys.stderr)
    if disabled() or not pipeline.settings.enabled:
        return
    instrument()
    _mark()


def _mark() -> None:
    """Leave word for ``tracewrap run`` that a Python of the program is traced."""
    folder = os.environ.get("TRACEWRAP_RUN_MARKS")
    if folder:
        with contextlib.suppress(OSError):
            os.close(os.open(os.path.join(folder, str(os.getpid())), os.O_CREAT | os.O_WRONLY, 0o600))
