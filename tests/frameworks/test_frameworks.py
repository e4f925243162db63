"""Frameworks above the SDKs: a question asked through each is one call, with the server's tokens, whichever way it goes out.

Run by `make test-frameworks`, in an environment that has them; a framework that is not installed is skipped by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from fake_bedrock import FakeBedrock
from fake_vendor import FakeVendor
from fake_wire import Answer
from tracewrap import instrument, testing

pytestmark = pytest.mark.filterwarnings("ignore")  # they warn of each other
HELLO = [{"role": "user", "content": "a b c"}]
MODEL = "gpt-4o-mini"


@dataclass(frozen=True)
class Servers:
    """Where the frameworks' clients are sent."""

    vendor: FakeVendor
    bedrock: FakeBedrock


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Both fakes; keys that frameworks look for; no tracing or fetching of their own."""
    variables = {
        **{f"{name}_API_KEY": "k" for name in ("OPENAI", "ANTHROPIC", "GEMINI", "GROQ", "MISTRAL", "COHERE")},
        **{"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION_NAME": "us-east-1"},
        **{
            "AWS_EC2_METADATA_DISABLED": "true",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "CREWAI_DISABLE_TELEMETRY": "true",
        },
        **{"OPENAI_AGENTS_DISABLE_TRACING": "1", "HAYSTACK_TELEMETRY_ENABLED": "False", "OTEL_SDK_DISABLED": ""},
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with FakeVendor(answer=Answer(cached_tokens=1, unasked_usage=True)) as vendor, FakeBedrock() as bedrock:
        yield Servers(vendor, bedrock)


def need(name: str) -> Any:
    """The module *name*, or a skip that names it."""
    return pytest.importorskip(name, exc_type=ImportError)


def _langchain_openai(servers: Servers, **more: Any) -> Any:
    return need("langchain_openai").ChatOpenAI(
        model=MODEL, api_key="k", base_url=servers.vendor.openai_url, max_retries=0, **more
    )


def _langchain_anthropic(servers: Servers) -> Any:
    return need("langchain_anthropic").ChatAnthropic(
        model="claude-sonnet-4-5", api_key="k", base_url=servers.vendor.url, max_tokens=8, max_retries=0
    )


def _llama_index(servers: Servers) -> Any:
    return need("llama_index.llms.openai").OpenAI(
        model=MODEL, api_key="k", api_base=servers.vendor.openai_url, max_retries=0
    )


def _pydantic_ai(servers: Servers) -> Any:
    need("pydantic_ai")
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return Agent(OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=servers.vendor.openai_url, api_key="k")))


async def _pydantic_ai_stream(servers: Servers) -> None:
    async with _pydantic_ai(servers).run_stream("a b c") as result:
        async for _ in result.stream_text():
            pass


def _openai_agents(servers: Servers) -> Any:
    agents, openai = need("agents"), need("openai")
    agents.set_tracing_disabled(True)
    client = openai.AsyncOpenAI(base_url=servers.vendor.openai_url, api_key="k", max_retries=0)
    return agents, agents.Agent(name="a", model=agents.OpenAIChatCompletionsModel(MODEL, client))


def _ask_agents(servers: Servers) -> Any:
    agents, agent = _openai_agents(servers)
    return agents.Runner.run_sync(agent, "a b c")


async def _stream_agents(servers: Servers) -> None:
    agents, agent = _openai_agents(servers)
    async for _ in agents.Runner.run_streamed(agent, "a b c").stream_events():
        pass


def _instructor(servers: Servers) -> Any:
    instructor, openai = need("instructor"), need("openai")
    client = instructor.from_openai(
        openai.OpenAI(base_url=servers.vendor.openai_url, api_key="k"), mode=instructor.Mode.TOOLS
    )
    return client.chat.completions.create(model=MODEL, messages=HELLO, response_model=None)


def _dspy(servers: Servers) -> Any:
    lm = need("dspy").LM(
        f"openai/{MODEL}", api_base=servers.vendor.openai_url, api_key="k", cache=False, engine="litellm"
    )
    return lm(messages=HELLO)


def _smolagents(servers: Servers) -> Any:
    model = need("smolagents").OpenAIServerModel(model_id=MODEL, api_base=servers.vendor.openai_url, api_key="k")
    return model.generate([{"role": "user", "content": [{"type": "text", "text": "a b c"}]}])


def _haystack(servers: Servers) -> Any:
    need("haystack")
    from haystack.components.generators.chat import OpenAIChatGenerator
    from haystack.dataclasses import ChatMessage
    from haystack.utils import Secret

    made = OpenAIChatGenerator(model=MODEL, api_key=Secret.from_token("k"), api_base_url=servers.vendor.openai_url)
    return made.run([ChatMessage.from_user("a b c")])


def _crewai(servers: Servers) -> Any:
    return need("crewai").LLM(model=f"openai/{MODEL}", base_url=servers.vendor.openai_url, api_key="k").call(HELLO)


CLAUDE_ON_BEDROCK = "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0"
ROUTES: dict[str, Callable[[Servers], dict[str, Any]]] = {
    "openai": lambda s: {"model": f"openai/{MODEL}", "api_base": s.vendor.openai_url},
    "anthropic": lambda s: {"model": "anthropic/claude-sonnet-4-5", "api_base": s.vendor.url, "max_tokens": 8},
    "groq": lambda s: {"model": "groq/llama-3.1-8b-instant", "api_base": s.vendor.openai_url},
    "gemini": lambda s: {"model": "gemini/gemini-2.5-flash", "api_base": s.vendor.url},
    "bedrock": lambda s: {"model": CLAUDE_ON_BEDROCK, "aws_bedrock_runtime_endpoint": s.bedrock.url},
    "ollama": lambda s: {"model": "ollama_chat/llama3.1", "api_base": s.vendor.url},
    "mistral": lambda s: {"model": "mistral/mistral-small-latest", "api_base": s.vendor.openai_url},
    "together": lambda s: {"model": "together_ai/m", "api_base": s.vendor.openai_url},
    "deepseek": lambda s: {"model": "deepseek/deepseek-chat", "api_base": s.vendor.openai_url},
}
"""LiteLLM's routes; that to Cohere is asked whole alone, as it does not read the event stream of Cohere's second API."""


def _litellm(servers: Servers, route: dict[str, Any], stream: bool, is_async: bool) -> None:
    litellm = need("litellm")
    asked = {"messages": HELLO, "api_key": "k", "stream": stream, "num_retries": 0, **route}

    async def ask() -> None:
        answer = await litellm.acompletion(**asked)
        if stream:
            async for _ in answer:
                pass

    if is_async:
        asyncio.run(ask())
    else:
        answer = litellm.completion(**asked)
        if stream:
            list(answer)


ASKED: dict[str, Callable[[Servers], Any]] = {
    "langchain-openai invoke": lambda s: _langchain_openai(s).invoke("a b c"),
    "langchain-openai stream": lambda s: list(_langchain_openai(s).stream("a b c")),
    "langchain-openai ainvoke": lambda s: asyncio.run(_langchain_openai(s).ainvoke("a b c")),
    "langchain-openai responses": lambda s: _langchain_openai(s, use_responses_api=True).invoke("a b c"),
    "langchain-anthropic invoke": lambda s: _langchain_anthropic(s).invoke("a b c"),
    "langchain-anthropic stream": lambda s: list(_langchain_anthropic(s).stream("a b c")),
    "llama-index complete": lambda s: _llama_index(s).complete("a b c"),
    "llama-index stream": lambda s: list(_llama_index(s).stream_complete("a b c")),
    "pydantic-ai": lambda s: _pydantic_ai(s).run_sync("a b c"),
    "pydantic-ai stream": lambda s: asyncio.run(_pydantic_ai_stream(s)),
    "openai-agents": _ask_agents,
    "openai-agents stream": lambda s: asyncio.run(_stream_agents(s)),
    "instructor": _instructor,
    "dspy": _dspy,
    "smolagents": _smolagents,
    "haystack": _haystack,
    "crewai": _crewai,
    "litellm cohere": lambda s: _litellm(
        s, {"model": "cohere_chat/command-r", "api_base": s.vendor.url + "/v2/chat"}, False, False
    ),
} | {
    f"litellm {name} {how}": lambda s, route=route, how=how: _litellm(s, route(s), "stream" in how, how[0] == "a")  # type: ignore[misc]
    for name, route in ROUTES.items()
    for how in ("plain", "stream", "async", "async stream")
}


@pytest.mark.parametrize("name", ASKED)
def test_one_right_call(name: str, servers: Servers, recorded: testing.Recording) -> None:
    """One call, read to its end, with the tokens that the server reports."""
    instrument()
    ASKED[name](servers)
    (call,) = recorded()
    assert call.usage is not None
    assert (call.outcome, call.usage.output_tokens, call.stream) == ("complete", 8, "stream" in name)
    assert call.usage.source == "reported"
    assert call.usage.input_tokens
