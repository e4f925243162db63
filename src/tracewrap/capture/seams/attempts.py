"""The SDK's own steps round each attempt of a call: the pause before it, the request about to be sent, the response received."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracewrap.capture import tracing
from tracewrap.capture.call import OpenCall
from tracewrap.capture.patches import Make
from tracewrap.capture.seams.connector import listen_to_connectors
from tracewrap.capture.seams.entries import attend
from tracewrap.capture.seams.steps import after, before


def steps(is_async: bool) -> tuple[tuple[str, Make], ...]:
    """(method of an SDK's client class, maker of its replacement)."""
    return (
        ("_sleep_for_retry", after(_paused, is_async)),
        ("_process_response", before(_responded)),
        ("_prepare_request", after(_prepared_async if is_async else _prepared, is_async)),
    )


def _paused(call: OpenCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """The pause between two attempts is over."""
    call.attempt()


def _responded(call: OpenCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """The SDK looks at the response of an attempt: its headers are the call's."""
    call.answered(kwargs.get("response"))


def _prepared(call: OpenCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """The SDK's last look at a request before it hands it to its HTTP library; a span of its own is open by now."""
    if call.standing is None:
        call.standing = tracing.lend_current()
    attend(call, args[1] if len(args) > 1 else kwargs["request"], False, args[0]._client)


def _prepared_async(call: OpenCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """``_prepared`` of an asynchronous SDK."""
    if call.standing is None:
        call.standing = tracing.lend_current()
    attend(call, args[1] if len(args) > 1 else kwargs["request"], True, args[0]._client)
    listen_to_connectors()
