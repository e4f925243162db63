"""The observability examples name only metrics, labels and attributes that are emitted; each file is read by what would read it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, Sum

from made_days import call
from real_servers import needed
from tracewrap import semconv
from tracewrap.estimate.presenting import presented_attributes
from tracewrap.records import TokenUsage
from tracewrap.semconv import names
from tracewrap.sinks.metrics import DESCRIPTIONS, Metrics

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "observability"
ESTIMATES: dict[str, Any] = {
    semconv.RUNTIME_DENOISED: 1.5,
    semconv.RUNTIME_IDEALIZED: 0.5,
    semconv.REFERENCE_STACK: "stack",
    semconv.CONTENTION_SECONDS: 0.5,
    semconv.CONTENTION_SHARE: 0.25,
    semconv.COST_LIST: 0.002,
    semconv.COST_IDEALIZED: 0.001,
    semconv.SPLIT_VERDICT: "provider",
    semconv.JOIN_STATUS: "ok",
}


def recorded_attributes() -> list[dict[str, Any]]:
    """Attributes of a streamed, cached, reasoning call and of a failed one, joined."""
    usage = TokenUsage(100, 10, cached_input_tokens=40, cache_write_input_tokens=5, reasoning_output_tokens=3)
    full = semconv.call_attributes(call(1, usage=usage, stream=True, time_to_first_chunk_s=0.2))
    failed = semconv.call_attributes(call(2, outcome="error", error_type="RateLimitError"))
    return [full | ESTIMATES, failed | {semconv.JOIN_STATUS: "failed"}]


def prometheus_name(name: str, unit: str, monotonic: bool) -> str:
    """*name* as Prometheus 3 writes it when it takes OTLP: underscores, the unit, ``_total`` for counters."""
    text = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    text += "_seconds" if unit == "s" else ""
    return text + ("_total" if monotonic else "")


def emitted() -> tuple[set[str], set[str]]:
    """(series, labels) of the calls above, as Prometheus shows them."""
    reader = InMemoryMetricReader()
    sink = Metrics(MeterProvider([reader], shutdown_on_exit=False))
    for attributes in recorded_attributes():
        sink._record(attributes, 2.0, ())
    series, labels = set(), {"job", "le"}
    data = reader.get_metrics_data()
    assert data is not None
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        histogram = isinstance(metric.data, Histogram)
        text = prometheus_name(
            metric.name, metric.unit or "", isinstance(metric.data, Sum) and metric.data.is_monotonic
        )
        series |= {f"{text}_{end}" for end in ("bucket", "sum", "count")} if histogram else {text}
        for point in metric.data.data_points:
            labels |= {re.sub(r"\W", "_", name) for name in point.attributes or {}}
    return series, labels


LOST = {"tracewrap_client_lost_total"}
LOST_LABELS = {"tracewrap_lost_place", "tracewrap_lost_reason"}


def queries() -> Iterator[str]:
    """Every PromQL expression of the examples."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
            yield from re.findall(r"\{\{ \$labels\.(\w+) \}\}", json.dumps(rule))
    board = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
            yield from re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
    yield from (variable["query"]["query"] for variable in board["templating"]["list"])


def test_every_metric_and_label_is_emitted() -> None:
    """No panel, rule or legend names what tracewrap does not send."""
    series, labels = emitted()
    assert "tracewrap.client.lost" in DESCRIPTIONS
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    rules = [rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]]
    own = {rule["record"] for rule in rules if "record" in rule}
    words = {word for text in queries() for word in re.findall(r"[a-zA-Z_:][\w:]*", re.sub(r'"[^"]*"|\$\w+', "", text))}
    named = {word for word in words if word.startswith(("gen_ai_client_", "tracewrap_client_", "tracewrap:"))}
    assert named - LOST <= series | own, named - LOST - series - own
    used = {word for word in words - named if word.startswith(("gen_ai_", "tracewrap_", "error_", "server_"))}
    assert used <= labels | LOST_LABELS, used - labels - LOST_LABELS
    assert {"tracewrap_reference_stack", "gen_ai_response_model"} <= used


def test_every_attribute_of_the_jaeger_pages_is_emitted() -> None:
    """Top tags, links and menu searches name attributes that exported calls have."""
    known = {name for attributes in recorded_attributes() for name in presented_attributes(attributes)} | {
        names.HTTP_STATUS
    }
    pages = json.loads((FOLDER / "jaeger-ui.json").read_text())
    for prefix in pages["topTagPrefixes"]:
        assert any(name.startswith(prefix) for name in known), prefix
    for link in pages["linkPatterns"]:
        assert link["key"] in known
        assert set(re.findall(r"#\{([^}]+)\}", link["url"] + link["text"])) == {link["key"]}
        assert "service=__all_services__" in link["url"]
    searches = [item["url"] for entry in pages["menu"] for item in entry["items"] if "tags=" in item["url"]]
    for url in [*searches, *(link["url"] for link in pages["linkPatterns"])]:
        (searched,) = json.loads(unquote(url.partition("tags=")[2]))
        assert searched in known


def test_the_compose_file_mounts_what_is_there() -> None:
    """Images are pinned, ports are this machine's only, every file mounted exists, every file is mounted or explained."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    mounted = set()
    for service in services.values():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        mounted |= {volume.split(":")[0][2:] for volume in service["volumes"] if volume.startswith("./")}
    there = {path.name for path in FOLDER.iterdir()}
    assert mounted <= there
    assert there - mounted == {"README.md", "compose.yaml", "rules_test.yml"}
    text = (FOLDER / "README.md").read_text()
    assert all(f"`{name}`" in text for name in there - {"README.md"})
    assert all(
        isinstance(yaml.safe_load((FOLDER / name).read_text()), dict)
        for name in there
        if name.endswith((".yml", ".yaml"))
    )


@pytest.mark.real
def test_rules_hold() -> None:
    """promtool accepts the rules and the configuration, and the rules do what their tests say."""
    tool = needed("promtool")
    if "version 2." in subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=60).stdout:
        pytest.skip(f"{tool} is older than Prometheus 3.0: name a newer one in TRACEWRAP_PROMTOOL")
    for arguments in (
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules_test.yml"],
        ["check", "config", "prometheus.yml"],
    ):
        done = subprocess.run([tool, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.real
@pytest.mark.parametrize("name", ["jaeger.yaml", "collector.yaml"])
def test_jaeger_and_collector_take_their_configuration(name: str) -> None:
    """Jaeger, which is a Collector, accepts both files."""
    done = subprocess.run(
        [needed("jaeger"), "validate", "--config", name], cwd=FOLDER, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
