"""``tracewrap profile list``: what ships, and what local files hold."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tracewrap.formats.profile_files import Shelved, read_profiles, shipped_stack_files
from tracewrap.runtime.files import files_in
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.words import table


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("paths", metavar="FILE", nargs="*", help="profile or stack files, or folders of them")
    parser.add_argument("--stack", metavar="ID", help="only this reference stack")
    parser.add_argument("--json", action="store_true", help="one JSON list")


def run(args: argparse.Namespace) -> int:
    """Print one row a profile."""
    rows = [facts(shelved) for shelved in _shelves(args.paths)]
    rows = [row for row in rows if args.stack in (None, row["stack"])]
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    columns = ("model", "n_gpus", "provenance", "samples", "median_error", "p90_error", "max_input_tokens")
    heads = ("model", "GPUs", "provenance", "samples", "median error", "p90", "input to")
    for stack in dict.fromkeys(row["stack"] for row in rows):
        mine = [row for row in rows if row["stack"] == stack]
        print(f"{stack or 'profiles of no stack'} ({mine[0]['gpu'] or 'GPU unknown'})")
        print("\n".join(table([heads, *([_cell(row[c]) for c in columns] for row in mine)])), end="\n\n")
    if not args.paths and args.stack is None:
        from tracewrap.runtime.roofline.stacks import load_stacks

        print(f"analytic, for any model on any GPU (tracewrap profile estimate): {', '.join(load_stacks())}")
    return 0


def facts(shelved: Shelved) -> dict[str, Any]:
    """What the list says of one profile; absent values are None."""
    profile, stack = shelved.profile, shelved.stack
    errors = fit_errors(profile)
    return {
        "stack": stack.id if stack else profile.stack.get("id"),
        "model": profile.model,
        "id": profile.id,
        "gpu": stack.gpu if stack else profile.stack.get("gpu"),
        "n_gpus": profile.n_gpus,
        "provenance": profile.provenance,
        "samples": profile.fit.get("samples"),
        "median_error": errors.get("median"),
        "p90_error": errors.get("p90"),
        "max_input_tokens": int(profile.max_input_tokens),
        "max_output_tokens": profile.max_output_tokens,
        "file": str(shelved.file),
    }


def fit_errors(profile: RuntimeProfile) -> dict[str, float]:
    """Absolute relative residuals that the fit states, by name: median, p90, p99. Empty when it states none."""
    stated = {name: profile.fit.get(f"residual_{name}") for name in ("median", "p90", "p99")}
    return {k: float(v) for k, v in stated.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2%}" if isinstance(value, float) else str(value)


def _shelves(paths: list[str]) -> list[Shelved]:
    if not paths:
        return [s for file in shipped_stack_files().values() for s in read_profiles(file)]
    files = [f for p in map(Path, paths) for f in (files_in(p, ".json") if p.is_dir() else [p])]
    return [s for file in files for s in read_profiles(file)]
