"""``tracewrap profile export helm``: profiles as HELM's runtime table."""

from __future__ import annotations

import argparse
import json
import sys

from tracewrap.errors import ConfigurationError
from tracewrap.formats.helm import agreement, helm_from_profile, helm_json
from tracewrap.formats.profile_files import Shelved, find_profiles, is_called
from tracewrap.runtime.files import write_whole


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("format", choices=["helm"], help="HELM's inference_*_runtimes.json")
    parser.add_argument("profiles", metavar="PROFILE", nargs="+", help="profile or stack file, reference stack, model")
    parser.add_argument("--model", action="append", help="only this model, repeatable")
    parser.add_argument(
        "--step", type=int, metavar="TOKENS", help="a key every so many prompt tokens; 1: exact anywhere"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write (default: standard output)")


def run(args: argparse.Namespace) -> int:
    """Write the table; say on standard error how far HELM's formula on it is from the profiles."""
    found = [s for name in args.profiles for s in find_profiles(name)]
    if args.model:
        found = [s for s in found if any(is_called(s, model) for model in args.model)]
    if not found:
        raise ConfigurationError(f"no profile called {', '.join(args.model or args.profiles)}")
    names = [s.profile.model for s in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(
            f"model {twice!r} is there twice; HELM's table has one entry a model, use --model or fewer files"
        )
    entries = {s.profile.model: helm_from_profile(s.profile, step=args.step) for s in found}
    text = json.dumps(helm_json(entries), indent=2) + "\n"
    if args.output:
        write_whole(args.output, text)
        for shelved in found:
            print(_agreement(shelved, args.step), file=sys.stderr)
    else:
        print(text, end="")
    return 0


def _agreement(shelved: Shelved, step: int | None) -> str:
    profile = shelved.profile
    entry = helm_from_profile(profile, step=step)
    keys = [p for p, _ in entry.runtime_for_prompt_tokens]
    outputs = (1, 16, profile.max_output_tokens or 64)
    at_keys, _ = agreement(profile, entry, ((p, o) for p in keys for o in outputs))
    between, _ = agreement(profile, entry, ((p, o) for p in range(16, keys[-1] + 1) for o in outputs))
    return f"{profile.model}: HELM's formula differs by up to {at_keys:.2%} at its keys, {between:.1%} between them"
