"""``tracewrap profile predict PROFILE.json POINTS.csv``."""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys

from tracewrap.errors import SourceError
from tracewrap.records import COMMON_TIERS
from tracewrap.runtime.profile import RuntimeProfile

ADDED = ("predicted_runtime_s", "low_s", "high_s", "extrapolated", "verdict")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("profile", metavar="PROFILE.json")
    parser.add_argument(
        "points",
        metavar="POINTS.csv",
        help="columns input_tokens,output_tokens; cached_input_tokens,service_tier,images count; others are kept",
    )
    parser.add_argument("-o", "--output", metavar="OUT.csv", help="default: standard output")


def run(args: argparse.Namespace) -> int:
    """Add the five columns to every row."""
    from tracewrap.runtime.files import load_profiles, write_whole

    profiles = load_profiles(args.profile)
    header, rows = _read(args.points)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*(name for name in header if name not in ADDED), *ADDED])
    keep = [i for i, name in enumerate(header) if name not in ADDED]
    at = {name: header.index(name) for name in ("input_tokens", "output_tokens")}
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        p, o = (_tokens(row, at[name], name, args.points, number) for name in ("input_tokens", "output_tokens"))
        c, images = (
            _tokens(row, header.index(name), name, args.points, number) if _filled(row, header, name) else 0.0
            for name in ("cached_input_tokens", "images")
        )
        tier = row[header.index("service_tier")].strip() if _filled(row, header, "service_tier") else ""
        found = _of_tier(profiles, tier, args.profile).estimate(p, o, min(c, p), images)
        outside = str(found.extrapolated).lower()
        values = (repr(found.value), repr(found.low), repr(found.high), outside, found.verdict or "")
        writer.writerow([*(row[i] if i < len(row) else "" for i in keep), *values])
    if args.output is None:
        sys.stdout.write(out.getvalue())
    else:
        write_whole(args.output, out.getvalue())
    return 0


def _filled(row: list[str], header: list[str], name: str) -> bool:
    return name in header and header.index(name) < len(row) and bool(row[header.index(name)].strip())


def _of_tier(profiles: list[RuntimeProfile], tier: str, path: str) -> RuntimeProfile:
    """The profile of *tier* among those of a file; a file of one profile has it for every tier."""
    if len(profiles) == 1:
        return profiles[0]
    common = tier in COMMON_TIERS
    for profile in profiles:
        if ("|" not in profile.id) if common else profile.id.endswith(f"|{tier}"):
            return profile
    raise SourceError(
        f"{path}: no profile of service tier {tier or 'default'!r}; it has {', '.join(p.id for p in profiles)}"
    )


def _read(path: str) -> tuple[list[str], list[list[str]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: not a CSV file ({error})") from None
    if not rows:
        raise SourceError(f"{path}: is empty; expected a header with input_tokens,output_tokens")
    header = [name.strip() for name in rows[0]]
    for name in ("input_tokens", "output_tokens"):
        if name not in header:
            raise SourceError(f"{path}: column {name!r} is missing; the header has {', '.join(header)}")
    if not any(rows[1:]):
        raise SourceError(f"{path}: holds no point under its header")
    return header, rows[1:]


def _tokens(row: list[str], index: int, name: str, path: str, number: int) -> float:
    try:
        value = float(row[index])
    except (IndexError, ValueError):
        text = row[index] if index < len(row) else "nothing"
        raise SourceError(f"{path}: row {number}, column {name!r}: {text!r} is not a number") from None
    if not math.isfinite(value) or value < 0:
        raise SourceError(f"{path}: row {number}, column {name!r}: {row[index]} must be at least 0")
    return value
