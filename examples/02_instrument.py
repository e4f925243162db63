"""Instrument every client of every installed SDK, streaming and async alike, without touching the code that makes them.

OPENAI_API_KEY=... python examples/02_instrument.py [MODEL]
"""

import asyncio
import sys

import openai

import tracewrap

model = sys.argv[1] if len(sys.argv) > 1 else "gpt-5-mini"

tracewrap.configure(terminal=True, span_log="calls")
tracewrap.instrument()


async def ask(question: str) -> str:
    async with openai.AsyncOpenAI() as client:
        messages = [{"role": "user", "content": question}]
        stream = await client.chat.completions.create(model=model, messages=messages, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def main() -> None:
    for answer in await asyncio.gather(ask("Name a pelican."), ask("Name a heron.")):
        print(answer)


asyncio.run(main())
tracewrap.uninstrument()
