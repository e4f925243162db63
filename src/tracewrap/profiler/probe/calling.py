"""Calls made on purpose: a client wrapped like any other, whose calls are handed back instead of exported."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from tracewrap import testing
from tracewrap.capture.wrap import wrap
from tracewrap.errors import UnsupportedClientError
from tracewrap.records import Call
from tracewrap.vendors import adapters
from tracewrap.vendors.adapter import Adapter

# Where the SDKs keep the method that ``Adapter.probe_request`` makes arguments for; streaming ones that are their own come second.
_METHODS = (("chat.completions.create", None), ("messages.create", None), ("chat", "chat_stream"))
_NO_RETRY: dict[str, dict[str, Any]] = {"cohere": {"request_options": {"max_retries": 0}}}
"""SDKs that are told call by call not to retry; the others are told by ``with_options``."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A wrapped client and the way to call it; one attempt a call, so that no retry hides in a runtime."""

    provider: str
    client: Any
    method: Callable[..., Any]
    arguments: Callable[[str, str, int, bool], dict[str, Any]]

    def send(self, model: str, prompt: str, output_tokens: int, stream: bool) -> Call:
        """Make one call, read it to its end, and return it as recorded; raises what the SDK raises."""
        with testing.recording() as calls:  # in memory alone: a probe is no traffic and reaches no exporter
            answer = self.method(
                **_accepted(
                    self.method, self.arguments(model, prompt, output_tokens, stream), _NO_RETRY.get(self.provider, {})
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
    adapter, method = _adapter_of(client), _method(client, stream)
    if adapter is None or method is None:
        raise UnsupportedClientError(
            f"{type(client).__name__} cannot be probed: a synchronous client with chat or messages is needed"
        )
    return Probe(adapter.provider, client, method, adapter.probe_request)


def _adapter_of(client: Any) -> Adapter | None:
    """The adapter of a synchronous client."""
    for adapter in adapters():
        for seam in adapter.seams:
            module, _, name = (seam.client or seam.target).partition(":")
            known = getattr(sys.modules.get(module), name, None)
            if not seam.is_async and isinstance(known, type) and isinstance(client, known):
                return adapter
    return None


def _method(client: Any, stream: bool) -> Callable[..., Any] | None:
    for plain, streamed in _METHODS:
        name = streamed if stream and streamed else plain
        method = client
        for part in name.split("."):
            method = getattr(method, part, None)
        if callable(method):
            return cast(Callable[..., Any], method)
    return None


def _accepted(method: Callable[..., Any], arguments: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """*arguments* and *extra* without those this version of the SDK does not have."""
    arguments = {**arguments, **extra}
    names = inspect.signature(method).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in names.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in names}
