"""SDKs made by the generator that makes OpenAI's, for servers that speak its wire format: the same seams, the same readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tracewrap.vendors import openai
from tracewrap.vendors.adapter import NOTHING, Adapter, Request, Seam


def openai_shaped(provider: str, module: str, client: str) -> Adapter:
    """The adapter of the SDK *module* with the classes *client* and ``Async...``.

    Raw HTTP, hosts and prices stay with the wire format's own file. These servers report a stream's usage unasked.
    """
    return replace(
        openai.ADAPTER,
        provider=provider,
        name=provider,
        package=module,
        seams=(Seam(f"{module}:{client}", "request"), Seam(f"{module}:Async{client}", "request", is_async=True)),
        read_request=_read_request,
        endpoints=(),
        hosts=NOTHING,
        price_ids=NOTHING,
        providers_by_class=NOTHING,
        stream_usage=frozenset(),
        read_line=None,
        unrecorded="batches",
        oldest=(),
        probe_client=f"{module}:{client}",
    )


def _read_request(path: str, body: Mapping[str, Any]) -> Request | None:
    request = openai.read_request(path, body)
    return None if request is None else request._replace(asks_usage=None)
