"""Provider by address: who answers at a base URL, whatever SDK is used to call it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from tracewrap.vendors import adapters, merged

_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who answers and where. ``local``: a loopback or private address, so a model server of the user's own."""

    provider: str
    address: str | None = None
    port: int | None = None
    local: bool = False
    region: str | None = None
    """Where the client was made to run its calls, where that is part of the price."""


@lru_cache(maxsize=256)
def hosts() -> Mapping[str, str]:
    """Host or parent domain -> provider, of all vendors."""
    return merged("hosts")


@lru_cache(maxsize=256)
def accepts_stream_usage(provider: str) -> bool:
    """Whether *provider* is known to report a stream's usage when asked to."""
    return any(provider in adapter.stream_usage for adapter in adapters())


@lru_cache(maxsize=256)
def price_id(provider: str) -> str:
    """The price list's name of *provider*."""
    found: str = merged("price_ids").get(provider, provider)
    return found


@lru_cache(maxsize=256)
def priced_as_asked(provider: str) -> bool:
    """Whether the model's price goes by the name that was asked for, not by the one that answered."""
    return any(provider in adapter.priced_as_asked for adapter in adapters())


@lru_cache(maxsize=256)
def region_factor(provider: str, region: str | None) -> float | None:
    """How many times the listed price *provider* charges in *region*; None: unknown."""
    if region is None or region == "global":
        return 1.0
    known = merged("region_prices").get(provider)
    return 1.0 if known is None else known.get(region)


def forget() -> None:
    """Look the vendors up again: one was added."""
    for known in (adapters, hosts, accepts_stream_usage, price_id, priced_as_asked, region_factor):
        known.cache_clear()


def endpoint_of(default: str, url: str | None, by_class: str | None = None, region: str | None = None) -> Endpoint:
    """The endpoint at base *url*. *by_class*: what the SDK's client class says, which wins; *default*: the wire format's owner."""
    if url is None:
        return Endpoint(by_class or default, region=region)
    parts = urlsplit(url)
    host = parts.hostname
    if host is None:
        return Endpoint(by_class or default, region=region)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    return Endpoint(by_class or _provider_of(host) or default, host, port, _is_local(host), region)


def _provider_of(host: str) -> str | None:
    """The provider whose host or parent domain *host* is; Vertex puts the region before its host with a hyphen."""
    if host.endswith("-aiplatform.googleapis.com"):
        return "gcp.vertex_ai"
    labels, known_hosts = host.split("."), hosts()
    for start in range(len(labels)):
        known = known_hosts.get(".".join(labels[start:]))
        if known is not None:
            return known
    return None


def reports_usage_when_asked(endpoint: Endpoint) -> bool:
    """Whether the server of *endpoint* is known to report a stream's usage when asked, and only then."""
    known = accepts_stream_usage(endpoint.provider) and endpoint.address is not None
    return known and _provider_of(endpoint.address or "") == endpoint.provider


def _is_local(host: str) -> bool:
    if host == "localhost" or "." not in host or host.endswith((".local", ".internal", ".localhost")):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private
