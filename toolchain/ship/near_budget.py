"""The networks near the chosen one that no other beats in both cost and fitness."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fednas.export import Candidate, Frontier
from fednas.export import FrontierPoint as Point
from fednas.latency_tables import LatencyModel
from fednas.toolchain.search.frontier import FrontierPoint, find_frontier
from fednas.toolchain.search.limits import Limit, Quantity, latency_quantity, macs_quantity, params_quantity
from fednas.toolchain.search.request import Budgets, SearchAnswer, limits_of
from fednas.toolchain.space import SearchSpace
from fednas.toolchain.space.fitness import FitnessSettings

BELOW, ABOVE = 0.75, 1.25
"""How far around the chosen network the frontier is drawn, as shares of its value."""
REACHES = (1.001, 1.01, 1.1, 2.0)
"""Factors within which networks near a budget are looked for, one after another until there are enough."""


def frontier_near(
    space: SearchSpace,
    budgets: Budgets,
    model: LatencyModel,
    answer: SearchAnswer,
    precision: str,
    candidates: Sequence[Candidate] = (),
) -> Frontier:
    """The frontier around the answer and its candidates, of the first quantity limited; of latency if none is."""
    axis, unit, value, limit = _axis(space, budgets, model, answer)
    limits = limits_of(space, budgets, [model], precision, "network")
    others = [each for each in limits if each.quantity.name != axis.name]
    reach = [BELOW * value, ABOVE * value, *(each.predicted_ms for each in candidates)]
    points = frontier_points(space, axis, others, min(reach), max(reach))
    quantity = "latency" if unit else axis.name
    return Frontier(
        quantity=quantity,
        unit=unit,
        points=tuple(Point(value=point.value, fitness=point.fitness) for point in points),
        chosen=Point(value=value, fitness=answer.fitness),
        limit=limit,
    )


def frontier_points(
    space: SearchSpace, axis: Quantity, limits: Sequence[Limit], low: float, high: float
) -> list[FrontierPoint]:
    """Every network of the frontier between two values of its axis."""
    return find_frontier(space, FitnessSettings.of_space(space), axis, limits, low=low, high=high)


@dataclass(frozen=True, slots=True)
class Aim:
    """Where on the frontier's axis networks are looked for."""

    target: float
    above: float = 0.0
    """Only networks beyond this value."""
    below: float = math.inf

    def distance(self, point: FrontierPoint) -> float:
        """From the target, as the logarithm of a ratio; infinite for networks that are not wanted."""
        return abs(math.log(point.value / self.target)) if self.above < point.value < self.below else math.inf


def nearest_points(
    space: SearchSpace, axis: Quantity, limits: Sequence[Limit], aim: Aim, best: float, count: int
) -> list[FrontierPoint]:
    """The ``count`` networks of the frontier that are nearest to ``aim``; the nearest first.

    Args:
        space: of the networks.
        axis: of the frontier.
        limits: on other quantities.
        aim: in values of the axis.
        best: value of a network of the frontier, from which to look on where it lies below the target.
        count: of the networks; there may be fewer in the space, or within the last of `REACHES` beyond ``best``.
    """
    points: list[FrontierPoint] = []
    for reach in REACHES:
        # The best may lie far below the target: then its neighbours do too.
        factor = reach * max(aim.target / best, 1.0)
        found = frontier_points(space, axis, limits, aim.target / factor, aim.target * factor)
        points = [point for point in found if aim.distance(point) <= math.log(factor)]
        if len(points) >= count:
            break
    return sorted(points, key=aim.distance)[:count]


def _axis(
    space: SearchSpace, budgets: Budgets, model: LatencyModel, answer: SearchAnswer
) -> tuple[Quantity, str, float, float | None]:
    if budgets.latency_ms is None:
        if budgets.macs is not None:
            return macs_quantity(space, "network"), "", answer.macs, budgets.macs
        if budgets.params is not None:
            return params_quantity(space, "network"), "", answer.params, budgets.params
    return latency_quantity(space, model), "ms", answer.predictions[0].latency_ms, budgets.latency_ms
