"""How well the quiet day is learned from made-up traffic whose quiet day is known.

    python benchmarks/quiet_day.py [--calls 200,1000] [--seeds 8] [--first-seed 0] [--families base,queue] [--other] [--check] [--json FILE]

Every family of ``made_traffic.py``: error (median and 90th percentile over the calls of all seeds, percent), share of the calls whose
truth lies in the 90% interval, median half-width in percent, verdicts. Beside it, on the same calls: the plain 10% quantile regression
with the same terms, and the paper's minimum of five (nobody repeats a call: of five calls alike, the one that took least for its size;
then least squares in seconds).

``--other``: ranges of services, noise and contention that nothing was tuned on. ``--check``: exit 1 when a limit is missed. Limits, for
families whose quiet day the calls tell: verdict ok in 8 of 10 runs, error at most 1.5 / 4% at 1,000 calls and 3 / 8% at fewer, coverage
85 to 99%, half-width at most 4% from 1,000 calls where noise is under 6%; for the others: not ok, or coverage of at least 85%.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from made_traffic import FAMILIES, IDENTIFIABLE, OTHER, USUAL, Array, Ranges, Traffic, made

from tracewrap.runtime.quiet.basis import quantile_fit
from tracewrap.runtime.quiet.columns import Calls, Columns
from tracewrap.runtime.quiet.denoise import denoise
from tracewrap.runtime.quiet.usable import Observation, usable_row

NOISY = frozenset({"symmetric_15", "symmetric_15_log", "half_waiting"})
"""Families with noise of 6% or more: no limit on the half-width."""


@dataclass
class Told:
    """What one family's runs at one number of calls gave, call by call over all seeds; errors relative, half-widths on the log scale."""

    family: str
    calls: int
    errors: list[float] = field(default_factory=list)
    quantile: list[float] = field(default_factory=list)
    minimum: list[float] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)
    half_widths: list[float] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)

    def figures(self) -> dict[str, float]:
        """Percentages."""

        def both(name: str, values: list[float]) -> dict[str, float]:
            middle, high = np.percentile(values, [50, 90]) * 100
            return {f"{name}_median": float(middle), f"{name}_p90": float(high)}

        ok = 100.0 * self.verdicts["ok"] / max(1, self.verdicts.total())
        return {
            **both("error", self.errors),
            "covers": 100.0 * float(np.mean(self.covered)),
            "half_width": 100.0 * float(np.median(self.half_widths)),
            "ok": ok,
            **both("quantile", self.quantile),
            **both("minimum", self.minimum),
        }

    def missed(self) -> list[str]:
        """The limits that do not hold."""
        got = self.figures()
        if self.family not in IDENTIFIABLE:
            return ["said ok"] if got["ok"] > 20.0 and got["covers"] < 85.0 else []
        many = self.calls >= 1000
        median, p90 = (1.5, 4.0) if many else (3.0, 8.0)
        out = []
        if got["ok"] < 80.0:
            out.append("verdict")
        if got["error_median"] > median or got["error_p90"] > p90:
            out.append("error")
        if not 85.0 <= got["covers"] <= 99.0:
            out.append("covers" if got["covers"] < 85.0 else "wide")
        if many and self.family not in NOISY and got["half_width"] > 4.0:
            out.append("half-width")
        return out


def observations(t: Traffic) -> list[Observation | None]:
    """The calls as tracewrap takes them in; None: by rule not used."""
    out: list[Observation | None] = []
    for i in range(len(t.p)):
        row = usable_row(
            "chat",
            int(t.start_s[i] * 1e9),
            float(t.runtime_s[i]),
            int(t.p[i]),
            int(t.o[i]),
            cached_input_tokens=int(t.cached[i]) if t.cached_reported else None,
            first_chunk_s=None if t.first_s is None else float(t.first_s[i]),
            retry_s=None if t.retry_s is None else float(t.retry_s[i]),
        )
        seen = None if row is None else Observation.of_row(row)
        if seen is not None and t.images_reported:
            seen = Observation(*(getattr(seen, name) for name in seen.__slots__[:-1]), int(t.images[i]))
        out.append(seen)
    return out


def _deployments(t: Traffic) -> Iterator[tuple[list[Observation], Array]]:
    """(calls, their truth) of each service tier."""
    seen = observations(t)
    for tier in [None] if t.tier is None else sorted(set(t.tier)):
        at = [i for i, one in enumerate(seen) if one is not None and (t.tier is None or t.tier[i] == tier)]
        yield [one for i in at if (one := seen[i]) is not None], t.truth_s[at]


def _minimum_of_five(design: Array, y: Array) -> Array:
    """The paper's estimator, fitted seconds."""
    mean = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    order = np.argsort(mean, kind="stable")
    groups = np.array_split(order, max(design.shape[1], len(y) // 5))
    best = [int(g[np.argmin(y[g] / np.maximum(mean[g], 1e-9))]) for g in groups]
    return np.asarray(design @ np.linalg.lstsq(design[best], y[best], rcond=None)[0])


def run(told: Told, t: Traffic) -> None:
    """Adds what the estimators make of *t*."""
    for seen, truth in _deployments(t):
        result = denoise(seen, id="k", model="m")
        told.verdicts[result.verdict] += 1
        if result.profile is None:
            continue
        calls = Calls.of(seen)
        design = Columns.of(calls).design(calls)
        design = design / np.maximum(design.max(axis=0), 1e-12)
        value, low, high, _ = result.profile.predict(calls.p, calls.o, calls.cached, calls.images)
        told.errors += list(np.abs(value / truth - 1.0))
        told.covered += list((low <= truth) & (truth <= high))
        told.half_widths += list(np.log(high / value))
        told.quantile += list(np.abs(design @ quantile_fit(design, calls.y, 0.1) / truth - 1.0))
        told.minimum += list(np.abs(_minimum_of_five(design, calls.y) / truth - 1.0))


def table(
    families: list[str], counts: list[int], seeds: range, ranges: Ranges = USUAL, show: bool = True
) -> list[Told]:
    """What every family gave at every number of calls; printed line by line where *show*."""
    out = []
    for count in counts:
        for family in families:
            told = Told(family, count)
            for seed in seeds:
                run(told, made(family, count, seed, ranges))
            out.append(told)
            if show:
                print(_line(told), flush=True)
    return out


def _line(told: Told) -> str:
    f = told.figures()
    verdicts = ", ".join(f"{name} {count}" for name, count in told.verdicts.most_common())
    missed = f"   MISSED {', '.join(told.missed())}" if told.missed() else ""
    return (
        f"{told.family:<18}{told.calls:>6}{f['error_median']:7.1f} /{f['error_p90']:5.1f}{f['covers']:7.0f}{f['half_width']:7.1f}"
        f"{f['quantile_median']:8.1f} /{f['quantile_p90']:5.1f}{f['minimum_median']:8.1f} /{f['minimum_p90']:6.1f}   {verdicts}{missed}"
    )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", default="200,1000")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--families", default=",".join(FAMILIES), help="all of them when not given")
    parser.add_argument("--other", action="store_true", help="ranges that nothing was tuned on")
    parser.add_argument("--check", action="store_true", help="exit 1 when a limit is missed")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    names = args.families.split(",")
    unknown = [name for name in names if name not in FAMILIES]
    if unknown:
        parser.error(f"no family {unknown[0]!r}; there are {', '.join(FAMILIES)}")
    print(f"{'':18}{'':6}{'error %':>14}{'covers':>7}{'+-%':>7}{'10% quantile':>15}{'min of five':>16}   verdicts")
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    found = table(names, [int(x) for x in args.calls.split(",")], seeds, OTHER if args.other else USUAL)
    if args.json:
        rows = [
            {"family": t.family, "calls": t.calls, **t.figures(), "verdicts": t.verdicts, "missed": t.missed()}
            for t in found
        ]
        args.json.write_text(
            json.dumps({"ranges": asdict(OTHER if args.other else USUAL), "rows": rows}, indent=1) + "\n"
        )
    missed = sum(bool(t.missed()) for t in found)
    print(f"limits held in {len(found) - missed} of {len(found)} rows")
    return 1 if args.check and missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
