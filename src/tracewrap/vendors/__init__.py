"""One file a vendor, same shape: pure readers. Found by listing this folder: adding a vendor is adding a file."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from tracewrap.vendors._adapter import Adapter


@cache
def adapters() -> tuple[Adapter, ...]:
    """The adapters of all vendor files, in file order."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    modules = (importlib.import_module(f"{__name__}.{name}") for name in names)
    return tuple(module.ADAPTER for module in modules if hasattr(module, "ADAPTER"))
