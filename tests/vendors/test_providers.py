"""Who answers at an address."""

from __future__ import annotations

import pytest

from tracewrap.vendors.providers import Endpoint, endpoint_of


@pytest.mark.parametrize(
    ("url", "provider", "address", "port"),
    [
        ("https://api.openai.com/v1/", "openai", "api.openai.com", 443),
        ("https://eu.api.openai.com/v1", "openai", "eu.api.openai.com", 443),
        ("https://my-res.openai.azure.com/openai/v1/", "azure.ai.openai", "my-res.openai.azure.com", 443),
        ("https://api.groq.com/openai/v1", "groq", "api.groq.com", 443),
        ("https://api.together.xyz/v1", "together", "api.together.xyz", 443),
        (
            "https://bedrock-runtime.us-east-1.amazonaws.com",
            "aws.bedrock",
            "bedrock-runtime.us-east-1.amazonaws.com",
            443,
        ),
        (
            "https://us-central1-aiplatform.googleapis.com/v1",
            "gcp.vertex_ai",
            "us-central1-aiplatform.googleapis.com",
            443,
        ),
        (
            "https://generativelanguage.googleapis.com/v1beta/openai/",
            "gcp.gemini",
            "generativelanguage.googleapis.com",
            443,
        ),
        ("https://api.anthropic.com", "anthropic", "api.anthropic.com", 443),
        ("https://api.cohere.com", "cohere", "api.cohere.com", 443),
        ("https://res.services.ai.azure.com/anthropic/", "azure.ai.inference", "res.services.ai.azure.com", 443),
        ("https://notopenai.example/v1", "openai", "notopenai.example", 443),
        ("https://api.openai.com.evil.example/v1", "openai", "api.openai.com.evil.example", 443),
        ("http://localhost:8000/v1", "openai", "localhost", 8000),
        ("http://10.0.0.5:11434/v1", "openai", "10.0.0.5", 11434),
        ("http://[::1]:8080/v1", "openai", "::1", 8080),
    ],
)
def test_provider_address_and_port(url: str, provider: str, address: str, port: int) -> None:
    """The provider is the host's owner, else the owner of the wire format; address and port are the server's."""
    endpoint = endpoint_of("openai", url)
    assert (endpoint.provider, endpoint.address, endpoint.port) == (provider, address, port)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://localhost", True),
        ("http://vllm:8000/v1", True),
        ("http://192.168.1.9/v1", True),
        ("http://llm.internal/v1", True),
        ("http://[fd00::1]/v1", True),
        ("https://api.groq.com", False),
        ("http://8.8.8.8", False),
    ],
)
def test_local_servers(url: str, local: bool) -> None:
    """Loopback, private and single-label hosts are the user's own."""
    assert endpoint_of("openai", url).local is local


def test_client_class_wins() -> None:
    """What the SDK's class says beats the address; without an address nothing is made up."""
    assert endpoint_of("openai", "https://gateway.example/x", "azure.ai.openai").provider == "azure.ai.openai"
    assert endpoint_of("cohere", None) == Endpoint("cohere")
