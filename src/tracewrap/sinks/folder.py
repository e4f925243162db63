"""Whether a folder can hold span logs: asked by commands that start without OpenTelemetry."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def unwritable(folder: str | os.PathLike[str]) -> str | None:
    """Why no span log can be kept in *folder* (a device, a pipe, a file, a folder that is read-only), in words; None where the system
    says nothing against it.
    """
    path = Path(os.path.abspath(folder))
    for place in (path, *path.parents):
        try:
            mode = os.stat(place).st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue  # it will be made; or what is above it is no folder, which is named
        except OSError as error:
            return str(error.strerror).lower()
        except ValueError:  # a NUL, or a character that the encoding of file names lacks (LC_ALL=C)
            return "this system can have no folder of that name"
        if not stat.S_ISDIR(mode):
            return f"{place} is no folder"
        return None if os.access(place, os.W_OK | os.X_OK) else f"{place} is not writable"
    return None
