"""Replacements of methods on other people's classes: put there once, switched on and off, taken off again.

A method is replaced on the class, never on an object: a copy of a client, however it was made, is then a client of its own, and a
patch that somebody lays on the method later still runs. ``Switch`` says whose calls a replacement looks at; all others pass through.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from tracewrap.capture import other_instrumentors

MARK = "_tracewrap_recorded"
"""Attribute of an object whose own calls are recorded; its copies carry it too."""
_ABSENT = object()


class Switch:
    """Whose calls a replacement looks at: every object's of its class, or those of marked objects only."""

    __slots__ = ("everyone", "gone")

    def __init__(self) -> None:
        self.everyone = False
        self.gone = False
        """The replacement was given up where it could not be taken off: it looks at nobody's calls any more."""

    def admits(self, owner: object) -> bool:
        """Whether calls of *owner* are looked at."""
        return not self.gone and (self.everyone or MARK in getattr(owner, "__dict__", ()))


Make = Callable[[Any, Switch], Any]
"""(original, switch) -> replacement; both functions take the object as their first argument."""


class Patch:
    """One replaced method: ``original`` is what stood in the class's own ``__dict__``, ``_ABSENT`` if it was inherited."""

    __slots__ = ("cls", "name", "original", "ours", "switch", "vendor")

    def __init__(self, cls: type, name: str, vendor: str) -> None:
        self.cls, self.name, self.vendor = cls, name, vendor
        self.switch = Switch()
        self.original: Any = cls.__dict__.get(name, _ABSENT)
        self.ours: Any = None

    def put(self, make: Make) -> None:
        """Replace the method, below another instrumentor's wrapper where there is one."""
        if other_instrumentors.insert(self.cls, self.name, lambda inner: make(inner, self.switch), self.vendor):
            return
        original = _inherited(self.cls, self.name) if self.original is _ABSENT else self.original
        self.ours = make(original, self.switch)
        setattr(self.cls, self.name, self.ours)

    def take_off(self) -> bool:
        """Put the class back as it was; False where somebody has patched over us, and theirs may call ours."""
        if self.ours is None:
            return True
        if self.cls.__dict__.get(self.name) is not self.ours:
            return False
        if self.original is _ABSENT:
            delattr(self.cls, self.name)
        else:
            setattr(self.cls, self.name, self.original)
        return True


_patches: dict[tuple[type, str, str], Patch] = {}
"""By class, method and purpose."""
_marked: dict[int, weakref.ref[Any]] = {}
"""Objects marked by ``mark``, by id, for as long as they live."""


def patch(cls: type, name: str, make: Make, vendor: str, *, everyone: bool, purpose: str = "call") -> None:
    """Replace method *name* of *cls* by what *make* gives, once a *purpose*; *everyone*: look at every object's calls from now on."""
    known = _patches.get((cls, name, purpose))
    if known is None:
        if getattr(cls, name, None) is None:
            return
        known = Patch(cls, name, vendor)
        known.put(make)
        _patches[cls, name, purpose] = known
    known.switch.everyone = known.switch.everyone or everyone


def mark(owner: Any) -> None:
    """Look at the calls of *owner* from now on."""
    owner.__dict__[MARK] = True
    key = id(owner)
    _marked[key] = weakref.ref(owner, lambda _: _marked.pop(key, None))


def switch_off(vendors: tuple[str, ...]) -> None:
    """Look at marked objects only again, of *vendors* or of all; classes of which none is left are as they were before ``patch``."""
    alive = [owner for reference in list(_marked.values()) if (owner := reference()) is not None]
    for key, known in reversed(list(_patches.items())):
        if vendors and known.vendor not in vendors:
            continue
        known.switch.everyone = False
        if not any(isinstance(owner, known.cls) for owner in alive):
            known.switch.gone = not known.take_off()
            del _patches[key]


def patched_for_everyone() -> tuple[str, ...]:
    """Names of the methods that look at every object's calls."""
    return tuple(
        f"{known.cls.__module__}.{known.cls.__qualname__}.{known.name}"
        for known in _patches.values()
        if known.switch.everyone
    )


def _inherited(cls: type, name: str) -> Any:
    """The method that *cls* inherits, looked up at each call, as Python would."""

    @functools.wraps(getattr(cls, name))
    def inherited(owner: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(super(cls, owner), name)(*args, **kwargs)

    return inherited
