"""A made-up day of LLM traffic, any size: span logs and a lake, with profiles that fit it.

Deterministic for a seed. Two providers, four models, three services, forty tenants; token counts log-normal; contention heavier in the
afternoon; 2% retried, 1% failed, 0.5% cancelled, 3% without token counts, one model without a price and one without a profile.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from pathlib import Path

import numpy as np

from tracewrap.records import Deployment
from tracewrap.runtime.files import save_profile
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.stack import Price, ReferenceStack, save_stack
from tracewrap.sources import CALL_COLUMNS, connect
from tracewrap.sources.lake import MARK, VERSION

DAY = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
START_NS = int(DAY.timestamp()) * 10**9
# provider, address, model, streams, share of the traffic
DEPLOYMENTS = (
    ("openai", "api.openai.com", "gpt-4o", True, 0.3),
    ("openai", "api.openai.com", "gpt-4o-mini", False, 0.3),
    ("anthropic", "api.anthropic.com", "claude-sonnet-4-5", True, 0.3),
    ("openai", "llm.internal", "house-7b", False, 0.1),
)
SERVICES = ("search", "assistant", "batch")


def denoised_profile(index: int) -> RuntimeProfile:
    """The quiet-day profile of one deployment."""
    return RuntimeProfile(
        id=f"denoised-{index}",
        model=DEPLOYMENTS[index][2],
        prompt_knots=((0.0, 0.15), (2000.0, 0.3 + 0.05 * index), (32000.0, 3.0)),
        d0=0.011 + 0.002 * index,
        d1=1e-8,
        overhead_s=0.08,
        interval=Interval(base=0.05, prompt=0.1, decode=0.05, extrapolation=0.3),
        max_output_tokens=4096,
        provenance="few_shot",
    )


def stack(name: str, factor: float) -> ReferenceStack:
    """A reference stack that knows three of the four models."""
    profiles = {
        model: RuntimeProfile(
            id=f"{name}-{model}",
            model=model,
            prompt_knots=tuple((float(x), factor * (0.02 + x * 2e-5)) for x in (1, 128, 512, 1024, 2048, 8192, 32768)),
            d0=0.008 * factor,
            d1=5e-9,
            tile=128,
            tile_fraction=0.5,
            interval=Interval(base=0.03, prompt=0.05, decode=0.05, extrapolation=0.2),
            max_output_tokens=8192,
            n_gpus=4,
        )
        for _, _, model, _, _ in DEPLOYMENTS[:3]
    }
    return ReferenceStack(
        id=name,
        gpu="H100-SXM",
        precision="bf16",
        price=Price(3.0, "benchmark", "2026-11-01"),
        watts=400.0,
        profiles=profiles,
    )


def columns(n: int, seed: int = 1) -> dict[str, np.ndarray]:
    """The day as arrays of n values."""
    rng = np.random.default_rng(seed)
    which = rng.choice(len(DEPLOYMENTS), n, p=[d[4] for d in DEPLOYMENTS])
    start = np.sort(rng.integers(0, 86_400 * 10**9, n))
    tokens_in = np.minimum(np.exp(rng.normal(6.5, 1.2, n)).astype(np.int64) + 1, 100_000)
    tokens_out = np.minimum(np.exp(rng.normal(5.0, 0.9, n)).astype(np.int64) + 1, 8192)
    quiet = np.empty(n)
    for index in range(len(DEPLOYMENTS)):
        mine = which == index
        quiet[mine] = denoised_profile(index).runtimes(tokens_in[mine], tokens_out[mine])
    busy = 0.15 + 0.4 * np.exp(-(((start / 3.6e12) - 15.0) ** 2) / 18.0)
    retried = rng.random(n) < 0.02
    outcome = rng.random(n)
    return {
        "which": which,
        "start": start + START_NS,
        "input": tokens_in,
        "output": tokens_out,
        "raw": quiet * (1.0 + rng.exponential(busy)) + np.where(retried, 1.5, 0.0),
        "attempts": np.where(retried, 2, 1),
        "outcome": np.where(outcome < 0.01, 2, np.where(outcome < 0.015, 1, 0)),
        "usage": rng.random(n) >= 0.03,
        "service": rng.integers(0, len(SERVICES), n),
        "tenant": np.minimum(rng.geometric(0.08, n), 40),
        "id": rng.integers(1, 2**62, (n, 2)),
    }


OUTCOMES = ("complete", "cancelled", "error")


def write_span_log(folder: Path, n: int, seed: int = 1, batch: int = 512) -> int:
    """Span-log files of *n* calls in *folder*; bytes written."""
    day = {name: values.tolist() for name, values in columns(n, seed).items()}
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    for service, name in enumerate(SERVICES):
        rows = [i for i, s in enumerate(day["service"]) if s == service]
        head = f'{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{name}"}}}},{{"key":"telemetry.sdk.name","value":{{"stringValue":"opentelemetry"}}}}]}},"scopeSpans":[{{"scope":{{"name":"tracewrap","version":"0.1.0"}},"spans":['  # noqa: E501
        path = folder / f"spans-{name}.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            for first in range(0, len(rows), batch):
                file.write(head + ",".join(_span(day, i) for i in rows[first : first + batch]) + "]}]}]}\n")
        total += path.stat().st_size
    return total


def _text(key: str, value: str) -> str:
    return f'{{"key":"{key}","value":{{"stringValue":"{value}"}}}}'


def _int(key: str, value: int) -> str:
    return f'{{"key":"{key}","value":{{"intValue":"{value}"}}}}'


def _float(key: str, value: float) -> str:
    return f'{{"key":"{key}","value":{{"doubleValue":{value!r}}}}}'


def _span(day: dict[str, list], i: int) -> str:  # type: ignore[type-arg]
    provider, address, model, stream, _ = DEPLOYMENTS[day["which"][i]]
    outcome = OUTCOMES[day["outcome"][i]]
    raw, start = day["raw"][i], day["start"][i]
    attributes = [
        *(
            _text("gen_ai.operation.name", "chat"),
            _text("gen_ai.provider.name", provider),
            _text("gen_ai.request.model", model),
        ),
        *(_text("gen_ai.response.model", model), _text("server.address", address), _int("server.port", 443)),
        *(
            _float("tracewrap.runtime.raw", raw),
            _int("tracewrap.attempts", day["attempts"][i]),
            _text("tracewrap.outcome", outcome),
        ),
        *(
            _text("gen_ai.response.id", f"chatcmpl-{i}"),
            _text("tenant.id", f"tenant-{day['tenant'][i]}"),
            _text("http.route", "/v1/answer"),
        ),
        '{"key":"gen_ai.response.finish_reasons","value":{"arrayValue":{"values":[{"stringValue":"stop"}]}}}',
    ]
    if stream:
        attributes += [
            '{"key":"gen_ai.request.stream","value":{"boolValue":true}}',
            _float("gen_ai.response.time_to_first_chunk", raw * 0.2),
        ]
    if day["attempts"][i] > 1:
        attributes.append(_float("tracewrap.retry.seconds", 1.5))
    if day["usage"][i]:
        attributes += [
            _int("gen_ai.usage.input_tokens", day["input"][i]),
            _int("gen_ai.usage.output_tokens", day["output"][i]),
            _text("tracewrap.usage.source", "reported"),
        ]
    if outcome == "error":
        attributes.append(_text("error.type", "RateLimitError"))
    a, b = day["id"][i]
    return (
        f'{{"traceId":"{a:016x}{b:016x}","spanId":"{b:016x}","name":"chat {model}","kind":3,"startTimeUnixNano":"{start}",'
        f'"endTimeUnixNano":"{start + int(raw * 1e9)}","attributes":[{",".join(attributes)}],"status":{{}},"flags":256}}'
    )


def write_lake(folder: Path, n: int, seed: int = 1, chunk: int = 1_000_000, models: int = 1) -> int:
    """A lake of *n* calls in *folder*, as ``tracewrap lake compact`` would leave it; bytes written. *models*: variants of each model."""
    target = folder / f"day={DAY:%Y-%m-%d}"
    target.mkdir(parents=True, exist_ok=True)
    total = 0
    for part, first in enumerate(range(0, n, chunk)):
        day = columns(min(chunk, n - first), seed + part)
        arrays = {name: values for name, values in day.items() if name != "id"} | {
            "a": day["id"][:, 0],
            "b": day["id"][:, 1],
        }
        path = target / f"part-{part:04d}.parquet"
        with connect() as connection:
            connection.register("arrays", arrays)
            connection.execute(
                f"COPY ({_lake_select(models)} ORDER BY start_time_ns) TO '{path}' (FORMAT parquet, COMPRESSION zstd,"
                f" ROW_GROUP_SIZE 100000, KV_METADATA {{'{MARK}': '{VERSION}'}})"
            )
        total += path.stat().st_size
    return total


def _lake_select(models: int) -> str:
    variant = f" || CASE WHEN b % {models} = 0 THEN '' ELSE '-' || b % {models} END"

    def choose(values: list[str], index: str) -> str:
        return f"[{', '.join(repr(value) for value in values)}][{index} + 1]"

    known = "CASE WHEN usage THEN {} END"
    made = {
        "trace_id": "printf('%016x%016x', a, b)",
        "span_id": "printf('%016x', b)",
        "start_time_ns": "start",
        "provider": choose([d[0] for d in DEPLOYMENTS], "which"),
        "operation": "'chat'",
        "service_name": choose(list(SERVICES), "service"),
        "scope_name": "'tracewrap'",
        "request_model": choose([d[2] for d in DEPLOYMENTS], "which") + variant,
        "response_model": choose([d[2] for d in DEPLOYMENTS], "which") + variant,
        "server_address": choose([d[1] for d in DEPLOYMENTS], "which"),
        "server_port": "443",
        "stream": f"which IN ({', '.join(str(i) for i, d in enumerate(DEPLOYMENTS) if d[3])})",
        "input_tokens": known.format("input"),
        "output_tokens": known.format("output"),
        "usage_source": known.format("'reported'"),
        "raw_runtime_s": "raw",
        "attempts": "attempts",
        "retry_s": "CASE WHEN attempts > 1 THEN 1.5 ELSE 0 END",
        "outcome": choose(list(OUTCOMES), "outcome"),
        "error_type": "CASE WHEN outcome = 2 THEN 'RateLimitError' END",
        "response_id": "'chatcmpl-' || b",
        "finish_reasons": "['stop']",
        "tags": "MAP {'tenant.id': 'tenant-' || tenant, 'http.route': '/v1/answer'}",
    }
    chosen = (f"CAST({made.get(name, 'NULL')} AS {kind}) AS {name}" for name, kind in CALL_COLUMNS.items())
    return f"SELECT {', '.join(chosen)} FROM arrays"


def deployment_key(index: int) -> str:
    """What the denoised profile of one deployment is found by."""
    provider, address, model, stream, _ = DEPLOYMENTS[index]
    return Deployment(provider, f"{address}:443", model, "chat", stream).key


def write_profiles(folder: Path) -> None:
    """The profiles of the day in *folder*: three denoised ones, two reference stacks."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(3):
        profile = dataclasses.replace(denoised_profile(index), stack={"deployment": deployment_key(index)})
        save_profile(profile, folder / f"{profile.id}.json")
    for one in (stack("h100x4", 1.0), stack("slow", 2.0)):
        save_stack(one, folder / f"{one.id}.json")


if __name__ == "__main__":
    import sys

    where, count = Path(sys.argv[1]), int(sys.argv[2])
    size = write_span_log(where, count)
    print(f"{count} calls, {size / 1e6:.0f} MB in {os.fspath(where)}")
