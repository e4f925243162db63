"""Provider by address: who answers at a base URL, whatever SDK is used to call it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

HOSTS: dict[str, str] = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.mistral.ai": "mistral_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "api.moonshot.cn": "moonshot_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "api.deepinfra.com": "deepinfra",
    "openrouter.ai": "openrouter",
    "api.cerebras.ai": "cerebras",
    "api.sambanova.ai": "sambanova",
    "router.huggingface.co": "huggingface",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "amazonaws.com": "aws.bedrock",
    "ml.cloud.ibm.com": "ibm.watsonx.ai",
}
"""Host or parent domain -> ``gen_ai.provider.name``; OpenTelemetry's value where it has one."""

STREAM_USAGE_PROVIDERS = frozenset(
    {"openai", "groq", "deepseek", "together", "fireworks", "deepinfra", "openrouter", "cerebras", "x_ai", "sambanova"}
)
"""Providers known to accept ``stream_options.include_usage``."""

_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who answers and where. ``local``: a loopback or private address, so a model server of the user's own."""

    provider: str
    address: str | None = None
    port: int | None = None
    local: bool = False


def endpoint_of(default: str, url: str | None, by_class: str | None = None) -> Endpoint:
    """The endpoint at base *url*. *by_class*: what the SDK's client class says, which wins; *default*: the wire format's owner."""
    if url is None:
        return Endpoint(by_class or default)
    parts = urlsplit(url)
    host = parts.hostname
    if host is None:
        return Endpoint(by_class or default)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    return Endpoint(by_class or _provider_of(host) or default, host, port, _is_local(host))


def _provider_of(host: str) -> str | None:
    """The provider whose host or parent domain *host* is; Vertex puts the region before its host with a hyphen."""
    if host.endswith("-aiplatform.googleapis.com"):
        return "gcp.vertex_ai"
    labels = host.split(".")
    for start in range(len(labels)):
        known = HOSTS.get(".".join(labels[start:]))
        if known is not None:
            return known
    return None


def _is_local(host: str) -> bool:
    if host == "localhost" or "." not in host or host.endswith((".local", ".internal", ".localhost")):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private
