"""Type-checked, never run: what a user's type checker sees of every public name. An ignore that is not needed is an error too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import openai
from opentelemetry.sdk.trace.export import ConsoleSpanExporter

import tracewrap
from tracewrap.pipeline import Pipeline

client = tracewrap.wrap(openai.OpenAI())
assert_type(client, openai.OpenAI)
async_client = tracewrap.wrap(openai.AsyncOpenAI())
assert_type(async_client, openai.AsyncOpenAI)

set_up = tracewrap.configure(
    ConsoleSpanExporter(),
    span_log=Path("calls"),
    sampled_only=False,
    otlp="http://localhost:4318",
    terminal=True,
    profiles=["profiles/"],
    references=["stack"],
    stand_ins={"closed": "open"},
    inline=False,
    denoise=True,
    prices="prices.toml",
    grid="DEU",
    metrics=True,
    semconv_metrics="both",
    stream_usage="never",
    queue_size=1000,
    exit_timeout_s=2.5,
)
assert_type(set_up, Pipeline)
set_up.flush()
set_up.close()
tracewrap.flush()
tracewrap.configure(spanlog="calls/")  # type: ignore[call-arg]
tracewrap.configure(terminal="yes")  # type: ignore[arg-type]
tracewrap.configure(semconv_metrics="v1")  # type: ignore[arg-type]
tracewrap.configure("calls/")  # type: ignore[arg-type]

tracewrap.instrument()
tracewrap.uninstrument()
catalog = tracewrap.load_catalog("profiles/", references=["stack"])
joined_calls = tracewrap.join([], catalog)
assert_type(joined_calls, Iterator[tracewrap.JoinedCall])
for joined in joined_calls:
    assert_type(joined.call, tracewrap.Call)
tracewrap.JoiningExporter(ConsoleSpanExporter(), catalog)

profile = tracewrap.RuntimeProfile(id="p", model="m", prompt_knots=((1, 0.1), (2, 0.2)), d0=0.01)
assert_type(profile.runtime(1, 2), float)
stack = tracewrap.ReferenceStack(id="s", gpu="g", precision="bf16", profiles={"m": profile})
assert_type(stack.id, str)
error: type[Exception] = tracewrap.TracewrapError
