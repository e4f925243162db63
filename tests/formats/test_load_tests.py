"""Results of load generators become samples: runtimes summed by hand, failures left out, and whether requests were alone is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tracewrap.errors import SourceError
from tracewrap.formats.load_tests import Row, read_load_test, write_samples
from tracewrap.runtime.samples import read_samples

VLLM: dict[str, Any] = {
    "model_id": "m",
    "max_concurrency": 4,
    "input_lens": [100, 200, 300],
    "output_lens": [3, 1, 2],
    "ttfts": [0.5, 0.25, 0.0],
    "itls": [[0.125, 0.25], [], []],
    "errors": ["", "", "refused"],
}
GUIDELLM: dict[str, Any] = {
    "benchmarks": [
        {
            "requests": {
                "successful": [
                    {
                        **{"prompt_tokens": 100, "output_tokens": 3, "request_latency": 0.875},
                        **{"time_to_first_token_ms": 500.0, "request_start_time": 1000.0},
                    },
                    {
                        **{"prompt_tokens": 200, "output_tokens": 1, "request_latency": 0.25},
                        **{"time_to_first_token_ms": 250.0, "request_start_time": 1000.875},
                    },
                    {"prompt_tokens": None, "output_tokens": 1, "request_latency": 0.25, "request_start_time": 1002.0},
                ],
                "errored": [{}],
            }
        }
    ]
}


def aiperf(number: int, start_ns: int, **changes: Any) -> dict[str, Any]:
    """A line of profile_export.jsonl: 100 tokens in, 3 out, 875 ms, the first after 500."""
    metrics = {
        "input_sequence_length": {"value": 100, "unit": "tokens"},
        "output_sequence_length": {"value": 3, "unit": "tokens"},
        "request_latency": {"value": 875.0, "unit": "ms"},
        "time_to_first_token": {"value": 500.0, "unit": "ms"},
        "inter_chunk_latency": {"value": [125.0, 250.0], "unit": "ms"},
    }
    metadata = {
        **{"session_num": number, "x_request_id": f"r{number}", "turn_index": 0, "benchmark_phase": "profiling"},
        **{"request_start_ns": start_ns, "request_end_ns": start_ns + 875_000_000, "was_cancelled": False},
    }
    made = {"metadata": metadata | changes.pop("metadata", {}), "metrics": metrics, "error": None}
    return made | changes


def written(folder: Path, *results: Any) -> Path:
    """A file of *results*, one a line."""
    path = folder / "result.json"
    path.write_text("\n".join(json.dumps(one) for one in results), encoding="utf-8")
    return path


def test_vllm(tmp_path: Path) -> None:
    """First token and the gaps after it add up: 0.5 + 0.125 + 0.25; the refused request is left out; the limit says four at once."""
    found = read_load_test(written(tmp_path, VLLM))
    assert found.rows == [Row(100, 3, 0.875, 0.5, None), Row(200, 1, 0.25, 0.25, None)]
    assert (found.failed, found.at_once) == (1, 4)


@pytest.mark.parametrize(("second_start", "at_once"), [(1000.875, 1), (1000.874, 2)])
def test_start_times_tell_how_many_were_under_way(second_start: float, at_once: int, tmp_path: Path) -> None:
    """One that starts as the other ends is alone; a millisecond earlier there are two, whatever limit was set."""
    found = read_load_test(written(tmp_path, {**VLLM, "start_times": [1000.0, second_start, 1005.0]}))
    assert found.at_once == at_once


def test_lines_are_runs_of_one_server(tmp_path: Path) -> None:
    """SGLang appends a run a line: all their requests, and the largest crowd; one unknown crowd makes the whole unknown."""
    alone = {**VLLM, "max_concurrency": 1}
    found = read_load_test(written(tmp_path, alone, VLLM))
    assert (len(found.rows), found.failed, found.at_once) == (4, 2, 4)
    assert read_load_test(written(tmp_path, alone, {**VLLM, "max_concurrency": None})).at_once is None


def test_guidellm(tmp_path: Path) -> None:
    """Seconds from seconds, first token from milliseconds; a request without counts and a failed one are left out."""
    found = read_load_test(written(tmp_path, GUIDELLM))
    assert found.rows == [Row(100, 3, 0.875, 0.5, 1000.0), Row(200, 1, 0.25, 0.25, 1000.875)]
    assert (found.failed, found.at_once) == (2, 1)


def test_aiperf(tmp_path: Path) -> None:
    """Figures in their own units; a cancelled request is left out and counted, one that warmed the server up is no request."""
    cancelled = {"code": 499, "type": "RequestCancellationError", "message": "after 0 s"}
    lines = [
        aiperf(0, 10**18),
        aiperf(1, 10**18 + 10**9),
        aiperf(2, 10**18, metrics={"error_isl": {"value": 100, "unit": "tokens"}}, error=cancelled),
        aiperf(3, 10**18, metadata={"benchmark_phase": "warmup"}),
    ]
    found = read_load_test(written(tmp_path, *lines))
    assert found.rows == [Row(100, 3, 0.875, 0.5, 1e9), Row(100, 3, 0.875, 0.5, 1e9 + 1)]
    assert (found.failed, found.at_once) == (1, 1)


def test_aiperf_of_one_request_and_of_another_unit(tmp_path: Path) -> None:
    """One line is a result too; a duration in a unit that is not known is no duration."""
    assert len(read_load_test(written(tmp_path, aiperf(0, 10**18))).rows) == 1
    odd = aiperf(1, 10**18)
    odd["metrics"]["request_latency"]["unit"] = "fortnights"
    assert read_load_test(written(tmp_path, aiperf(0, 10**18), odd)).failed == 1


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no request"),
        ("not json", "no JSON"),
        ("[1]", "no result of"),
        ('{"duration": 3}', "--save-detailed"),
        (json.dumps({**VLLM, "ttfts": [1.0]}), "differ in length"),
        (json.dumps({**VLLM, "errors": ["a", "b", "c"]}), "no request that succeeded"),
        ('{"request_latency": {"unit": "ms", "avg": 3.0}}', "profile_export.jsonl"),
        (json.dumps(aiperf(0, 1, error={"code": 500})), "no request that succeeded"),
        ('{"benchmarks": [{}]}', "requests.successful"),
    ],
)
def test_another_file_is_one_line(text: str, word: str, tmp_path: Path) -> None:
    """The line names the file and what is missing of it."""
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=word) as caught:
        read_load_test(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_samples_are_read_back(tmp_path: Path) -> None:
    """What is written is what ``profile fit`` reads, number for number."""
    rows = read_load_test(written(tmp_path, GUIDELLM)).rows
    write_samples(rows, tmp_path / "s.csv")
    assert [(one.input_tokens, one.output_tokens, one.runtime_s) for one in read_samples(tmp_path / "s.csv")] == [
        (100, 3, 0.875),
        (200, 1, 0.25),
    ]


@pytest.mark.parametrize(("result", "step"), [(GUIDELLM, "profile fit s.csv"), (VLLM, "denoise s.csv")])
def test_the_command_says_what_to_do_next(result: dict[str, Any], step: str, tmp_path: Path) -> None:
    """Samples of a server alone are fitted, those of a crowd denoised."""
    written(tmp_path, result)
    ran = subprocess.run(
        [sys.executable, "-m", "tracewrap", "profile", "import", "load-test", "result.json", "-o", "s.csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert step in ran.stdout
    assert (tmp_path / "s.csv").exists()
