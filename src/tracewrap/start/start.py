"""Configure and instrument this process from the environment, and keep what was measured when it is told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType


def start() -> None:
    """Called once, before the program's own code runs."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    from tracewrap.capture.import_hook import after_import
    from tracewrap.capture.wrap import instrument
    from tracewrap.pipeline import configure

    configure()
    instrument()
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _export_and_die)
    if "multiprocessing.util" in sys.modules:
        _export_when_workers_end()
    else:
        after_import("multiprocessing.util", _export_when_workers_end)


def _export_and_die(number: int, _: FrameType | None) -> None:
    """SIGTERM with no handler of the program's: export, then die of the signal as the program would have."""
    from tracewrap.pipeline import shutdown

    signal.signal(number, signal.SIG_DFL)
    try:
        shutdown()
    finally:
        os.kill(os.getpid(), number)


def _export_when_workers_end() -> None:
    """multiprocessing ends its children without running exit handlers, but runs its own finalizers: register one in each child."""
    from multiprocessing import util

    from tracewrap.pipeline import flush

    def in_child(_: object) -> None:
        util.Finalize(None, flush, exitpriority=0)

    util.register_after_fork(_export_when_workers_end, in_child)
