"""A search as a user asks for it: budgets in, an answer that explains itself out."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fednas.common import ContractError, FednasError, format_bytes, format_count, format_latency_ms
from fednas.latency_tables.model import LatencyModel, LatencyPrediction
from fednas.toolchain.search.exact import cheapest, find_best
from fednas.toolchain.search.explain import NextBetter, OfLargest, next_steps, of_largest
from fednas.toolchain.search.genetic import GeneticSettings, find_genetically
from fednas.toolchain.search.limits import (
    Limit,
    file_bytes_quantity,
    latency_quantity,
    macs_quantity,
    params_quantity,
    weight_bytes_quantity,
)
from fednas.toolchain.search.weighted import find_best_weighted
from fednas.toolchain.space.architecture import Architecture
from fednas.toolchain.space.blocks import blocks_of
from fednas.toolchain.space.cost import cost_of
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
    file_bytes: int | None = None
    """Of the ONNX file, for a network that is exported."""


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of a budget the answer uses."""

    quantity: str
    limit: float
    value: float
    smallest_reachable: float | None
    """Set when the search was infeasible: the least that the space can reach within the other limits."""
    reached_by: Architecture | None
    clashes: bool = False
    """Whether ``smallest_reachable`` is what can be reached within the other limits named; else alone."""
    next_better: NextBetter | None = None
    """Set when an explained answer is optimal and this limit binds: what raising it would bring first."""


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
    """Of the objective."""
    gap: float | None
    seconds: float
    """Of the search alone, without its explanation."""
    limits: tuple[LimitUse, ...]
    objective: float | None = None
    """What was maximised: the fitness, less the weighted latency; None if infeasible or not searched."""
    of_largest: OfLargest | None = None


def answer_search(
    space: SearchSpace,
    budgets: Budgets,
    models: Sequence[LatencyModel] = (),
    *,
    precision: str = "fp32",
    accounting: Accounting = "network",
    time_limit_s: float | None = None,
    genetic: GeneticSettings | None = None,
    latency_weight: float = 0.0,
    explain: bool = False,
) -> SearchAnswer:
    """Find the fittest architecture within the budgets, on every device of ``models`` at once.

    Args:
        space: the search space.
        budgets: what is allowed.
        models: latency models; a latency budget holds on each of them.
        precision: of the weights, for their size.
        accounting: of MACs, parameters and fitness.
        time_limit_s: past it the answer is ``feasible``, with a true bound.
        genetic: search genetically, as published, instead of exactly.
        latency_weight: fitness that a millisecond on the one model takes off the objective.
        explain: say of every budget that binds what the next better subnet would cost; not where a latency is
            weighted whose table has crowding.

    Raises `FednasError` if a latency is limited or weighted without a model to predict it, if a model lacks a
    block of the space, or if the search ended without a network and without a proof that there is none.
    """
    settings = FitnessSettings.of_space(space)
    limits, price = _priced(space, limits_of(space, budgets, models, precision, accounting), models, latency_weight)
    if genetic is not None:
        best = find_genetically(space, settings, limits, genetic, accounting=accounting, price=price)
    elif price is not None and limits[0].quantity.crowding:
        best = find_best_weighted(
            space, settings, limits, latency_weight, accounting=accounting, time_limit_s=time_limit_s
        )
    else:
        best = find_best(space, settings, limits, accounting=accounting, price=price, time_limit_s=time_limit_s)
    if best.status == "infeasible":
        uses = _shortfalls(space, [limit for limit in limits if limit.at_most < math.inf], settings)
        closest = next(use.reached_by for use in uses if use.reached_by is not None)
        return describe(space, closest, models, accounting, "infeasible", None, None, best.seconds, uses)
    if best.architecture is None:
        raise _nothing_found(genetic)
    steps: Sequence[NextBetter | None] = [None] * len(limits)
    if explain and best.status == "optimal" and not (price and limits[0].quantity.crowding):
        steps = next_steps(space, settings, limits, best, accounting=accounting, price=price)
    uses = tuple(
        _use(space, limit, best.architecture, step)
        for limit, step in zip(limits, steps, strict=True)
        if limit.at_most < math.inf
    )
    bound, gap = best.upper_bound, best.gap
    answer = describe(space, best.architecture, models, accounting, best.status, bound, gap, best.seconds, uses)
    share = of_largest(space, best.architecture, settings, accounting)
    return replace(answer, objective=best.objective, of_largest=share)


def _nothing_found(genetic: GeneticSettings | None) -> FednasError:
    if genetic is None:
        return FednasError("the time limit passed before any network was found", hint="allow more seconds")
    return FednasError(
        "the genetic search drew no network within the budgets, which does not prove that there is none",
        hint="use --method exact, which says what can be reached",
    )


def _priced(
    space: SearchSpace, limits: Sequence[Limit], models: Sequence[LatencyModel], weight: float
) -> tuple[list[Limit], list[float] | None]:
    """The limits, with one on the weighted latency among them, and the price of each."""
    if weight == 0:
        return list(limits), None
    if not (weight > 0 and math.isfinite(weight)):
        raise FednasError(f"the latency weight is {weight}; it must be above zero", hint="such as 1, for one F a ms")
    if len(models) != 1:
        raise FednasError(
            f"a latency weight needs exactly one device or latency table, not {len(models)}",
            hint="add --device NAME or --table FILE",
        )
    others = [limit for limit in limits if not limit.quantity.name.startswith("latency_ms")]
    latency = [limit for limit in limits if limit not in others]
    latency = latency or [Limit(latency_quantity(space, models[0]), math.inf)]
    return [*latency, *others], [weight, *[0.0] * len(others)]


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


def limits_of(
    space: SearchSpace, budgets: Budgets, models: Sequence[LatencyModel], precision: str, accounting: Accounting
) -> list[Limit]:
    """The budgets as limits on quantities, a latency budget on every model."""
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
    if budgets.file_bytes is not None:
        limits.append(Limit(file_bytes_quantity(space, precision), budgets.file_bytes))
    return limits


def _use(space: SearchSpace, limit: Limit, architecture: Architecture, step: NextBetter | None) -> LimitUse:
    return LimitUse(
        limit.quantity.name, limit.at_most, _value(space, limit, architecture), None, None, next_better=step
    )


def _value(space: SearchSpace, limit: Limit, architecture: Architecture) -> float:
    population = Population.from_architectures(space, [architecture])
    return float(limit.quantity.values(population)[0])


def _shortfalls(space: SearchSpace, limits: Sequence[Limit], settings: FitnessSettings) -> tuple[LimitUse, ...]:
    """The limits that cannot be met: each alone, or, if each alone can be, the first few that clash."""
    if not limits or cheapest(space, limits[:1], 0, settings) is None:
        raise FednasError(
            f"no network of the space has an effectiveness of at most {settings.rho0}",
            hint="raise supernet_rho0_constraint in the search space",
        )
    alone = [_smallest(space, [limit], 0, settings) for limit in limits]
    broken = [use for use in alone if use.value > use.limit]
    if broken:
        return tuple(broken)
    groups = itertools.chain.from_iterable(itertools.combinations(limits, n) for n in range(2, len(limits) + 1))
    # The first group that cannot be met is minimal: without any one of its limits the others can be met.
    group = next(group for group in groups if (use := _smallest(space, group, 0, settings)).value > use.limit)
    return tuple(_smallest(space, group, k, settings) for k in range(len(group)))


def _smallest(space: SearchSpace, limits: Sequence[Limit], which: int, settings: FitnessSettings) -> LimitUse:
    limit = limits[which]
    least = cheapest(space, limits, which, settings)
    if least is None:
        raise ContractError(f"{limit.quantity.name} was asked for within limits that cannot be met")
    value, architecture = least
    return LimitUse(limit.quantity.name, limit.at_most, value, value, architecture, clashes=len(limits) > 1)


def format_quantity(name: str, value: float) -> str:
    """A value of a limited quantity for people, such as ``4.2 ms`` or ``12.3M``."""
    if name.startswith("latency_ms"):
        return format_latency_ms(value)
    return format_bytes(value) if name.endswith("_bytes") else format_count(value)


def exact_quantity(name: str, value: float) -> str:
    """As `format_quantity`, unrounded and in its plain unit, to be given back to an option."""
    if name.startswith("latency_ms"):
        return f"{value:.6g} ms"
    return f"{value:.0f}{' B' * name.endswith('_bytes')}"


def format_beyond(name: str, value: float, limit: float) -> str:
    """As `format_quantity`, with as many digits as it takes to tell ``value`` from the smaller ``limit``."""
    if name.startswith("latency_ms"):
        digits = next((n for n in range(3, 16) if float(f"{value:.{n}g}") > limit), 16)
        return f"{value:.{max(digits, 4)}g} ms"
    return f"{value:,.0f} B" if name.endswith("_bytes") else f"{value:,.0f}"


def option_of(name: str) -> str:
    """The option that limits a quantity, such as ``--max-latency`` for ``latency_ms[cpu]``."""
    kind = name.partition("[")[0]
    options = {"latency_ms": "--max-latency", "weight_bytes": "--max-size", "file_bytes": "--max-size"}
    return options.get(kind, f"--max-{kind}")


def _asked(use: LimitUse) -> str:
    """The option with its value, and the device where there may be several."""
    device = use.quantity.rstrip("]").partition("[")[2]
    asked = f"{option_of(use.quantity)} {format_quantity(use.quantity, use.limit)}"
    return f"{asked} on {device}" if device else asked


def infeasible_message(answer: SearchAnswer) -> str:
    """One line that says what cannot be met and what could be."""
    parts = [
        f"{_asked(use)} cannot be met: the smallest reachable value"
        f"{' within the other limits' if use.clashes else ''}"
        f" is {format_quantity(use.quantity, use.smallest_reachable)}"
        f" ({exact_quantity(use.quantity, use.smallest_reachable)})"
        for use in answer.limits
        if use.smallest_reachable is not None
    ]
    reached = next(use.reached_by for use in answer.limits if use.reached_by is not None)
    return f"infeasible budget: {'; '.join(parts)}, reached by {reached}"


def infeasible_hint(answer: SearchAnswer) -> str:
    """What can be done about it; that the latency is an estimate, where one cannot be met by an estimate."""
    beyond = [use.quantity for use in answer.limits if use.smallest_reachable is not None]
    estimated = any(prediction.kind == "estimate" for prediction in answer.predictions)
    if not (estimated and any(quantity.startswith("latency_ms") for quantity in beyond)):
        return "raise the budget"
    return (
        "raise the budget, or measure the device with `fednas-export profile` and give --table: "
        "this latency is an estimate from datasheets"
    )
