"""Every error tracewrap raises on purpose.

    TracewrapError
    ├── UnsupportedClientError (TypeError)    wrap() was given something no vendor knows
    ├── ConfigurationError     (ValueError)   a setting, flag or configuration file is wrong
    ├── ProfileFormatError     (ValueError)   a profile file breaks the schema: names file and key
    ├── ProfileNotFoundError   (LookupError)  a profile, stack, model or GPU was named and is not there
    ├── FitError               (ValueError)   too few samples, or not identifiable: says which points to add
    ├── SourceError            (ValueError)   a source of calls or samples cannot be read: names file, row, column
    └── MissingExtraError      (ImportError)  a feature needs an optional dependency: names the extra

    Warnings (``UserWarning``)
    ├── SettingIgnoredWarning  a setting or a variable of OpenTelemetry's cannot be honoured: names it and the next step
    └── UnstableSamplesWarning repeated measurements disagree

Only set-up, fitting, reading and the command line raise these. Nothing in capture, join or sinks
raises into a user's program.
"""

from __future__ import annotations

import os
import re


class TracewrapError(Exception):
    """Base of every error raised by tracewrap; the message names the thing, the value and the next step."""


class UnsupportedClientError(TracewrapError, TypeError):
    """``wrap()`` was given an object that no vendor adapter knows."""


class ConfigurationError(TracewrapError, ValueError):
    """A setting, a flag or a configuration file is wrong."""


class ProfileFormatError(TracewrapError, ValueError):
    """A profile file breaks the schema; the message names the file and the key."""


class ProfileNotFoundError(TracewrapError, LookupError):
    """A profile, stack, model or GPU was asked for by name and is not there."""


class FitError(TracewrapError, ValueError):
    """Samples do not determine a profile; the message says which points to add."""


class SourceError(TracewrapError, ValueError):
    """A source of calls or samples cannot be read; the message names file, row and column."""


class MissingExtraError(TracewrapError, ImportError):
    """A feature needs an optional dependency that is not installed; the message names the extra."""


class SettingIgnoredWarning(UserWarning):
    """A setting or a variable of OpenTelemetry's cannot be honoured; the message names it, its value and the next step."""


class UnstableSamplesWarning(UserWarning):
    """Repeated measurements of one point disagree by more than the fit can explain."""


def missing_extra(feature: str, extra: str) -> MissingExtraError:
    """The one-line error for *feature* when the optional dependencies of *extra* are not installed."""
    return MissingExtraError(
        f"{feature} needs the optional dependencies of '{extra}': pip install 'tracewrap[{extra}]'"
    )


def check_local(target: str | os.PathLike[str]) -> None:
    """ConfigurationError when *target*, which is to be written, is a URL (``s3://...``): it would become a local path of that name."""
    text = os.fspath(target)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):  # pathlib folds "//" into "/"; one letter is a drive of Windows
        shown = re.sub(r"//.*@", "//", text)
        raise ConfigurationError(f"{shown}: only local files and folders are written; write one, then copy it there")
