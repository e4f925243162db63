"""What a W3C tracestate says of sampling, by OpenTelemetry's probability sampling (``ot=th:<threshold>;rv:<random value>``)."""

from __future__ import annotations

import re

_THRESHOLD = re.compile(r"(?:^|,)\s*ot=(?:[^,;]*;)*th:([0-9a-f]{1,14})(?:[;,\s]|$)")
_RANDOM = re.compile(r"(?:^|,)\s*ot=(?:[^,;]*;)*rv:[0-9a-f]{14}(?:[;,\s]|$)")


def sampling_of(trace_state: str | None) -> tuple[bool | None, float | None]:
    """(the trace is one of a sample, with what probability it was kept); None where the tracestate does not say.

    The probability is 1 - T/2^56, T the threshold in hex with its right zeros left out. A random value without a threshold is the
    convention's way to say: sampled, with unknown probability.
    """
    if not trace_state:
        return None, None
    threshold = _THRESHOLD.search(trace_state)
    if threshold is not None:
        probability = 1.0 - int(threshold[1].ljust(14, "0"), 16) / 2**56
        return probability < 1.0, probability
    return (True, None) if _RANDOM.search(trace_state) else (None, None)
