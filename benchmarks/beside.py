"""Other tracing libraries in the same program, before tracewrap and after it: the program lives, each call is recorded once and whole.

    python benchmarks/beside.py [--libraries ddtrace sentry ...] [--environments FOLDER] [--json FILE]

Each library gets an environment of its own in FOLDER (a download; kept for the next time). A row is a program of its own that makes calls
to a vendor on loopback, plain, streamed, failed and async, with OpenAI's and Anthropic's SDKs. Checked against the same program without
tracewrap: it ends the same way and its calls return the same; the span log holds each call once, with its outcome and the tokens that
the vendor reported. Nothing leaves the machine: keys are made up, and addresses are loopback's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fake_vendor import FakeVendor
from tracewrap.sources import read_calls

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 120.0
ORDERS = ("theirs first", "ours first")
WAYS = ("wrap", "instrument", "run")
EVERY = ["openai", "anthropic", "httpx"]
PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
if not isinstance(trace.get_tracer_provider(), TracerProvider):
    trace.set_tracer_provider(TracerProvider())
"""
PROGRAM = textwrap.dedent(
    """
    import asyncio, json, os, sys
    url, order, way = sys.argv[1:4]

    def theirs():
        exec(os.environ["BESIDE_START"], globals())

    def ours():
        if way in ("wrap", "instrument"):
            import tracewrap
            tracewrap.configure()
            if way == "instrument":
                tracewrap.instrument()

    for begin in (theirs, ours) if order == "theirs first" else (ours, theirs):
        begin()
    import anthropic, openai

    def made(client):
        import types
        scope = {"client": client}
        def their():
            exec(os.environ["BESIDE_CLIENT"], scope)
        def our():
            if way == "wrap":
                scope["client"] = tracewrap.wrap(scope["client"])
        if way == "wrap":
            import tracewrap
        for wrapping in (their, our) if order == "theirs first" else (our, their):
            wrapping()
        return scope["client"]

    said = []
    q = {"messages": [{"role": "user", "content": "one two three"}]}
    usage = {"include_usage": True}
    broken = {"x-fault": json.dumps({"status": 429})}
    options = dict(api_key="k", max_retries=0, timeout=30)

    def tried(name, make):
        try:
            said.append((name, make()))
        except Exception as error:
            said.append((name, type(error).__name__))

    chat = made(openai.OpenAI(base_url=url + "/v1", **options))
    create = chat.chat.completions.create
    tried("plain", lambda: create(model="m-plain", **q).choices[0].message.content)
    tried("stream", lambda: len(list(create(model="m-stream", stream=True, stream_options=usage, **q))))
    tried("failed", lambda: create(model="m-failed", extra_headers=broken, **q).id)
    tried("responses", lambda: chat.responses.create(model="m-responses", input="one two").output_text)
    tried("embedding", lambda: len(chat.embeddings.create(model="m-embedding", input="one two").data))
    claude = made(anthropic.Anthropic(base_url=url, **options))
    tell = claude.messages.create
    tried("claude", lambda: tell(model="m-claude", max_tokens=8, **q).content[0].text)
    tried("claude stream", lambda: len(list(tell(model="m-claude-stream", max_tokens=8, stream=True, **q))))
    tried("claude failed", lambda: tell(model="m-claude-failed", max_tokens=8, extra_headers=broken, **q).id)

    async def later():
        chat = made(openai.AsyncOpenAI(base_url=url + "/v1", **options))
        claude = made(anthropic.AsyncAnthropic(base_url=url, **options))
        answer = await chat.chat.completions.create(model="m-async", **q)
        said.append(("async", answer.choices[0].message.content))
        stream = await chat.chat.completions.create(
            model="m-async-stream", stream=True, stream_options=usage, **q)
        said.append(("async stream", len([chunk async for chunk in stream])))
        answer = await claude.messages.create(model="m-async-claude", max_tokens=8, **q)
        said.append(("async claude", answer.content[0].text))

    asyncio.run(later())
    print("SAID " + json.dumps(said), flush=True)
    """
)
OUTCOMES = {
    "m-plain": "complete",
    "m-stream": "complete",
    "m-failed": "error",
    "m-responses": "complete",
    "m-embedding": "complete",
    "m-claude": "complete",
    "m-claude-stream": "complete",
    "m-claude-failed": "error",
    "m-async": "complete",
    "m-async-stream": "complete",
    "m-async-claude": "complete",
}
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True)
class Library:
    """One library: what to install, what its program runs first, what it does to each client, and its environment variables."""

    packages: tuple[str, ...]
    start: str
    client: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    wraps_first: bool = True
    """It may wrap a client before ``wrap()`` does; else what it makes is no client of the SDK any more, and ``wrap()`` says so."""


def _by_vendor(openai: str, anthropic: str) -> str:
    return f"if 'openai' in type(client).__module__:\n    {openai}\nelse:\n    {anthropic}\n"


LIBRARIES = {
    "ddtrace": Library(
        ("ddtrace",),
        "from ddtrace import patch\npatch(openai=True, anthropic=True, httpx=True)",
        environment=(("DD_TRACE_AGENT_URL", NOWHERE), ("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false")),
    ),
    "sentry": Library(
        ("sentry-sdk",),
        "import sentry_sdk\nsentry_sdk.init(dsn='http://k@127.0.0.1:9/1', traces_sample_rate=1.0, send_default_pii=True)",
    ),
    "newrelic": Library(
        ("newrelic",),
        "import newrelic.agent\nnewrelic.agent.initialize()",
        environment=(
            ("NEW_RELIC_DEVELOPER_MODE", "true"),
            ("NEW_RELIC_LICENSE_KEY", "k" * 40),
            ("NEW_RELIC_APP_NAME", "a"),
        ),
    ),
    "elastic": Library(
        ("elastic-apm",),
        "import elasticapm\napm = elasticapm.Client(disable_send=True, service_name='a')\n"
        "elasticapm.instrument()\napm.begin_transaction('job')",
    ),
    "logfire": Library(
        ("logfire",),
        "import logfire\nlogfire.configure(send_to_logfire=False, console=False)\n"
        "import openai, anthropic\nlogfire.instrument_openai()\nlogfire.instrument_anthropic()",
    ),
    "langfuse": Library(
        ("langfuse",),
        f"from langfuse import Langfuse\nLangfuse(public_key='k', secret_key='k', host='{NOWHERE}')\nimport langfuse.openai",
    ),
    "langsmith": Library(
        ("langsmith",),
        "import langsmith.wrappers",
        "from langsmith import wrappers\n"
        + _by_vendor("client = wrappers.wrap_openai(client)", "client = wrappers.wrap_anthropic(client)"),
        (("LANGSMITH_TRACING", "true"), ("LANGSMITH_API_KEY", "k"), ("LANGSMITH_ENDPOINT", NOWHERE)),
    ),
    "braintrust": Library(
        ("braintrust",),
        "import braintrust",
        "import braintrust\n"
        + _by_vendor("client = braintrust.wrap_openai(client)", "client = braintrust.wrap_anthropic(client)"),
        (("BRAINTRUST_API_URL", NOWHERE), ("BRAINTRUST_APP_URL", NOWHERE)),
        wraps_first=False,
    ),
    "openinference": Library(
        ("openinference-instrumentation-openai", "openinference-instrumentation-anthropic"),
        PROVIDER
        + "from openinference.instrumentation.openai import OpenAIInstrumentor\n"
        + "from openinference.instrumentation.anthropic import AnthropicInstrumentor\n"
        + "OpenAIInstrumentor().instrument()\nAnthropicInstrumentor().instrument()",
    ),
    "openllmetry": Library(
        ("opentelemetry-instrumentation-openai", "opentelemetry-instrumentation-anthropic"),
        PROVIDER
        + "from opentelemetry.instrumentation.openai import OpenAIInstrumentor\n"
        + "from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor\n"
        + "OpenAIInstrumentor().instrument()\nAnthropicInstrumentor().instrument()",
    ),
    "weave": Library(
        ("weave",),
        "from weave.integrations.patch import patch_anthropic, patch_openai\npatch_openai()\npatch_anthropic()",
    ),
    "agentops": Library(
        ("agentops",),
        f"import agentops\nagentops.init(api_key='k', endpoint='{NOWHERE}', exporter_endpoint='{NOWHERE}', fail_safe=True)",
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One library in one order under one way. ``wrong``: what differs from the right thing; nothing where all is well."""

    library: str
    order: str
    way: str
    wrong: tuple[str, ...]


def environment_for(name: str, folder: Path) -> Path:
    """The Python of *name*'s environment, made where it is missing.

    Raises:
        subprocess.CalledProcessError: something could not be installed.
    """
    python = folder / name / "bin" / "python"
    done = folder / name / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-e", str(ROOT), *EVERY, *LIBRARIES[name].packages], check=True)
        done.touch()
    return python


def programs_words(python: Path, library: Library, url: str, order: str, way: str, home: Path) -> tuple[int, str, str]:
    """(exit code, what its calls returned, all it printed) of one program."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("TRACEWRAP_", "OTEL_"))}
    none = {f"OTEL_{kind}_EXPORTER": "none" for kind in ("TRACES", "METRICS", "LOGS")}
    code = {"BESIDE_START": library.start, "BESIDE_CLIENT": library.client}
    places = {"HOME": str(home), "TRACEWRAP_SPAN_LOG": str(home / "calls"), "PYTHONFAULTHANDLER": "1"}
    (home / "program.py").write_text(PROGRAM)
    command = [str(python), "program.py", url, order, way]
    if way == "run":
        command = [str(python), "-m", "tracewrap", "run", "--quiet", "--", *command]
    environment = mine | none | code | places | dict(library.environment)
    try:
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as hung:
        return 124, "", f"did not end in {LIMIT_S:.0f} s: {str(hung.stderr)[-2000:]}"
    said = [text for text in done.stdout.splitlines() if text.startswith("SAID ")]
    return done.returncode, said[0] if said else "", (done.stdout + done.stderr)[-3000:]


def wrong_records(folder: Path) -> list[str]:
    """What is wrong with the calls in *folder*: missing, doubled, not whole."""
    calls = list(read_calls(str(folder))) if folder.exists() else []
    count = Counter(call.request_model for call in calls)
    wrong = [f"{name} recorded {count[name]} times" for name in OUTCOMES if count[name] != 1]
    wrong += [f"{name} recorded, which was never called" for name in count if name not in OUTCOMES]
    for call in calls:
        expected = OUTCOMES.get(str(call.request_model), "")
        if call.outcome != expected:
            wrong.append(f"{call.request_model} is {call.outcome}, not {expected}")
        if expected == "complete" and (call.usage is None or call.usage.source != "reported"):
            wrong.append(f"{call.request_model} has no reported tokens")
    return wrong


def rows_of(name: str, python: Path, url: str) -> list[Row]:
    """Every order and way of one library; under ``run`` tracewrap always comes first."""
    library, rows = LIBRARIES[name], []
    with tempfile.TemporaryDirectory() as home:
        alone = programs_words(python, library, url, "theirs first", "none", Path(home))
    if alone[0] != 0 or not alone[1]:
        return [Row(name, "alone", "none", (f"the program without tracewrap fails: {alone[2]}",))]
    for way in WAYS:
        for order in ORDERS if way != "run" and (way != "wrap" or library.wraps_first) else ORDERS[1:]:
            with tempfile.TemporaryDirectory() as home:
                code, said, printed = programs_words(python, library, url, order, way, Path(home))
                wrong = wrong_records(Path(home, "calls"))
            if (code, said) != alone[:2]:
                wrong.append(f"exit {code}, {said or printed}; alone: exit {alone[0]}, {alone[1]}")
            elif wrong:
                wrong.append(printed)
            rows.append(Row(name, order, way, tuple(wrong)))
    return rows


def main() -> int:
    """Print a row as it is known; 1 when one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--libraries", nargs="+", choices=list(LIBRARIES), default=list(LIBRARIES))
    parser.add_argument("--environments", metavar="FOLDER", default=".venv-beside")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    rows: list[Row] = []
    print(f"{'library':<14} {'order':<13} {'way':<11}")
    with FakeVendor() as vendor:
        for name in args.libraries:
            for row in rows_of(name, environment_for(name, Path(args.environments).absolute()), vendor.url):
                rows.append(row)
                print(f"{name:<14} {row.order:<13} {row.way:<11} {'; '.join(row.wrong) or 'right'}", flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
