"""The wire is a public format: names and types change only on purpose, here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tracewrap.prices.rates import KINDS
from tracewrap.records import Call, Estimate, JoinedCall, TokenUsage
from tracewrap.semconv import DETAILS, USAGE_COLUMNS, call_attributes, call_from_attributes, joined_attributes
from tracewrap.sources.table import CALL_COLUMNS
from tracewrap.vendors import adapters

ROOT = Path(__file__).resolve().parents[2]
DOC, VENDORS = ROOT / "docs" / "answers.md", ROOT / "src" / "tracewrap" / "vendors"
FULL = TokenUsage(*range(1000, 1000 + len(USAGE_COLUMNS) - 2), 7, 8, source="reported")
CALL = Call(
    **{
        "trace_id": "0" * 31 + "1",
        "span_id": "0" * 15 + "2",
        "start_time_ns": 5,
        "provider": "openai",
        "operation": "chat",
    },
    **{"request_model": "m", "response_model": "m-1", "server_address": "h", "server_port": 443, "stream": True},
    **{
        "usage": FULL,
        "raw_runtime_s": 2.0,
        "time_to_first_chunk_s": 0.5,
        "consumer_s": 0.1,
        "attempts": 2,
        "retry_s": 0.2,
    },
    **{"outcome": "error", "error_type": "E", "response_id": "r", "request_id": "q", "service_tier": "flex"},
    **{"speed": "fast", "region": "us", "finish_reasons": ("stop",), "server_processing_s": 0.3},
)
GOLDEN = {
    "error.type": str,
    "gen_ai.operation.name": str,
    "gen_ai.provider.name": str,
    "gen_ai.request.model": str,
    "gen_ai.request.stream": bool,
    "gen_ai.response.finish_reasons": tuple,
    "gen_ai.response.id": str,
    "gen_ai.response.model": str,
    "gen_ai.response.time_to_first_chunk": float,
    "gen_ai.usage.audio.cache_read.input_tokens": int,
    "gen_ai.usage.audio.input_tokens": int,
    "gen_ai.usage.audio.output_tokens": int,
    "gen_ai.usage.cache_read.input_tokens": int,
    "gen_ai.usage.cache_write.input_tokens": int,
    "gen_ai.usage.image.cache_read.input_tokens": int,
    "gen_ai.usage.image.input_tokens": int,
    "gen_ai.usage.image.output_tokens": int,
    "gen_ai.usage.input_tokens": int,
    "gen_ai.usage.output_tokens": int,
    "gen_ai.usage.reasoning.output_tokens": int,
    "server.address": str,
    "server.port": int,
    "tracewrap.attempts": int,
    "tracewrap.consumer.seconds": float,
    "tracewrap.outcome": str,
    "tracewrap.region": str,
    "tracewrap.request.id": str,
    "tracewrap.retry.seconds": float,
    "tracewrap.runtime.raw": float,
    "tracewrap.server.processing": float,
    "tracewrap.service_tier": str,
    "tracewrap.speed": str,
    "tracewrap.usage.accepted_prediction.output_tokens": int,
    "tracewrap.usage.cache_write_long.input_tokens": int,
    "tracewrap.usage.file_searches": int,
    "tracewrap.usage.other_charges": int,
    "tracewrap.usage.processed.input_tokens": int,
    "tracewrap.usage.processed.output_tokens": int,
    "tracewrap.usage.rejected_prediction.output_tokens": int,
    "tracewrap.usage.search_units": int,
    "tracewrap.usage.source": str,
    "tracewrap.usage.web_searches": int,
}
JOINED = {
    "tracewrap.contention.seconds": float,
    "tracewrap.contention.share": float,
    "tracewrap.cost.idealized": float,
    "tracewrap.cost.list": float,
    "tracewrap.energy.idealized": float,
    "tracewrap.join.status": str,
    "tracewrap.profile.denoised": str,
    "tracewrap.profile.idealized": str,
    "tracewrap.provenance": str,
    "tracewrap.reference.stack": str,
    "tracewrap.runtime.denoised": float,
    "tracewrap.runtime.idealized": float,
    "tracewrap.serving.ratio": float,
}


def test_attributes_of_a_call() -> None:
    """Names and types of everything a call can say; and it is read back as it was."""
    attributes = call_attributes(CALL)
    assert {name: type(value) for name, value in attributes.items()} == GOLDEN
    ids = {"trace_id": CALL.trace_id, "span_id": CALL.span_id, "start_time_ns": CALL.start_time_ns}
    assert call_from_attributes(attributes, **ids) == CALL


def test_attributes_of_a_joined_call() -> None:
    """Names and types of what the join adds, none missing."""
    made = Estimate(1.0, 0.9, 1.1, "measured", "p")
    names = ("denoised_runtime", "idealized_runtime", "idealized_cost", "idealized_energy")
    joined = JoinedCall(
        call=CALL, join_status="ok", list_cost_usd=0.1, reference_stack="s", **dict.fromkeys(names, made)
    )
    found = {name: type(value) for name, value in joined_attributes(joined).items()}
    assert {name: kind for name, kind in found.items() if name in JOINED} == JOINED


def test_one_table_of_counts() -> None:
    """The table's rows are the record's fields, in order, and columns of the calls table."""
    assert (*USAGE_COLUMNS, "source") == TokenUsage._fields
    assert [CALL_COLUMNS[name] for name in USAGE_COLUMNS] == ["BIGINT"] * len(USAGE_COLUMNS)


def test_the_document_knows_every_count() -> None:
    """Each count has its row: name, attribute and what it costs."""
    rows = [line for line in DOC.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    for field in DETAILS:
        (row,) = [line for line in rows if line.startswith(f"| `{field.name}` |")]
        assert f"`{field.attribute}`" in row
        assert row.endswith(f"| `{field.price}` |" if field.price else "| as its total |")
    assert len(rows) == len(DETAILS) + 3  # the head and the two totals


_DETAILS = {
    **dict.fromkeys(("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens"), 2),
    "cached_tokens_details": {"audio_tokens": 1, "image_tokens": 1},
    "cache_write_tokens_details": {"ttl_12h_tokens": 1},
}
_OUT = dict.fromkeys(
    (
        *("reasoning_tokens", "audio_tokens", "image_tokens"),
        *("accepted_prediction_tokens", "rejected_prediction_tokens"),
    ),
    1,
)
_ITEMS = [{"type": "web_search_call"}, {"type": "file_search_call"}, {"type": "shell_call"}]
_MODALITIES = [{"modality": kind, "tokenCount": 1} for kind in ("AUDIO", "IMAGE")]
EVERYTHING: dict[str, dict[str, Any]] = {
    "openai": {
        "usage": {
            "input_tokens": 50,
            "output_tokens": 9,
            "input_tokens_details": _DETAILS,
            "output_tokens_details": _OUT,
        },
        "output": _ITEMS,
    },
    "anthropic": {
        "usage": {
            **{"input_tokens": 5, "output_tokens": 9, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 2},
            "cache_creation": {"ephemeral_1h_input_tokens": 1},
            "output_tokens_details": {"thinking_tokens": 1},
            "server_tool_use": {"web_search_requests": 1},
            "iterations": [{"type": "advisor_message"}],
        }
    },
    "gcp.gemini": {
        "usageMetadata": {
            **{"promptTokenCount": 9, "candidatesTokenCount": 5, "cachedContentTokenCount": 2, "thoughtsTokenCount": 1},
            **dict.fromkeys(("promptTokensDetails", "candidatesTokensDetails", "cacheTokensDetails"), _MODALITIES),
        },
        "candidates": [{"groundingMetadata": {"webSearchQueries": ["q"]}}],
    },
    "aws.bedrock": {
        "usage": {
            **{"inputTokens": 5, "outputTokens": 9, "cacheReadInputTokens": 2, "cacheWriteInputTokens": 2},
            "cacheDetails": [{"ttl": "1h", "inputTokens": 1}],
        }
    },
    "cohere": {
        "usage": {
            "billed_units": {"input_tokens": 5, "output_tokens": 9, "image_tokens": 1, "search_units": 1},
            "cached_tokens": 2,
        }
    },
}
"""An answer of each vendor that says all that it can."""


def test_the_document_says_who_tells_what() -> None:
    """A vendor's cell is filled just where its reader finds that count, with names that its file reads; others are named below."""
    rows = {
        cells[0].strip("` "): cells
        for line in DOC.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `") and (cells := [cell.strip() for cell in line.strip("|").split("|")])
    }
    columns = {"openai": 2, "anthropic": 3, "cohere": 4, "gcp.gemini": 5, "aws.bedrock": 6}
    text = DOC.read_text(encoding="utf-8")
    others = {adapter.provider for adapter in adapters()} - set(columns)
    assert not {name for name in others if f"`{name}`" not in text}
    files = {"gcp.gemini": "google_genai", "aws.bedrock": "bedrock"}
    for adapter in (one for one in adapters() if one.provider in columns):
        usage = adapter.read_response(EVERYTHING[adapter.provider]).usage
        assert usage is not None
        found = {name for name, value in usage._asdict().items() if value is not None} - {"source"}
        cells = {name: row[columns[adapter.provider]] for name, row in rows.items() if name != "TokenUsage"}
        assert {name for name, cell in cells.items() if cell} == found
        source = "".join(
            path.read_text(encoding="utf-8")
            for path in VENDORS.glob(f"{files.get(adapter.provider, adapter.provider)}*.py")
        )
        for name in re.findall(r"`([\w.]+)`", " ".join(cells.values())):
            assert name.rpartition(".")[2] in source, (adapter.provider, name)
    for name, row in rows.items():
        assert name == "TokenUsage" or row[7] == "as its total" or row[7].strip("`") in KINDS
