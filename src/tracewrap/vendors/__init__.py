"""One file a vendor, same shape: pure readers. Found by listing this folder: adding a vendor is adding a file."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from functools import cache
from typing import Any

from tracewrap.vendors.adapter import Adapter


@cache
def adapters() -> tuple[Adapter, ...]:
    """The adapters of all vendor files, in file order. A file that cannot be loaded is left out and logged: the others still work."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    found = tuple(adapter for name in names if (adapter := _load(name)) is not None)
    if not found:  # a bundler follows import statements only, and these files are imported by name
        logging.getLogger("tracewrap").warning(
            "no vendor file is in this bundle: no call is recorded; build it with all of the package "
            "(PyInstaller: --collect-all tracewrap)"
        )
    return found


def merged(name: str) -> dict[Any, Any]:
    """The mapping *name* of all adapters as one."""
    return {key: value for adapter in adapters() for key, value in getattr(adapter, name).items()}


def _load(name: str) -> Adapter | None:
    try:
        found = getattr(importlib.import_module(f"{__name__}.{name}"), "ADAPTER", None)
    except Exception:
        logging.getLogger("tracewrap").warning(
            "vendor file %s cannot be loaded; its calls are not recorded", name, exc_info=True
        )
        return None
    return found if isinstance(found, Adapter) else None
