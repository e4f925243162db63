"""Were the fit's constants tuned to the logs it is judged on? They are chosen again, each architecture left out in turn.

    python benchmarks/fit_constants.py

For every setting of four constants of runtime/fit.py (correlation length, corners an octave, tile fractions, least noise): error of
predicting each prompt size from the others, on each architecture of ../shared/data/helm-efficiency/megatron_a100.csv. For each
architecture the setting is taken that has the lowest p90 on all the others; the last line pools the errors of those choices.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np
from accuracy import DATA, errors, leave_one_prompt_out, load

from tracewrap.runtime import fit as fit_module
from tracewrap.runtime import fit_basis
from tracewrap.runtime.samples import Sample

NINE = fit_basis.FRACTIONS
SETTINGS = list(itertools.product((1.0, 8.0), (3, 6), (4, 9), (0.002, 0.005)))


def _corners(per_octave: int):
    def candidate_knots(p: np.ndarray) -> np.ndarray:
        low, high = max(1.0, float(p.min())), max(2.0, float(p.max()))
        count = max(2, round(per_octave * np.log2(high / low)) + 1)
        return np.unique(np.concatenate([[low], np.geomspace(low, high, count)[:-1]]))

    return candidate_knots


def _ours(samples: list[Sample]):
    profile = fit_module.fit(samples, id="b", model="m").profile
    return lambda points: profile.runtimes([s.input_tokens for s in points], [s.output_tokens for s in points])


def main() -> int:
    """Print the error of every setting and of the left-out choices."""
    if not DATA.exists():
        print(f"{DATA.name} is not here; this benchmark needs the measured data beside the project", file=sys.stderr)
        return 2
    data = load()
    found: dict[tuple[float, int, int, float], dict[str, list[float]]] = {}
    for setting in SETTINGS:
        length, corners, fractions, noise = setting
        fit_module.SHAPE_LENGTH, fit_module.MIN_NOISE = length, noise
        fit_basis.FRACTIONS = (0.25, 0.5, 0.75, 1.0) if fractions == 4 else NINE
        fit_module.candidate_knots = _corners(corners)
        found[setting] = {m: errors(_ours, leave_one_prompt_out({m: v})) for m, v in data.items()}
        pooled = [e for found_errors in found[setting].values() for e in found_errors]
        print(setting, " / ".join(f"{x:.2f}" for x in np.percentile(pooled, [50, 90, 99])), flush=True)
    chosen: list[float] = []
    for left_out in data:
        others = {s: [e for m, v in found[s].items() if m != left_out for e in v] for s in SETTINGS}
        best = min(SETTINGS, key=lambda s: np.percentile(others[s], 90))
        chosen += found[best][left_out]
        print(f"{left_out:<16} {best}")
    print("chosen on the others:", " / ".join(f"{x:.2f}" for x in np.percentile(chosen, [50, 90, 99])))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
