"""You own your OpenTelemetry pipeline: keep it, and put the join in front of your exporter.

OPENAI_API_KEY=... python examples/03_own_pipeline.py [MODEL]
"""

import sys

import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

import tracewrap

model = sys.argv[1] if len(sys.argv) > 1 else "gpt-5-mini"

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(tracewrap.JoiningExporter(ConsoleSpanExporter())))
trace.set_tracer_provider(provider)
tracewrap.instrument()

with trace.get_tracer("app").start_as_current_span("question"):
    reply = openai.OpenAI().chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Name a pelican."}]
    )
print(reply.choices[0].message.content, file=sys.stderr)
