"""Which profile describes which call: an immutable snapshot of reference stacks, denoised profiles, aliases and stand-ins.

Idealized: the first reference stack, in the order given, that has the model, measured before analytic. A model that nobody measured
gets an analytic profile from its published architecture; a closed model has none unless the user names a stand-in,
and then its values are ``assumed``.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path

from tracewrap.errors import ConfigurationError, ProfileFormatError, ProfileNotFoundError
from tracewrap.records import Deployment
from tracewrap.runtime import profile as profile_module
from tracewrap.runtime import stack as stack_module
from tracewrap.runtime.files import (
    PROFILES_SCHEMA,
    files_in,
    located,
    measured_folder,
    profiles_in,
    read_json,
    reference_folder,
)
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.stack import ReferenceStack

Idealized = tuple[ReferenceStack, RuntimeProfile]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Profiles by deployment and by model. Immutable; ``with_denoised`` makes the next snapshot.

    ``denoised``: deployment key (``records.Deployment.key``) -> newest profile; ``earlier``: those before a drift.
    ``stand_ins``: closed model -> open model whose idealized
    profile stands for it. ``analytic``: ids of the analytic stacks to fall back on, in order; empty: none.
    """

    stacks: tuple[ReferenceStack, ...] = ()
    denoised: Mapping[str, RuntimeProfile] = field(default_factory=dict)
    earlier: Mapping[str, tuple[RuntimeProfile, ...]] = field(default_factory=dict)
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    analytic: tuple[str, ...] = ()
    _known: dict[str, Idealized | None] = field(default_factory=dict, compare=False, repr=False)

    def idealized(self, model: str) -> Idealized | None:
        """The reference stack and profile of *model*, under any of its names; None when nothing is known of it."""
        if model not in self._known:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[model] = self._find(model)
        return self._known[model]

    def denoised_for(self, deployment: Deployment, before_s: float | None = None) -> RuntimeProfile | None:
        """What the API of *deployment* takes on a quiet day, if it has been learned.

        *before_s* (Unix seconds): the newest profile of calls before then, or else the oldest; None: the newest.
        """
        newest = self.denoised.get(deployment.key)
        if newest is None or before_s is None or deployment.key not in self.earlier:
            return newest
        dated = sorted([*self.earlier[deployment.key], newest], key=_since_s)
        known = [profile for profile in dated if _since_s(profile) < before_s]
        return known[-1] if known else dated[0]

    def with_denoised(self, denoised: Mapping[str, RuntimeProfile]) -> Catalog:
        """The same catalog with newer denoised profiles; those it had and *denoised* lacks are kept."""
        return dataclasses.replace(self, denoised={**self.denoised, **denoised})

    def _find(self, model: str) -> Idealized | None:
        stand_in = self.stand_ins.get(model)
        found = self._find_open(stand_in or model)
        if found is None or stand_in is None:
            return found
        stack, profile = found
        return stack, dataclasses.replace(profile, provenance="assumed")

    def _find_open(self, model: str) -> Idealized | None:
        from tracewrap.runtime.roofline.architectures import resolve_model

        canonical = resolve_model(model)
        names = dict.fromkeys(name for name in (model, model.lower(), canonical) if name is not None)
        for stack in self.stacks:
            for name in names:
                if name in stack.profiles:
                    return stack, stack.profiles[name]
        return None if canonical is None else _analytic(canonical, self.analytic)


_MAX_KNOWN = 10_000


def _analytic(model: str, stack_ids: Iterable[str]) -> Idealized | None:
    """An analytic profile of *model*, on the first of *stack_ids* on which it fits."""
    from tracewrap.runtime.roofline.estimating import estimate_by_name, reference_stack

    for stack_id in stack_ids:
        try:
            return reference_stack(stack_id), estimate_by_name(model, stack_id)
        except (ProfileNotFoundError, ConfigurationError):
            continue  # a model without a known architecture, or too large for this stack
    return None


def _since_s(profile: RuntimeProfile) -> float:
    """Unix seconds of the first call that *profile* was learned from; 0 where it does not say."""
    return float(profile.fit.get("since_unix_s") or 0.0)


def load_catalog(
    *paths: str | os.PathLike[str],
    references: Iterable[str] = (),
    stand_ins: Mapping[str, str] | None = None,
    shipped: bool = True,
) -> Catalog:
    """A catalog of the shipped reference stacks and of the profile and stack files in *paths* (files or folders).

    ``references``: ids of the reference stacks to use, in order of preference, those of the shipped folder ``measured`` among them;
    empty: files in *paths* first, then the shipped folder's own measured stacks, then the default analytic one. Raises
    ProfileNotFoundError for an unknown id and ProfileFormatError for a file that breaks the schema.
    """
    stacks: list[ReferenceStack] = []
    denoised: dict[str, list[RuntimeProfile]] = {}
    wanted = list(references)
    ours = [reference_folder(), *([measured_folder()] if wanted else [])] if shipped else []
    for path in [*paths, *ours]:
        for file in _json_files(located(path)):
            _take(file, stacks, denoised)
    if not wanted:
        analytic = _default_analytic() if shipped else ()
        chosen = Catalog(stacks=tuple(stacks), stand_ins=dict(stand_ins or {}), analytic=analytic)
    else:
        chosen = _chosen(wanted, stacks, dict(stand_ins or {}))
    dated = {key: sorted(found, key=_since_s) for key, found in denoised.items()}
    return dataclasses.replace(
        chosen,
        denoised={key: found[-1] for key, found in dated.items()},
        earlier={key: tuple(found[:-1]) for key, found in dated.items() if len(found) > 1},
    )


def _chosen(wanted: list[str], stacks: list[ReferenceStack], stand_ins: dict[str, str]) -> Catalog:
    from tracewrap.runtime.roofline.estimating import reference_stack

    by_id = {stack.id: stack for stack in stacks}
    for name in wanted:
        if name in by_id:
            continue
        try:
            reference_stack(name)
        except ProfileNotFoundError as error:
            measured = ", ".join(by_id)
            raise ProfileNotFoundError(f"no reference stack {name!r}: {error}; measured stacks: {measured}") from None
    return Catalog(
        stacks=tuple(by_id[name] for name in wanted if name in by_id),
        stand_ins=stand_ins,
        analytic=tuple(name for name in wanted if name not in by_id),
    )


def _default_analytic() -> tuple[str, ...]:
    from tracewrap.runtime.roofline.estimating import default_stack_ids

    return tuple(default_stack_ids())


def _json_files(path: Traversable) -> list[Traversable]:
    if path.is_dir():
        return files_in(path, ".json")
    if path.is_file() or (isinstance(path, Path) and path.exists()):
        return [path]
    raise ProfileNotFoundError(f"{path}: no such file or folder of profiles")


def _take(file: Traversable, stacks: list[ReferenceStack], denoised: dict[str, list[RuntimeProfile]]) -> None:
    """Add what *file* holds: a stack, or profiles, each denoised (its stack names a deployment) or of a stack."""
    data = read_json(file)
    schema = data.get("schema")
    if schema == stack_module.SCHEMA:
        stacks.append(_priced(ReferenceStack.from_dict(data, str(file))))
    elif schema in (profile_module.SCHEMA, PROFILES_SCHEMA):
        for profile in profiles_in(data, str(file)):
            deployment = profile.stack.get("deployment")
            if isinstance(deployment, str):
                denoised.setdefault(deployment, []).append(profile)
            else:
                stacks.append(_priced(_stack_of(profile)))
    elif isinstance(schema, str) and schema.startswith("tracewrap."):
        return
    else:
        raise ProfileFormatError(f"{file}: schema is {schema!r}; expected {stack_module.SCHEMA!r}")


def _stack_of(profile: RuntimeProfile) -> ReferenceStack:
    """A stack of one model from a single profile file, with what the profile says of where it was measured."""
    facts = profile.stack
    watts = facts.get("watts")
    price = facts.get("price")
    return ReferenceStack(
        id=str(facts.get("id", profile.id)),
        gpu=str(facts.get("gpu", "unknown")),
        precision=str(facts.get("precision", "unknown")),
        software={str(k): str(v) for k, v in dict(facts.get("software", {})).items()},
        price=stack_module.Price(**price) if isinstance(price, dict) else None,
        watts=float(watts) if isinstance(watts, int | float) else None,
        profiles={profile.model: profile},
    )


def _priced(stack: ReferenceStack) -> ReferenceStack:
    """*stack* with the GPU table's price and power where it states none of its own."""
    from tracewrap.runtime.roofline.gpus import get_gpu

    if stack.price is not None and stack.watts is not None:
        return stack
    try:
        gpu = get_gpu(stack.gpu)
    except ProfileNotFoundError:
        return stack
    return dataclasses.replace(
        stack, price=stack.price or gpu.price, watts=gpu.batch_1_watts if stack.watts is None else stack.watts
    )
