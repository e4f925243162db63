"""Checks of ``tracewrap doctor`` outside the recorded SDKs: settings, how programs are started, other SDKs, what was lost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from tracewrap import words
from tracewrap.errors import ConfigurationError
from tracewrap.settings import PREFIX, Settings, settings, unknown_variables
from tracewrap.sinks.retention import log_files
from tracewrap.sources.losses import MARK, losses_in_line

BY_HTTP = {"mistralai": "Mistral", "huggingface-hub": "Hugging Face inference: chat"}
"""Packages without seams of their own that send by httpx to endpoints in a known wire format."""
UNRECORDED = {
    "google-generativeai": "Gemini",
    "google-cloud-aiplatform": "Vertex AI",
    "fireworks-ai": "Fireworks",
    "cerebras-cloud-sdk": "Cerebras",
    "ai21": "AI21",
    "replicate": "Replicate",
    "xai-sdk": "xAI",
    "dashscope": "DashScope",
    "zhipuai": "Zhipu",
    "azure-ai-inference": "Azure AI inference",
    "ibm-watsonx-ai": "watsonx",
    "voyageai": "Voyage",
    "writer-sdk": "Writer",
    "dspy": "DSPy by its own engine; engine='litellm' is recorded",
}
"""Packages that call models by themselves, which ``instrument()`` does not record."""
_TAIL_BYTES = 4 * 1024 * 1024
_MAX_FILES = 200


def chosen_settings() -> tuple[Settings | None, list[str]]:
    """The settings in force, and what is wrong with them."""
    try:
        return settings(), []
    except ConfigurationError as error:
        return None, [str(error)]


def misspelt() -> Iterator[str]:
    """Variables that look like a setting and are none."""
    for name, meant in unknown_variables():
        yield f"{name} is no setting; {meant} was probably meant"


def kept(chosen: Settings) -> str:
    """How large the span log of *chosen* is, and what is removed from it."""
    try:
        files = log_files(Path(chosen.span_log or "."))
    except OSError:
        files = []
    size = words.counted(len(files), "file") + f" of {_mib(sum(file.size for file in files))}"
    limits = [f"{chosen.span_log_keep_days:g} days"] if chosen.span_log_keep_days else []
    limits += [_mib(chosen.span_log_keep_bytes)] if chosen.span_log_keep_bytes else []
    if not limits:
        return f"{size}; nothing is removed: set TRACEWRAP_SPAN_LOG_KEEP_BYTES or _KEEP_DAYS to bound it"
    held = f", once {chosen.span_log_lake} holds it" if chosen.span_log_lake else ""
    return f"{size}; what is older than the newest {' and '.join(limits)} is removed{held} (TRACEWRAP_SPAN_LOG_KEEP_BYTES, _KEEP_DAYS)"


def parsed(chosen: Settings) -> str:
    """What readers keep beside the span log of *chosen*."""
    from tracewrap.sources.parsed_index import kept_bytes

    size = _mib(kept_bytes(Path(chosen.span_log or ".")))
    rest = "TRACEWRAP_READ_CACHE=false keeps none" if chosen.read_cache else "no more is kept (read_cache is false)"
    return (
        f"{size} of it as Parquet in .tracewrap, so that it is parsed once; less than the log, may be removed; {rest}"
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB" if size < 2**30 else f"{size / 2**30:,.1f} GiB"


def sdks_by_http() -> Iterator[str]:
    """Model SDKs that are installed and recorded by what they send."""
    for name in _installed(BY_HTTP):
        yield f"{name} is recorded by HTTP, with instrument() or an httpx client that is wrapped"


def unrecorded_sdks() -> Iterator[str]:
    """Model SDKs that are installed and not recorded, each with what can be done."""
    for name in _installed(UNRECORDED):
        yield f"{name} is not recorded, but for what it sends to a known endpoint by httpx, requests or aiohttp"


def _installed(packages: Mapping[str, str]) -> Iterator[str]:
    for package, what in packages.items():
        try:
            yield f"{package} {metadata.version(package)} ({what})"
        except metadata.PackageNotFoundError:
            continue


def start_takes_effect(timeout_s: float = 30.0) -> bool:
    """Whether a Python started as ``tracewrap run`` starts one is traced: nothing shadows our start file, and the SDKs can be patched."""
    import tracewrap.start

    with tempfile.TemporaryDirectory(prefix="tracewrap-") as marks:
        path = [str(Path(tracewrap.start.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {"PYTHONPATH": os.pathsep.join(path), "TRACEWRAP_RUN_MARKS": marks}
        # A setting that is wrong stops a start too; it is told apart, by those who read settings.
        without = {n: value for n, value in os.environ.items() if n != "OTEL_SDK_DISABLED" and not n.startswith(PREFIX)}
        command = [sys.executable, "-c", ""]
        try:
            subprocess.run(command, env=without | own, capture_output=True, timeout=timeout_s, cwd=marks, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return bool(os.listdir(marks))


def entry_points_installed() -> bool:
    """Whether ``opentelemetry-instrument`` finds our instrumentors."""
    return any(
        entry.name.startswith("tracewrap-") for entry in metadata.entry_points(group="opentelemetry_instrumentor")
    )


def losses_in(folder: Path) -> Counter[tuple[str, str]]:
    """Calls that the records of *folder* say were lost, by (place, reason): of its newest files, the last part of each."""
    lost: Counter[tuple[str, str]] = Counter()
    try:
        files = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)[-_MAX_FILES:]
    except OSError:
        return lost
    for path in files:
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
                lines = [line for line in file if MARK.encode() in line]
        except OSError:
            continue
        for loss in (loss for line in lines for loss in losses_in_line(line)):
            lost[loss.place, loss.reason] += loss.calls
    return lost
