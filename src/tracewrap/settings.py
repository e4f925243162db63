"""Settings: the one reader of arguments, TRACEWRAP_* variables and ``[tool.tracewrap]`` in the working folder's pyproject.toml.

Library, entry points and commands all read them here: an argument wins over the environment, the environment over the file. How a
value is read from text follows from the annotation of its field, so that a setting is declared once.
"""

from __future__ import annotations

import os
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypedDict

from tracewrap.errors import ConfigurationError, check_local

MetricNames = Literal["latest", "v1.41", "both"]
SpanNames = Literal["latest", "v1.36", "both"]
StreamUsage = Literal["auto", "always", "never"]
PREFIX = "TRACEWRAP_"
_TRUTHS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where calls go and what they are compared with. Seconds in ``_s``."""

    enabled: bool = True
    """False: ``configure``, ``wrap`` and ``instrument`` do nothing at all."""
    span_log: str | None = None
    """Folder of the span log."""
    span_log_roll_bytes: int = field(default=256 * 2**20, metadata={"least": 1})
    """Size of a span-log file that another follows; so does the first call of another day (UTC)."""
    span_log_keep_bytes: int = field(default=10 * 2**30, metadata={"least": 0})
    """What the span log's files may take altogether; the oldest beyond it are removed. 0: no limit."""
    span_log_keep_days: float = field(default=0.0, metadata={"least": 0})
    """Files whose last call is so many days older than the newest one's are removed. 0: no limit."""
    span_log_lake: str | None = None
    """A Parquet lake that the span log is compacted into: only files whose calls it holds are removed."""
    read_cache: bool = True
    """Whether commands that read a span log keep what they parsed, in the folder ``.tracewrap`` in it, for the next command."""
    sampled_only: bool = False
    """Write only calls of sampled traces to the span log; learning, metrics and the terminal still see every call."""
    otlp: str | None = None
    """Base URL of an OTLP receiver; "" for what OTEL_EXPORTER_OTLP_* say."""
    terminal: bool = False
    """A line a call on standard error."""
    profiles: tuple[str, ...] = field(default=(), metadata={"separator": os.pathsep})
    """Further profile and stack files, or folders of them."""
    references: tuple[str, ...] = field(default=(), metadata={"separator": ","})
    """Ids of reference stacks, in order of preference."""
    stand_ins: Mapping[str, str] | None = None
    """Closed model -> open model whose idealized profile stands for it."""
    inline: bool = False
    """Join before the span ends, so that estimates reach exporters of the program's own."""
    denoise: bool = True
    """Learn denoised profiles from the calls themselves."""
    prices: str | None = None
    """A file of your own list prices; they win over those of the package genai-prices."""
    grid: str | None = None
    """Whose electricity: a country, such as DEU, or grams of CO2e a kWh; reports then tell the emissions of idealized energy."""
    metrics: bool = False
    """Record OpenTelemetry metrics too."""
    semconv_metrics: MetricNames = "latest"
    """Whose names metrics have: the conventions' newest, those of 1.41, or both."""
    semconv_spans: SpanNames = "latest"
    """Whose names exported spans have: the conventions' newest (cache writes under their old name too), those of 1.36, or both."""
    stream_usage: StreamUsage = "auto"
    """Whether a stream that reports no usage is asked for it: where the server is known to support that, always, or never."""
    queue_size: int = field(default=20_000, metadata={"least": 1})
    """Calls that wait for the background, and for each exporter, at most; newer ones are dropped and counted."""
    exit_timeout_s: float = field(default=5.0, metadata={"least": 0})
    """How long the end of the program waits at most for what is still queued, in seconds."""


class Options(TypedDict, total=False):
    """The settings as keyword arguments; None: not given."""

    enabled: bool | None
    span_log: str | os.PathLike[str] | None
    span_log_roll_bytes: int | None
    span_log_keep_bytes: int | None
    span_log_keep_days: float | None
    span_log_lake: str | os.PathLike[str] | None
    read_cache: bool | None
    sampled_only: bool | None
    otlp: str | None
    terminal: bool | None
    profiles: Sequence[str | os.PathLike[str]] | None
    references: Sequence[str] | None
    stand_ins: Mapping[str, str] | None
    inline: bool | None
    denoise: bool | None
    prices: str | os.PathLike[str] | None
    grid: str | None
    metrics: bool | None
    semconv_metrics: MetricNames | None
    semconv_spans: SpanNames | None
    stream_usage: StreamUsage | None
    queue_size: int | None
    exit_timeout_s: float | None


def settings(**options: typing.Unpack[Options]) -> Settings:
    """Settings from *options*, then the environment, then the file.

    Raises ConfigurationError, in one line, for a name that is no setting and for a value that its setting cannot take.
    """
    given: Mapping[str, Any] = options
    known = [one.name for one in fields(Settings)]
    file = file_settings()
    for names, where in ((given, "configure()"), (file, "pyproject.toml: [tool.tracewrap]")):
        for name in names:
            if name not in known:
                raise ConfigurationError(f"{where} has no setting {name!r}{_hint(name, known)}")
    hints = typing.get_type_hints(Settings)
    values: dict[str, Any] = {}
    for one in fields(Settings):
        name, variable = one.name, PREFIX + one.name.upper()
        if given.get(name) is not None:
            values[name] = _read(hints[name], given[name], f"configure({name}=...)", one.metadata)
        elif os.environ.get(variable):
            values[name] = _read_text(hints[name], os.environ[variable], variable, one.metadata)
        elif name in file:
            values[name] = _read(hints[name], file[name], f"pyproject.toml: [tool.tracewrap] {name}", one.metadata)
    for name in ("span_log", "span_log_lake"):
        if name in values:
            check_local(values[name])
    return Settings(**values)


def unknown_variables() -> list[tuple[str, str]]:
    """TRACEWRAP_* variables that look like a misspelt setting, each with the one that was probably meant."""
    known = [one.name.upper() for one in fields(Settings)]
    found = []
    for variable in sorted(os.environ):
        name = variable.removeprefix(PREFIX)  # the prefix is alike in all: with it, every short name would be near
        if name != variable and name not in known:
            found += [(variable, PREFIX + near) for near in get_close_matches(name, known, 1, 0.7)]
    return found


def destination_set() -> bool:
    """Whether the environment or pyproject.toml says where calls go; raises as ``settings`` does."""
    chosen = settings()
    return chosen.span_log is not None or chosen.otlp is not None or chosen.terminal or chosen.metrics


def file_settings() -> dict[str, Any]:
    """``[tool.tracewrap]`` of the working folder's pyproject.toml; ConfigurationError when that is no TOML."""
    path = Path("pyproject.toml")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not valid TOML ({error})") from None
    tool = data.get("tool")
    found = tool.get("tracewrap", {}) if isinstance(tool, dict) else {}
    return dict(found) if isinstance(found, dict) else {}


def _hint(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; there is {', '.join(sorted(known))}"


def _read_text(hint: Any, text: str, where: str, metadata: Mapping[Any, Any]) -> Any:
    """The value that *text*, an environment variable, means for a setting annotated *hint*."""
    kind = _kind(hint)
    if kind is bool:
        if text.lower() not in _TRUTHS:
            raise ConfigurationError(f"{where} is {text!r}; set it to true or false")
        return _TRUTHS[text.lower()]
    if kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            raise ConfigurationError(f"{where} is {text!r}; set it to a {_WORDS[kind]}") from None
        return _read(hint, number, where, metadata)
    if kind is tuple:
        return tuple(part.strip() for part in text.split(metadata["separator"]) if part.strip())
    if kind is Mapping:
        pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
        if not all(closed.strip() and open_.strip() for closed, _, open_ in pairs):
            raise ConfigurationError(f"{where} is {text!r}; write closed-model=open-model, comma between")
        return {closed.strip(): open_.strip() for closed, _, open_ in pairs}
    return _read(hint, text, where, metadata)


_WORDS: dict[Any, str] = {int: "whole number", float: "number", bool: "truth value (true or false)"}


def _read(hint: Any, value: Any, where: str, metadata: Mapping[Any, Any]) -> Any:
    """*value*, an argument or a value of a TOML file, as a setting annotated *hint* holds it."""
    kind = _kind(hint)
    if kind is Literal:
        choices = typing.get_args(_bare(hint))
        if value not in choices:
            raise ConfigurationError(f"{where} is {value!r}; there is {', '.join(choices)}")
        return value
    if kind is tuple:
        if isinstance(value, str | os.PathLike) or not isinstance(value, Sequence):
            raise ConfigurationError(f"{where} is {value!r}; give a list of texts")
        return tuple(_text(part, where) for part in value)
    if kind is Mapping:
        if not isinstance(value, Mapping):
            raise ConfigurationError(f"{where} is {value!r}; give closed model -> open model")
        return {_text(closed, where): _text(open_, where) for closed, open_ in value.items()}
    if kind is str:
        return _text(value, where)
    right = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not right or (isinstance(value, bool) and kind is not bool):
        raise ConfigurationError(f"{where} is {value!r}; set it to a {_WORDS[kind]}")
    least = metadata.get("least")
    if least is not None and not least <= value < float("inf"):
        raise ConfigurationError(f"{where} is {value!r}; the least is {least}")
    return kind(value)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str | os.PathLike):
        raise ConfigurationError(f"{where} is {value!r}; a text was expected")
    return str(os.fspath(value))


def _bare(hint: Any) -> Any:
    """*hint* without ``| None``."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = [part for part in typing.get_args(hint) if part is not type(None)]
    return hint


def _kind(hint: Any) -> Any:
    """What decides how a value is read: bool, int, float, str, tuple, Mapping or Literal."""
    bare = _bare(hint)
    return typing.get_origin(bare) or bare
