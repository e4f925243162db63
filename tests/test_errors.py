"""The tree of errors in ``tracewrap.errors`` is true: what it draws is what there is, and each is raised somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tracewrap import errors

SOURCE = Path(errors.__file__).parent
CLASSES = {
    name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)
}


def _made() -> set[str]:
    """Names of the classes that code of the package calls: ``raise X(...)``, ``warn(X(...))`` or ``warn(..., X)``."""
    made: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                made |= {part.id for part in (node.func, *node.args) if isinstance(part, ast.Name)}
    return made


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"TracewrapError"}))
def test_each_error_is_raised(name: str) -> None:
    """A class that nothing raises would be a promise that nothing keeps."""
    assert name in _made()


def test_the_tree_in_the_docstring_is_true() -> None:
    """It names every class with the built-in one it also is; every error is a TracewrapError, every warning a UserWarning."""
    drawn = dict(re.findall(r"[├└]── (\w+)(?: +\((\w+)\))?", errors.__doc__ or ""))
    assert set(drawn) == set(CLASSES) - {"TracewrapError"}
    for name, builtin in drawn.items():
        bases = {base.__name__ for base in CLASSES[name].__mro__}
        assert ("UserWarning" if name.endswith("Warning") else "TracewrapError") in bases
        assert not builtin or builtin in bases
