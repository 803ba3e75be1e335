"""The best compromise of fitness and a latency that is no plain sum."""

import math
import time
from collections.abc import Sequence

from fednas.toolchain.search.exact import Best
from fednas.toolchain.search.frontier import find_frontier
from fednas.toolchain.search.limits import Limit
from fednas.toolchain.space.fitness import FitnessSettings
from fednas.toolchain.space.search_space import Accounting, SearchSpace


def find_best_weighted(
    space: SearchSpace,
    settings: FitnessSettings,
    limits: Sequence[Limit],
    weight: float,
    *,
    accounting: Accounting = "network",
) -> Best:
    """The network of highest fitness - weight x value of the first limit's quantity, within all limits.

    An exact search takes weights of sums only; the latency of a table with crowding grows faster than its sum. The
    best compromise lies on the frontier of fitness and latency, which holds all of them, whatever the weight.
    """
    started = time.perf_counter()
    first, *others = limits
    high = None if math.isinf(first.at_most) else first.at_most
    points = find_frontier(space, settings, first.quantity, others, accounting=accounting, high=high)
    seconds = time.perf_counter() - started
    if not points:
        return Best("infeasible", None, -math.inf, -math.inf, seconds)
    best = max(points, key=lambda point: point.fitness - weight * point.value)
    objective = best.fitness - weight * best.value
    return Best("optimal", best.architecture, objective, objective, seconds, best.fitness)
