"""Together's SDK: OpenAI's wire format; a stream's usage comes in its last chunk."""

from __future__ import annotations

from tracewrap.vendors.openai_shaped import openai_shaped

ADAPTER = openai_shaped("together", "together", "Together")
