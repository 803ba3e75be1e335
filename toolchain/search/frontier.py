"""The whole Pareto frontier of fitness against one quantity, every point proven.

The range of the quantity is walked in short stretches, from the smallest network upwards. In a stretch every
Pareto-optimal network is fitter than the best one before it; so all networks above that fitness and within
the end of the stretch are enumerated, and those that nothing dominates are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fednas.common import Progress, silent
from fednas.toolchain.search.bounds import Slices, completions, slices_of, tighten
from fednas.toolchain.search.completed import Completed
from fednas.toolchain.search.exact import with_rounding_slack, worst_possible
from fednas.toolchain.search.labels import Enumeration
from fednas.toolchain.search.limits import Limit, Quantity
from fednas.toolchain.search.options import OptionCache
from fednas.toolchain.search.problem import Problem, problem_of
from fednas.toolchain.space.architecture import Architecture
from fednas.toolchain.space.cost import population_totals
from fednas.toolchain.space.fitness import FitnessSettings, population_fitness
from fednas.toolchain.space.population import Floats, Population
from fednas.toolchain.space.search_space import Accounting, SearchSpace

FIRST_STRETCH, LONGEST_STRETCH = 0.02, 0.25
"""As shares of the value where a stretch begins."""
MANY_NETWORKS, FEW_NETWORKS = 20_000, 4_000
"""Networks found in a stretch that make the next one shorter or longer."""


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A network of which no other is both cheaper and at least as fit."""

    architecture: Architecture
    value: float
    """Of the quantity on the frontier's axis."""
    fitness: float


def find_frontier(
    space: SearchSpace,
    settings: FitnessSettings,
    axis: Quantity,
    limits: Sequence[Limit] = (),
    *,
    accounting: Accounting = "network",
    low: float | None = None,
    high: float | None = None,
    progress: Progress = silent,
) -> list[FrontierPoint]:
    """Every Pareto-optimal network within the limits whose axis value lies in ``low`` .. ``high``, ascending.

    The first point is the fittest network with at most ``low`` (by default the cheapest network of all).
    """
    quantities = [axis, *(limit.quantity for limit in limits)]
    problem = problem_of(space, settings, accounting, [quantity.table for quantity in quantities])
    walk = _Walk(problem, [limit.at_most - limit.quantity.constant for limit in limits])
    first, last = walk.range()
    start = first if low is None else max(first, low - axis.constant)
    end = last if high is None else min(last, high - axis.constant)
    found = walk.run(start, end, progress)
    return _exact_points(space, settings, accounting, axis, found)


class _Walk:
    """The stretches of one frontier; costs are without the axis' constant."""

    def __init__(self, problem: Problem, other_budgets: Sequence[float]) -> None:
        self._problem, self._others = problem, list(other_budgets)
        self._options = OptionCache(problem)
        self._slices = slices_of(problem)
        self._multipliers: Floats | None = None

    def range(self) -> tuple[float, float]:
        """Smallest and largest value on the axis."""
        problem = self._problem
        least = float(self._options.reach.least_total(problem)[0])
        return least, float(_most_total(problem))

    def run(self, start: float, end: float, progress: Progress) -> list[Architecture]:
        """Candidates for the frontier, in order; each is fitter than the one before."""
        best = worst_possible(self._problem)
        found: list[Architecture] = []
        reached, stretch = start, FIRST_STRETCH
        while True:
            networks, count = self._stretch(reached, best)
            found += [architecture for _, architecture in networks]
            best = networks[-1][0] if networks else best
            progress(np.log(reached / start), np.log(end / start), f"{len(found)} networks")
            if reached >= end:
                return found
            if count > MANY_NETWORKS:
                stretch /= 2
            elif count < FEW_NETWORKS:
                stretch = min(stretch * 1.5, LONGEST_STRETCH)
            reached = min(reached * (1 + stretch), end)

    def _stretch(self, reached: float, best: float) -> tuple[list[tuple[float, Architecture]], int]:
        """(fitness, architecture) of the undominated networks up to ``reached`` that beat ``best``."""
        budgets = with_rounding_slack(np.array([reached, *self._others]))
        runs = self._above(best, budgets)
        costs = np.concatenate([run.cost[0] for run in runs]) if runs else np.zeros(0)
        values = np.concatenate([run.value for run in runs]) if runs else np.zeros(0)
        owners = np.repeat(np.arange(len(runs)), [len(run) for run in runs])
        starts = np.cumsum([0, *(len(run) for run in runs)])
        order = np.lexsort((-values, costs))
        before = np.r_[best, np.maximum.accumulate(values[order])[:-1]]
        kept = order[values[order] > before]
        return [(float(values[i]), runs[owners[i]].architecture(int(i - starts[owners[i]]))) for i in kept], len(values)

    def _above(self, best: float, budgets: Floats) -> list[Completed]:
        """The networks of every slice that may hold one above ``best``."""
        if self._multipliers is None:
            self._multipliers = tighten(self._problem, self._slices, budgets)
        upper = completions(self._problem, self._slices, self._multipliers, budgets).upper
        runs = []
        for i in np.flatnonzero(upper >= best):
            piece = self._slices.one(int(i))
            prices = self._retuned(int(i), piece, budgets)
            if completions(self._problem, piece, prices, budgets).upper[0] < best:
                continue
            run = Enumeration(self._problem, piece, prices, budgets, self._options)
            networks = Completed.of(run, run.layers(best))
            if len(networks):
                runs.append(networks)
        return runs

    def _retuned(self, i: int, piece: Slices, budgets: Floats) -> Floats:
        """The slice's multipliers for these budgets, starting from those of the last stretch."""
        assert self._multipliers is not None  # noqa: S101 - set by the only caller
        prices = tighten(self._problem, piece, budgets, start=self._multipliers[i : i + 1])
        self._multipliers[i] = prices[0]
        return prices


def _most_total(problem: Problem) -> float:
    """The largest value of the first cost that any network has."""
    most = problem.head_cost[0]
    for stage in reversed(problem.stages):
        first = stage.first_cost[0].max(axis=2)
        rest = problem.space.max_extra_blocks_per_stage * np.maximum(stage.rest_cost[0].max(axis=1), 0.0)
        most = (first + (rest + most)[None, :]).max(axis=1)
    return float((problem.stem_cost[0] + most).max())


def _exact_points(
    space: SearchSpace,
    settings: FitnessSettings,
    accounting: Accounting,
    axis: Quantity,
    architectures: Sequence[Architecture],
) -> list[FrontierPoint]:
    """The points with fitness and value computed anew from the definition; rounding may merge neighbours."""
    population = Population.from_architectures(space, architectures)
    fitness = population_fitness(space, population, settings, accounting).fitness
    values = axis.constant + population_totals(axis.table, population)
    order = np.lexsort((-fitness, values))
    kept = order[fitness[order] > np.r_[-np.inf, np.maximum.accumulate(fitness[order])[:-1]]]
    return [FrontierPoint(architectures[i], float(values[i]), float(fitness[i])) for i in kept]
