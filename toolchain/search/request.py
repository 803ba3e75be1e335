"""A search as a user asks for it: budgets in, an answer that explains itself out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fednas.common import FednasError, format_bytes, format_count, format_latency_ms
from fednas.latency_tables.model import LatencyModel, LatencyPrediction
from fednas.toolchain.search.exact import cheapest, find_best
from fednas.toolchain.search.limits import (
    Limit,
    latency_quantity,
    macs_quantity,
    params_quantity,
    weight_bytes_quantity,
)
from fednas.toolchain.space.architecture import Architecture
from fednas.toolchain.space.blocks import blocks_of
from fednas.toolchain.space.cost import cost_of, population_totals
from fednas.toolchain.space.fitness import FitnessSettings, fitness_of
from fednas.toolchain.space.population import Population
from fednas.toolchain.space.search_space import Accounting, SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What the user allows; None: no limit."""

    latency_ms: float | None = None
    """Predicted latency, on every device asked for."""
    macs: int | None = None
    params: int | None = None
    weight_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of a budget the answer uses."""

    quantity: str
    limit: float
    value: float
    smallest_reachable: float | None
    """Set when the search was infeasible: the least that the space can reach within the other limits."""
    reached_by: Architecture | None


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What a search found, with everything that a report needs."""

    status: str
    """``optimal``, ``feasible`` or ``infeasible``."""
    architecture: Architecture
    """If infeasible: the network that comes closest to the first limit that cannot be met."""
    fitness: float
    macs: int
    params: int
    weight_bytes: int
    predictions: tuple[LatencyPrediction, ...]
    """One for each latency model asked for."""
    upper_bound: float | None
    gap: float | None
    seconds: float
    limits: tuple[LimitUse, ...]


def answer_search(
    space: SearchSpace,
    budgets: Budgets,
    models: Sequence[LatencyModel] = (),
    *,
    precision: str = "fp32",
    accounting: Accounting = "network",
    time_limit_s: float | None = None,
) -> SearchAnswer:
    """Find the fittest architecture within the budgets, on every device of ``models`` at once.

    Raises `FednasError` if a latency is limited without a model to predict it, or a model lacks a block.
    """
    settings = FitnessSettings.of_space(space)
    limits = _limits(space, budgets, models, precision, accounting)
    best = find_best(space, settings, limits, accounting=accounting, time_limit_s=time_limit_s)
    if best.status == "infeasible":
        uses = _shortfalls(space, limits)
        closest = next(use.reached_by for use in uses if use.reached_by is not None)
        return describe(space, closest, models, accounting, "infeasible", None, None, best.seconds, uses)
    if best.architecture is None:
        raise FednasError("the time limit passed before any network was found", hint="allow more seconds")
    uses = tuple(_use(space, limit, best.architecture) for limit in limits)
    bound, gap = best.upper_bound, best.gap
    return describe(space, best.architecture, models, accounting, best.status, bound, gap, best.seconds, uses)


def describe(
    space: SearchSpace,
    architecture: Architecture,
    models: Sequence[LatencyModel],
    accounting: Accounting,
    status: str,
    upper_bound: float | None,
    gap: float | None,
    seconds: float,
    limits: tuple[LimitUse, ...],
) -> SearchAnswer:
    """The costs, fitness and predictions of one architecture around the outcome of a search."""
    cost = cost_of(space, architecture, accounting)
    blocks = blocks_of(space, architecture)
    return SearchAnswer(
        status=status,
        architecture=architecture,
        fitness=fitness_of(space, architecture, None, accounting),
        macs=cost.macs,
        params=cost.params,
        weight_bytes=sum(4 * block.weights for block in blocks),
        predictions=tuple(model.predict(blocks) for model in models),
        upper_bound=upper_bound,
        gap=gap,
        seconds=seconds,
        limits=limits,
    )


def _limits(
    space: SearchSpace, budgets: Budgets, models: Sequence[LatencyModel], precision: str, accounting: Accounting
) -> list[Limit]:
    limits = []
    if budgets.latency_ms is not None:
        if not models:
            raise FednasError(
                "a latency budget needs a device or a latency table to predict with",
                hint="add --device NAME or --table FILE",
            )
        limits += [Limit(latency_quantity(space, model), budgets.latency_ms) for model in models]
    if budgets.macs is not None:
        limits.append(Limit(macs_quantity(space, accounting), budgets.macs))
    if budgets.params is not None:
        limits.append(Limit(params_quantity(space, accounting), budgets.params))
    if budgets.weight_bytes is not None:
        limits.append(Limit(weight_bytes_quantity(space, precision), budgets.weight_bytes))
    return limits


def _use(space: SearchSpace, limit: Limit, architecture: Architecture) -> LimitUse:
    return LimitUse(limit.quantity.name, limit.at_most, _value(space, limit, architecture), None, None)


def _value(space: SearchSpace, limit: Limit, architecture: Architecture) -> float:
    population = Population.from_architectures(space, [architecture])
    return limit.quantity.constant + float(population_totals(limit.quantity.table, population)[0])


def _shortfalls(space: SearchSpace, limits: Sequence[Limit]) -> tuple[LimitUse, ...]:
    """The limits that cannot be met: each alone, or, if each alone can be, each within the others."""
    alone = [_smallest(space, [limit], 0) for limit in limits]
    broken = [use for use in alone if use.value > use.limit]
    if broken:
        return tuple(broken)
    return tuple(_smallest(space, limits, k) for k in range(len(limits)))


def _smallest(space: SearchSpace, limits: Sequence[Limit], which: int) -> LimitUse:
    limit = limits[which]
    least = cheapest(space, limits, which)
    if least is None:
        return LimitUse(limit.quantity.name, limit.at_most, math.nan, None, None)
    value, architecture = least
    return LimitUse(limit.quantity.name, limit.at_most, value, value, architecture)


def format_quantity(name: str, value: float) -> str:
    """A value of a limited quantity for people, such as ``4.2 ms`` or ``12.3M``."""
    if name.startswith("latency_ms"):
        return format_latency_ms(value)
    return format_bytes(value) if name == "weight_bytes" else format_count(value)


def infeasible_message(answer: SearchAnswer) -> str:
    """One line that says what cannot be met and what could be."""
    parts = [
        f"{use.quantity} <= {format_quantity(use.quantity, use.limit)} cannot be met: the smallest reachable value"
        f"{'' if len(answer.limits) == 1 else ' within the other limits'}"
        f" is {format_quantity(use.quantity, use.smallest_reachable)} ({use.smallest_reachable:.6g})"
        for use in answer.limits
        if use.smallest_reachable is not None
    ]
    reached = next(use.reached_by for use in answer.limits if use.reached_by is not None)
    return f"infeasible budget: {'; '.join(parts)}, reached by {reached}"
