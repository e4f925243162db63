"""tracewrap: raw, denoised and idealized runtime and cost of every LLM call."""

from __future__ import annotations
