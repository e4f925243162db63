"""configure(): puts capture, join and sinks together, and takes them apart again when the program ends.

Every argument can also be an environment variable (TRACEWRAP_*) or a key of ``[tool.tracewrap]`` in the pyproject.toml of the working
folder; an argument wins over the environment, the environment over the file.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import threading
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracewrap import semconv
from tracewrap.capture.state import state
from tracewrap.errors import ConfigurationError
from tracewrap.sinks import SpanLog, Terminal
from tracewrap.sinks import otlp as otlp_sink

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from tracewrap.estimate.catalog import Catalog
    from tracewrap.prices.list_cost import Pricer

logger = logging.getLogger("tracewrap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where calls go and what they are compared with; ``settings()`` reads them from arguments, environment and file.

    ``span_log``: folder; ``otlp``: base URL, or "" for what OTEL_EXPORTER_OTLP_* say; ``terminal``: a line a call on standard
    error; ``profiles``: further profile and stack files or folders; ``references``: ids of reference stacks, in order;
    ``stand_ins``: closed model -> open model; ``inline``: join before the span ends, for pipelines of the user's own;
    ``denoise``: learn denoised profiles from the calls themselves; ``prices``: a file of your own list prices, which win
    over those of the package genai-prices; ``metrics``: record OpenTelemetry metrics too, named as ``semconv_metrics`` says
    (latest, v1.41 or both).
    """

    span_log: str | None = None
    otlp: str | None = None
    terminal: bool = False
    profiles: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    stand_ins: Mapping[str, str] | None = None
    inline: bool = False
    denoise: bool = True
    prices: str | None = None
    metrics: bool = False
    semconv_metrics: str = "latest"


class Pipeline:
    """What ``configure`` set up: its provider, if it made one, and how to flush and close it."""

    def __init__(
        self,
        settings: Settings,
        provider: TracerProvider | None,
        processors: Sequence[Any],
        learner: Any,
        warming: threading.Thread | None = None,
    ):
        self.settings = settings
        self.provider = provider
        self._processors = list(processors)
        self._learner = learner
        self._warming = warming

    def flush(self) -> None:
        """Export what has been recorded so far; blocks until it is done."""
        for processor in self._processors:
            processor.force_flush()

    def close(self) -> None:
        """Export the rest and stop; called at the end of the program."""
        if self._warming is not None:
            self._warming.join(timeout=5)
        for processor in self._processors:
            processor.shutdown()
        if self._learner is not None:
            self._learner.stop()
            if self.settings.span_log is not None:
                self._learner.save(self.settings.span_log)


_current: Pipeline | None = None


def configure(*exporters: SpanExporter, **options: Any) -> Pipeline:
    """Set up where recorded calls go. *exporters*: OpenTelemetry span exporters, besides those that the settings name.

    Options are the fields of ``Settings``. If the program has set a TracerProvider of its own, calls are recorded with that one and ours
    only adds a processor to it; otherwise a provider of our own is used, which stays private. Calling it again replaces
    the earlier set-up. Raises ConfigurationError for an unknown or malformed setting.
    """
    global _current
    chosen = settings(**options)
    if _current is not None:
        shutdown()
    load, prices = catalog_loader(chosen), price_loader(chosen)
    if chosen.prices is not None:
        prices()  # a mistake in it is told now, not on the exporting thread
    if chosen.inline:
        state.enrich = _inline(load, prices)
    sinks = [*exporters, *_sinks(chosen)]
    learner = _learner(chosen)
    provider, processors = _attach(sinks, load, prices, learner) if sinks else (None, [])
    _current = Pipeline(chosen, provider, processors, learner, _warm(load, prices) if sinks else None)
    atexit.register(shutdown)
    return _current


def settings(**options: Any) -> Settings:
    """Settings from *options*, then TRACEWRAP_* variables, then ``[tool.tracewrap]``; an option set to None counts as not given."""
    known = set(Settings.__dataclass_fields__)
    for name in options:
        if name not in known:
            raise ConfigurationError(f"configure() has no setting {name!r}; there is {', '.join(sorted(known))}")
    values: dict[str, Any] = {}
    file = _file_settings()
    for name in file:
        if name not in known:
            raise ConfigurationError(f"pyproject.toml: [tool.tracewrap] has no setting {name!r}")
    for name in known:
        value = options.get(name)
        if value is None:
            value = _from_environment(name)
        if value is None:
            value = file.get(name)
        if value is not None:
            values[name] = tuple(value) if name in ("profiles", "references") else value
    return Settings(**values)


def _file_settings() -> dict[str, Any]:
    path = Path("pyproject.toml")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not valid TOML ({error})") from None
    found = data.get("tool", {}).get("tracewrap", {})
    return dict(found) if isinstance(found, dict) else {}


def _from_environment(name: str) -> Any:
    text = os.environ.get(f"TRACEWRAP_{name.upper()}")
    if text is None or text == "":
        return None
    if name in ("profiles", "references"):
        return tuple(part for part in text.split(os.pathsep if name == "profiles" else ",") if part)
    if name in ("terminal", "inline", "denoise", "metrics"):
        if text.lower() not in ("1", "0", "true", "false", "yes", "no"):
            raise ConfigurationError(f"TRACEWRAP_{name.upper()} is {text!r}; set it to true or false")
        return text.lower() in ("1", "true", "yes")
    if name == "stand_ins":
        pairs = [pair.partition("=") for pair in text.split(",") if pair]
        if not all(closed and open_ for closed, _, open_ in pairs):
            raise ConfigurationError(f"TRACEWRAP_STAND_INS is {text!r}; write closed-model=open-model, comma between")
        return {closed: open_ for closed, _, open_ in pairs}
    return text


def _sinks(chosen: Settings) -> Iterable[SpanExporter]:
    if chosen.span_log is not None:
        yield SpanLog(chosen.span_log)
    if chosen.otlp is not None:
        yield otlp_sink.otlp(chosen.otlp or None)
    elif otlp_sink.configured():
        yield otlp_sink.otlp()
    if chosen.terminal:
        yield Terminal()
    if chosen.metrics:
        from tracewrap.sinks.metrics import Metrics

        yield Metrics(naming=chosen.semconv_metrics)


def catalog_loader(chosen: Settings) -> Callable[[], Catalog]:
    """A function that loads the catalog *chosen* names, once, for the exporting thread to call when the first span arrives."""

    @functools.cache
    def load() -> Catalog:
        from tracewrap.estimate.catalog import load_catalog

        return load_catalog(*chosen.profiles, references=chosen.references, stand_ins=chosen.stand_ins)

    return load


def price_loader(chosen: Settings) -> Callable[[], Pricer | None]:
    """A function that loads what list costs are computed with, once; its result is None where no price source is installed."""

    @functools.cache
    def load() -> Pricer | None:
        from tracewrap.prices.list_cost import load_pricer

        return load_pricer(chosen.prices)

    return load


def _warm(load: Callable[[], Catalog], prices: Callable[[], Pricer | None]) -> threading.Thread:
    """Load catalog and prices in the background now, so that a program that ends soon, or is interrupted, need not do it at exit.

    Loading makes classes, and making classes at exit would cost an interrupted program its exit status (130): the interpreter forgets
    an unhandled KeyboardInterrupt when exit handlers execute source text.
    """

    def work() -> None:
        try:
            load().idealized("")
            prices()
        except Exception:
            logger.debug("loading the catalog in advance failed", exc_info=True)

    thread = threading.Thread(target=work, name="tracewrap-catalog", daemon=True)
    thread.start()
    return thread


def _learner(chosen: Settings) -> Any:
    """The background denoiser, started; None when it is switched off or its optional dependencies are missing."""
    if not chosen.denoise:
        return None
    from importlib.util import find_spec

    if find_spec("numpy") is None or find_spec("scipy") is None:
        return None
    from tracewrap.learn.learner import Denoiser

    learner = Denoiser(folder=chosen.span_log)
    if chosen.span_log is not None:
        learner.load(chosen.span_log)
    learner.start()
    return learner


def _attach(
    sinks: Sequence[SpanExporter], load: Callable[[], Catalog], prices: Callable[[], Pricer | None], learner: Any
) -> tuple[Any, list[Any]]:
    """Processors for *sinks*, on the program's provider if it has one, else on one of our own."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from tracewrap.estimate.exporter import JoiningExporter
    from tracewrap.estimate.fanout import Fanout

    processor = BatchSpanProcessor(JoiningExporter(Fanout(sinks), load, prices=prices, learner=learner))
    theirs = trace.get_tracer_provider()
    if isinstance(theirs, TracerProvider):
        theirs.add_span_processor(processor)
        state.tracer = theirs.get_tracer(semconv.SCOPE)
        return None, [processor]
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    state.tracer = provider.get_tracer(semconv.SCOPE)
    return provider, [processor]


def _inline(
    load: Callable[[], Catalog], prices: Callable[[], Pricer | None]
) -> Callable[[Any, dict[str, Any]], Mapping[str, Any]]:
    """Join on the caller's thread, before the span ends: estimates reach any exporter of the user's own."""

    def enrich(span: Any, attributes: dict[str, Any]) -> Mapping[str, Any]:
        from tracewrap.estimate.joiner import join_attributes
        from tracewrap.prices.list_cost import put_list_cost

        known = {**(getattr(span, "attributes", None) or {}), **attributes}
        known.update(join_attributes(known, load()))
        pricer = prices()
        if pricer is not None:
            put_list_cost(known, pricer, getattr(span, "start_time", None) or 0)
        return known

    return enrich


def flush() -> None:
    """Export what has been recorded so far, for programs that are frozen or killed between calls (serverless, notebooks)."""
    if _current is not None:
        _current.flush()


def shutdown() -> None:
    """Export the rest and stop recording to what ``configure`` set up."""
    global _current
    pipeline, _current = _current, None
    state.tracer, state.enrich = None, None
    if pipeline is not None:
        try:
            pipeline.close()
        except Exception:
            logger.warning("closing the pipeline failed", exc_info=True)
