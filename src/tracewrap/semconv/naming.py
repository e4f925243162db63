"""Whose names spans have when they leave the house: the conventions' newest, those of 1.36, or both; and old values read as new ones.

Within the house, in the span log and in the lake there are the newest names only.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from tracewrap.semconv import names

NAMINGS = ("latest", "v1.36", "both")
_SCHEMAS = "https://opentelemetry.io/schemas/"
SCHEMA_URL = f"{_SCHEMAS}gen-ai/1.42.0"
"""Of the GenAI conventions whose names are ``latest``."""
_OLD_NAMES = {
    names.PROVIDER: names.PROVIDER_OLD,
    names.CACHE_WRITE: names.CACHE_WRITE_OLD,
    "openai.request.service_tier": "gen_ai.openai.request.service_tier",
    names.OPENAI_SERVICE_TIER: names.OPENAI_SERVICE_TIER_OLD,
    "openai.response.system_fingerprint": "gen_ai.openai.response.system_fingerprint",
}
PROVIDERS: Mapping[str, str] = {
    "xai": "x_ai",
    "az.ai.openai": "azure.ai.openai",
    "az.ai.inference": "azure.ai.inference",
    "vertex_ai": "gcp.vertex_ai",
    "gemini": "gcp.gemini",
    "vertexai": "gcp.vertex_ai",
    "mistralai": "mistral_ai",
    "aws": "aws.bedrock",
}
"""Names that providers had -> have."""
_OLD_PROVIDERS = {"x_ai": "xai"}


def named(attributes: Mapping[str, Any], naming: str) -> Mapping[str, Any]:
    """*attributes* under the names of *naming*. Cache writes have both names also in ``latest``: receivers still read the old one."""
    if naming == "latest" or naming not in NAMINGS:
        if names.CACHE_WRITE not in attributes:
            return attributes
        return {**attributes, names.CACHE_WRITE_OLD: attributes[names.CACHE_WRITE]}
    old = {_OLD_NAMES[name]: value for name, value in attributes.items() if name in _OLD_NAMES}
    if names.PROVIDER_OLD in old:
        old[names.PROVIDER_OLD] = _OLD_PROVIDERS.get(old[names.PROVIDER_OLD], old[names.PROVIDER_OLD])
    kept = attributes if naming == "both" else {n: value for n, value in attributes.items() if n not in _OLD_NAMES}
    return {**kept, **old}


def schema_url(naming: str) -> str:
    """The schema whose names *naming*, of spans or of metrics, gives; of both, the newest."""
    return f"{_SCHEMAS}{naming.removeprefix('v')}.0" if naming.startswith("v") else SCHEMA_URL


def provider_of(attributes: Mapping[str, Any]) -> Any:
    """The provider that a span names, under either name and by today's."""
    found = attributes.get(names.PROVIDER) or next(filter(None, map(attributes.get, names.PROVIDER_NAMES[1:])), None)
    return PROVIDERS.get(found, found) if isinstance(found, str) else found


def operation_of(attributes: Mapping[str, Any]) -> Any:
    """The operation that a span names or, where it names none, shows: by its old name, or by a model and the tokens it took."""
    read = attributes.get
    found = read(names.OPERATION)
    if found is None:
        found = names.REQUEST_TYPES.get(str(read(names.REQUEST_TYPE_OLD)))
    if found is None and names.OPENINFERENCE_KIND in attributes:
        return names.OPENINFERENCE_KINDS.get(str(read(names.OPENINFERENCE_KIND)))
    named = read(names.REQUEST_MODEL) or read(names.RESPONSE_MODEL)
    if found is not None or names.STEP_KIND in attributes or not named:
        return found
    given, made = tokens_of(attributes)
    return "chat" if made is not None else None if given is None else "embeddings"


def tokens_of(attributes: Mapping[str, Any]) -> tuple[Any, Any]:
    """Input and output tokens as a span has them, under whichever name."""
    first, second = (
        next((value for name in each if (value := attributes.get(name)) is not None), None)
        for each in (names.INPUT_NAMES, names.OUTPUT_NAMES)
    )
    return first, second


def tier_of(attributes: Mapping[str, Any]) -> Any:
    """The service tier that answered, under any name."""
    read = attributes.get
    return read(names.SERVICE_TIER) or read(names.OPENAI_SERVICE_TIER) or read(names.OPENAI_SERVICE_TIER_OLD)


@functools.cache
def scope_version() -> str | None:
    """The version of the instrumentation scope, which is the package's; None for a checkout on the path."""
    try:
        return metadata.version("tracewrap")
    except metadata.PackageNotFoundError:
        return None
