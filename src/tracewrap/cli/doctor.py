"""``tracewrap doctor``: what is recorded, twice, or not at all; where it goes and what it is compared with."""

from __future__ import annotations

import argparse
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tracewrap.cli import doctor_checks, seam_search
from tracewrap.sinks.folder import unwritable
from tracewrap.sinks.otlp_target import target
from tracewrap.words import counted

APART = tuple(
    f"opentelemetry-instrumentation-{name}"
    for name in ("anthropic", "groq", "ollama", "bedrock", "google-generativeai", "together", "mistralai")
)
"""Instrumentors that do not make their span current, so that it cannot be found from within the call."""
_MARKS = {"ok": "+", "note": " ", "warn": "!", "fail": "x"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis. ``warn``: may mislead; ``fail``: nothing, or too much, is recorded or exported."""

    about: str
    status: Literal["ok", "note", "warn", "fail"]
    text: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("--timeout", type=float, default=2.0, metavar="S", help="seconds to wait for the exporter")
    parser.add_argument("--json", action="store_true", help="one JSON list of findings")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 if one of them is a failure."""
    findings = list(diagnose(args.timeout))
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        width = max(len(finding.about) for finding in findings)
        for finding in findings:
            print(f"{_MARKS[finding.status]} {finding.about:<{width}}  {finding.text}")
    return int(any(finding.status == "fail" for finding in findings))


def diagnose(timeout_s: float = 2.0) -> Iterator[Finding]:
    """All findings, in the order in which a call passes what they are about."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _versions,
        _vendors,
        _http,
        _unrecorded,
        _others,
        _start,
        _environment,
    )
    for check in checks:
        yield from check()
    yield from _sinks(timeout_s)
    yield from _profiles()
    yield from _prices()
    yield from _extras()


def version_of(package: str) -> str | None:
    """Installed version of *package*; None when it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _versions() -> Iterator[Finding]:
    names = ("tracewrap", "opentelemetry-api", "opentelemetry-sdk")
    yield Finding("versions", "ok", ", ".join(f"{name} {version_of(name)}" for name in names))


def _vendors() -> Iterator[Finding]:
    """Each SDK: installed, new enough, and every seam found in it."""
    from tracewrap.vendors import adapters

    for adapter in adapters():
        package = adapter.package
        version = version_of(package)
        if version is None:
            yield Finding(package, "note", "not installed")
            continue
        if not adapter.seams:
            yield Finding(package, "ok", f"{version}: recorded by HTTP, with instrument() or a client that is wrapped")
            continue
        missing = [seam.target for seam in adapter.seams if not _has(seam.target, seam.method)]
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if len(missing) == len(adapter.seams):
            yield Finding(package, "fail", f"{version}: not recorded, none of its seams was found")
        elif missing:
            yield Finding(package, "warn", f"{version}: recorded, except {', '.join(missing)}")
        elif numbers < adapter.oldest:
            oldest = ".".join(map(str, adapter.oldest))
            yield Finding(package, "warn", f"{version}: recorded, but older than the tested {oldest}")
        else:
            yield Finding(package, "ok", f"{version}: recorded at {len(adapter.seams)} seams")
        if adapter.unrecorded:
            yield Finding(package, "note", f"never recorded: {adapter.unrecorded}")


def _has(target: str, method: str) -> bool:
    """Whether the class *target* has *method*: as its source says, and where that does not show it, by importing it."""
    if seam_search.has_method(target, method):
        return True
    module, _, name = target.partition(":")
    try:
        return hasattr(getattr(import_module(module), name), method)
    except Exception:  # noqa: BLE001 - a broken SDK is a finding
        return False


_HTTP_RECORDED = (
    "what goes to a known endpoint is recorded, with instrument() or where a client, session or transport is wrapped"
)


def _http() -> Iterator[Finding]:
    for package in ("httpx", "httpx2", "requests", "aiohttp"):
        version = version_of(package)
        text = "not installed" if version is None else f"{version}: {_HTTP_RECORDED}"
        yield Finding(package, "note" if version is None else "ok", text)


def _others() -> Iterator[Finding]:
    """Other instrumentors of the same SDKs, and Anthropic's own spans."""
    from tracewrap.vendors import adapters

    vendors = [adapter.name for adapter in adapters()]
    disabled = {name.strip() for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
    for entry in metadata.entry_points(group="opentelemetry_instrumentor"):
        package = entry.dist.name if entry.dist is not None else entry.value
        ours = entry.name.startswith("tracewrap")
        if ours or not (package in APART or any(name in entry.name for name in vendors)):
            continue
        if {entry.name, "*"} & disabled:
            yield Finding(package, "ok", f"instruments {entry.name} too, but is disabled")
        elif package in APART:
            hint = f"disable one: OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={entry.name}"
            yield Finding(package, "fail", f"makes a second span of every {entry.name} call when it is on; {hint}")
        else:
            text = f"instruments {entry.name} too: its span is the one where both are on, ours adds to it"
            yield Finding(package, "note", text)
    yield from _native()


def _native() -> Iterator[Finding]:
    version = version_of("anthropic")
    if version is None or version.startswith("0."):
        return
    if os.environ.get("ANTHROPIC_OPEN_TELEMETRY", "").lower() == "false":
        text = "the SDK's own spans are off"
    elif os.environ.get("ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE", "").lower() == "content":
        text = "the SDK's own spans record content: they stay, ours stand aside where both go to one provider"
    else:
        text = "the SDK's own spans give way to ours where both go to one provider"
    yield Finding("anthropic", "note", text)


def _environment() -> Iterator[Finding]:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield Finding("environment", "fail", "OTEL_SDK_DISABLED=true: nothing is recorded; unset it")
    disabled = os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")
    ours = [name for name in map(str.strip, disabled.split(",")) if name == "*" or name.startswith("tracewrap")]
    if ours:
        text = f"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names {', '.join(ours)}: not recorded by instrument()"
        yield Finding("environment", "fail", text)
    exporter = os.environ.get("OTEL_TRACES_EXPORTER")
    if exporter and "tracewrap_otlp" not in exporter:
        text = (
            f"OTEL_TRACES_EXPORTER={exporter}: spans of opentelemetry-instrument carry no estimates; use tracewrap_otlp"
        )
        yield Finding("environment", "note", text)


def _start() -> Iterator[Finding]:
    """Both ways of recording a program without changing it."""
    if doctor_checks.start_takes_effect():
        yield Finding("tracewrap run", "ok", "takes effect in this Python (not with its options -I, -E, -S)")
    else:
        yield Finding(
            "tracewrap run", "fail", "has no effect in this Python: call configure() and instrument() instead"
        )
    if version_of("opentelemetry-instrumentation") is None:
        return
    if doctor_checks.entry_points_installed():
        text = "opentelemetry-instrument records with the settings of TRACEWRAP_* and pyproject.toml"
        yield Finding("entry points", "ok", text)
    else:
        yield Finding("entry points", "warn", "not found by opentelemetry-instrument: install tracewrap with pip")


def _unrecorded() -> Iterator[Finding]:
    for text in doctor_checks.sdks_by_http():
        yield Finding("other SDKs", "ok", text)
    for text in doctor_checks.unrecorded_sdks():
        yield Finding("other SDKs", "warn", text)


def _sinks(timeout_s: float) -> Iterator[Finding]:
    chosen, wrong = doctor_checks.chosen_settings()
    for text in wrong:
        yield Finding("settings", "fail", text)
    for text in doctor_checks.misspelt():
        yield Finding("settings", "warn", text)
    if chosen is None:
        return
    if not chosen.enabled:
        yield Finding("settings", "fail", "TRACEWRAP_ENABLED=false: nothing is recorded; unset it to record calls")
    if chosen.span_log is not None:
        yield from _span_log(chosen.span_log)
        yield Finding("span log", "note", doctor_checks.kept(chosen))
        yield Finding("span log", "note", doctor_checks.parsed(chosen))
    to = target(chosen.otlp)
    for note in () if to is None else to.notes:
        yield Finding("exporter", "warn", note)
    if to is not None and to.url is not None:
        yield _reachable(to.url, timeout_s)
    if chosen.span_log is None and to is None:
        text = (
            "nothing configured: set TRACEWRAP_SPAN_LOG or OTEL_EXPORTER_OTLP_ENDPOINT, or call tracewrap.configure()"
        )
        yield Finding("exporter", "warn", text)


def _span_log(setting: str) -> Iterator[Finding]:
    folder, why = os.path.abspath(setting), unwritable(setting)
    yield Finding("span log", "ok" if why is None else "fail", folder if why is None else f"{folder}: {why}")
    for (place, reason), count in sorted(doctor_checks.losses_in(Path(folder)).items()):
        yield Finding("losses", "warn", f"{count} calls did not reach {place} ({reason}), as its newest files say")


def _reachable(url: str, timeout_s: float) -> Finding:
    """Whether something listens at *url*."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        if not host:
            return Finding("exporter", "fail", f"{url}: not a URL; write http://host:4318")
        socket.create_connection((host, port), timeout=timeout_s).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Finding("exporter", "fail", f"{url}: not reachable ({reason})")
    return Finding("exporter", "ok", f"{url}: reachable")


def _profiles() -> Iterator[Finding]:
    from tracewrap.errors import TracewrapError
    from tracewrap.estimate.catalog import load_catalog

    chosen, wrong = doctor_checks.chosen_settings()
    if wrong or chosen is None:
        return  # said with the settings
    try:
        catalog = load_catalog(*chosen.profiles, references=chosen.references, stand_ins=chosen.stand_ins)
    except TracewrapError as error:
        yield Finding("profiles", "fail", str(error))
        return
    except Exception as error:  # noqa: BLE001 - a broken installation is a finding
        yield Finding("profiles", "fail", f"cannot be loaded ({type(error).__name__}: {error})")
        return
    measured = sum(len(stack.profiles) for stack in catalog.stacks)
    analytic = f"; analytic for any open model: {', '.join(catalog.analytic)}" if catalog.analytic else ""
    text = f"{measured} measured in {len(catalog.stacks)} stacks, {len(catalog.denoised)} denoised{analytic}"
    known: Any = measured or catalog.analytic
    yield Finding("profiles", "ok" if known else "warn", text)


def _prices() -> Iterator[Finding]:
    """Files and names of settings that reports and live prices read."""
    from tracewrap.errors import TracewrapError
    from tracewrap.prices.user_file import read_price_file
    from tracewrap.runtime.grid import load_grid

    chosen, _ = doctor_checks.chosen_settings()
    if chosen is None:
        return  # said with the settings
    try:
        if chosen.prices is not None:
            yield Finding(
                "prices", "ok", f"{chosen.prices}: {counted(len(read_price_file(chosen.prices)), 'price')} of yours"
            )
        if chosen.grid is not None:
            grid = load_grid(chosen.grid)
            yield Finding("grid", "ok", f"{grid.name}: {grid.g_per_kwh:g} g of CO2e a kWh")
    except TracewrapError as error:
        yield Finding("settings", "fail", str(error))


def _extras() -> Iterator[Finding]:
    """What is not estimated because its packages are not installed."""
    for package, extra, lost in (
        ("scipy", "fit", "denoised"),
        ("genai_prices", "report", "priced, but by a file of yours"),
    ):
        if find_spec(package) is None:
            yield Finding("extras", "note", f"nothing is {lost}: pip install 'tracewrap[{extra}]'")
