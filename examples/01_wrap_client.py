"""Wrap one client: each call is printed on standard error, raw beside idealized (and denoised, once learned).

    OPENAI_API_KEY=... python examples/01_wrap_client.py [MODEL]

With OPENAI_BASE_URL it talks to any OpenAI-compatible server.
"""

import sys

import openai

import tracewrap

model = sys.argv[1] if len(sys.argv) > 1 else "gpt-5-mini"

tracewrap.configure(terminal=True, span_log="calls")
client = tracewrap.wrap(openai.OpenAI())

reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Name a pelican."}])
print(reply.choices[0].message.content)
