"""The networks near the chosen one that no other beats in both cost and fitness."""

import math
from collections.abc import Sequence

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


def nearest_points(
    space: SearchSpace, axis: Quantity, limits: Sequence[Limit], target: float, best: float, count: int
) -> list[FrontierPoint]:
    """The ``count`` networks of the frontier whose values are nearest to ``target``, in ratio; the nearest first.

    Args:
        space: of the networks.
        axis: of the frontier.
        limits: on other quantities.
        target: value of the axis.
        best: value of the fittest network that keeps to ``target``.
        count: of the networks; there may be fewer in the space, or within the last of `REACHES` beyond ``best``.
    """

    def distance(point: FrontierPoint) -> float:
        return abs(math.log(point.value / target))

    points: list[FrontierPoint] = []
    for reach in REACHES:
        # The best may lie far below the target: then its neighbours do too.
        factor = reach * max(target / best, 1.0)
        found = frontier_points(space, axis, limits, target / factor, target * factor)
        points = [point for point in found if distance(point) <= math.log(factor)]
        if len(points) >= count:
            break
    return sorted(points, key=distance)[:count]


def _axis(
    space: SearchSpace, budgets: Budgets, model: LatencyModel, answer: SearchAnswer
) -> tuple[Quantity, str, float, float | None]:
    if budgets.latency_ms is None:
        if budgets.macs is not None:
            return macs_quantity(space, "network"), "", answer.macs, budgets.macs
        if budgets.params is not None:
            return params_quantity(space, "network"), "", answer.params, budgets.params
    return latency_quantity(space, model), "ms", answer.predictions[0].latency_ms, budgets.latency_ms
