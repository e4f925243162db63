"""The table of what a call can count: one row a field of ``TokenUsage``.

Writing and reading attributes, the columns of the calls table, the terms of a list cost and the metrics follow from it: a new count is a
row here, a field of ``TokenUsage`` and the line of the vendor file that reads it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from tracewrap.semconv import names


class TokenField(NamedTuple):
    """One count beside the totals. ``part_of``: the total that holds it, None for what is billed apart.

    ``price``: kind of price (``tracewrap.prices.rates.KINDS``); None: priced as its total is.
    ``older``: names that were written before, or by OpenInference; they are read where ``attribute`` is absent.
    """

    name: str
    attribute: str
    part_of: Literal["input", "output"] | None
    price: str | None
    older: tuple[str, ...] = ()


_PROMPT, _COMPLETION = f"{names.OPENINFERENCE_INPUT}_details", f"{names.OPENINFERENCE_OUTPUT}_details"
DETAILS: tuple[TokenField, ...] = (
    TokenField("cached_input_tokens", names.CACHE_READ, "input", "cached", (f"{_PROMPT}.cache_read",)),
    TokenField(
        "cache_write_input_tokens",
        names.CACHE_WRITE,
        "input",
        "cache_write",
        (names.CACHE_WRITE_OLD, f"{_PROMPT}.cache_write"),
    ),
    TokenField("cache_write_long_input_tokens", names.CACHE_WRITE_LONG, "input", "cache_write_long"),
    TokenField("reasoning_output_tokens", names.REASONING, "output", "reasoning", (f"{_COMPLETION}.reasoning",)),
    TokenField("audio_input_tokens", names.AUDIO_INPUT, "input", "audio_input", (f"{_PROMPT}.audio",)),
    TokenField("cached_audio_input_tokens", names.AUDIO_CACHE_READ, "input", "cached_audio"),
    TokenField("audio_output_tokens", names.AUDIO_OUTPUT, "output", "audio_output", (f"{_COMPLETION}.audio",)),
    TokenField("image_input_tokens", names.IMAGE_INPUT, "input", "image_input"),
    TokenField("cached_image_input_tokens", names.IMAGE_CACHE_READ, "input", "cached_image"),
    TokenField("image_output_tokens", names.IMAGE_OUTPUT, "output", "image_output"),
    TokenField("accepted_prediction_output_tokens", names.ACCEPTED_PREDICTION, "output", None),
    TokenField("rejected_prediction_output_tokens", names.REJECTED_PREDICTION, "output", None),
    TokenField("web_searches", names.WEB_SEARCHES, None, "web_search"),
    TokenField("file_searches", names.FILE_SEARCHES, None, "file_search"),
    TokenField("search_units", names.SEARCH_UNITS, None, "search_unit"),
    TokenField("other_charges", names.OTHER_CHARGES, None, "other"),
)
"""In the order of ``TokenUsage``'s fields, between its totals and its billed totals."""

DETAIL_ATTRIBUTES = tuple(field.attribute for field in DETAILS)
USAGE_COLUMNS = (
    "input_tokens",
    "output_tokens",
    *(field.name for field in DETAILS),
    "billed_input_tokens",
    "billed_output_tokens",
)
"""``TokenUsage``'s counts in order, as the calls table names them."""
