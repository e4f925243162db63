"""Run a function right after a module is first imported, without importing it ourselves."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Collection, Sequence
from types import ModuleType
from typing import Any

from tracewrap.capture.state import drop

_waiting: dict[str, list[Callable[[], None]]] = {}


def after_import(module: str, action: Callable[[], None]) -> None:
    """Call *action* once *module* has been imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    _waiting.setdefault(module, []).append(action)


def forget(modules: Collection[str]) -> None:
    """Drop the actions that wait for *modules*; when none wait any more, ``sys.meta_path`` is as it was."""
    for module in modules:
        _waiting.pop(module, None)
    if not _waiting:
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]


class _Finder(importlib.abc.MetaPathFinder):
    """Finds nothing itself: lets the other finders find a module that is waited for, and wraps its loader."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _waiting:
            return None
        actions = _waiting.pop(fullname)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return None
        _run_after(spec.loader, actions)
        return spec


def _run_after(loader: Any, actions: list[Callable[[], None]]) -> None:
    """Make *loader*, which belongs to this one module, run *actions* after executing it."""
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        for action in actions:
            try:
                action()
            except Exception:
                drop(f"patching {module.__name__}")

    loader.exec_module = exec_module
