"""SpanLog: OTLP-JSON lines in a folder, one file a process: the OpenTelemetry Collector's file format.

Each write appends whole lines at once, so that any process can be killed at any moment and every line written stays readable; a torn
last line is the reader's to skip. A forked child starts a file of its own; another file follows one that has grown too large, and one
of an earlier day (UTC). With each new file the oldest ones beyond what is kept are removed (``retention``). Folder and files are private
to their user (0700, 0600). A folder that is removed is made again.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tracewrap import semconv, systems
from tracewrap.errors import check_local
from tracewrap.records import DAY_NS, CallRecord
from tracewrap.sinks import otlp_text
from tracewrap.sinks.folder import unwritable
from tracewrap.sinks.retention import Keep, prune


class SpanLog(SpanExporter):
    """Appends to ``FOLDER/spans-<start>-<pid>-<random>-<number>.jsonl``; in the order of their names a process's files are in the order of
    its calls. The folder and the file are made when there is something to write.

    The pipeline hands it recorded calls; as an exporter of OpenTelemetry's it takes the spans of a pipeline of your own.
    Raises ConfigurationError when *folder* is a URL.
    """

    def __init__(
        self, folder: str | os.PathLike[str], resource: Mapping[str, Any] | None = None, keep: Keep | None = None
    ) -> None:
        check_local(folder)
        self.folder = Path(folder)
        self._keep = keep or Keep()
        self.path: Path | None = None
        self.dropped = 0
        """Spans that ``export`` could not write (disk full, folder not writable)."""
        self._resource = resource or {}
        self._texts: dict[int, tuple[object, str]] = {}
        self._scope = otlp_text.scope_text(semconv.SCOPE, semconv.scope_version())
        self._pid, self._token, self._number, self._day = 0, "", 0, 0
        self._lock = threading.RLock()

    def notes(self) -> list[str]:
        """One line where nothing can be written here, as far as the system tells beforehand."""
        why = unwritable(self.folder)
        said = f"span_log {self.folder}: {why}; calls are counted as lost: name a folder to write in"
        return [] if why is None else [said]

    def encoded(self, record: CallRecord, attributes: Mapping[str, Any]) -> tuple[str, str]:
        """A recorded call with *attributes* as the texts of its resource and of its span, for ``write``."""
        resource = self._resource if record.resource is None else record.resource
        return self._resource_text(resource), otlp_text.record_text(record, attributes)

    def write(self, encoded: Sequence[tuple[str, str]]) -> None:
        """Append encoded calls, a line for each run of one resource. Raises OSError; nothing of them is written then."""
        lines = (
            otlp_text.line(resource, self._scope, [span for _, span in group], semconv.SCHEMA_URL)
            for resource, group in itertools.groupby(encoded, key=lambda one: one[0])
        )
        self._append(otlp_text.utf8("".join(lines)))

    def write_losses(self, lost: Iterable[tuple[str, str, int]], since_ns: int) -> None:
        """Append a record of lost calls: (place, reason, count). Raises OSError."""
        times = (since_ns, time.time_ns())
        spans = [
            otlp_text.losses_text((secrets.randbits(128) | 1, secrets.randbits(64) | 1), place, reason, count, times)
            for place, reason, count in lost
        ]
        self.write([(self._resource_text(self._resource), span) for span in spans])

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append *spans*, one line."""
        if not spans:
            return SpanExportResult.SUCCESS
        try:
            self._append(otlp_text.utf8("".join(self._lines(spans))))
        except OSError:
            self.dropped += len(spans)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def _lines(self, spans: Sequence[ReadableSpan]) -> Iterable[str]:
        groups: dict[tuple[str, str, str | None], list[str]] = {}
        for span in spans:
            scope = span.instrumentation_scope
            name = "{}" if scope is None else otlp_text.scope_text(scope.name, scope.version)
            schema = None if scope is None else scope.schema_url
            group = groups.setdefault((self._resource_text(span.resource.attributes), name, schema), [])
            group.append(otlp_text.span_text(span))
        return (otlp_text.line(resource, scope, texts, url) for (resource, scope, url), texts in groups.items())

    def _resource_text(self, resource: Mapping[str, Any]) -> str:
        known = self._texts.get(id(resource))
        if known is None or known[0] is not resource:
            if len(self._texts) > 64:
                self._texts.clear()
            known = self._texts[id(resource)] = (resource, otlp_text.pairs(resource))
        return known[1]

    def _append(self, data: bytes) -> None:
        if self._pid != os.getpid():  # a forked child: its parent's lock may be held for ever
            self._pid, self._lock, self.path = os.getpid(), threading.RLock(), None
            self._token, self._number = secrets.token_hex(6), 0
        with self._lock:
            if time.time_ns() // DAY_NS > self._day:  # a clock that is set back rolls nothing
                self.path = None
            handle = self._handle()
            try:
                size = os.fstat(handle).st_size
                if os.write(handle, data) != len(data):
                    os.ftruncate(handle, size)
                    raise OSError(errno.ENOSPC, "no space left for a whole line")
            finally:
                os.close(handle)
            if size + len(data) > self._keep.file_bytes:
                self.path = None

    def _handle(self) -> int:
        try:
            try:
                return self._opened()
            except FileNotFoundError:  # the folder is gone, or not there yet
                os.makedirs(self.folder, mode=0o700, exist_ok=True)
                return self._opened()
        except ValueError as error:  # the system can have no file of that name
            raise OSError(errno.EINVAL, str(error)) from None

    def _opened(self) -> int:
        if self.path is not None:
            return os.open(self.path, systems.WRITE_BYTES | os.O_APPEND | os.O_CREAT, 0o600)
        start = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = self.folder / f"spans-{start}-{self._pid}-{self._token}-{self._number + 1:04}.jsonl"
        handle = os.open(path, systems.WRITE_BYTES | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        self.path, self._day, self._number = path, time.time_ns() // DAY_NS, self._number + 1
        with contextlib.suppress(OSError):
            prune(self.folder, self._keep, path)
        return handle

    def shutdown(self) -> None:
        """Nothing is buffered here."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is buffered here."""
        return True
