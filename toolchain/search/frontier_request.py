"""Frontiers as a user asks for them."""

import math
from collections.abc import Sequence

from fednas.common import FednasError, Progress, silent
from fednas.latency_tables.model import LatencyModel
from fednas.toolchain.search.exact import cheapest
from fednas.toolchain.search.frontier import find_frontier
from fednas.toolchain.search.frontier_report import Frontier, frontier_of
from fednas.toolchain.search.limits import (
    Limit,
    Quantity,
    latency_quantity,
    macs_quantity,
    params_quantity,
)
from fednas.toolchain.search.request import Budgets, exact_quantity, format_quantity, limits_of
from fednas.toolchain.space.fitness import FitnessSettings
from fednas.toolchain.space.search_space import Accounting, SearchSpace


def answer_frontiers(
    space: SearchSpace,
    axis: str,
    budgets: Budgets,
    models: Sequence[LatencyModel],
    *,
    low: float | None = None,
    high: float | None = None,
    precision: str = "fp32",
    accounting: Accounting = "network",
    progress: Progress = silent,
) -> list[Frontier]:
    """One frontier of the axis ``macs`` or ``params``, or one of ``latency_ms`` for each model.

    Raises `FednasError` if no network is within the budgets, or none has at most ``high`` on the axis.
    """
    limits = limits_of(space, budgets, models, precision, accounting)
    if axis == "latency_ms":
        return [
            _frontier(space, axis, latency_quantity(space, model), limits, model, low, high, accounting, progress)
            for model in models
        ]
    quantity = macs_quantity(space, accounting) if axis == "macs" else params_quantity(space, accounting)
    return [_frontier(space, axis, quantity, limits, None, low, high, accounting, progress)]


def _frontier(
    space: SearchSpace,
    axis: str,
    quantity: Quantity,
    limits: Sequence[Limit],
    model: LatencyModel | None,
    low: float | None,
    high: float | None,
    accounting: Accounting,
    progress: Progress,
) -> Frontier:
    settings = FitnessSettings.of_space(space)
    points = find_frontier(
        space, settings, quantity, limits, accounting=accounting, low=low, high=high, progress=progress
    )
    if not points:
        raise _empty(space, settings, quantity, limits, high)
    if model is None:
        return frontier_of(space, points, axis, accounting)
    return frontier_of(space, points, axis, accounting, model.identity.device, model.identity.kind)


def _empty(
    space: SearchSpace, settings: FitnessSettings, quantity: Quantity, limits: Sequence[Limit], high: float | None
) -> FednasError:
    least = cheapest(space, [Limit(quantity, math.inf), *limits], 0, settings)
    if least is None or high is None:
        return FednasError(
            "no network is within the budgets", hint="search with the same budgets to see what can be reached"
        )
    return FednasError(
        f"no network has {quantity.name} of at most {format_quantity(quantity.name, high)}: the smallest reachable "
        f"value is {format_quantity(quantity.name, least[0])} ({exact_quantity(quantity.name, least[0])})",
        hint="raise --max",
    )
