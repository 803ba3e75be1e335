"""What a user can act on: which budgets bind, and what the next better subnet would cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fednas.toolchain.search.exact import Best, find_best
from fednas.toolchain.search.frontier import next_better
from fednas.toolchain.search.limits import Limit
from fednas.toolchain.space.architecture import Architecture, largest_architecture
from fednas.toolchain.space.cost import cost_of
from fednas.toolchain.space.fitness import FitnessSettings, fitness_of
from fednas.toolchain.space.search_space import Accounting, SearchSpace


@dataclass(frozen=True, slots=True)
class NextBetter:
    """The cheapest subnet that is better than the answer, if one budget alone were raised."""

    value: float
    """What that budget must be raised to."""
    fitness: float
    architecture: Architecture


@dataclass(frozen=True, slots=True)
class OfLargest:
    """The answer as shares of the largest network; None where the largest network's value is not above zero."""

    fitness: float | None
    macs: float
    params: float


def next_steps(
    space: SearchSpace,
    settings: FitnessSettings,
    limits: Sequence[Limit],
    best: Best,
    *,
    accounting: Accounting = "network",
    price: Sequence[float] | None = None,
) -> list[NextBetter | None]:
    """For each limit of an optimal answer the next better subnet; None if the limit does not bind."""
    prices = [0.0] * len(limits) if price is None else list(price)
    steps: list[NextBetter | None] = []
    for k, limit in enumerate(limits):
        others = [*limits[:k], *limits[k + 1 :]]
        open_limits = [*others, Limit(limit.quantity, math.inf)]
        turned = [*prices[:k], *prices[k + 1 :], prices[k]]
        without = find_best(space, settings, open_limits, accounting=accounting, price=turned)
        if limit.at_most == math.inf or without.objective <= best.objective + 1e-9 * max(1.0, abs(best.objective)):
            steps.append(None)
            continue
        point = next_better(
            space,
            settings,
            limit.quantity,
            others,
            best.objective,
            limit.at_most,
            accounting=accounting,
            price=[prices[k], *prices[:k], *prices[k + 1 :]],
        )
        steps.append(None if point is None else NextBetter(point.value, point.fitness, point.architecture))
    return steps


def of_largest(
    space: SearchSpace, architecture: Architecture, settings: FitnessSettings, accounting: Accounting
) -> OfLargest:
    """Fitness, MACs and parameters of ``architecture`` over those of the largest network."""
    largest = largest_architecture(space)
    cost, most = (cost_of(space, arch, accounting) for arch in (architecture, largest))
    fitness, top = (fitness_of(space, arch, settings, accounting) for arch in (architecture, largest))
    return OfLargest(fitness / top if top > 0 else None, cost.macs / most.macs, cost.params / most.params)
