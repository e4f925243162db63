"""Reading TOML data files with one-line errors."""

from __future__ import annotations

import os
import tomllib
from importlib.resources.abc import Traversable
from typing import Any

from tracewrap.errors import ProfileFormatError, ProfileNotFoundError
from tracewrap.runtime.files import located


def read_toml(path: str | os.PathLike[str] | Traversable) -> dict[str, Any]:
    """The TOML document in *path*; ProfileNotFoundError or ProfileFormatError in one line otherwise."""
    try:
        with located(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ProfileNotFoundError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileFormatError(f"{path}: not valid TOML ({error})") from None
