"""The clock that calls are timed with, in seconds.

Test suites freeze or move the program's clock by replacing the functions of ``time`` in every module that holds one (freezegun does).
A runtime read from such a clock would be made up, so the system's clock is kept in an object of its own, where nobody replaces it.
"""

from __future__ import annotations

import functools
import time

perf_counter = functools.partial(time.perf_counter)
"""``time.perf_counter`` as it was when this module was imported."""
