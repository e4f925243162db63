"""Calls made on purpose: a client wrapped like any other, whose calls are handed back instead of exported."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tracewrap import testing
from tracewrap.capture.wrap import wrap
from tracewrap.errors import UnsupportedClientError
from tracewrap.records import Call
from tracewrap.vendors import adapters
from tracewrap.vendors.adapter import Adapter


@dataclass(frozen=True, slots=True)
class Probe:
    """A wrapped client and the way to call it; one attempt a call, so that no retry hides in a runtime."""

    adapter: Adapter
    client: Any
    method: Callable[..., Any]

    @property
    def provider(self) -> str:
        """The vendor."""
        return self.adapter.provider

    def send(self, model: str, prompt: str, output_tokens: int, stream: bool) -> Call:
        """Make one call, read it to its end, and return it as recorded; raises what the SDK raises."""
        with testing.recording() as calls:  # in memory alone: a probe is no traffic and reaches no exporter
            answer = self.method(
                **_accepted(
                    self.method,
                    self.adapter.probe_request(model, prompt, output_tokens, stream),
                    self.adapter.probe_arguments,
                )
            )
            if stream:
                for _ in answer:
                    pass
        return calls()[-1]


def open_probe(client: Any, stream: bool) -> Probe:
    """Wrap *client* (a vendor SDK's, synchronous) for probing; raises UnsupportedClientError for any other object."""
    with contextlib.suppress(Exception):  # cohere has no such method and retries only when asked to
        client = client.with_options(max_retries=0)
    client = wrap(client)
    adapter = _adapter_of(client)
    method = None if adapter is None else _method(adapter, client, stream)
    if adapter is None or method is None:
        raise UnsupportedClientError(
            f"{type(client).__name__} cannot be probed: a synchronous client with chat or messages is needed"
        )
    return Probe(adapter, client, method)


def _adapter_of(client: Any) -> Adapter | None:
    """The adapter of a synchronous client."""
    for adapter in adapters():
        for seam in adapter.seams:
            module, _, name = (seam.client or seam.target).partition(":")
            known = getattr(sys.modules.get(module), name, None)
            if not seam.is_async and isinstance(known, type) and isinstance(client, known):
                return adapter
    return None


def _method(adapter: Adapter, client: Any, stream: bool) -> Callable[..., Any] | None:
    method = client
    for part in adapter.probe_methods[stream].split("."):
        method = getattr(method, part, None)
    return cast(Callable[..., Any], method) if callable(method) else None


def _accepted(method: Callable[..., Any], arguments: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """*arguments* and *extra* without those this version of the SDK does not have."""
    arguments = {**arguments, **extra}
    names = inspect.signature(method).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in names.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in names}
