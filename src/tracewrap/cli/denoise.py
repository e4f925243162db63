"""``tracewrap denoise SOURCE|SAMPLES.csv -o PROFILE.json``: what an API takes on a quiet day, from recorded calls."""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tracewrap.cli.arguments import add_period_arguments, add_sampled_argument, period_ns
from tracewrap.errors import ConfigurationError, FitError, SourceError, check_local, missing_extra
from tracewrap.records import COMMON_TIERS
from tracewrap.runtime.quiet.drift import DAY_S
from tracewrap.words import clean

if TYPE_CHECKING:
    from tracewrap.runtime.profile import RuntimeProfile
    from tracewrap.runtime.quiet.dated import Level
    from tracewrap.runtime.quiet.usable import Observation


T = TypeVar("T")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "source",
        metavar="SOURCE|SAMPLES.csv",
        help="span log, lake, jaeger://host:port, clickhouse://host:port/db.table, or a CSV of samples",
    )
    add_period_arguments(parser)
    add_sampled_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="PROFILE.json|FOLDER/",
        help="where the profile is written; a folder: one of each deployment",
    )
    parser.add_argument("--model", help="calls of this model only")
    parser.add_argument("--deployment", help="calls of this deployment only (as listed when there are several)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Group by deployment, denoise, write the profile; exit 1 when nothing can be estimated."""
    from tracewrap.report.figures.sampling import parse_sampled
    from tracewrap.runtime.files import save_profiles

    if parse_sampled(args.sampled) == "tail":
        raise SourceError(
            f"{args.source}: a tail sample keeps slow and failed calls: no quiet day can be learned from it; learn from the span log"
        )
    try:
        results = _of_csv(args) if args.source.endswith(".csv") else _of_calls(args)
    except ImportError:
        raise missing_extra("denoise", "fit") from None
    best = {key: known for key, levels in results.items() if (known := _known(levels))}
    into_folder = args.output is not None and (args.output.endswith(os.sep) or Path(args.output).is_dir())
    of_one_file = args.source.endswith(".csv") and args.output is not None and not into_folder
    if of_one_file and len(best) > 1:  # the tiers of one sample
        _print(results, args.json)
        save_profiles([levels[-1][1] for levels in best.values()], args.output)
        return 0
    if args.output is not None and len(best) > 1 and not into_folder:
        names = "; ".join(best)
        raise FitError(
            f"{args.source}: holds {len(best)} deployments, choose one with --deployment or write a folder/: {names}"
        )
    _print(results, args.json)
    for key, levels in best.items() if args.output is not None else ():
        _save(levels, _path_in(args.output, key) if into_folder else args.output)
    return 0 if best else 1


def _save(levels: Sequence[tuple[Level, RuntimeProfile]], path: str) -> None:
    """The newest profile to *path*, those before a drift beside it."""
    from tracewrap.runtime.files import save_profile

    *earlier, (_, newest) = levels
    for level, profile in earlier:
        save_profile(profile, _dated_path(path, level))
    save_profile(newest, path)


def _known(levels: Sequence[Level]) -> list[tuple[Level, RuntimeProfile]]:
    return [(level, level.result.profile) for level in levels if level.result.profile is not None]


def _path_in(folder: str, key: str) -> str:
    """Where the profile of the deployment *key* goes in *folder*, which is made if it is not there."""
    check_local(folder)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{folder}: cannot be made ({error.strerror})") from None
    return str(Path(folder) / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', key)}.json")


def _dated_path(output: str, level: Level) -> str:
    """Where the profile of an earlier level goes: beside *output*, with its days in the name."""
    path = Path(output)
    return str(path.with_name(f"{path.stem}.{_date(level.since_day)}..{_date(level.until_day)}{path.suffix}"))


def _date(day: int | None) -> str:
    return "" if day is None else dt.datetime.fromtimestamp(day * DAY_S, dt.UTC).date().isoformat()


def _of_csv(args: argparse.Namespace) -> dict[str, list[Level]]:
    """Deployment key -> what the rows of the CSV tell."""
    from tracewrap.runtime.quiet.dated import denoise_levels

    groups: dict[str, tuple[str, list[Observation]]] = {}
    for key, model, observation in _from_csv(args.source, args.model):
        groups.setdefault(key, (model, []))[1].append(observation)
    chosen = _chosen(args, groups)
    return {key: denoise_levels(found, id=key, model=model) for key, (model, found) in chosen.items()}


def _of_calls(args: argparse.Namespace) -> dict[str, list[Level]]:
    """Deployment key -> what calls of it tell, as many as are wanted; of several deployments on all cores."""
    from tracewrap.learn.many import Pupil, learn_many
    from tracewrap.report.tables.drawing import Wanted
    from tracewrap.report.tables.loading import drawn_of
    from tracewrap.sources.progress import Progress

    wanted = Wanted(most=20_000, altogether=60_000, least=300)
    drawn = drawn_of(args.source, period_ns(args), wanted, args.model)
    chosen = _chosen(args, {key: one for key, one in drawn.items() if one.rows})
    pupils = [Pupil(key, one.model, one.rows) for key, one in chosen.items()]
    with Progress() as progress:
        learned = learn_many(pupils, told=lambda n: progress.show(f"learned {n} of {len(pupils)} deployments"))
    return {pupil.key: levels for pupil in pupils if (levels := learned[pupil.key]) is not None}


def _chosen(args: argparse.Namespace, groups: Mapping[str, T]) -> Mapping[str, T]:
    """The deployments of *groups* that are asked for; SourceError where there is none."""
    if not groups:
        raise SourceError(
            f"{args.source}: holds no usable call; complete chat or text calls with reported usage are needed"
        )
    if args.deployment is None:
        return groups
    if args.deployment not in groups:
        there = "; ".join(groups)
        raise SourceError(f"{args.source}: no deployment {args.deployment!r} in it; there is {there}")
    return {args.deployment: groups[args.deployment]}


def _from_csv(path: str, model: str | None) -> Iterator[tuple[str, str, Observation]]:
    from tracewrap.runtime.quiet.usable import Observation
    from tracewrap.runtime.samples import read_samples

    names = ("time_to_first_chunk_s", "cached_input_tokens", "start_unix_s", "images")
    numbers = [[None if text is None else float(text) for text in _column(path, name, model)] for name in names]
    tiers = _column(path, "service_tier", model, number=False)
    name = model or Path(path).stem
    for sample, first, cached, start, images, tier in zip(read_samples(path, model), *numbers, tiers, strict=True):
        key = name if tier is None or tier in COMMON_TIERS else f"{name}|{tier}"
        yield (
            key,
            name,
            Observation(
                sample.input_tokens,
                sample.output_tokens,
                sample.runtime_s,
                first,
                int(cached) if cached else None,
                start,
                int(images or 0),
            ),
        )


def _column(path: str | os.PathLike[str], name: str, model: str | None, number: bool = True) -> list[str | None]:
    """The cells of an optional column, of the rows that ``read_samples`` takes; None where absent. *number*: they are checked."""
    read: list[str | None] = []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                if model is not None and (row.get("model") or "").strip() != model:
                    continue
                text = (row.get(name) or "").strip() or None
                if text is not None and number:
                    _check_number(text, name, path, line)
                read.append(text)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: not a CSV file ({error})") from None
    return read


def _check_number(text: str, name: str, path: str | os.PathLike[str], number: int) -> None:
    try:
        value = float(text)
    except ValueError:
        raise SourceError(f"{path}: row {number}, column {name!r}: {text!r} is not a number") from None
    if not 0.0 <= value < 1e11:
        raise SourceError(f"{path}: row {number}, column {name!r}: {text} must be at least 0")


def _print(results: Mapping[str, list[Level]], as_json: bool) -> None:
    if not as_json:
        for key, levels in results.items():
            print(clean(key))
            for level in levels:
                print("\n".join(filter(None, (_headline(level), level.result.summary()))))
        return
    rows = [
        {"deployment": key, **_row(levels[-1]), "earlier": [_row(level) for level in levels[:-1]]}
        for key, levels in results.items()
    ]
    print(json.dumps({"deployments": rows}, indent=1))


def _headline(level: Level) -> str:
    """Since when the level holds and how it differs from the one before; nothing for the only one."""
    if level.change is None:
        return ""
    share = abs(level.change.ratio - 1)
    return (
        f"since {_date(level.since_day)}, {share:.0%} {'slower' if level.change.ratio > 1 else 'faster'} than before:"
    )


def _row(level: Level) -> dict[str, Any]:
    result = level.result
    return {
        "since": _date(level.since_day) or None,
        "until": _date(level.until_day) or None,
        "ratio_to_before": None if level.change is None else level.change.ratio,
        "verdict": result.verdict,
        "effective_samples": result.effective_samples,
        "quiet_share": result.quiet_share,
        "messages": list(result.messages),
        "profile": None if result.profile is None else result.profile.to_dict(),
    }
