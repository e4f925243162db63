"""Starts tracewrap inside a program started by ``tracewrap run``; imported by the interpreter because its folder is on the path.

Steps aside for the sitecustomize module that would have been imported otherwise, and never keeps the program from starting.
"""

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _here]
_own = sys.modules.pop("sitecustomize", None)
try:
    import sitecustomize  # noqa: F401 - the environment's own
except ImportError:
    if _own is not None:
        sys.modules["sitecustomize"] = _own

try:
    from tracewrap.start import start

    start.start()
except Exception as error:  # noqa: BLE001 - telemetry never changes the program
    print(f"tracewrap: not tracing this process ({error})", file=sys.stderr)
