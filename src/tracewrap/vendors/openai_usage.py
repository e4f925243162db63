"""OpenAI's usage object, of any endpoint and of the many servers that speak its wire format, each in its own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracewrap.records import TokenUsage
from tracewrap.vendors.adapter import fields, get
from tracewrap.vendors.checks import count, dollars, text


def read_usage(usage: Any) -> TokenUsage | None:
    """OpenAI's usage object of any endpoint, and what compatible servers make of it.

    ``total_tokens`` tells what stands beside the two counts: xAI and Gemini leave reasoning out of the completion's, some gateways
    cached tokens out of the prompt's. Without a total, reasoning that is more than all output must be beside it.
    """
    counts = fields(usage)
    inputs, outputs = counts.get("prompt_tokens"), counts.get("completion_tokens")
    details, more = counts.get("prompt_tokens_details"), counts.get("completion_tokens_details")
    if inputs is None and outputs is None:
        inputs, outputs = counts.get("input_tokens"), counts.get("output_tokens")
        details, more = counts.get("input_tokens_details"), counts.get("output_tokens_details")
        details = details or counts.get("input_token_details")  # transcriptions
    inputs, outputs = count(inputs), count(outputs)
    if inputs is None and outputs is None:
        return None
    total = counts.get("total_tokens")
    if details is None and more is None and (inputs is None or outputs is None or total in (None, inputs + outputs)):
        return _with_fees(TokenUsage(inputs, outputs, _cached_beside(counts)), counts)
    parts, rest = fields(details), fields(more)
    cached, written = count(parts.get("cached_tokens")), count(parts.get("cache_write_tokens"))
    if cached is None:
        cached = _cached_beside(counts)
    if written is None:
        written = _first_count((parts, "cache_creation_tokens"), (counts, "cache_creation_input_tokens"))
    reasoning = count(rest.get("reasoning_tokens"))
    inputs, outputs = _with_beside(inputs, outputs, count(total), reasoning, (cached or 0) + (written or 0))
    shared = fields(parts.get("cached_tokens_details"))
    found = TokenUsage(
        inputs,
        outputs,
        cached,
        written,
        cache_write_long_input_tokens=count(get(parts.get("cache_write_tokens_details"), "ttl_12h_tokens")),
        reasoning_output_tokens=reasoning,
        audio_input_tokens=count(parts.get("audio_tokens")),
        cached_audio_input_tokens=count(shared.get("audio_tokens")),
        audio_output_tokens=count(rest.get("audio_tokens")),
        image_input_tokens=count(parts.get("image_tokens")),
        cached_image_input_tokens=count(shared.get("image_tokens")),
        image_output_tokens=count(rest.get("image_tokens")),
        accepted_prediction_output_tokens=count(rest.get("accepted_prediction_tokens")),
        rejected_prediction_output_tokens=count(rest.get("rejected_prediction_tokens")),
    )
    return _with_fees(found, counts)


_PLAIN = frozenset(
    {
        *("total_tokens", "input_token_details", "type"),
        *(f"{side}_tokens" for side in ("prompt", "completion", "input", "output")),
        *(f"{side}_tokens_details" for side in ("prompt", "completion", "input", "output")),
    }
)
"""Fields of a usage object without fees."""
_FEES = (
    ("num_search_queries", "web_searches"),
    ("num_sources_used", "other_charges"),
    ("num_server_side_tools_used", "other_charges"),
    ("citation_tokens", "other_charges"),
)
"""Perplexity's searches and citations; xAI's sources and tools: each at a price of its own."""


def _with_fees(usage: TokenUsage, counts: Mapping[str, Any]) -> TokenUsage:
    """*usage* with what compatible servers charge apart from tokens; OpenRouter and gateways count searches as Anthropic does."""
    if counts.keys() <= _PLAIN:
        return usage
    uses: dict[str, int] = {}
    for name, field in _FEES:
        uses[field] = uses.get(field, 0) + (count(counts.get(name)) or 0)
    uses["web_searches"] += count(get(counts.get("server_tool_use"), "web_search_requests")) or 0
    charged = {field: number for field, number in uses.items() if number}
    return usage._replace(**charged) if charged else usage  # type: ignore[arg-type]


def reported_cost(counts: Mapping[str, Any]) -> float | None:
    """US dollars by the provider's own count, as a usage object tells.

    With a key of the caller's own, OpenRouter's cost is its fee alone, and what the model's owner charges comes on top.
    """
    cost = counts.get("cost")
    said = dollars(cost.get("total_cost") if isinstance(cost, Mapping) else cost)
    upstream = dollars(get(counts.get("cost_details"), "upstream_inference_cost")) if counts.get("is_byok") else None
    return said if said is None or upstream is None else said + upstream


def usage_of(values: Mapping[str, Any]) -> TokenUsage | None:
    """Usage of a whole answer, wherever its server puts it, with what is charged apart from tokens."""
    usage = read_usage(values.get("usage"))
    if values.get("choices"):
        return with_search(usage_elsewhere(values) if usage is None else usage, text(values.get("model")))
    if usage is None and values.get("object") == "list":
        # Of an embedding, which has no output, the total is the input (Voyage).
        total = count(get(values.get("usage"), "total_tokens"))
        usage = None if total is None else TokenUsage(input_tokens=total)
    return _with_tools(usage, values["output"]) if values.get("output") else usage


def with_search(usage: TokenUsage | None, model: str | None) -> TokenUsage | None:
    """*usage* of a model that searches the web in every call, for a fee that its answers do not count."""
    if usage is None or model is None or "-search-" not in model or usage.web_searches:
        return usage
    return usage._replace(web_searches=1)


def later(earlier: TokenUsage | None, usage: TokenUsage) -> TokenUsage:
    """*usage* after the *earlier* one of the same answer: it replaces what it tells, and one that is all zeros tells nothing."""
    if earlier is None:
        return usage
    if not usage.input_tokens and not usage.output_tokens:
        return earlier
    counts = (old if new is None else new for old, new in zip(earlier[:-1], usage[:-1], strict=True))
    return TokenUsage(*counts, source=usage.source)  # type: ignore[arg-type, misc]


def _with_beside(
    inputs: int | None, outputs: int | None, total: int | None, reasoning: int | None, cached: int
) -> tuple[int | None, int | None]:
    """All input and all output tokens, where the two counts do not hold all of the *total*."""
    if inputs is None or outputs is None:
        return inputs, outputs
    if total is None:
        return inputs, outputs + reasoning if reasoning is not None and reasoning > outputs else outputs
    missing = total - inputs - outputs
    if missing <= 0:
        return inputs, outputs
    if missing == cached and missing != reasoning:
        return inputs + missing, outputs
    return inputs, outputs + missing


def _cached_beside(counts: Mapping[str, Any]) -> int | None:
    """Cached tokens where servers put them besides: DeepSeek, Moonshot, and gateways to Anthropic."""
    return _first_count(
        (counts, "prompt_cache_hit_tokens"), (counts, "cached_tokens"), (counts, "cache_read_input_tokens")
    )


def _first_count(*places: tuple[Mapping[str, Any], str]) -> int | None:
    return next((found for held, name in places if (found := count(held.get(name))) is not None), None)


def usage_elsewhere(values: Mapping[str, Any]) -> TokenUsage | None:
    """Usage where compatible servers put it besides: Groq's ``x_groq``, Moonshot's first choice, llama.cpp's timings."""
    groq, choices = values.get("x_groq"), values.get("choices")
    counts = None if groq is None else get(groq, "usage")
    if not counts and choices:
        counts = fields(choices[0]).get("usage")
    usage = None if counts is None else read_usage(counts)
    return _of_timings(values.get("timings")) if usage is None and "timings" in values else usage


def _of_timings(timings: Any) -> TokenUsage | None:
    """llama.cpp: the prompt tokens it evaluated, those it had cached, and the tokens it predicted."""
    fresh, output = count(get(timings, "prompt_n")), count(get(timings, "predicted_n"))
    if fresh is None or output is None:
        return None
    cached = count(get(timings, "cache_n"))
    return TokenUsage(fresh + (cached or 0), output, cached)


_TOOLS = {"web_search_call": "web_searches", "file_search_call": "file_searches"}
_CHARGED_APART = frozenset({"code_interpreter_call", "image_generation_call", "shell_call"})


def _with_tools(usage: TokenUsage | None, output: Any) -> TokenUsage | None:
    """*usage* with the uses of the vendor's tools that are billed apart from tokens."""
    if usage is None or not isinstance(output, list | tuple):
        return usage
    uses: dict[str, int] = {}
    for item in output:
        kind = get(item, "type")
        if kind in _TOOLS and get(get(item, "action"), "type") in (None, "search"):
            uses[_TOOLS[kind]] = uses.get(_TOOLS[kind], 0) + 1
        elif kind in _CHARGED_APART:
            uses["other_charges"] = uses.get("other_charges", 0) + 1
    return usage._replace(**uses) if uses else usage  # type: ignore[arg-type]
