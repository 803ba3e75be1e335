"""The best compromise of fitness and a latency that is no plain sum."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from fednas.toolchain.search.exact import Best, find_best
from fednas.toolchain.search.frontier import find_frontier
from fednas.toolchain.search.labels import TimeIsUpError
from fednas.toolchain.search.limits import Limit
from fednas.toolchain.space.fitness import FitnessSettings
from fednas.toolchain.space.population import Population
from fednas.toolchain.space.search_space import Accounting, SearchSpace


def find_best_weighted(
    space: SearchSpace,
    settings: FitnessSettings,
    limits: Sequence[Limit],
    weight: float,
    *,
    accounting: Accounting = "network",
    time_limit_s: float | None = None,
) -> Best:
    """The network of highest fitness - weight x value of the first limit's quantity, within all limits.

    An exact search takes weights of sums only; the latency of a table with crowding grows faster than its sum. The
    best compromise lies on the frontier of fitness and latency, which holds all of them, whatever the weight. When the
    time is up the answer is that for the plain sum, ``feasible``, and its bound holds since latency is no less than it.
    """
    started = time.perf_counter()
    first, *others = limits
    high = None if math.isinf(first.at_most) else first.at_most

    def in_time(done: float, total: float, what: str = "") -> None:  # noqa: ARG001 - a progress callback
        if time_limit_s is not None and time.perf_counter() - started > time_limit_s:
            raise TimeIsUpError

    try:
        points = find_frontier(
            space, settings, first.quantity, others, accounting=accounting, high=high, progress=in_time
        )
    except TimeIsUpError:
        return _by_sum(space, settings, limits, weight, accounting, time_limit_s)
    seconds = time.perf_counter() - started
    if not points:
        return Best("infeasible", None, -math.inf, -math.inf, seconds)
    best = max(points, key=lambda point: point.fitness - weight * point.value)
    objective = best.fitness - weight * best.value
    return Best("optimal", best.architecture, objective, objective, seconds, best.fitness)


def _by_sum(
    space: SearchSpace,
    settings: FitnessSettings,
    limits: Sequence[Limit],
    weight: float,
    accounting: Accounting,
    time_limit_s: float | None,
) -> Best:
    price = [weight, *[0.0] * (len(limits) - 1)]
    found = find_best(space, settings, limits, accounting=accounting, price=price, time_limit_s=time_limit_s)
    if found.architecture is None:
        return found
    latency = float(limits[0].quantity.values(Population.from_architectures(space, [found.architecture]))[0])
    return replace(found, status="feasible", objective=found.fitness - weight * latency)
