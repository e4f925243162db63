"""Results of load generators as samples: ``vllm bench serve --save-result --save-detailed``, sglang's ``bench_serving --output-details``,
guidellm's JSON and aiperf's ``profile_export.jsonl``.

A generator that keeps several requests under way measures a server under load: its samples hold contention, and are for denoising, not
for fitting. How many were under way at once follows from the requests' own times, else from the limit that was set.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tracewrap.errors import SourceError

_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0}
"""aiperf's units of time, in seconds."""
COLUMNS = ("input_tokens", "output_tokens", "runtime_s", "time_to_first_chunk_s", "start_unix_s")


class Row(NamedTuple):
    """One request that succeeded; ``start_s`` on the generator's own clock, None where it does not say."""

    input_tokens: int
    output_tokens: int
    runtime_s: float
    first_s: float | None
    start_s: float | None


class LoadTest(NamedTuple):
    """What a result holds: ``failed`` requests are left out; ``at_once``: most requests under way together, None: unknown."""

    rows: Sequence[Row]
    failed: int
    at_once: int | None


def read_load_test(path: str | os.PathLike[str]) -> LoadTest:
    """The requests in the result file at *path*, whichever generator wrote it.

    Raises SourceError, in one line, for a file that cannot be read, is no such result, or lacks the times of single requests.
    """
    rows: list[Row] = []
    failed, limits = 0, list[int | None]()
    results = list(_results(Path(path)))
    requests = [one for one in results if isinstance(one.get("metadata"), dict) and "metrics" in one]
    if requests:
        return _aiperf(requests, str(path))
    for result in results:
        if isinstance(benchmarks := result.get("benchmarks"), list):
            parts = [_guidellm(one, str(path)) for one in benchmarks]
        else:
            parts = [_vllm(result, str(path))]
        for part in parts:
            rows += part.rows
            failed += part.failed
            limits.append(part.at_once)
    _some(rows, str(path))
    known = [limit for limit in limits if limit is not None]
    return LoadTest(rows, failed, max(known) if len(known) == len(limits) else None)


def write_samples(rows: Sequence[Row], path: str | os.PathLike[str]) -> None:
    """*rows* as the CSV that ``profile fit`` and ``denoise`` read; columns that no row has are left out. Raises SourceError."""
    kept = [name for index, name in enumerate(COLUMNS) if any(row[index] is not None for row in rows)]
    try:
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(kept)
            for row in rows:
                writer.writerow(
                    ["" if value is None else value for name, value in zip(COLUMNS, row, strict=True) if name in kept]
                )
    except OSError as error:
        raise SourceError(f"{path}: cannot be written ({error.strerror})") from None


def _results(path: Path) -> Iterator[Mapping[str, Any]]:
    """The JSON object of a file, or of each of its lines."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    try:
        found = [json.loads(text)]
    except ValueError:
        try:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise SourceError(f"{path}: is no JSON ({error}); give the result file of the load generator") from None
    for one in found:
        if not isinstance(one, dict):
            raise SourceError(f"{path}: is no result of vllm bench, sglang's bench_serving, guidellm or aiperf")
        yield one


def _vllm(result: Mapping[str, Any], path: str) -> LoadTest:
    """One result of vLLM's or SGLang's generator: parallel lists, an entry a request."""
    if isinstance(result.get("request_latency"), dict):
        raise SourceError(
            f"{path}: is aiperf's summary; give the profile_export.jsonl beside it, which has single requests"
        )
    names = ("input_lens", "output_lens", "ttfts", "itls")
    lists = [result.get(name) for name in names]
    if not all(isinstance(one, list) for one in lists):
        raise SourceError(
            f"{path}: has no {', '.join(names)}: save single requests too (vllm: --save-detailed; sglang: --output-details)"
        )
    if len({len(one) for one in lists if one is not None}) != 1:
        raise SourceError(f"{path}: {', '.join(names)} differ in length")
    errors, starts = result.get("errors") or [], result.get("start_times") or []
    rows, failed = [], 0
    for index, (p, o, first, gaps) in enumerate(zip(*lists, strict=True)):
        row = None
        if not (index < len(errors) and errors[index]):
            start = _number(starts[index]) if index < len(starts) else None
            first_s, rest = _number(first), [_number(gap) for gap in gaps] if isinstance(gaps, list) else [None]
            if first_s is not None and None not in rest:
                row = _row(p, o, first_s + math.fsum(gap for gap in rest if gap is not None), first_s, start)
        failed += row is None
        rows += [] if row is None else [row]
    limit = result.get("max_concurrency")
    return LoadTest(rows, failed, _at_once(rows, limit if isinstance(limit, int) else None))


def _guidellm(benchmark: Any, path: str) -> LoadTest:
    """One benchmark of guidellm: a list of requests with their own times."""
    requests = benchmark.get("requests") if isinstance(benchmark, dict) else None
    if not isinstance(requests, dict) or not isinstance(requests.get("successful"), list):
        raise SourceError(f"{path}: a benchmark without requests.successful; write guidellm's JSON with its requests")
    rows = []
    for one in requests["successful"]:
        runtime, first = _number(one.get("request_latency")), _number(one.get("time_to_first_token_ms"))
        start = _number(one.get("request_start_time"))
        row = _row(
            one.get("prompt_tokens"), one.get("output_tokens"), runtime, None if first is None else first / 1000, start
        )
        rows += [] if row is None else [row]
    left_out = len(requests["successful"]) - len(rows) + len(requests.get("errored") or [])
    return LoadTest(rows, left_out, _at_once(rows, None))


def _aiperf(requests: Sequence[Mapping[str, Any]], path: str) -> LoadTest:
    """The requests of aiperf, a line each: every figure with its unit; those that warm the server up count neither way."""
    rows, failed = [], 0
    for one in requests:
        metadata, metrics = one["metadata"], one["metrics"] if isinstance(one["metrics"], dict) else {}
        if metadata.get("benchmark_phase", "profiling") != "profiling":
            continue
        p, o = (_figure(metrics, name)[0] for name in ("input_sequence_length", "output_sequence_length"))
        runtime, first = (_duration(metrics, name) for name in ("request_latency", "time_to_first_token"))
        start = _number(metadata.get("request_start_ns"))
        row = None if one.get("error") else _row(p, o, runtime, first, None if start is None else start / 1e9)
        failed += row is None
        rows += [] if row is None else [row]
    _some(rows, path)
    return LoadTest(rows, failed, _at_once(rows, None))


def _figure(metrics: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    """Value and unit of one of aiperf's figures; None where it has none."""
    found = metrics.get(name)
    return (found.get("value"), found.get("unit")) if isinstance(found, dict) else (None, None)


def _duration(metrics: Mapping[str, Any], name: str) -> float | None:
    value, unit = _figure(metrics, name)
    number = _number(value)
    return None if number is None or unit not in _SECONDS else number * _SECONDS[unit]


def _some(rows: Sequence[Row], path: str) -> None:
    if not rows:
        raise SourceError(f"{path}: holds no request that succeeded")


def _row(p: Any, o: Any, runtime: float | None, first: float | None, start: float | None) -> Row | None:
    """The request, or None where it has no counts or no runtime."""
    counts = [int(n) for n in (p, o) if isinstance(n, int | float) and n >= 0 and n == int(n)]
    if len(counts) != 2 or runtime is None or runtime <= 0 or counts[1] < 1:
        return None
    return Row(counts[0], counts[1], runtime, first, start)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else None


def _at_once(rows: Sequence[Row], limit: int | None) -> int | None:
    """The most requests under way together, by their times, else *limit*."""
    if not rows or any(row.start_s is None for row in rows):
        return limit
    # An end comes before a start at the same moment: one after the other is one at once.
    moments = sorted(
        [((row.start_s or 0.0) + row.runtime_s, -1) for row in rows] + [(row.start_s or 0.0, 1) for row in rows]
    )
    most = under_way = 0
    for _, change in moments:
        under_way += change
        most = max(most, under_way)
    return most
