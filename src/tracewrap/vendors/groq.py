"""Groq's SDK: OpenAI's wire format; a stream's usage comes in ``x_groq`` of its last chunk."""

from __future__ import annotations

from tracewrap.vendors.openai_shaped import openai_shaped

ADAPTER = openai_shaped("groq", "groq", "Groq")
