"""tracewrap: how long an LLM call took, how long it takes on a quiet day, and how long on hardware you can name.

    client = tracewrap.wrap(openai.OpenAI())    # record this client's calls
    tracewrap.instrument()                      # or every client's
    tracewrap.configure(span_log="calls/")      # where they go

Names are loaded when they are first used: importing this package imports no numpy, torch or vendor SDK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracewrap.lazy import names_of

if TYPE_CHECKING:
    from tracewrap.capture.wrap import uninstrument
    from tracewrap.errors import TracewrapError
    from tracewrap.estimate.catalog import load_catalog
    from tracewrap.estimate.exporter import JoiningExporter
    from tracewrap.estimate.joiner import join
    from tracewrap.pipeline import configure, flush, instrument, wrap
    from tracewrap.records import Call, JoinedCall
    from tracewrap.runtime.profile import RuntimeProfile
    from tracewrap.runtime.stack import ReferenceStack

_HOMES = {
    "Call": "records",
    "JoinedCall": "records",
    "JoiningExporter": "estimate.exporter",
    "ReferenceStack": "runtime.stack",
    "RuntimeProfile": "runtime.profile",
    "TracewrapError": "errors",
    "configure": "pipeline",
    "flush": "pipeline",
    "instrument": "pipeline",
    "join": "estimate.joiner",
    "load_catalog": "estimate.catalog",
    "uninstrument": "capture.wrap",
    "wrap": "pipeline",
}

__all__ = [
    "Call",
    "JoinedCall",
    "JoiningExporter",
    "ReferenceStack",
    "RuntimeProfile",
    "TracewrapError",
    "configure",
    "flush",
    "instrument",
    "join",
    "load_catalog",
    "uninstrument",
    "wrap",
]


__getattr__ = names_of(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
