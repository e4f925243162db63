"""Where OTLP goes and how, from OpenTelemetry's variables (OTEL_EXPORTER_OTLP_*, general and for traces) and the setting ``otlp``.

Every variable of the specification is honoured, or named in one line of ``Target.notes`` with what to do. Seconds where OpenTelemetry's
Python exporters take seconds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

GENERAL, TRACES = "OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"
TIMEOUT_S = 10.0
GRPC_PACKAGE = "opentelemetry-exporter-otlp-proto-grpc"
_EXPORTERS = ("otlp", "otlp_proto_http", "otlp_proto_grpc", "tracewrap_otlp")
"""Values of OTEL_TRACES_EXPORTER that mean OTLP."""
_FILES = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")


@dataclass(frozen=True, slots=True)
class Target:
    """A receiver. ``url`` is None where nothing can be sent there; ``notes`` say why, or what of the environment is not used."""

    url: str | None
    protocol: str = "http/protobuf"
    headers: Mapping[str, str] = field(default_factory=dict)
    compression: str = "none"
    timeout_s: float = TIMEOUT_S
    files: Mapping[str, str] = field(default_factory=dict)
    """CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY -> path, where set."""
    notes: tuple[str, ...] = ()


def variable(name: str) -> tuple[str, str] | None:
    """(variable, value) of *name* for traces, else of all signals; None where neither is set."""
    found = ((full, os.environ.get(full, "").strip()) for full in (TRACES + name, GENERAL + name))
    return next(((full, value) for full, value in found if value), None)


def wanted(setting: str | None) -> bool:
    """Whether traces are to be exported: *setting* names a receiver, or the environment does and does not switch them off."""
    if setting is not None:
        return True
    names = [name.strip() for name in os.environ.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip()]
    return variable("ENDPOINT") is not None and (not names or any(name in _EXPORTERS for name in names))


def target(setting: str | None) -> Target | None:
    """The receiver that *setting* names ("" and None: what the environment says); None where traces are not to be exported."""
    if not wanted(setting):
        return None
    notes: list[str] = []
    protocol = _protocol(notes)
    url = None if protocol is None else _url(setting, protocol, notes)
    compression = variable("COMPRESSION") or ("", "none")
    if compression[1].lower() not in ("none", "gzip", "deflate"):
        notes.append(f"{compression[0]} is {compression[1]!r}: sent uncompressed; set it to gzip, deflate or none")
        compression = ("", "none")
    files = {name: found for name in _FILES if (found := variable(name)) is not None}
    for full, path in files.values():
        if not os.access(path, os.R_OK):
            notes.append(
                f"{full}: {path} cannot be read, so nothing is exported; name a readable PEM file, or unset it"
            )
            url = None
    return Target(
        url,
        protocol or "http/protobuf",
        dict(_headers(notes)),
        compression[1].lower(),
        _timeout_s(notes),
        {name: path for name, (_, path) in files.items()},
        tuple(notes),
    )


def _protocol(notes: list[str]) -> str | None:
    full, protocol = variable("PROTOCOL") or ("", "http/protobuf")
    if protocol == "grpc":
        from importlib.util import find_spec

        try:
            if find_spec("opentelemetry.exporter.otlp.proto.grpc") is not None:
                return protocol
        except ImportError:
            pass
        notes.append(
            f"{full}=grpc needs: pip install {GRPC_PACKAGE}; nothing is exported. Or set it to http/protobuf, and the endpoint to "
            "the receiver's HTTP port (4318 as a rule, not 4317)"
        )
        return None
    if protocol != "http/protobuf":
        notes.append(f"{full} is {protocol!r}, so nothing is exported; set it to http/protobuf or grpc")
        return None
    return protocol


def _url(setting: str | None, protocol: str, notes: list[str]) -> str | None:
    """The full URL to send to: a path of one's own only where the variable for traces gives one."""
    full, text = (
        (setting and ("otlp", setting)) or variable("ENDPOINT") or (f"{GENERAL}ENDPOINT", "http://localhost:4318")
    )
    if protocol == "grpc":
        return text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        notes.append(f"{full} is no http:// or https:// URL, so nothing is exported; write http://host:4318")
        return None
    if full.startswith(TRACES) or parts.path.rstrip("/").endswith("/v1/traces"):
        return text
    return f"{text.rstrip('/')}/v1/traces"


def _headers(notes: list[str]) -> Iterator[tuple[str, str]]:
    full, text = variable("HEADERS") or ("", "")
    for pair in text.split(","):
        name, found, value = pair.partition("=")
        name, value = unquote(name.strip()), unquote(value.strip())
        if not pair.strip():
            continue
        if (
            found
            and name
            and not any(sign in name for sign in "\r\n\0 :")
            and not any(sign in value for sign in "\r\n\0")
        ):
            yield name, value
        else:  # its value may be a key: it is not shown
            notes.append(f"{full}: a header is left out; write name=value, comma between, other signs percent-encoded")


def _timeout_s(notes: list[str]) -> float:
    full, text = variable("TIMEOUT") or ("", str(TIMEOUT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        notes.append(f"{full} is {text!r}: {TIMEOUT_S:g} s are used; set it to a number of seconds")
        return TIMEOUT_S
    return seconds
