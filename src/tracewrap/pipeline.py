"""configure(): puts capture, background and sinks together, and takes them apart again when the program ends.

Every argument can also be an environment variable (TRACEWRAP_*) or a key of ``[tool.tracewrap]`` in the pyproject.toml of the working
folder (``settings``).
"""

from __future__ import annotations

import functools
import logging
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from tracewrap.background.endings import Endings
from tracewrap.capture import content
from tracewrap.capture.other_instrumentors import begun
from tracewrap.capture.state import state
from tracewrap.capture.streams import any_open, end_open
from tracewrap.errors import ConfigurationError, SettingIgnoredWarning, TracewrapError
from tracewrap.settings import Options, Settings, destination_set, settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from tracewrap.background.background import Background, Sinks
    from tracewrap.background.exports import Export, Pace
    from tracewrap.background.losses import Losses
    from tracewrap.estimate.catalog import Catalog
    from tracewrap.prices.list_cost import Pricer
    from tracewrap.sinks.retention import Keep

logger = logging.getLogger("tracewrap")
Client = TypeVar("Client")


class Pipeline:
    """What ``configure`` set up, and how to flush and close it. ``notes``: what of the environment could not be used."""

    def __init__(
        self, settings: Settings, background: Background | None, learner: Any, notes: tuple[str, ...] = ()
    ) -> None:
        self.settings = settings
        self.notes = notes
        self._background, self._learner = background, learner
        self._endings: Endings | None = None
        if background is not None:
            self._endings = Endings(
                self._end, self.flush, lambda: background.waiting or any_open(), lambda: background.here
            )
            self._endings.install()
            background.first_call = self._endings.handle_signals

    @property
    def losses(self) -> Mapping[tuple[str, str], int]:
        """Calls that did not reach a place, by (place, reason), since this process began."""
        return {} if self._background is None else dict(self._background.losses.total)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Deliver what has been recorded so far; blocks until it is done, *timeout_s* at most (None: ``exit_timeout_s``).

        Returns whether everything was delivered.
        """
        if self._background is None:
            return True
        within_s = self.settings.exit_timeout_s if timeout_s is None else timeout_s
        return self._background.flush(time.monotonic() + within_s)

    def close(self) -> None:
        """Deliver the rest, within ``exit_timeout_s``, and stop; called at the end of the program."""
        global _current
        if _current is self:
            _current = None
            _detach()
        if self._endings is not None:
            self._endings.remove()
        self._finish()
        if self._background is not None:
            self._background.program.leave()

    def _end(self) -> None:
        """The process ends: streams that are open count as partial calls, and what is queued is delivered."""
        end_open()
        self._finish()

    def _finish(self) -> None:
        """Deliver what is queued; calls made after it are still taken, and worked on at once."""
        until = time.monotonic() + self.settings.exit_timeout_s
        if self._background is not None:
            self._background.close(until)
        learner, self._learner = self._learner, None
        if learner is None:
            return
        try:
            learner.stop(max(0.0, until - time.monotonic()))
            if self.settings.span_log is not None:
                learner.save(self.settings.span_log)
        except Exception:
            logger.warning("what was learned could not be saved in %s", self.settings.span_log, exc_info=True)


_current: Pipeline | None = None


def configure(*exporters: SpanExporter, **options: Unpack[Options]) -> Pipeline:
    """Set up where recorded calls go. *exporters*: OpenTelemetry span exporters, besides those that the settings name.

    Options are the fields of ``settings.Settings``; None means not given. A TracerProvider of the program's is never replaced, whenever it
    is set: exporters get its other spans too. Calling it again replaces the earlier set-up. With OTEL_SDK_DISABLED nothing
    is recorded. Raises ConfigurationError, in one line, for a setting that does not exist or cannot be used: a wrong
    value, a file that cannot be read, a reference stack or an open model that nobody knows.
    """
    pipeline = configured(*exporters, **options)
    for note in pipeline.notes:
        warnings.warn(note, SettingIgnoredWarning, stacklevel=2)
    return pipeline


def configured(*exporters: SpanExporter, **options: Unpack[Options]) -> Pipeline:
    """``configure`` without warnings: who calls it shows the pipeline's ``notes``."""
    global _current
    chosen = _anchored(settings(**options))
    if not chosen.enabled:
        shutdown()
        _current = Pipeline(chosen, None, None)
        return _current
    load, prices = catalog_loader(chosen), price_loader(chosen)
    _check(chosen, load, prices)
    shutdown()
    if disabled():
        _current = Pipeline(
            chosen, None, None, ("OTEL_SDK_DISABLED=true: nothing is recorded; unset it to record calls",)
        )
        return _current
    learner = _learner(chosen)
    background, notes = _background(chosen, exporters, load, prices, learner)
    _current = Pipeline(chosen, background, learner, notes)
    return _current


def _anchored(chosen: Settings) -> Settings:
    """*chosen* with whole paths: a program that changes its working folder later writes where it was told to."""
    try:
        folders = {
            name: os.path.abspath(folder)
            for name in ("span_log", "span_log_lake")
            if (folder := getattr(chosen, name)) is not None
        }
    except OSError:  # the working folder is gone, and there is no whole path to it
        return chosen
    return replace(chosen, **folders)


def wrap(client: Client) -> Client:
    """Record the calls of *client* from now on, and of the copies its ``with_options()`` makes; returns *client* itself.

    Where the environment or pyproject.toml says where calls go and ``configure`` has not been called, that is done first. Wrapping
    twice changes nothing. Raises UnsupportedClientError for an object that no vendor adapter knows.
    """
    from tracewrap.capture.wrap import wrap as wrap_client

    if switched_off():
        return client
    _configure_from_outside()
    return wrap_client(client)


def instrument(*vendors: str) -> None:
    """Record the calls of every client of the SDKs of *vendors*, present and future, installed or imported later. Idempotent.

    No names: every known vendor, but those that OTEL_PYTHON_DISABLED_INSTRUMENTATIONS lists (``tracewrap-openai``, ``tracewrap`` or ``*``).
    Configures first as ``wrap`` does.
    """
    from tracewrap.capture.wrap import instrument as instrument_vendors

    if switched_off():
        return
    _configure_from_outside()
    instrument_vendors(*vendors)


def switched_off() -> bool:
    """Whether the setting ``enabled`` is false."""
    return not (settings() if _current is None else _current.settings).enabled


def _configure_from_outside() -> None:
    if _current is None and state.tracer is None and state.record is None and destination_set():
        configure()


def disabled() -> bool:
    """Whether OpenTelemetry's own switch turns everything off."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _check(chosen: Settings, load: Callable[[], Catalog], prices: Callable[[], Pricer | None]) -> None:
    """Load now what the settings name, so that a mistake in it is told now and not on a thread of ours."""
    try:
        if chosen.prices is not None:
            prices()
        if chosen.profiles or chosen.references or chosen.stand_ins:
            catalog = load()
            for closed, open_ in (chosen.stand_ins or {}).items():
                if catalog.idealized(closed) is None:
                    raise ConfigurationError(
                        f"stand_ins: {closed}={open_}: no profile or architecture of {open_!r} is known; "
                        "name an open model that has one (tracewrap profile list)"
                    )
    except ConfigurationError:
        raise
    except TracewrapError as error:
        raise ConfigurationError(str(error)) from None


def catalog_loader(chosen: Settings) -> Callable[[], Catalog]:
    """A function that loads the catalog *chosen* names, once, for the background to call when the first call arrives."""

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


def _learner(chosen: Settings) -> Any:
    """The background denoiser, started; None when it is switched off or its optional dependencies are missing."""
    if not chosen.denoise:
        return None
    from importlib.util import find_spec

    if find_spec("numpy") is None or find_spec("scipy") is None:
        return None
    try:
        from tracewrap.learn.learner import Denoiser
    except ImportError:  # a bundle with a part of them
        return None

    learner = Denoiser(folder=chosen.span_log)
    if chosen.span_log is not None:
        try:
            learner.load(chosen.span_log)
        except Exception:
            logger.warning(
                "what was learned before in %s cannot be read; it is ignored", chosen.span_log, exc_info=True
            )
    learner.start()
    return learner


def _background(
    chosen: Settings,
    exporters: tuple[SpanExporter, ...],
    load: Callable[[], Catalog],
    prices: Callable[[], Pricer | None],
    learner: Any,
) -> tuple[Background | None, tuple[str, ...]]:
    """The background of *chosen* and *exporters*, fed by capture; None where calls go nowhere."""
    from opentelemetry.sdk.resources import Resource

    from tracewrap.background.background import Background, enrich_inline
    from tracewrap.background.losses import Losses
    from tracewrap.estimate.live_join import LiveJoin

    state.naming, state.content = chosen.semconv_spans, content.wanted()
    losses, own = Losses(), Resource.create()
    sinks, notes = _sinks(chosen, exporters, losses, own)
    inline = LiveJoin(load, prices, learner)
    if not (sinks.span_log or sinks.metrics or sinks.terminal or sinks.exports):
        if chosen.inline:
            state.enrich = enrich_inline(inline, None)
        return None, notes
    background = Background(LiveJoin(load, prices, learner), sinks, losses, own, chosen.queue_size, begun)
    if chosen.inline or sinks.shared_url is not None:
        state.enrich = enrich_inline(inline, None if chosen.inline else background.program)
    state.stream_usage, state.chunk_gaps = chosen.stream_usage, chosen.metrics
    background.program.look()
    state.record = background.put
    return background, notes


def _sinks(
    chosen: Settings, exporters: tuple[SpanExporter, ...], losses: Losses, own: Any
) -> tuple[Sinks, tuple[str, ...]]:
    from tracewrap.background.background import Sinks
    from tracewrap.background.exports import Export, pace_of
    from tracewrap.sinks import SpanLog, Terminal
    from tracewrap.sinks.otlp import ExporterSender

    notes: list[str] = [said] if (said := content.note()) is not None else []
    pace = pace_of(chosen.queue_size, notes)
    sinks = Sinks(sampled_only=chosen.sampled_only, naming=chosen.semconv_spans)
    for number, exporter in enumerate(exporters, 1):
        place = type(exporter).__name__ + (f"_{number}" if number > 1 else "")
        sinks.exports.append(Export(place, ExporterSender(lambda exporter=exporter: exporter), losses, pace))  # type: ignore[misc]
    shared = _otlp(chosen, losses, pace, notes)
    if shared is not None:
        sinks.shared, sinks.shared_url = shared
        sinks.exports.append(sinks.shared)
    if chosen.span_log is not None:
        sinks.span_log = SpanLog(chosen.span_log, own.attributes, _kept(chosen))
        notes += sinks.span_log.notes()
    if chosen.terminal:
        sinks.terminal = Terminal()
    if chosen.metrics:
        from tracewrap.sinks.metrics import Metrics

        sinks.metrics = Metrics(naming=chosen.semconv_metrics)
        losses.told = sinks.metrics.lost
    return sinks, tuple(notes)


def _kept(chosen: Settings) -> Keep:
    """How much of the span log *chosen* keeps."""
    from tracewrap.sinks.retention import Keep

    return Keep(
        roll_bytes=chosen.span_log_roll_bytes,
        days=chosen.span_log_keep_days or None,
        bytes=chosen.span_log_keep_bytes or None,
        lake=chosen.span_log_lake,
    )


def _otlp(chosen: Settings, losses: Losses, pace: Pace, notes: list[str]) -> tuple[Export, str] | None:
    from tracewrap.sinks.otlp_target import target, wanted

    if not wanted(chosen.otlp):
        return None
    from tracewrap.background.exports import Export
    from tracewrap.sinks.otlp import sender

    to = target(chosen.otlp)
    if to is None:
        return None
    notes.extend(to.notes)
    return None if to.url is None else (Export("otlp", sender(to), losses, pace), to.url)


def _detach() -> None:
    state.record, state.tracer, state.enrich, state.chunk_gaps = None, None, None, False


def flush(timeout_s: float | None = None) -> bool:
    """Deliver what has been recorded so far, for programs that are frozen or killed between calls (serverless, notebooks).

    Blocks *timeout_s* at most (None: the setting ``exit_timeout_s``); returns whether everything was delivered.
    """
    return _current is None or _current.flush(timeout_s)


def shutdown() -> None:
    """Deliver the rest and stop recording to what ``configure`` set up."""
    if _current is not None:
        try:
            _current.close()
        except Exception:
            logger.warning("closing the pipeline failed", exc_info=True)
