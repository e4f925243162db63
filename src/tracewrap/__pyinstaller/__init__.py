"""For PyInstaller, which finds this folder by the entry point ``pyinstaller40``: what of the package a frozen program needs."""

from __future__ import annotations

import os


def get_hook_dirs() -> list[str]:
    """Folders with hooks."""
    return [os.path.dirname(__file__)]
