"""Fit the constants of ``reference_profiles/stacks.toml`` to measured data and write their errors beside them.

    python benchmarks/calibrate_stacks.py --data ../shared/data [-o reference_profiles/stacks.toml]

Data: LLM-Inference-Bench (batch 1), the Qwen2.5 speed table, the Megatron-LM measurements of arXiv 2305.02440 and servers of 2023
to 2026 at one to eight requests in flight. The widths of intervals come from rows whose model, card or engine was left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from calibration import NAMES, PRIOR, Fit, Table, fit, predict, tabulate
from engines import ENGINES, path_of
from measured import Row, distinct, everything
from numpy.typing import NDArray
from scipy.optimize import minimize

from tracewrap.runtime.roofline.gpus import load_gpus
from tracewrap.runtime.roofline.stacks import case_tags, kinds_of, parse_document

SOURCES = {
    "argonne": "LLM-Inference-Bench (argonne-lcf@4211f5d), batch 1, input = output = 256..2048 tokens, consistent rows",
    "qwen2.5": "Qwen2.5 speed benchmark (QwenLM/Qwen3@010c37c), 2048 tokens out, up to 32k in",
    "paper": "arXiv 2305.02440, Megatron-LM on A100 80GB, fp16, nine architectures",
    "serving": "published servers of 2023 to 2026, one to eight requests in flight",
}
SMALLEST = 0.005  # factors nearer to 1 than this are left out of the file
THIN = 7  # of the paper's 2,430 rows every seventh is fitted: they are one stack
DISTANCES = (
    *("base", "model", "version", "engine", "gpu", "generation", "precision", "mixture", "kind"),
    *("mixtures", "current", "narrow", "eager"),
)
LAPLACE_90 = float(np.log(10.0))
"""90% half-width of a Laplace distribution over its scale."""


def training_rows(data: Path) -> list[Row]:
    """The rows that the shipped constants are fitted to."""
    rows = distinct(everything(data))
    paper = [row for row in rows if row.data == "paper"][::THIN]
    return [row for row in rows if row.data != "paper"] + paper


def seen_by(rows: Iterable[Row]) -> dict[str, list[str]]:
    """What rows of one engine were of, as ``Stack.distances`` asks for it."""
    seen: dict[str, set[str]] = {key: set() for key in ("gpus", "generations", "precisions", "kinds", "models")}
    gpus = load_gpus()
    for row in rows:
        gpu = gpus[row.gpu]
        narrow = case_tags(gpu, row.precision)["precision"]
        seen["gpus"].add(row.gpu)
        seen["generations"].add(gpu.generation)
        seen["precisions"].add(narrow)
        seen["models"].add(row.architecture.id)
        seen["kinds"] |= kinds_of(row.architecture) - {"mixture"}
        if row.architecture.is_moe:
            seen["kinds"].add(f"mixture {narrow}")
    return {key: sorted(values) for key, values in seen.items()}


def document(table: Table, fitted: Fit) -> dict[str, Any]:
    """The stacks file as nested tables, without spreads."""
    predicted = predict(table, fitted)
    out: dict[str, Any] = {"general": {"constants": _units(fitted)}}
    out["general"]["factors"] = _factors(fitted, "general", skip_all=True)
    for age in ("early", "current"):
        out[age] = {"parent": "general", "factors": _factors(fitted, age)}
    for key, engine in ENGINES.items():
        mask = np.array([key in path_of(row.stack) for row in table.rows])
        if not mask.any():
            continue
        rows = [row for row, own in zip(table.rows, mask, strict=True) if own]
        common = {
            "framework": engine.framework,
            "mode": engine.mode,
            "pipeline": engine.pipeline,
            "ring": engine.ring,
            "tile": engine.tile,
        }
        versions = sorted({_version(row.stack, engine.framework) for row in rows} - {""}, key=_numbers)
        out[key] = {
            "parent": "" if engine.alone else "early" if engine.early else "current",
            **common,
            "generation": engine.generation,
            "since": engine.since,
            "versions": versions,
            "factors": _factors(fitted, key),
            "seen": seen_by(rows),
            "fit": _errors(rows, predicted[mask], table.seconds[mask]),
        }
        for apart in engine.apart:
            node = f"{engine.framework}-{apart}"
            own = np.array([path_of(row.stack)[3:] == (node,) for row in table.rows])
            if own.any():
                its = [row for row, is_own in zip(table.rows, own, strict=True) if is_own]
                out[node] = {
                    "parent": key,
                    **common,
                    "versions": [apart],
                    "factors": _factors(fitted, node),
                    "seen": seen_by(rows),
                    "fit": _errors(its, predicted[own], table.seconds[own]),
                }
    return out


def _version(stack: str, framework: str) -> str:
    name = stack.replace("llama.cpp", "llamacpp")
    return name.removeprefix(framework).lstrip("-")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.replace("-", ".").split(".") if part.isdigit()]


def _units(fitted: Fit) -> dict[str, float]:
    """The root's constants in the file's units, four digits."""
    out = {}
    for name in NAMES:
        value = getattr(PRIOR, name) * float(np.exp(fitted.values.get((name, "general", ""), 0.0)))
        if name in ("scan_s", "vocab_s"):
            out[name.removesuffix("_s") + "_ns"] = _digits(value * 1e9)
        elif name.endswith("_s"):
            out[name.removesuffix("_s") + "_us"] = _digits(value * 1e6)
        else:
            out[name] = _digits(value)
    return out


def _factors(fitted: Fit, node: str, skip_all: bool = False) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for (name, at, tag), value in sorted(fitted.values.items()):
        if (
            at == node
            and (abs(value) > SMALLEST or (node in ENGINES and ENGINES[node].alone))
            and not (skip_all and tag == "")
        ):
            shift = fitted.values.get((name, "general", ""), 0.0) if node in ENGINES and ENGINES[node].alone else 0.0
            out.setdefault(tag or "all", {})[name] = _digits(float(np.exp(value - shift)))
    return dict(sorted(out.items(), key=lambda item: (item[0] != "all", item[0])))


def _errors(rows: Sequence[Row], predicted: NDArray[np.float64], seconds: NDArray[np.float64]) -> dict[str, Any]:
    off = np.abs(predicted / seconds - 1) * 100
    return {
        "source": "; ".join(SOURCES[key] for key in dict.fromkeys(row.data for row in rows)),
        "rows": len(rows),
        "models": len({row.model for row in rows}),
        "error_median_percent": round(float(np.median(off)), 1),
        "error_p90_percent": round(float(np.quantile(off, 0.9)), 1),
    }


Distances = list[tuple[str, ...]]


def held_by(table: Table, fitted: Fit, groups: Sequence[str] | None) -> tuple[NDArray[np.float64], Distances]:
    """Every row predicted by a fit without its group (``None``: nothing left out), and its distances from that fit's rows."""
    predicted = np.empty(len(table.rows))
    distances: Distances = [()] * len(table.rows)
    labels = np.array(groups if groups is not None else ["all"] * len(table.rows))
    for label in dict.fromkeys(labels):
        mask = labels == label
        rest = table if groups is None or mask.all() else table.pick(~mask)
        without = fitted if rest is table else fit(rest, fitted)
        part = table.pick(mask)
        predicted[mask] = predict(part, without)
        for i, found in zip(np.flatnonzero(mask), _distances(part, rest, without), strict=True):
            distances[i] = found
    return predicted, distances


def _distances(part: Table, rest: Table, without: Fit) -> Distances:
    stacks, gpus = parse_document(document(rest, without), "calibration"), load_gpus()
    out = []
    for row in part.rows:
        node = next((key for key in reversed(path_of(row.stack)) if key in stacks), "current")
        out.append(stacks[node].distances(row.architecture, gpus[row.gpu], row.precision))
    return out


def held_out(table: Table, fitted: Fit) -> list[tuple[str, float, tuple[str, ...]]]:
    """For rows predicted without their model, their card or their engine: quantity, log error, distances."""
    out = []
    for by in (lambda r: r.architecture.id, lambda r: r.gpu, lambda r: "".join(path_of(r.stack)[2:3])):
        predicted, distances = held_by(table, fitted, [by(row) for row in table.rows])
        errors = np.log(predicted / table.seconds)
        out += [(_kind(r), float(e), d) for r, e, d in zip(table.rows, errors, distances, strict=True)]
    return out


def _kind(row: Row) -> str:
    return "first" if row.quantity == "first" else "token"


def spread_of(
    table: Table,
    predicted: NDArray[np.float64],
    distances: Distances,
    known: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """90% half-widths of the *wanted* rows, from the errors of the *known* ones."""
    errors = np.log(predicted / table.seconds)
    widths = spreads([(_kind(table.rows[i]), float(errors[i]), distances[i]) for i in np.flatnonzero(known)])
    return np.array(
        [np.sqrt(sum(widths[_kind(table.rows[i])][name] ** 2 for name in distances[i])) for i in np.flatnonzero(wanted)]
    )


def spreads(residuals: Sequence[tuple[str, float, tuple[str, ...]]]) -> dict[str, dict[str, float]]:
    """90% half-widths that each distance adds, by quantity: likeliest for Laplace errors, then scaled to cover 90%."""
    out = {}
    for quantity in ("first", "token"):
        own = [(abs(error), distances) for kind, error, distances in residuals if kind == quantity]
        if not own:
            own = [(abs(error), distances) for _, error, distances in residuals]
        errors = np.array([error for error, _ in own])
        holds = np.array([[name in distances for name in DISTANCES] for _, distances in own], dtype=float)

        def misfit(
            x: NDArray[np.float64], holds: NDArray[np.float64] = holds, errors: NDArray[np.float64] = errors
        ) -> float:
            scale = np.sqrt(holds @ np.exp(2 * x))
            return float(np.sum(np.log(scale) + errors / scale) + 0.5 * np.sum(((x + 2.5) / 1.0) ** 2))

        best = minimize(misfit, np.full(len(DISTANCES), -2.5), method="L-BFGS-B").x
        scale = np.sqrt(holds @ np.exp(2 * best))
        factor = float(np.quantile(errors / scale, 0.9))
        out[quantity] = {name: round(float(np.exp(v)) * factor, 3) for name, v in zip(DISTANCES, best, strict=True)}
    return out


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def to_toml(tables: Mapping[str, Any]) -> str:
    """The stacks file."""
    lines = [
        "# Constants of software stacks, fitted by benchmarks/calibrate_stacks.py: do not edit by hand.",
        "# A node multiplies the constants of its parent: by factors.all always, by the others where the tag applies.",
        "# us: microseconds, ns: nanoseconds; device times at an H100's clock. spread: 90% half-width of the error that each way in",
        "# which a case is unlike the measured ones adds, log scale, of the first token and of a further one.",
    ]
    for key, table in tables.items():
        lines += ["", f"[{_quoted(key)}]", *_pairs(table)]
        for part, inner in table.items():
            if isinstance(inner, dict) and inner:
                nested = any(isinstance(v, dict) for v in inner.values())
                for tag, each in inner.items() if nested else [("", inner)]:
                    lines += ["", f"[{_quoted(key)}.{part}{'.' + _quoted(tag) if tag else ''}]", *_pairs(each)]
    return "\n".join(lines) + "\n"


def _quoted(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() else f'"{key}"'


def _pairs(table: Mapping[str, Any]) -> list[str]:
    def text(value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            return "[" + ", ".join(text(each) for each in value) + "]"
        return f'"{value}"' if isinstance(value, str) else repr(value)

    return [f"{key} = {text(value)}" for key, value in table.items() if not isinstance(value, dict)]


def calibrate(data: Path) -> dict[str, Any]:
    """The whole file: every node's factors and the spreads of intervals."""
    table = tabulate(training_rows(data))
    fitted = fit(table)
    return {"spread": spreads(held_out(table, fitted)), **document(table, fitted)}


def main() -> int:
    """Fit every stack, print its errors, write the file when asked to."""
    parser = argparse.ArgumentParser(description="fit the constants of reference_profiles/stacks.toml")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("-o", "--output", type=Path, help="the stacks.toml to write; none: print it")
    arguments = parser.parse_args()
    tables = calibrate(arguments.data)
    for key, table in tables.items():
        if "fit" in table:
            print(f"{key:<18} " + ", ".join(f"{k} {v}" for k, v in table["fit"].items() if k != "source"))
    print(tables["spread"])
    if arguments.output:
        arguments.output.write_text(to_toml(tables), encoding="utf-8")
    else:
        print(to_toml(tables))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
