"""Another instrumentor has wrapped the very method of a seam (OpenInference wraps ``OpenAI.request``): ours goes below theirs.

Above it, our span would be open before theirs and both would be billable; below it, theirs is the current span and ours adds to it.
Their wrapper is wrapt's or one made like it: it calls what its ``__wrapped__`` names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_inserted: list[tuple[type, str, Any, Any, Any, str]] = []
"""(class, attribute, their wrapper, what it wrapped, our replacement of that, vendor)."""


def insert(cls: type, name: str, make: Callable[[Any, None], Any], vendor: str) -> bool:
    """Put the replacement that *make* gives below another's wrapper of *name*; False when there is none to go below."""
    wrapper: Any = cls.__dict__.get(name)
    if not any(parent.__name__ == "FunctionWrapper" for parent in type(wrapper).__mro__):
        return False
    if any(entry[2] is wrapper for entry in _inserted):
        return True
    inner: Any = wrapper.__wrapped__
    ours = make(inner, None)
    wrapper.__wrapped__ = ours
    _inserted.append((cls, name, wrapper, inner, ours, vendor))
    return True


def remove(vendors: tuple[str, ...]) -> None:
    """Take ours out again, of *vendors* or of all: from below their wrapper or, where they have gone, from the class."""
    for entry in [entry for entry in _inserted if not vendors or entry[5] in vendors]:
        cls, name, wrapper, inner, ours, _ = entry
        _inserted.remove(entry)
        if wrapper.__wrapped__ is ours:
            wrapper.__wrapped__ = inner
        if cls.__dict__.get(name) is ours:
            setattr(cls, name, inner)
