"""Upper bounds on the fitness that any completion of a partial network can reach.

gamma * rho = gamma * L * exp(-S / L) is the one term that is not additive (L layers, S the sum of the
logarithms of their fan-ins). It is convex in S, and its slope -mu = -gamma * exp(-S / L) depends on S / L
alone. So the networks are split into *slices* of the slope, mu_low <= mu <= mu_high; within a slice the chord

    gamma * rho <= k * L - m * S,   m = (mu_high - mu_low) / ln(mu_high / mu_low),
                                    k = mu_high + m * ln(gamma / mu_high)

holds for every L with the same m and k (equality where S / L sits at an end of the slice), and it is
additive. With the costs moved into the objective by multipliers (Lagrangian relaxation: for any multipliers
>= 0 the relaxed maximum bounds the true one from above) each block picks its best ratio on its own, and one
backward pass over (stage, width, depth state) bounds everything.

rho <= rho0 is such a budget as well: it says S >= L ln(L / rho0), and the depth state at the end knows L. Its
multiplier is the last column.
"""

from dataclasses import dataclass, replace

import numpy as np

from fednas.toolchain.search.problem import Indices, Problem
from fednas.toolchain.space.population import Floats

SLICE_RATIO = 2.0
"""mu_high / mu_low: the chord then lies above the curve by at most 6.2 % of gamma * rho. Narrower slices bound
more tightly, but neighbours of the best slice then reach its bound and are enumerated as well."""


@dataclass(frozen=True, slots=True)
class Slices:
    """n slices of the slope mu."""

    low: Floats
    high: Floats
    slope: Floats
    """m of the chord, (n,)."""
    level: Floats
    """k of the chord, (n,)."""

    def one(self, index: int) -> "Slices":
        """Slice ``index`` alone."""
        return self.take(np.array([index]))

    def take(self, rows: Indices) -> "Slices":
        """The slices of these rows."""
        return Slices(self.low[rows], self.high[rows], self.slope[rows], self.level[rows])


def slices_of(problem: Problem) -> Slices:
    """Slices that cover the slope at every network of the space that rho0 allows."""
    gamma = problem.settings.gamma
    if gamma == 0:
        flat = np.zeros(1)
        return Slices(flat, flat, flat, flat)
    least, most = _mean_log_range(problem)
    # rho <= rho0 says: S >= L ln(L / rho0), so no allowed network has a mean logarithm below this.
    fewest_layers = 1 + 3 * problem.space.num_stages
    if np.isfinite(problem.settings.rho0):
        least = max(least, np.log(fewest_layers / problem.settings.rho0))
    low, high = gamma * np.exp(-max(most, least)), gamma * np.exp(-least)
    count = max(1, int(np.ceil(np.log(high / low) / np.log(SLICE_RATIO))))
    edges = np.geomspace(low * (1 - 1e-9), high * (1 + 1e-9), count + 1)
    below, above = edges[:-1], edges[1:]
    slope = (above - below) / np.log(above / below)
    return Slices(below, above, slope, above + slope * np.log(gamma / above))


def _mean_log_range(problem: Problem) -> tuple[float, float]:
    """Bounds of S / L over all networks: the mean lies between the means of the extreme parts."""
    least = most = problem.stem_log
    for stage in problem.stages:
        # A first block and the projection are three layers, any further block two.
        parts = [stage.first_log.ravel() / 3, stage.rest_log.ravel() / 2]
        least = min(least, *(part.min() for part in parts))
        most = max(most, *(part.max() for part in parts))
    return float(least), float(most)


@dataclass(frozen=True, slots=True)
class Completions:
    """Bounds for n slices, each with its own multipliers."""

    upper: Floats
    """(n,): no allowed network of the slice within the budgets is fitter."""
    after: tuple[Floats, ...]
    """[stages done]: (n, width, depth state) what the rest can add to the relaxed value."""
    first: tuple[Floats, ...]
    """[stage]: (n, width before, width) the best relaxed value of the first block."""
    rest: tuple[Floats, ...]
    """[stage]: (n, width) the best relaxed value of any further block."""
    constant: Floats
    """(n,): multipliers times limited budgets, plus the chord's share of stem and projections."""
    slope: Floats
    """(n,): what a unit of S takes off the relaxed value: the chord's slope, less the multiplier of rho0."""


def completions(problem: Problem, slices: Slices, multipliers: Floats, budgets: Floats) -> Completions:
    """One backward pass. ``multipliers`` (n, k + 1) >= 0, and 0 where ``budgets`` (k,) or rho0 is infinite."""
    of_costs, of_rho0 = multipliers[:, :-1], multipliers[:, -1]
    prices = of_costs + problem.price
    slices = replace(slices, slope=slices.slope - of_rho0)
    tail = -np.einsum("nk,kw->nw", prices, problem.head_cost)
    final = -problem.settings.beta * problem.depth_states.penalty[None] - np.outer(of_rho0, _least_logs(problem))
    after = [tail[:, :, None] + final[:, None, :]]
    firsts, rests = [], []
    for j in reversed(range(len(problem.stages))):
        first, rest = _best_blocks(problem, slices, prices, j)
        after.append(_one_stage_back(problem, j, first, rest, after[-1]))
        firsts.append(first)
        rests.append(rest)
    after.reverse()
    allowance = of_costs @ np.where(np.isfinite(budgets), budgets, 0.0)
    constant = allowance + slices.level * (1 + problem.space.num_stages) - slices.slope * problem.stem_log
    start = -np.einsum("nk,kw->nw", prices, problem.stem_cost) + after[0][:, :, 0]
    upper = start.max(axis=1) + constant
    return Completions(upper, tuple(after), tuple(firsts[::-1]), tuple(rests[::-1]), constant, slices.slope)


def _least_logs(problem: Problem) -> Floats:
    """The smallest S that rho0 allows in each final depth state; 0 where rho0 is infinite."""
    rho0 = problem.settings.rho0
    blocks = np.array([total for total, _ in problem.depth_states.pairs[-1]], float)
    if not np.isfinite(rho0):
        return np.zeros(len(blocks))
    layers = 1 + 3 * problem.space.num_stages + 2 * blocks
    # A little less than the truth, so that networks at exactly rho0 stay in.
    least: Floats = layers * (np.log(layers / rho0) - 1e-9)
    return least


def _best_blocks(problem: Problem, slices: Slices, prices: Floats, j: int) -> tuple[Floats, Floats]:
    """Each block picks its best ratio on its own: first (n, p, w) and further (n, w) blocks of stage ``j``."""
    stage = problem.stages[j]
    gain = stage.volume[None, :] - slices.slope[:, None]
    priced_first = np.einsum("nk,kpwe->npwe", prices, stage.first_cost)
    priced_rest = np.einsum("nk,kwe->nwe", prices, stage.rest_cost)
    first = (gain[:, None, :, None] * stage.first_log[None] - priced_first).max(axis=3)
    rest = (gain[:, :, None] * stage.rest_log[None] - priced_rest).max(axis=2)
    level = 2 * slices.level
    return first + level[:, None, None] - stage.penalty[None], rest + level[:, None]


def _one_stage_back(problem: Problem, j: int, first: Floats, rest: Floats, after: Floats) -> Floats:
    """(n, width before, state) from (n, width, state): the best depth, then the best width."""
    following = problem.depth_states.following[j]
    depths = np.arange(following.shape[1])
    values = (after[:, :, following] + rest[:, :, None, None] * depths).max(axis=3)
    best: Floats = (first[:, :, :, None] + values[:, None]).max(axis=2)
    return best


def tighten(problem: Problem, slices: Slices, budgets: Floats, start: Floats | None = None) -> Floats:
    """Multipliers (n, k + 1) that make the bound of each slice small: a grid search, one cost after another.

    The bound is convex in the multipliers, so a grid that closes in finds the minimum for one cost; for
    several it may stop early, which leaves a valid, less tight bound. From ``start`` only a near range is
    searched.
    """
    most = np.r_[budgets, problem.settings.rho0]
    limited = np.flatnonzero(np.isfinite(most))
    scale = _scale(problem) / np.where(np.isfinite(most), most, 1.0)
    scale[-1] = _scale(problem) / sum(stage.first_log.max() for stage in problem.stages)
    best = np.zeros((len(slices.low), len(most))) if start is None else start.copy()
    if start is None and len(limited) > 1:
        best[:, limited] = 0.3 * scale[limited] / len(limited)
        best[:, -1] = 0.0
    width = 1e4 if start is None else 2.0
    for _ in range(1 if len(limited) == 1 else 4):
        for k in map(int, limited):
            best[:, k] = _line_search(problem, slices, budgets, best, k, float(scale[k]), width)
        width = max(width**0.5, min(width, 3.0))
    return best


def _line_search(
    problem: Problem, slices: Slices, budgets: Floats, start: Floats, k: int, scale: float, width: float
) -> Floats:
    """Best multiplier of cost ``k`` for every slice, the others kept."""
    points = 8
    count = len(slices.low)
    centre = np.where(start[:, k] > 0, start[:, k], scale)
    repeated = slices.take(np.repeat(np.arange(count), points))
    step = width
    best, best_value = start[:, k].copy(), completions(problem, slices, start, budgets).upper
    while step > 1.003:
        grid = centre[:, None] * np.geomspace(1 / step, step, points)[None, :]
        tried = np.repeat(start, points, axis=0)
        tried[:, k] = grid.ravel()
        upper = completions(problem, repeated, tried, budgets).upper.reshape(count, points)
        pick = upper.argmin(axis=1)
        rows = np.arange(count)
        better = upper[rows, pick] < best_value
        best_value = np.where(better, upper[rows, pick], best_value)
        best = np.where(better, grid[rows, pick], best)
        centre = best
        step = step ** (2 / (points - 1) * 1.05)
    return best


def _scale(problem: Problem) -> float:
    """The order of magnitude of the objective: of the entropy, or of the priced costs without one."""
    entropy = sum(stage.volume.max() * stage.first_log.max() for stage in problem.stages)
    priced = sum(problem.price @ stage.first_cost.mean(axis=(1, 2, 3)) for stage in problem.stages)
    return float(max(entropy, priced, 1e-12))
