"""How an answer of status 200 ended, in the words of OpenAI and of the servers that speak its wire format: failures are told inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.vendors.adapter import fields, get
from tracewrap.vendors.checks import text


def told_error(values: Mapping[str, Any]) -> Any:
    """The error of an answer or a chunk; None: it tells none. Some servers (vLLM before its second engine) send it without an envelope."""
    error = values.get("error")
    return values if error is None and values.get("object") == "error" else error


def error_type(error: Any) -> str:
    """The vendor's own code of a failure told in an answer."""
    for name in ("code", "type"):
        code = get(error, name)
        if isinstance(code, str | int) and not isinstance(code, bool):
            return text(str(code)) or "_OTHER"
    return "_OTHER"


def note_reasons(choices: Sequence[Any], reasons: dict[int, str]) -> Any:
    """Put why each of *choices* ended into *reasons*, by its index; what one says of an error."""
    error = None
    for choice in choices:
        ending = fields(choice)
        reason = text(ending.get("finish_reason"))
        if reason:
            index = ending.get("index")
            reasons[index if type(index) is int else 0] = reason
            error = ending.get("error") if error is None else error
    return error
