"""The whole Pareto frontier of fitness against one quantity, every point proven.

The range of the quantity is walked in short stretches, from the cheapest network upwards; see
`fednas.toolchain.search.walk`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fednas.common import Progress, silent
from fednas.toolchain.search.exact import cheapest
from fednas.toolchain.search.limits import Limit, Quantity
from fednas.toolchain.search.problem import problem_of
from fednas.toolchain.search.stairs import rising
from fednas.toolchain.search.walk import Walk
from fednas.toolchain.space.architecture import Architecture
from fednas.toolchain.space.fitness import FitnessSettings, population_fitness
from fednas.toolchain.space.population import Population
from fednas.toolchain.space.search_space import Accounting, SearchSpace


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

    The first point is the fittest network with at most ``low`` (by default the cheapest network of all). The
    list is empty if no network is within the limits and ``high``.
    """
    least = cheapest(space, [Limit(axis, math.inf), *limits], 0, settings)
    # Equality passes, also after rounding.
    if least is None or (high is not None and least[0] > high * (1 + 1e-12)):
        return []
    walk = _walk(space, settings, axis, limits, accounting)
    start = axis.entries_at(max(least[0], low or 0.0))
    end = walk.largest if high is None else min(walk.largest, axis.entries_at(high))
    found: list[Architecture] = []
    for step in walk.from_best_at(start, max(start, end)):
        found += [architecture for _, architecture in step.networks]
        progress(math.log(step.reached / start), math.log(max(end, start) / start), f"{len(found)} networks")
    return _exact_points(space, settings, accounting, axis, found)


def next_better(
    space: SearchSpace,
    settings: FitnessSettings,
    axis: Quantity,
    limits: Sequence[Limit],
    objective: float,
    above: float,
    *,
    accounting: Accounting = "network",
    price: Sequence[float] | None = None,
) -> FrontierPoint | None:
    """The cheapest network that beats ``objective``, the best with an axis value of at most ``above``.

    None if there is none: then more of this quantity would not help. ``price``: what a unit of the axis and of
    each limited quantity takes off the fitness.
    """
    quantities = [axis, *(limit.quantity for limit in limits)]
    constants = sum(p * q.constant for p, q in zip(price or (), quantities, strict=False))
    walk = _walk(space, settings, axis, limits, accounting, price)
    # The last bits of a sum must not pass for a better network.
    best = objective + constants + 1e-9 * max(1.0, abs(objective))
    for step in walk.above(best, axis.entries_at(above), walk.largest):
        if step.networks:
            points = _exact_points(space, settings, accounting, axis, [step.networks[0][1]])
            return points[0]
    return None


def _walk(
    space: SearchSpace,
    settings: FitnessSettings,
    axis: Quantity,
    limits: Sequence[Limit],
    accounting: Accounting,
    price: Sequence[float] | None = None,
) -> Walk:
    quantities = [axis, *(limit.quantity for limit in limits)]
    problem = problem_of(space, settings, accounting, [q.table for q in quantities], price)
    return Walk(problem, [limit.quantity.entries_at(limit.at_most) for limit in limits])


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
    values = axis.values(population)
    order = np.lexsort((-fitness, values))
    kept = order[rising(fitness[order], -np.inf)]
    return [FrontierPoint(architectures[i], float(values[i]), float(fitness[i])) for i in kept]
