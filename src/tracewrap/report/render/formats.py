"""Every format by name or by file suffix."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tracewrap.errors import ConfigurationError

if TYPE_CHECKING:
    from tracewrap.report.render.notebook import BuiltReport
    from tracewrap.report.schema import Report

FORMATS: tuple[str, ...] = ("table", "json", "csv", "md", "html", "parquet")
SUFFIXES = {
    ".txt": "table",
    ".json": "json",
    ".csv": "csv",
    ".md": "md",
    ".markdown": "md",
    ".html": "html",
    ".htm": "html",
    ".parquet": "parquet",
}
_TEXT = {
    "table": "table:render_table",
    "json": "rows:render_json",
    "csv": "rows:render_csv",
    "md": "markdown:render_markdown",
}
"""Format to the function that writes it as text, ``file:name``; loaded when it is used, so that --help need not."""


def format_of(path: str) -> str:
    """The format that a file's suffix names; ConfigurationError for an unknown one."""
    name = SUFFIXES.get(Path(path).suffix.lower())
    if name is None:
        raise ConfigurationError(
            f"{path}: suffix {Path(path).suffix!r} names no format; there is {', '.join(SUFFIXES)}, or give --format"
        )
    return name


def render(report: Report | BuiltReport, name: str, *, trace_url: str | None = None) -> str:
    """The report as text. *trace_url*: template of links to traces, with ``{trace_id}`` (HTML only)."""
    found = cast("Report", report)
    if name == "html":
        from tracewrap.report.render import html

        return html.render(found, trace_url=trace_url)
    if name not in _TEXT:
        raise ConfigurationError(
            f"format {name!r} cannot be printed; there is {', '.join((*_TEXT, 'html'))}; parquet needs -o FILE"
        )
    file, _, function = _TEXT[name].partition(":")
    return str(getattr(importlib.import_module(f"{__package__}.{file}"), function)(found))


def write(report: Report | BuiltReport, path: str, name: str | None = None, *, trace_url: str | None = None) -> None:
    """Write the report to *path*, whole or not at all, in format *name* or the one its suffix names."""
    from tracewrap.report.render.rows import write_parquet
    from tracewrap.runtime.files import write_whole

    chosen = name or format_of(path)
    try:
        if chosen == "parquet":
            write_parquet(cast("Report", report), path)
        else:
            write_whole(path, render(report, chosen, trace_url=trace_url))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror})") from None
