"""Counting the tokens of a prompt whose usage nobody reported.

Rule: four bytes of UTF-8 text a token, rounded up; about right for English prose (OpenAI's rule of thumb), low for code and for
scripts outside Latin. Such usage is marked ``source="estimated"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.records import TokenUsage

_BYTES_PER_TOKEN = 4
_NO_TEXT = frozenset({"role", "type", "image_url", "input_audio", "inlineData", "inline_data", "fileData", "file_data"})


def with_counted_input(usage: TokenUsage, body: Mapping[str, Any], prompt_fields: Sequence[str]) -> TokenUsage:
    """*usage* with ``input_tokens`` counted from the text in *prompt_fields* of the request *body*; unchanged when there is none."""
    size = sum(_text_bytes(body[field]) for field in prompt_fields if field in body)
    if not size:
        return usage
    return usage._replace(input_tokens=-(-size // _BYTES_PER_TOKEN), source="estimated")


def _text_bytes(value: Any) -> int:
    """Bytes of all text in *value*; a list of whole numbers is a list of token ids."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "ignore"))
    if isinstance(value, Mapping):
        return sum(_text_bytes(inner) for key, inner in value.items() if key not in _NO_TEXT)
    if isinstance(value, list | tuple):
        if value and all(type(item) is int for item in value):
            return _BYTES_PER_TOKEN * len(value)
        return sum(_text_bytes(item) for item in value)
    return 0
