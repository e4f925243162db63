"""Type-checked, never run: what a user's type checker sees."""

from __future__ import annotations

from typing import assert_type

import openai

import tracewrap

client = tracewrap.wrap(openai.OpenAI())
assert_type(client, openai.OpenAI)
async_client = tracewrap.wrap(openai.AsyncOpenAI())
assert_type(async_client, openai.AsyncOpenAI)

tracewrap.configure(span_log="calls/", terminal=True)
tracewrap.instrument()
tracewrap.uninstrument()
for joined in tracewrap.join([], tracewrap.load_catalog()):
    assert_type(joined, tracewrap.JoinedCall)
    assert_type(joined.call, tracewrap.Call)
