"""Architectures of open models, and the names under which hosts serve them.

``reference_profiles/models/*.toml``, one file a family, tables by model id with the fields of ``Architecture``.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tracewrap.errors import ConfigurationError, ProfileFormatError, ProfileNotFoundError
from tracewrap.runtime.files import files_in, reference_folder
from tracewrap.runtime.roofline.architecture import Architecture
from tracewrap.runtime.roofline.model_config import read_config
from tracewrap.runtime.roofline.model_names import name_index, name_key, resolve
from tracewrap.runtime.toml_files import read_toml

__all__ = ["Architecture", "get_model", "load_models", "nearest_models", "read_config", "resolve_model"]

_FIELDS = {field.name for field in dataclasses.fields(Architecture)}


def load_models(path: str | os.PathLike[str] | None = None) -> Mapping[str, Architecture]:
    """Architectures by id: the shipped ones, or those of *path* (a TOML file or a folder of them).

    Raises ProfileNotFoundError when *path* cannot be read, ProfileFormatError naming file and key otherwise.
    """
    return _shipped() if path is None else _load(Path(path))


def resolve_model(name: str) -> str | None:
    """The id of the shipped architecture that a host calls *name*; ``None`` when no shipped model surely is it.

    Hosts' prefixes, letter case and suffixes for precision, file format and dated release of the same weights are
    understood. Closed models, moving aliases (``-latest``) and names of unknown variants give ``None``.
    """
    return resolve(name, _index())


def get_model(name: str) -> Architecture:
    """The shipped architecture called *name* by some host; raises ProfileNotFoundError with the nearest names."""
    key = resolve_model(name)
    if key is not None:
        return _shipped()[key]
    near = nearest_models(name)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise ProfileNotFoundError(f"no architecture for model {name!r}{hint}; or pass its config.json with --config")


def nearest_models(name: str, n: int = 3) -> list[str]:
    """Ids of the *n* shipped models whose names, or other names, are most like *name*; empty when none is like it."""
    import difflib

    keys = difflib.get_close_matches(name_key(name), list(_index()), n=4 * n, cutoff=0.45)
    return list(dict.fromkeys(_index()[key] for key in keys))[:n]


@functools.cache
def _shipped() -> Mapping[str, Architecture]:
    return _load(reference_folder() / "models")


@functools.cache
def _index() -> Mapping[str, str]:
    return name_index(_shipped())


def _load(path: Traversable) -> Mapping[str, Architecture]:
    files = files_in(path, ".toml") if path.is_dir() else [path]
    found: dict[str, Architecture] = {}
    for file in files:
        for key, table in read_toml(file).items():
            if key in found:
                raise ProfileFormatError(f"{file}: model {key!r} is defined twice")
            found[key] = _architecture(file, key, table)
    return MappingProxyType(found)


def _architecture(file: Traversable, key: str, table: Any) -> Architecture:
    if not isinstance(table, dict):
        raise ProfileFormatError(f"{file}: {key} must be a table")
    unknown = sorted(set(table) - _FIELDS)
    if unknown:
        raise ProfileFormatError(f"{file}: model {key!r}: unknown key {unknown[0]!r}")
    values = {"family": file.name.removesuffix(".toml"), **table, "aliases": tuple(table.get("aliases", ()))}
    try:
        return Architecture(id=key, **values)
    except ConfigurationError as error:
        raise ProfileFormatError(f"{file}: {error}") from None
    except TypeError as error:
        raise ProfileFormatError(f"{file}: model {key!r}: {error}") from None
