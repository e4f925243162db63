"""Profiles by name: files on disk, shipped reference stacks, and models on them under any of their names."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

from tracewrap.errors import ProfileFormatError, ProfileNotFoundError
from tracewrap.runtime import profile as profile_module
from tracewrap.runtime import stack as stack_module
from tracewrap.runtime.files import PROFILES_SCHEMA, files_in, measured_folder, profiles_in, read_json, reference_folder
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.roofline.architectures import resolve_model
from tracewrap.runtime.stack import ReferenceStack


@dataclass(frozen=True, slots=True)
class Shelved:
    """A profile, the stack it belongs to (None: a file of its own) and the file that holds it."""

    profile: RuntimeProfile
    stack: ReferenceStack | None
    file: Traversable


def shipped_stack_files() -> dict[str, Traversable]:
    """Files of the shipped reference stacks by stack id."""
    files = [*files_in(reference_folder(), ".json"), *files_in(measured_folder(), ".json")]
    return {str(data["id"]): file for file in files if (data := read_json(file)).get("schema") == stack_module.SCHEMA}


def read_profiles(path: Traversable) -> list[Shelved]:
    """The profiles of a ``tracewrap.profile/1``, ``tracewrap.profiles/1`` or ``tracewrap.stack/1`` file, in its order.

    Raises ProfileNotFoundError or ProfileFormatError in one line that names the file.
    """
    data = read_json(path)
    schema = data.get("schema")
    if schema == stack_module.SCHEMA:
        stack = ReferenceStack.from_dict(data, str(path))
        return [Shelved(profile, stack, path) for profile in stack.profiles.values()]
    if schema in (profile_module.SCHEMA, PROFILES_SCHEMA):
        return [Shelved(profile, None, path) for profile in profiles_in(data, str(path))]
    known = f"{profile_module.SCHEMA!r} or {stack_module.SCHEMA!r}"
    raise ProfileFormatError(f"{path}: schema is {schema!r}, expected {known}")


def find_profiles(name: str) -> list[Shelved]:
    """The profiles called *name*: a file, a shipped stack's id, or a model on the shipped stacks under any name.

    Raises ProfileNotFoundError saying what there is.
    """
    path = Path(name)
    if path.is_file():
        return read_profiles(path)
    stacks = shipped_stack_files()
    if name in stacks:
        return read_profiles(stacks[name])
    found = [s for file in stacks.values() for s in read_profiles(file) if is_called(s, name)]
    if found:
        return found
    raise ProfileNotFoundError(
        f"{name!r} is no file, reference stack or model measured on one; stacks: {', '.join(stacks)};"
        " their models: tracewrap profile list"
    )


def is_called(shelved: Shelved, model: str) -> bool:
    """Whether *model* is a name of the profile's model, or the profile's id."""
    own = shelved.profile.model
    return (
        shelved.profile.id == model
        or own.lower() == model.lower()
        or (resolve_model(model) or model) == (resolve_model(own) or own)
    )


def pick(found: list[Shelved], model: str | None, name: str) -> Shelved:
    """The one profile of *found* that *model* names; ProfileNotFoundError lists the models when it is not clear."""
    chosen = found if model is None else [s for s in found if is_called(s, model)]
    chosen = [s for s in chosen if s.profile.id == model] or chosen
    if len(chosen) == 1:
        return chosen[0]
    if chosen and model is not None:  # several stacks have it: the first shipped one
        return chosen[0]
    alike = len({s.profile.model for s in found}) < len(found)
    models = ", ".join(s.profile.id if alike else s.profile.model for s in found)
    wanted = "choose one with --model" if model is None else f"has no model {model!r}"
    raise ProfileNotFoundError(f"{name}: {wanted}; it holds {models}")
