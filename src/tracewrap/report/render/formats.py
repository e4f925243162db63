"""Every format by name or by file suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from tracewrap.errors import ConfigurationError
from tracewrap.report.render.markdown import render_markdown
from tracewrap.report.render.notebook import BuiltReport
from tracewrap.report.render.rows import render_csv, render_json, write_parquet
from tracewrap.report.render.table import render_table
from tracewrap.report.schema import Report
from tracewrap.runtime.files import write_whole

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
_TEXT: dict[str, Callable[[Report], str]] = {
    "table": render_table,
    "json": render_json,
    "csv": render_csv,
    "md": render_markdown,
}


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
    found = cast(Report, report)
    if name == "html":
        from tracewrap.report.render import html

        return html.render(found, trace_url=trace_url)
    if name not in _TEXT:
        raise ConfigurationError(
            f"format {name!r} cannot be printed; there is {', '.join((*_TEXT, 'html'))}; parquet needs -o FILE"
        )
    return _TEXT[name](found)


def write(report: Report | BuiltReport, path: str, name: str | None = None, *, trace_url: str | None = None) -> None:
    """Write the report to *path*, whole or not at all, in format *name* or the one its suffix names."""
    chosen = name or format_of(path)
    try:
        if chosen == "parquet":
            write_parquet(cast(Report, report), path)
        else:
            write_whole(path, render(report, chosen, trace_url=trace_url))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror})") from None
