"""The live view on a terminal, which is left as it was found."""

from __future__ import annotations

import signal
import sys
import time

from tracewrap import systems
from tracewrap.errors import missing_extra
from tracewrap.live.screen import render
from tracewrap.live.view import View

_STEP_BYTES = 4 * 2**20


def watch(view: View, interval_s: float) -> int:
    """Frames on the alternate screen until q is pressed: 0. MissingExtraError without the extra ``report``."""
    try:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.text import Text
    except ImportError:
        raise missing_extra("the live view (not --once or --json)", "report") from None
    console, due, drawn, more = Console(), 0.0, None, False
    with _Terminal() as terminal, Live(console=console, screen=True, auto_refresh=False) as screen:
        while True:
            now, size = time.monotonic(), console.size
            view.learn_beside()
            if more or now >= due:
                more = view.read(_STEP_BYTES)
            if now >= due or size != drawn:
                due, drawn = now + interval_s, size
                lines = render(view.frame(), size.width, size.height, terminal.hint)
                screen.update(Group(*(Text(text, style, no_wrap=True) for text, style in lines)), refresh=True)
            if terminal.quits(0 if more else min(0.2, max(due - time.monotonic(), 0))):
                return 0


class _Terminal:
    """The terminal while the view is on it: keys come at once and unseen; SIGTERM leaves it as it was; it cannot be suspended."""

    def __init__(self) -> None:
        self._keys: systems.Keys | None = None
        self._taken: systems.Keys | None = None
        self.hint = "Ctrl-C quits"

    def __enter__(self) -> _Terminal:
        self._signals = {signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))}
        for number in systems.signals("SIGTSTP"):
            self._signals[number] = signal.signal(number, signal.SIG_IGN)
        self._keys = self._taken = systems.keys()
        self.hint = "Ctrl-C quits" if self._keys is None else "q quits"
        return self

    def quits(self, timeout_s: float) -> bool:
        """Wait for a key, *timeout_s* seconds at most; whether it was q."""
        if self._keys is None:
            time.sleep(timeout_s)
            return False
        pressed = self._keys.pressed(timeout_s)
        if pressed is None:
            self._keys = None
            return False
        return b"q" in pressed.lower()

    def __exit__(self, *_: object) -> None:
        if self._taken is not None:
            self._taken.restore()
        for number, handler in self._signals.items():
            signal.signal(number, handler)
