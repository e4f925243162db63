"""What capture is set up with, and what it counts when it fails. One process, one state."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import trace

from tracewrap.capture.content import wanted
from tracewrap.records import CallRecord

logger = logging.getLogger("tracewrap")
logger.addHandler(logging.NullHandler())

Enrich = Callable[[Any, dict[str, Any]], Mapping[str, Any]]


class State:
    """Mutable set-up of this process: where records go, tracer, inline join, policy for stream usage, failure count."""

    __slots__ = ("broken", "chunk_gaps", "content", "enrich", "naming", "record", "stream_usage", "tracer")

    def __init__(self) -> None:
        self.tracer: trace.Tracer | None = None
        """Makes the program's spans of calls where it was given; None: that of the program's provider, if it has one."""
        self.record: Callable[[CallRecord], None] | None = None
        """Where finished calls go: the pipeline's queue; never blocks, never raises. None: no pipeline is set up."""
        self.enrich: Enrich | None = None
        """Inline join: (span, attributes) -> attributes to add before the span ends."""
        self.stream_usage = os.environ.get("TRACEWRAP_STREAM_USAGE", "auto")
        """auto | always | never: whether a stream without usage is asked for it."""
        self.naming = os.environ.get("TRACEWRAP_SEMCONV_SPANS", "latest")
        """latest | v1.36 | both: whose names the program's spans of calls have."""
        self.chunk_gaps = False
        """Whether anybody wants to know the time between the chunks of a stream."""
        self.content = wanted()
        """Whether message content is recorded."""
        self.broken = 0
        """Measurements dropped because tracewrap itself failed."""


state = State()


def drop(where: str) -> None:
    """Count a measurement lost to a failure of ours; log the first one with its traceback."""
    state.broken += 1
    if state.broken == 1:
        logger.warning("tracewrap failed in %s; the call itself is not affected", where, exc_info=True)
