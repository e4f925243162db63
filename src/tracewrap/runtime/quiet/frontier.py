"""The quiet level under noise and contention: a stochastic frontier, fitted by expectation and scoring.

    y = x'b under noise and contention:    scale(y / x'b) = mu + sigma * v + u,    v standard normal,    u >= 0

Contention falls away from the quiet level and noise is symmetric about it: that is what tells them apart. ``mixture`` has the
distribution of u. Level, noise and weights follow in turns; coefficients move by scoring.

Sources: Aigner, Lovell and Schmidt 1977 (stochastic frontier); Kumbhakar, Parmeter and Tsionas 2013 (a mass at zero).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from tracewrap.runtime.quiet.basis import Array, quantile_fit
from tracewrap.runtime.quiet.mixture import (
    LEAST_SIGMA,
    MASS,
    QUIET_PRIOR,
    SPLICE,
    STRAY,
    USUAL_SIGMA,
    Posterior,
    State,
    densities,
    first_state,
    likely_sigma,
    means_for,
    posterior,
    reweighted,
    scale,
    sigma_prior,
    unscale,
)

EDGE_QUANTILE = 0.05
"""The quantile regression from which the search with little noise starts."""
EDGES = (0.03, 0.08, 0.15, 0.3)
SIGMAS = (0.008, 0.025, 0.06, 0.12)
"""Starts of the search: quantiles of the residuals for the level, deviations for the noise."""
TURNS, FIRST_TURNS, BEHIND = 30, 8, 8.0
"""Turns of a search at most; those after which one so far behind another in log likelihood is given up."""
START_TURNS = 6
START_CALLS = 120
"""Calls, evenly from the fastest to the slowest, among which starts are compared."""
SETTLED = 0.02
"""Gain in log likelihood of a turn below which, twice, the search ends."""
SCALES_DIFFER = 0.05
"""Noise from which the two scales of ``scale`` are told apart."""
NOISE_ALONE, MORE_ALONE = 10.0, 4.0
FEW, MANY = 50, 200
"""What an explanation by contention must gain in log likelihood over noise alone, at ``MANY`` calls; nothing with ``FEW``, and so much
more for each time e as many: with noise that is not quite normal it gains by chance."""
HOPELESS = 40.0
"""How far below another's the log likelihood of noise alone must begin not to be looked at."""
SHARP, SHARP_CALLS = 4.0, 150.0
"""What an explanation with much noise must gain in log likelihood over one with little noise and more contention, with up to so many calls;
less, by the square, with more. Services are steady."""
CLEAR = 3.0
"""Difference of log likelihoods below which either of two explanations may be the true one."""


def step(z: Array, means: Array, state: State, rounds: int = 2) -> tuple[State, Posterior]:
    """One turn: weights, then level and noise; the posterior is that of the state before."""
    density, k, tails = densities(z, means, state.mu, state.sigma)
    weights, _ = reweighted(density, state.weights, rounds)
    state = State(state.mu, state.sigma, weights)
    seen = posterior(z, density, k, tails, state)
    keep = 1.0 - seen.parts[:, STRAY]
    rest = z - seen.mean
    mu = float(np.sum(keep * rest) / np.sum(keep))
    square = float(np.sum(keep * ((rest - mu) ** 2 + seen.variance)))
    return State(mu, likely_sigma(square, float(np.sum(keep))), weights), seen


def _sharp(z: Array) -> list[State]:
    """Starts of the search with little noise, at the lower edge."""
    return [first_state(float(low), sigma) for low in np.quantile(z, EDGES) for sigma in SIGMAS[:2]]


def _starts(z: Array) -> list[State]:
    """Starts of the search: little noise to much, at the lower edge; and mostly noise, at the middle."""
    noise, edges = noise_alone(z), [first_state(float(low), sigma) for low in np.quantile(z, EDGES) for sigma in SIGMAS]
    weights = 0.95 * noise.weights + 0.05 * edges[0].weights
    return [*edges, State(noise.mu, noise.sigma, weights)]


def noise_alone(z: Array) -> State:
    """Nothing but noise about the middle of *z*, and a stray call in a hundred."""
    low, middle, high = (float(x) for x in np.quantile(z, [0.15, 0.5, 0.85]))
    weights = np.zeros_like(first_state(0.0, 1.0).weights)
    weights[MASS], weights[STRAY] = 0.99, 0.01
    return State(middle, max(LEAST_SIGMA, (high - low) / 2.07), weights)


@dataclass(frozen=True, slots=True)
class Frontier:
    """What was fitted: coefficients (in the units of *design*), noise and contention, and how sure it is.

    ``level_error``: half-width of the level's 90% interval, log scale, from its profile likelihood. ``likelihood``: log, of the seconds.
    """

    beta: Array
    fitted: Array
    state: State
    seen: Posterior
    residual: Array
    """y against fitted, on ``scale``."""
    level_error: float
    score: Array
    """Slope of each call's log likelihood by the log of its fitted seconds: what the call says of the level."""
    likelihood: float
    logarithmic: bool = False


def fit_frontier(design: Array, y: Array, beta: Array, turns: int = TURNS) -> Frontier:
    """The frontier of *y* given *design* (columns scaled to a largest value of 1), from a start *beta*.

    Coefficients move by scoring (Berndt, Hall, Hall and Hausman 1974) within what is not negative, and a move that is no gain is halved.
    Where noise is large it matters whether it is symmetric in seconds or in their logarithm: the likelier of the two is taken.
    """
    edge = quantile_fit(design, y, EDGE_QUANTILE, rounds=12)
    plain = _Fit(design, y, False).search(edge, FIRST_TURNS, _sharp)
    other = _Fit(design, y, False).search(beta, FIRST_TURNS, _starts)
    likeliest = max(plain.best, other.best)
    for one in (plain, other):
        if one.best > likeliest - BEHIND:
            one.improve(turns - FIRST_TURNS)
    if other.best > plain.best + SHARP * min(1.0, SHARP_CALLS / len(y)) ** 2:
        plain = other
    found = [(plain.best, plain), *_noise_fits(design, y, plain.best, turns // 2)]
    if plain.state.sigma >= SCALES_DIFFER:

        def near(z: Array) -> list[State]:
            return [plain.state, _starts(z)[-1]]

        logarithmic = _Fit(design, y, True).search(plain.beta, turns // 2, near)
        found.append((logarithmic.best, logarithmic))
    most, best = max(found, key=lambda one: one[0])
    # What is nearly as likely may be true, and so may its level.
    rivals = [fit for likelihood, fit in found if most - likelihood < CLEAR]
    apart = max(abs(float(np.median(np.log(fit.fitted / best.fitted)))) for fit in rivals)
    fit = best.finish()
    return dataclasses.replace(fit, level_error=float(np.hypot(fit.level_error, apart)))


def _noise_fits(design: Array, y: Array, likelihood: float, turns: int) -> list[tuple[float, _Fit]]:
    """Fits of noise alone, on either scale, with their likelihood raised by what contention must gain; none where that is hopeless."""
    middle = quantile_fit(design, y, 0.5, rounds=12)
    bonus = NOISE_ALONE * min(1.0, max(0.0, (len(y) - FEW) / (MANY - FEW)))
    bonus += MORE_ALONE * max(0.0, float(np.log(len(y) / MANY)))
    found = []
    for logarithmic in (False, True):
        fit = _Fit(design, y, logarithmic, rounds=0).search(middle, 1, lambda z: [noise_alone(z)])
        if fit.best > likelihood - HOPELESS:
            found.append((fit.improve(turns).best + bonus, fit))
    return found


class _Fit:
    """One fit under way: the best coefficients so far, and the state of noise and contention there."""

    def __init__(self, design: Array, y: Array, logarithmic: bool, rounds: int = 2) -> None:
        """*rounds*: of the weights, a turn; 0 leaves them as the start has them."""
        self.design, self.y, self.logarithmic, self.rounds = design, y, logarithmic, rounds
        self.best = -np.inf
        self.beta = np.zeros(design.shape[1])

    def _at(self, beta: Array) -> tuple[Array, Array, Array]:
        """(fitted, z, means) at *beta*."""
        fitted = np.maximum(self.design @ beta, 1e-9)
        return fitted, scale(self.y / fitted, self.logarithmic), means_for(fitted)

    def search(self, beta: Array, turns: int, starts: Callable[[Array], list[State]]) -> _Fit:
        """Itself, after at most *turns* turns from the coefficients *beta*."""
        self._begin(beta, starts)
        return self.improve(turns)

    def improve(self, turns: int) -> _Fit:
        """Itself, after at most *turns* more turns."""
        still = 0
        for _ in range(turns):
            before = self.best
            self._turn()
            still = still + 1 if self.best - before < SETTLED else 0
            if still == 2:
                break
        return self

    def _begin(self, beta: Array, starts: Callable[[Array], list[State]]) -> None:
        """The most likely of several starts, and its level. Weights settle before the level moves, or it runs away from its start."""
        _, z, means = self._at(beta)
        some = np.argsort(z)[:: max(1, len(z) // START_CALLS)]
        z, means = z[some], means[some]
        found: list[tuple[float, State]] = []
        for state in starts(z):
            likelihood, weights = _likelihood(z, means, state, self.rounds * 2)
            found.append((likelihood, State(state.mu, state.sigma, weights)))
        found.sort(key=lambda one: -one[0])
        likely = []
        for _, state in found[:3]:
            for _ in range(START_TURNS if self.rounds else 0):
                state, _ = step(z, means, state, self.rounds)
            likely.append((_likelihood(z, means, state, 0)[0], state))
        _, state = max(likely, key=lambda one: one[0])
        self.trial = beta * float(unscale(np.array(state.mu), self.logarithmic))
        self.state = State(0.0, state.sigma, state.weights)

    def _turn(self) -> None:
        """Judge the trial coefficients; propose the next from them, or from halfway back."""
        fitted, z, means = self._at(self.trial)
        density, k, tails = densities(z, means, 0.0, self.state.sigma)
        weights, _ = reweighted(density, self.state.weights, self.rounds)
        state = State(0.0, self.state.sigma, weights)
        seen = posterior(z, density, k, tails, state)
        inside = np.zeros_like(z) if self.logarithmic else (z < SPLICE - 1.0).astype(np.float64)
        likelihood = self._of_seconds(seen, fitted, inside)
        if likelihood < self.best - 1e-6:
            self.trial = (self.trial + self.beta) / 2.0
            return
        self.best, self.beta, self.fitted = likelihood, self.trial, fitted
        self.score = self._scores(seen, z, inside)
        keep = 1.0 - seen.parts[:, STRAY]
        square = float(np.sum(keep * z * z - 2.0 * z * seen.mean + seen.mean**2 + seen.variance))
        sigma = likely_sigma(square, float(np.sum(keep)))
        self.state = State(0.0, state.sigma * float(np.clip((sigma / state.sigma) ** 1.6, 0.6, 1.6)), weights)
        self.trial = self._scored()

    def _scored(self) -> Array:
        rows = self.design / self.fitted[:, None] * self.score[:, None]
        gram = rows.T @ rows
        if not np.trace(gram) > 0.0:  # calls that the fit meets exactly: nothing says that it should move
            return self.beta
        gram[np.diag_indices_from(gram)] += 1e-8 * np.trace(gram) / len(gram)
        factor = np.linalg.cholesky(gram)
        target = np.linalg.solve(factor, rows.sum(axis=0)) + factor.T @ self.beta
        beta, _ = nnls(factor.T, target, maxiter=200 * len(gram))
        change = np.abs(np.log(np.maximum(self.design @ beta, 1e-9) / self.fitted))
        far = int(0.95 * (len(change) - 1))
        reach = float(np.partition(change, far)[far])
        return np.asarray(self.beta + (beta - self.beta) * min(1.0, MOST_MOVE / max(reach, 1e-12)))

    def finish(self) -> Frontier:
        """The level at its most likely, and how sure all is."""
        fitted, z, means = self._at(self.beta)
        state, level_error = polish(z, means, self.state, 3 * self.rounds)
        beta = self.beta * float(unscale(np.array(state.mu), self.logarithmic))
        fitted, z, means = self._at(beta)
        state = State(0.0, state.sigma, state.weights)
        seen = posterior(z, *densities(z, means, 0.0, state.sigma), state)
        inside = np.zeros_like(z) if self.logarithmic else (z < SPLICE - 1.0).astype(np.float64)
        return Frontier(
            beta,
            fitted,
            state,
            seen,
            z,
            level_error,
            self._scores(seen, z, inside),
            self._of_seconds(seen, fitted, inside),
            self.logarithmic,
        )

    def _scores(self, seen: Posterior, z: Array, inside: Array) -> Array:
        return seen.slope if self.logarithmic else seen.slope * np.minimum(1.0 + z, SPLICE) - inside

    def _of_seconds(self, seen: Posterior, fitted: Array, inside: Array) -> float:
        """Log likelihood of the seconds themselves, comparable between scales and fits.

        As many calls as there are coefficients can lie on the curve by construction: they are no sign that noise is small.
        """
        spent: float = self.design.shape[1] * min(0.0, float(np.log(self.state.sigma / USUAL_SIGMA)))
        if self.logarithmic:
            return seen.likelihood + spent - float(np.sum(np.log(self.y)))
        slopes = inside * np.log(fitted) + (1.0 - inside) * np.log(self.y / SPLICE)
        return seen.likelihood + spent - float(np.sum(slopes))


MOST_MOVE = 0.15
"""Furthest that one turn moves the fitted seconds, as a share."""


def _likelihood(z: Array, means: Array, state: State, rounds: int) -> tuple[float, Array]:
    density, _, _ = densities(z, means, state.mu, state.sigma)
    weights, total = reweighted(density, state.weights, rounds)
    prior = QUIET_PRIOR * float(np.log(weights[MASS] + 1e-300)) + sigma_prior(state.sigma)
    return float(np.sum(np.log(total))) + prior, weights


LEVEL_DROP = 1.353
"""Half the 90% quantile of chi-square with one degree of freedom."""


def polish(z: Array, means: Array, state: State, rounds: int) -> tuple[State, float]:
    """(the most likely state near *state*, half-width of the level): the likelihood on a grid of levels, the noise chosen at each."""
    n_quiet = max(3.0, float(len(z)) * 0.15)
    reach = max(3.0 * state.sigma / np.sqrt(n_quiet), 0.002)
    levels = np.array([-4.0, -2.5, -1.5, -0.8, -0.3, 0.0, 0.3, 0.8, 1.5, 2.5, 4.0]) * reach
    found = np.empty(len(levels))
    states: list[State] = [state] * len(levels)
    order = np.argsort(np.abs(levels), kind="stable")
    for i in order:
        near = states[i - 1] if levels[i] > 0 else states[i + 1] if levels[i] < 0 else state
        best, gained = -np.inf, 0
        for ratio in (1.0, 1.18, 0.85):
            if gained == 2:  # more noise is likelier: less is not
                break
            trial = State(float(levels[i]) + state.mu, max(LEAST_SIGMA, near.sigma * ratio), near.weights)
            value, weights = _likelihood(z, means, trial, rounds)
            if value > best:
                best, states[i] = value, State(trial.mu, trial.sigma, weights)
                gained += 1
        found[i] = best
    top = int(np.argmax(found))
    drop = found.max() - found
    return states[top], _crossing(levels, drop, top)


def _crossing(levels: Array, drop: Array, top: int) -> float:
    """Mean distance from the top at which *drop* reaches ``LEVEL_DROP``, to either side; the grid's end where it does not."""
    out = []
    for side in (range(top, len(levels)), range(top, -1, -1)):
        at = list(side)
        reach = abs(levels[at[-1]] - levels[top]) if len(at) > 1 else 0.0
        for a, b in itertools.pairwise(at):
            if drop[b] >= LEVEL_DROP:
                part = (LEVEL_DROP - drop[a]) / max(drop[b] - drop[a], 1e-9)
                reach = abs(levels[a] + (levels[b] - levels[a]) * part - levels[top])
                break
        if reach:
            out.append(reach)
    return float(np.mean(out)) if out else float(levels[-1])


def information(fit: Frontier) -> Array:
    """What each call tells of the logarithm of its fitted seconds: the square of its score; where noise is below what is told apart, the
    scores of calls that are met exactly are 0, and an untouched call tells what it does at that least noise."""
    squares = fit.score**2
    if fit.state.sigma <= LEAST_SIGMA * 1.001:
        squares = np.maximum(squares, fit.seen.parts[:, 0] / fit.state.sigma**2)
    return np.asarray(squares, dtype=np.float64)


def covariance(design: Array, fit: Frontier) -> Array:
    """Of the coefficients that are not zero, by the outer product of scores; rows and columns of the others are zero."""
    used = np.flatnonzero(fit.beta > 0)
    rows = design[:, used] / fit.fitted[:, None] * np.sqrt(information(fit))[:, None]
    gram = rows.T @ rows
    gram[np.diag_indices_from(gram)] += 1e-9 * np.trace(gram) / max(1, len(gram))
    out = np.zeros((len(fit.beta), len(fit.beta)))
    out[np.ix_(used, used)] = np.linalg.inv(gram)
    return out
