"""Run a function right after a module is imported, whenever and however often that is, without importing it ourselves."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import threading
from collections.abc import Callable, Collection, Hashable, Sequence
from types import ModuleType
from typing import Any

from tracewrap.capture.state import drop

_waiting: dict[str, dict[Hashable, Callable[[], None]]] = {}
_asking = threading.local()
"""``names``: modules whose other finders this thread is asking, so that one which asks all finders itself does not come round to us."""


def after_import(module: str, key: Hashable, action: Callable[[], None]) -> None:
    """Call *action* each time *module* has been imported, until ``forget``; it takes the place of an earlier one of that *key*."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    _waiting.setdefault(module, {})[key] = action


def any_waiting() -> bool:
    """Whether something waits for a module."""
    return bool(_waiting)


def forget(modules: Collection[str] | None = None) -> None:
    """Drop the actions that wait for *modules*, None: for any; when none wait any more, ``sys.meta_path`` is as it was."""
    for module in list(_waiting) if modules is None else modules:
        _waiting.pop(module, None)
    if not _waiting:
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]


class _Finder(importlib.abc.MetaPathFinder):
    """Finds nothing itself: lets the other finders find a module that is waited for, and puts ours round its loader.

    To be asked is not to be imported: actions run when the module has been executed, however often anybody looks for it before.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        names: set[str] = _asking.__dict__.setdefault("names", set())
        if fullname not in _waiting or fullname in names:
            return None
        names.add(fullname)
        try:
            spec = _found_by_others(self, fullname, path, target)
        finally:
            names.discard(fullname)
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader)
        return spec


def _found_by_others(
    ours: _Finder, fullname: str, path: Sequence[str] | None, target: ModuleType | None
) -> importlib.machinery.ModuleSpec | None:
    for finder in list(sys.meta_path):
        if finder is ours or not hasattr(finder, "find_spec"):
            continue
        spec = finder.find_spec(fullname, path, target)
        if spec is not None:
            return spec
    return None


class _Loader(importlib.abc.Loader):
    """Another finder's loader, which does all the work; after a module has been executed, what waited for it runs.

    While the module is executed its spec names the loader itself again: whoever asks a module for its loader gets the one it would
    have without us.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As the loader itself."""
        create = getattr(self._loader, "create_module", None)
        made: ModuleType | None = None if create is None else create(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Execute *module*, then run what waited for it."""
        if module.__spec__ is not None and module.__spec__.loader is self:
            module.__spec__.loader = self._loader
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._loader
        self._loader.exec_module(module)
        for action in list(_waiting.get(module.__name__, {}).values()):
            try:
                action()
            except Exception:
                drop(f"patching {module.__name__}")
