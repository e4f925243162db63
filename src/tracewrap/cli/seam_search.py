"""Whether a package has a method that we would patch, found by reading its source: importing an SDK takes a second, reading it a hundredth.

Follows ``from x import Name`` and base classes within one package. What cannot be told so (made by code, no source at hand) is
None: then only an import tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_DEPTH = 8
"""Imports and base classes followed from where a name was looked for."""


def has_method(target: str, method: str) -> bool | None:
    """Whether the class *target* (``module:Class``) has *method*: True, or None where its source does not show it."""
    module, _, name = target.partition(":")
    return _in_class(module, name, method, _DEPTH) or None


def _in_class(module: str, name: str, method: str, depth: int) -> bool:
    """Whether the source shows *method* in the class *name* of *module*, or in a base of it."""
    text = _source(module)
    if not depth or text is None:
        return False
    found = re.search(rf"^class {re.escape(name)}\b(?:\(([^)]*)\))?:", text, re.MULTILINE)
    if found is None:
        return any(_in_class(*home, method, depth - 1) for home in _homes(module, text, name))
    end = re.search(r"^[^\s#)]", text[found.end() :], re.MULTILINE)
    body = text[found.end() : found.end() + end.start() if end else len(text)]
    if re.search(rf"^\s+(?:async )?def {re.escape(method)}\(", body, re.MULTILINE):
        return True
    return any(_in_class(module, base, method, depth - 1) for base in _bases(found[1] or ""))


def _bases(text: str) -> list[str]:
    """Names of the base classes in ``Base[Parameter[...]], Other``; those of other modules by their last part."""
    while (shorter := re.sub(r"\[[^\[\]]*\]", "", text)) != text:
        text = shorter
    return [part.strip().rpartition(".")[2] for part in text.split(",") if "=" not in part and part.strip()]


def _homes(module: str, text: str, name: str) -> Iterator[tuple[str, str]]:
    """(module, name there) from which *text*, the source of *module*, imports *name*, or all names of a module of its own package."""
    for line in re.finditer(r"^\s*from (\.*)([\w.]*) import (?:\(([^)]*)\)|([^\n]*))", text, re.MULTILINE):
        for one in (line[3] or line[4]).split(","):
            given, _, renamed = re.sub(r"#.*", "", one).strip().partition(" as ")
            if (renamed.strip() or given) == name or (given == "*" and line[1]):
                yield _absolute(module, len(line[1]), line[2]), name if given == "*" else given.strip()


def _absolute(module: str, dots: int, rest: str) -> str:
    if not dots:
        return rest
    path = _path(module)
    above = dots - 1 if path is not None and path.name == "__init__.py" else dots
    parts = module.split(".")
    return ".".join([*parts[: len(parts) - above], *filter(None, [rest])])


@cache
def _path(module: str) -> Path | None:
    """The source file of *module*; its package is found, not imported."""
    top, *inner = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        base = Path(folder, *inner)
        for path in (base / "__init__.py", base.with_suffix(".py") if inner else base / "__init__.py"):
            if path.is_file():
                return path
    return None


@cache
def _source(module: str) -> str | None:
    path = _path(module)
    try:
        return None if path is None else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
