"""A real Jaeger and a real Prometheus on free loopback ports, for tests and benchmarks.

The programs come from TRACEWRAP_JAEGER, TRACEWRAP_PROMETHEUS, TRACEWRAP_PROMTOOL, else from PATH. Tests that need one are skipped, and
say so, where there is none.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest


def program(name: str) -> str | None:
    """Where *name* is, from its variable TRACEWRAP_NAME or PATH; None: nowhere."""
    named = os.environ.get(f"TRACEWRAP_{name.upper()}")
    return shutil.which(named) if named else shutil.which(name)


def jaeger_program() -> str | None:
    """The Jaeger 2 program."""
    return program("jaeger")


def needed(name: str) -> str:
    """Where *name* is; skips the test, visibly, where it is not."""
    found = program(name)
    if found is None:
        pytest.skip(f"no {name}: put it on PATH or name it in TRACEWRAP_{name.upper()}")
    return found


def prometheus_with_receiver() -> str:
    """A Prometheus that takes OTLP, which those before 3.0 do only as an experiment; skips the test, visibly, where there is none."""
    found = needed("prometheus")
    told = subprocess.run([found, "--help"], capture_output=True, text=True, timeout=60)
    if "web.enable-otlp-receiver" not in told.stdout + told.stderr:
        pytest.skip(f"{found} is older than Prometheus 3.0: name a newer one in TRACEWRAP_PROMETHEUS")
    return found


def free_ports(count: int) -> list[int]:
    """*count* loopback ports that nobody listens on."""
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [int(door.getsockname()[1]) for door in doors]
    for door in doors:
        door.close()
    return numbers


class Server:
    """A program that serves on loopback until the context ends."""

    ready_url: str
    log: Path

    def start(self, command: Sequence[str], folder: Path, name: str) -> None:
        """Start *command* and wait until ``ready_url`` answers."""
        self.log = folder / f"{name}.log"
        with open(self.log, "w", encoding="utf-8") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)
        for _ in range(300):
            if self._process.poll() is not None:
                raise RuntimeError(f"{name} ended with {self._process.returncode}: {self.log.read_text()[-2000:]}")
            try:
                urllib.request.urlopen(self.ready_url, timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"{name} does not answer at {self.ready_url}")

    def stop(self) -> None:
        """End the program."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=15)

    def __exit__(self, *_: object) -> None:
        self.stop()


class RealJaeger(Server):
    """Jaeger 2 with its query interface and OTLP over HTTP; *badger*: on disk instead of in memory."""

    def __init__(self, folder: Path, *, badger: bool = False, max_traces: int = 100_000, base_path: str = "") -> None:
        self._folder = folder
        query, grpc_query, self._otlp_port = free_ports(3)
        self.url = f"http://127.0.0.1:{query}{base_path}"
        self.source = f"jaeger://127.0.0.1:{query}{base_path}"
        self.otlp = f"http://127.0.0.1:{self._otlp_port}"
        self.ready_url = f"{self.url}/api/v3/services"
        files = {"keys": str(folder / "keys"), "values": str(folder / "values")}
        for path in files.values():
            Path(path).mkdir(parents=True, exist_ok=True)
        store: dict[str, Any] = {"badger": {"directories": files, "ephemeral": False}}
        pipeline = {"receivers": ["otlp"], "processors": ["batch"], "exporters": ["jaeger_storage_exporter"]}
        config = {
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {"traces": pipeline},
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            },
            "extensions": {
                "jaeger_query": {
                    "storage": {"traces": "spans"},
                    "base_path": base_path,
                    "enable_tracing": False,
                    "http": {"endpoint": f"127.0.0.1:{query}"},
                    "grpc": {"endpoint": f"127.0.0.1:{grpc_query}"},
                },
                "jaeger_storage": {"backends": {"spans": store if badger else {"memory": {"max_traces": max_traces}}}},
            },
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{self._otlp_port}"}}}},
            "processors": {"batch": {"timeout": "100ms"}},
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "spans"}},
        }
        self._config = folder / "jaeger.json"  # JSON is YAML
        self._config.write_text(json.dumps(config), encoding="utf-8")

    def __enter__(self) -> RealJaeger:
        found = jaeger_program()
        assert found is not None
        self.start([found, "--config", str(self._config)], self._folder, "jaeger")
        return self

    def send(self, line: str) -> None:
        """Send one line of OTLP-JSON; it is stored soon after."""
        request = urllib.request.Request(
            f"{self.otlp}/v1/traces", data=line.encode(), headers={"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=60).close()

    def wait_for_services(self, *names: str) -> None:
        """Until what was sent can be found: the batch processor's time and the storage's."""
        for _ in range(100):
            with urllib.request.urlopen(f"{self.url}/api/v3/services", timeout=30) as answer:
                known = json.load(answer).get("services") or []
            if known and set(names) <= set(known):
                break
            time.sleep(0.1)
        time.sleep(1.0)


class RealPrometheus(Server):
    """Prometheus 3 with its OTLP receiver and exemplars."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.otlp = f"{self.url}/api/v1/otlp/v1/metrics"
        self.ready_url = f"{self.url}/-/ready"
        self._config = folder / "prometheus.yml"
        self._config.write_text("otlp: {promote_resource_attributes: [service.name]}\n", encoding="utf-8")
        self._port = port

    def __enter__(self) -> RealPrometheus:
        found = program("prometheus")
        assert found is not None
        options = [
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self._folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--web.enable-otlp-receiver",
            "--enable-feature=exemplar-storage",
        ]
        self.start([found, *options], self._folder, "prometheus")
        return self

    def get(self, path: str) -> Any:
        """The ``data`` of one answer of the HTTP interface."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None
