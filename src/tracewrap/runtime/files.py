"""Reading and writing profile and stack files: whole or not at all, errors that name file and key."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from tracewrap import systems
from tracewrap.errors import ConfigurationError, ProfileFormatError, ProfileNotFoundError, check_local
from tracewrap.runtime.profile import RuntimeProfile


def reference_folder() -> Traversable:
    """The shipped ``reference_profiles`` folder: inside the package, which may be in a zip, else the checkout's."""
    packaged = resources.files("tracewrap") / "reference_profiles"
    if packaged.is_dir():
        return packaged
    return Path(__file__).resolve().parents[3] / "reference_profiles"


def measured_folder() -> Traversable:
    """Shipped reference stacks that are used only when they are named: they would mix with the default one in a report."""
    return reference_folder() / "measured"


def located(path: str | os.PathLike[str] | Traversable) -> Traversable:
    """*path* as something to read: a path on disk, or a shipped file as it is."""
    return Path(path) if isinstance(path, str | os.PathLike) else path


def files_in(folder: Traversable, suffix: str) -> list[Traversable]:
    """The files in *folder* whose names end with *suffix*, by name."""
    return sorted((file for file in folder.iterdir() if file.name.endswith(suffix)), key=lambda file: file.name)


def read_json(path: str | os.PathLike[str] | Traversable) -> dict[str, Any]:
    """The JSON object in *path*; ProfileNotFoundError or ProfileFormatError in one line otherwise."""
    try:
        text = located(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ProfileNotFoundError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ProfileFormatError(f"{path}: not UTF-8 text (byte {error.start})") from None
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise ProfileFormatError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(data, dict):
        raise ProfileFormatError(f"{path}: holds a JSON {type(data).__name__}, an object was expected")
    return data


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def write_whole(path: str | os.PathLike[str], text: str, mode: int = 0o666) -> None:
    """Write *text* to *path* atomically: readers see the old file or the new one, never a part. *mode* is less the umask's bits.

    Raises ConfigurationError in one line when the folder is missing, not writable or full, or *path* is a URL.
    """
    check_local(path)
    try:
        _replace(Path(path), text, mode)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror})") from None


def _replace(target: Path, text: str, mode: int) -> None:
    # Opened with the mode itself: the system takes the umask off, which cannot be read without setting it for all threads.
    temporary = target.parent / f".{target.name}.{secrets.token_hex(6)}"
    handle = os.open(temporary, systems.WRITE_BYTES | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        systems.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def to_json(data: Mapping[str, Any]) -> str:
    """Indented JSON text; NaN and infinities are refused."""
    return json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def load_profile(path: str | os.PathLike[str]) -> RuntimeProfile:
    """The profile in a ``tracewrap.profile/1`` file."""
    return RuntimeProfile.from_dict(read_json(path), where=str(path))


def save_profile(profile: RuntimeProfile, path: str | os.PathLike[str]) -> None:
    """Write *profile* to *path*, whole or not at all."""
    write_whole(path, to_json(profile.to_dict()))


PROFILES_SCHEMA = "tracewrap.profiles/1"
"""A file of several profiles: one of each service tier of the same deployment."""


def save_profiles(profiles: Sequence[RuntimeProfile], path: str | os.PathLike[str]) -> None:
    """Write *profiles* to one file, whole or not at all."""
    write_whole(path, to_json({"schema": PROFILES_SCHEMA, "profiles": [profile.to_dict() for profile in profiles]}))


def load_profiles(path: str | os.PathLike[str]) -> list[RuntimeProfile]:
    """The profiles in a file of one or of several."""
    return profiles_in(read_json(path), str(path))


def profiles_in(data: Mapping[str, Any], where: str) -> list[RuntimeProfile]:
    """The profiles in the content of a file of one or of several; *where* names the file in error messages."""
    if data.get("schema") != PROFILES_SCHEMA:
        return [RuntimeProfile.from_dict(data, where=where)]
    found = data.get("profiles")
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise ProfileFormatError(f"{where}: key 'profiles' must be a list of profiles")
    return [RuntimeProfile.from_dict(one, where=where) for one in found]
