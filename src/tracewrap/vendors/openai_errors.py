"""A failure that is told inside an answer of status 200, in the words of OpenAI and of the servers that speak its wire format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracewrap.vendors.adapter import get
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
