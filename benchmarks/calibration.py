"""Fitting the analytic profile's constants to measured rows of many stacks, models and GPUs at once.

Every constant of a row is a product: the value of all engines together, a factor of the engine, a factor of its version, and
factors for what the case is (generation of the card, the card itself, precision of the weights, mixture or dense), of all
engines and of this one. All factors have log-normal priors around 1, so a stack with ten rows stays near its parent where its
rows do not say otherwise. One more factor a model and engine, for what the formula misses of that model, keeps a model with
many rows from bending the constants; it is not used to predict. Robust relative error; Gauss-Newton with exact derivatives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from engines import AGE, EAGER, ENGINES, LOOSE, PRIOR, WIDTHS, path_of
from measured import Row
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from tracewrap.runtime.roofline.estimating import make_setup
from tracewrap.runtime.roofline.gpus import load_gpus
from tracewrap.runtime.roofline.stacks import CONSTANT_NAMES, MOST, PROMPT_LAUNCHES, case_tags
from tracewrap.runtime.roofline.terms import (
    HOST_CONSTANTS,
    HOST_SOFTNESS,
    PROMPT_WORK,
    TERM_CONSTANTS,
    Terms,
    decode_terms,
    prefill_terms,
)

Array = NDArray[np.float64]
NAMES = CONSTANT_NAMES


NOISE = {"total": 0.03, "token": 0.05, "first": 0.12}
MODEL_WIDTH = {"total": 0.05, "token": 0.1, "first": 0.12}
STEPS, STEPS_AGAIN, TRIES = 60, 4, 7
"""Steps of a fit, of one that starts from a fit to nearly the same rows (its problem is almost quadratic), and of damping."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of every row as arrays: a column per term of device and host, and how often the pass counts."""

    terms: Array
    weight: Array


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with their passes and the factors that apply to each."""

    rows: tuple[Row, ...]
    passes: tuple[Pass, ...]
    seconds: Array

    def pick(self, mask: NDArray[np.bool_]) -> Table:
        """The rows where *mask* holds."""
        rows = tuple(row for row, keep in zip(self.rows, mask, strict=True) if keep)
        passes = tuple(Pass(x.terms[mask], x.weight[mask]) for x in self.passes)
        return Table(rows, passes, self.seconds[mask])


COLUMNS = (*TERM_CONSTANTS, *HOST_CONSTANTS)


def tabulate(rows: Iterable[Row]) -> Table:
    """The passes of every row: prefill, mean decode step, and what the prompts of others in flight add."""
    kept = tuple(rows)
    gpus = load_gpus()
    prefill, queued, decode, weights = [], [], [], []
    for row in kept:
        engine = ENGINES.get(path_of(row.stack)[:3][-1], ENGINES["vllm-v1"])
        base = dataclasses.replace(PRIOR, pipeline=engine.pipeline, ring=engine.ring)
        setup = make_setup(row.architecture, gpus[row.gpu], row.n_gpus, row.precision, base)
        padded = -(-row.p // engine.tile) * engine.tile
        first = prefill_terms(setup, padded)
        others = row.concurrency - 1.0
        context = row.p if row.quantity == "first" else row.p + row.o / 2
        prefill.append(first)
        queued.append({key: first.get(key, 0.0) for key in PROMPT_WORK})
        decode.append(decode_terms(setup, context, row.concurrency))
        weights.append(
            {
                "total": (1.0, 0.0, row.o - 1.0),
                "first": (1.0, others, 0.5 if others else 0.0),
                "token": (others / max(row.o, 1), 0.0, 1.0),
            }[row.quantity]
        )
    share = np.array(weights)
    passes = tuple(_pass(each, share[:, i]) for i, each in enumerate((prefill, queued, decode)))
    return Table(kept, passes, np.array([row.seconds for row in kept]))


def _pass(each: Sequence[Terms], weight: Array) -> Pass:
    return Pass(np.array([[t.get(key, 0.0) for key in COLUMNS] for t in each]), weight)


@dataclass(frozen=True, slots=True)
class Factor:
    """One fitted logarithm: of constant *name* at *node* of the tree of stacks, for cases with *tag* (empty: all)."""

    name: str
    node: str
    tag: str
    width: float


def factors_for(table: Table) -> list[Factor]:
    """Every factor that some row of *table* shows."""
    found: dict[tuple[str, str, str], Factor] = {}
    for row in {(r.stack, r.gpu, r.precision, r.kind): r for r in table.rows}.values():
        path, tags = path_of(row.stack), tags_of(row)
        engine = path[2] if len(path) > 2 else path[0] if path[0] in ENGINES else ""
        for name, w in WIDTHS.items():
            loose = LOOSE.get(engine, {}).get(name)
            if len(path) == 1:
                found.setdefault((name, engine, ""), Factor(name, engine, "", loose or w.general))
                continue
            at = [("general", "", w.general), *(("general", tags[t], s) for t, s in w.general_tags)]
            at += [(path[1], "", AGE * w.general), *((path[1], tags[t], AGE * s) for t, s in w.general_tags)]
            if engine:
                at += [(engine, "", loose or w.engine), *((engine, tags[t], s) for t, s in w.engine_tags)]
            if len(path) > 3 and w.version:
                at.append((path[3], "", w.version))
            for node, tag, width in at:
                found.setdefault((name, node, tag), Factor(name, node, tag, width))
        for name in ("launch_s", "expert_launch_s") if engine in EAGER else ():
            for tag in ("", tags["precision"]) if len(path) > 1 else ("",):
                found.setdefault((name, engine, tag), Factor(name, engine, tag, 1.0))
        if engine == "transformers":  # which attention it runs depends on how the weights are packed
            found.setdefault(
                ("kv_efficiency", engine, tags["precision"]), Factor("kv_efficiency", engine, tags["precision"], 1.0)
            )
    return list(found.values())


def tags_of(row: Row) -> dict[str, str]:
    """What a row's case is called, by kind of tag."""
    return case_tags(load_gpus()[row.gpu], row.precision)


@dataclass(frozen=True, slots=True)
class Fit:
    """Fitted factors; the value of a constant is its prior times the factors of node and tag that apply."""

    values: dict[tuple[str, str, str], float]

    def logs(self, table: Table) -> Array:
        """Logarithms of every constant for every row."""
        out = np.tile(np.log([getattr(PRIOR, name) for name in NAMES]), (len(table.rows), 1))
        known: dict[tuple[Any, ...], Array] = {}
        for i, row in enumerate(table.rows):
            key = (row.stack, row.gpu, row.precision, row.kind)
            if key not in known:
                known[key] = self._sum(row)
            out[i] += known[key]
        return out

    def _sum(self, row: Row) -> Array:
        nodes, tags = path_of(row.stack), ("", *dict.fromkeys(tags_of(row).values()))
        return np.array([sum(self.values.get((n, node, tag), 0.0) for node in nodes for tag in tags) for n in NAMES])


def predict(table: Table, fitted: Fit) -> Array:
    """Seconds of every row."""
    return _evaluate(table, _bounded(fitted.logs(table), table))[0]


def _bounded(logs: Array, table: Table) -> Array:
    out = logs.copy()
    for name, most in MOST.items():
        column = NAMES.index(name)
        out[:, column] = np.minimum(out[:, column], np.log(most))
    gpus = load_gpus()
    known = {(r.gpu, r.precision): gpus[r.gpu] for r in table.rows}
    gains = {key: gpu.peak_flops(key[1]) / gpu.peak_flops("bf16") for key, gpu in known.items()}
    gain = np.array([gains[r.gpu, r.precision] for r in table.rows])
    bandwidth = np.log(MOST["bandwidth_efficiency"]) - out[:, NAMES.index("bandwidth_efficiency")]
    flops = np.log(MOST["flop_efficiency"] * np.maximum(1.0, gain)) - out[:, NAMES.index("flop_efficiency")]
    for name, least in (
        ("narrow_efficiency", bandwidth),
        ("expert_efficiency", bandwidth),
        ("narrow_flop_gain", flops),
        ("expert_flop_efficiency", flops),
    ):
        column = NAMES.index(name)
        out[:, column] = np.minimum(out[:, column], least)
    eager = np.array([row.stack.startswith(EAGER) for row in table.rows])
    for names, rows in ((("launch_s", "expert_launch_s"), ~eager), (PROMPT_LAUNCHES, eager)):
        out[np.ix_(rows, [NAMES.index(name) for name in names])] = -60.0
    return out


def _evaluate(table: Table, logs: Array) -> tuple[Array, Array]:
    """Seconds of every row, and the derivative of their logarithm by the logarithm of each constant."""
    constants = dict(zip(NAMES, np.exp(logs).T, strict=True))
    keys = {name: each for table_ in (TERM_CONSTANTS, HOST_CONSTANTS) for name, each in table_.items()}
    total, slope = np.zeros(len(table.rows)), np.zeros_like(logs)
    for i, each in enumerate(table.passes):
        values = each.terms.copy()
        for j, name in enumerate(COLUMNS):
            for key in keys[name]:
                values[:, j] *= constants[key] if key.endswith("_s") else 1.0 / constants[key]
        n = len(TERM_CONSTANTS)
        sides = values[:, :n].sum(axis=1), values[:, n:].sum(axis=1)
        seconds = sum(side**HOST_SOFTNESS for side in sides) ** (1 / HOST_SOFTNESS)
        part = each.weight * (constants["queue_share"] if i == 1 else 1.0) * seconds
        total += part
        safe = np.where(seconds > 0, seconds, 1.0)
        share = [part * (x / safe) ** HOST_SOFTNESS / np.where(x > 0, x, 1.0) for x in sides]
        for j, name in enumerate(COLUMNS):
            for key in keys[name]:
                sign = 1.0 if key.endswith("_s") else -1.0
                slope[:, NAMES.index(key)] += sign * share[j >= n] * values[:, j]
        if i == 1:
            slope[:, NAMES.index("queue_share")] += part
    return total, slope / total[:, None]


def _applies(row: Row, factors: Sequence[Factor]) -> Array:
    """1 for every factor that applies to *row*, else 0."""
    nodes, tags = path_of(row.stack), {"", *tags_of(row).values()}
    return np.array([float(f.node in nodes and f.tag in tags) for f in factors])


def fit(table: Table, start: Fit | None = None) -> Fit:
    """The factors that make the rows of *table* likeliest under their priors; *start*: a fit to nearly the same rows, to go on from."""
    alone = np.array([len(path_of(row.stack)) == 1 for row in table.rows])
    if alone.any() and not alone.all():
        return Fit({**fit(table.pick(alone), start).values, **fit(table.pick(~alone), start).values})
    factors = factors_for(table)
    paths = [path_of(row.stack) for row in table.rows]
    cases = {(row.stack, row.gpu, row.precision): row for row in table.rows}
    applies = {key: _applies(row, factors) for key, row in cases.items()}
    member = np.array([applies[row.stack, row.gpu, row.precision] for row in table.rows])
    column = np.array([NAMES.index(f.name) for f in factors])
    groups = [f"{row.model} {paths[i][:3][-1]} {row.quantity}" for i, row in enumerate(table.rows)]
    labels = list(dict.fromkeys(groups))
    own = np.zeros((len(groups), len(labels)))
    own[np.arange(len(groups)), [labels.index(g) for g in groups]] = 1.0
    own_width = np.array([MODEL_WIDTH[label.rsplit(" ", 1)[1]] for label in labels]) * (0.1 if alone.all() else 1.0)
    widths = np.concatenate([[f.width for f in factors], own_width])
    noise = np.array([NOISE[row.quantity] for row in table.rows])
    base = np.tile(np.log([getattr(PRIOR, name) for name in NAMES]), (len(table.rows), 1))
    to_constant = np.zeros((len(factors), len(NAMES)))
    to_constant[np.arange(len(factors)), column] = 1.0
    n = len(factors)

    def parts(x: Array) -> tuple[Array, Array]:
        logs = base + (member * x[:n]) @ to_constant
        predicted, slope = _evaluate(table, _bounded(logs, table))
        error = (np.log(predicted / table.seconds) + own @ x[n:]) / noise
        gradient = np.concatenate([member * slope[:, column], own], axis=1) / noise[:, None]
        return error, gradient

    x = np.zeros(n + len(labels))
    if start is not None:
        x[:n] = [start.values.get((f.name, f.node, f.tag), 0.0) for f in factors]
    design = np.concatenate([member, own], axis=1) != 0
    engines = np.array([path[:3][-1] for path in paths])
    blocks = [(rows, np.flatnonzero(design[rows].any(axis=0))) for rows in (engines == each for each in set(engines))]
    x = _solve(parts, x, widths, blocks, STEPS if start is None else STEPS_AGAIN)
    return Fit({(f.name, f.node, f.tag): float(v) for f, v in zip(factors, x[:n], strict=True)})


def _solve(
    parts: Callable[[Array], tuple[Array, Array]],
    x: Array,
    widths: Array,
    blocks: Sequence[tuple[NDArray[np.bool_], NDArray[np.intp]]],
    steps: int,
) -> Array:
    """The minimum of the robust misfit and the priors: reweighted, damped Gauss-Newton steps.

    *blocks*: rows of one engine and the columns that they touch; the others are zero there.
    """

    def misfit(error: Array, x: Array) -> float:
        return float(2 * np.sum(np.sqrt(1 + error**2) - 1) + np.sum((x / widths) ** 2))

    error, gradient = parts(x)
    now, damping = misfit(error, x), 1e-3
    for _ in range(steps):
        weight = 1.0 / np.sqrt(1 + error**2)
        scaled = gradient * widths
        normal = np.eye(len(x))
        for rows, columns in blocks:
            part = scaled[rows][:, columns]
            normal[np.ix_(columns, columns)] += (part * weight[rows][:, None]).T @ part
        slope = scaled.T @ (weight * error) + x / widths
        for _ in range(TRIES):
            damped = normal + damping * np.diag(np.diag(normal))
            trial = x + widths * cho_solve(cho_factor(damped), -slope)
            then_error, then_gradient = parts(trial)
            then = misfit(then_error, trial)
            if then < now:
                break
            damping *= 8.0
        else:
            break
        gain, damping = now - then, damping / 5.0
        x, now, error, gradient = trial, then, then_error, then_gradient
        if gain < 3e-5 * (1 + now):
            break
    return x


def hold_out(table: Table, groups: Sequence[str], wanted: NDArray[np.bool_] | None = None) -> Array:
    """Predictions of each group of rows by a fit to the other groups; NaN where not *wanted*."""
    labels = np.array(groups)
    out = np.full(len(table.rows), np.nan)
    start = fit(table)
    for label in dict.fromkeys(groups):
        mask = labels == label
        if wanted is None or (mask & wanted).any():
            out[mask] = predict(table.pick(mask), fit(table.pick(~mask), start))
    return out
