"""The best architecture under additive limits, with a proof that none is better.

The proof: every network belongs to a slice (see `fednas.toolchain.search.bounds`); a slice is either bounded
below the answer, or enumerated with every network that its bounds leave (see `fednas.toolchain.search.labels`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fednas.common import ContractError
from fednas.toolchain.search.bounds import Slices, completions, slices_of, tighten
from fednas.toolchain.search.completed import Completed
from fednas.toolchain.search.labels import Enumeration, TimeIsUpError
from fednas.toolchain.search.limits import Limit, Quantity, macs_quantity
from fednas.toolchain.search.options import OptionCache
from fednas.toolchain.search.problem import Problem, problem_of
from fednas.toolchain.space.architecture import Architecture
from fednas.toolchain.space.cost import population_totals
from fednas.toolchain.space.fitness import FitnessSettings, depth_penalty, fitness_of
from fednas.toolchain.space.population import Floats, Population
from fednas.toolchain.space.search_space import Accounting, SearchSpace

BEAM = 200
"""Labels kept a group where the time is up and only a good answer, not the best, can be had."""
FIRST_SLACK, SLACK_GROWTH = 1e-3, 1.3
"""How far below its bound the optimum is looked for first, as a share, and how that grows. The work grows faster
than the square of the slack, so small steps cost less than one that goes too far."""


@dataclass(frozen=True, slots=True)
class Best:
    """The outcome of one search."""

    status: str
    """``optimal``, ``feasible`` (not proven; see the gap) or ``infeasible``."""
    architecture: Architecture | None
    """None if infeasible, or if no network was found in time."""
    objective: float
    """What was maximised: F, less the priced quantities; minus infinity without an architecture."""
    upper_bound: float
    """No network within the limits has a higher objective; equal to ``objective`` when optimal."""
    seconds: float
    fitness: float = -np.inf
    """F of the architecture."""

    @property
    def gap(self) -> float:
        """(upper bound - objective) / |objective|; 0 when optimal."""
        if self.upper_bound == self.objective:
            return 0.0
        return (self.upper_bound - self.objective) / max(abs(self.objective), 1e-12)


class ExactSearch:
    """Exact searches of one space by the same quantities; budgets may differ from search to search."""

    def __init__(
        self,
        space: SearchSpace,
        settings: FitnessSettings,
        quantities: Sequence[Quantity],
        *,
        accounting: Accounting = "network",
        price: Sequence[float] | None = None,
    ) -> None:
        """``price``: what a unit of each quantity takes off the fitness, for a weighted objective.

        Of a crowded quantity: a unit of its sum.
        """
        self._settings = settings
        self._quantities = list(quantities) or [macs_quantity(space, accounting)]
        self._constants = np.array([quantity.constant for quantity in self._quantities])
        tables = [quantity.table for quantity in self._quantities]
        self._problem = problem_of(space, settings, accounting, tables, price)
        self._options = OptionCache(self._problem)

    def best(self, budgets: Sequence[float], time_limit_s: float | None = None) -> Best:
        """The architecture of highest objective with every quantity at most its budget (`math.inf`: no limit).

        Status is ``optimal`` unless the time was up. Without quantities, ``budgets`` is empty.
        """
        started = time.perf_counter()
        deadline = None if time_limit_s is None else started + time_limit_s
        found = Solver(self._problem, self._options, self._own_budgets(budgets), deadline).solve()
        return replace(self._checked(found), seconds=time.perf_counter() - started)

    def bound(self, budgets: Sequence[float]) -> float:
        """No network within the budgets has a higher objective; quick, and a little above the optimum."""
        own = with_rounding_slack(self._own_budgets(budgets))
        slices = slices_of(self._problem)
        upper = completions(self._problem, slices, tighten(self._problem, slices, own), own).upper
        return float(upper.max()) - self._priced_constants

    def _own_budgets(self, budgets: Sequence[float]) -> Floats:
        if not budgets:
            return np.array([np.inf])
        return np.array([q.entries_at(budget) for q, budget in zip(self._quantities, budgets, strict=True)])

    @property
    def _priced_constants(self) -> float:
        return float(self._problem.price @ self._constants)

    def _checked(self, best: Best) -> Best:
        """``best`` after its objective was computed anew by the independent code that scores populations."""
        if best.architecture is None:
            return replace(best, upper_bound=best.upper_bound - self._priced_constants)
        space = self._problem.space
        fitness = fitness_of(space, best.architecture, self._settings, self._problem.accounting)
        population = Population.from_architectures(space, [best.architecture])
        priced = [
            float(price * (quantity.constant + population_totals(quantity.table, population)[0]))
            for price, quantity in zip(self._problem.price, self._quantities, strict=True)
            if price != 0
        ]
        objective, claimed = fitness - sum(priced), best.objective - self._priced_constants
        if abs(objective - claimed) > 1e-9 * (1.0 + abs(fitness) + sum(map(abs, priced))):
            raise ContractError(f"the search says {claimed!r}, the definition {objective!r}: {best.architecture}")
        bound = objective if best.status == "optimal" else max(best.upper_bound - self._priced_constants, objective)
        return replace(best, objective=objective, upper_bound=bound, fitness=fitness)


def find_best(
    space: SearchSpace,
    settings: FitnessSettings,
    limits: Sequence[Limit],
    *,
    accounting: Accounting = "network",
    price: Sequence[float] | None = None,
    time_limit_s: float | None = None,
) -> Best:
    """The fittest architecture within every limit.

    ``price``: what a unit of each limited quantity takes off the fitness; `math.inf` as its limit means none.
    """
    quantities = [limit.quantity for limit in limits]
    search = ExactSearch(space, settings, quantities, accounting=accounting, price=price)
    return search.best([limit.at_most for limit in limits], time_limit_s)


def cheapest(
    space: SearchSpace, limits: Sequence[Limit], which: int, settings: FitnessSettings | None = None
) -> tuple[float, Architecture] | None:
    """The smallest value that quantity ``which`` can take within the other limits, and a network that has it.

    Only networks that keep the rho0 of ``settings`` count. None if the other limits alone leave no network.
    """
    nothing = FitnessSettings(
        alpha=(0.0,) * space.num_stages,
        beta=0.0,
        gamma=0.0,
        channel_penalty_weight=0.0,
        rho0=np.inf if settings is None else settings.rho0,
    )
    price = [float(k == which) for k in range(len(limits))]
    search = ExactSearch(space, nothing, [limit.quantity for limit in limits], price=price)
    best = search.best([np.inf if k == which else limit.at_most for k, limit in enumerate(limits)])
    if best.architecture is None:
        return None
    quantity = limits[which].quantity
    return quantity.value_at(-best.objective - quantity.constant), best.architecture


@dataclass(frozen=True, slots=True)
class _Found:
    """The best network so far, or None and the value that it must reach."""

    value: float
    architecture: Architecture | None


class Solver:
    """One problem with its budgets."""

    def __init__(self, problem: Problem, options: OptionCache, budgets: Floats, deadline: float | None) -> None:
        self._problem, self._options, self._deadline = problem, options, deadline
        self._budgets = with_rounding_slack(budgets)

    def solve(self) -> Best:
        """The answer with its status; the time is the caller's to fill in."""
        infeasible = Best("infeasible", None, -np.inf, -np.inf, 0.0)
        if not (self._options.reach.least_total(self._problem) <= self._budgets).all():
            return infeasible
        slices = slices_of(self._problem)
        multipliers = tighten(self._problem, slices, self._budgets)
        upper = completions(self._problem, slices, multipliers, self._budgets).upper
        try:
            found = self._search(slices, multipliers, upper)
        except TimeIsUpError:
            quick = self._above(worst_possible(self._problem), slices, multipliers, upper, beam=BEAM)
            value = -np.inf if quick.architecture is None else quick.value
            return Best("feasible", quick.architecture, value, float(upper.max()), 0.0)
        if found.architecture is None:
            return infeasible
        return Best("optimal", found.architecture, found.value, found.value, 0.0)

    def _search(self, slices: Slices, multipliers: Floats, upper: Floats) -> _Found:
        """Look for networks above a threshold close to the bound; lower it until one is found."""
        top = float(upper.max())
        lowest = worst_possible(self._problem)
        slack = max(FIRST_SLACK * abs(top), 1e-6)
        while True:
            threshold = max(top - slack, lowest)
            found = self._above(threshold, slices, multipliers, upper, beam=None)
            if found.architecture is not None or threshold <= lowest:
                return found
            slack *= SLACK_GROWTH

    def _above(self, threshold: float, slices: Slices, multipliers: Floats, upper: Floats, beam: int | None) -> _Found:
        """The best network whose objective is at least ``threshold``, if there is one."""
        found = _Found(threshold, None)
        for i in np.argsort(-upper, kind="stable"):
            if upper[i] < found.value:
                break
            run = Enumeration(
                self._problem, slices.one(int(i)), multipliers[i : i + 1], self._budgets, self._options, self._deadline
            )
            networks = Completed.of(run, run.layers(found.value, beam))
            if len(networks) == 0:
                continue
            top = int(networks.value.argmax())
            value = float(networks.value[top])
            if value > found.value or (found.architecture is None and value >= found.value):
                found = _Found(value, networks.architecture(top))
        return found


def with_rounding_slack(budgets: Floats) -> Floats:
    """Budgets with a relative 1e-12 added, so that equality passes after rounding."""
    return np.where(np.isfinite(budgets), budgets + 1e-12 * np.abs(budgets), np.inf)


def worst_possible(problem: Problem) -> float:
    """A value that every allowed network's objective reaches."""
    settings = problem.settings
    depth = problem.space.max_extra_blocks_per_stage
    stages = problem.space.num_stages
    uneven = np.array([[0] * (stages // 2) + [depth] * (stages - stages // 2)], np.int8)
    worst = -abs(settings.beta) * float(depth_penalty(uneven)[0])
    dearest = problem.stem_cost.max(axis=1) + problem.head_cost.max(axis=1)
    for stage in problem.stages:
        logs = stage.first_log.max() + depth * stage.rest_log.max()
        worst -= float(stage.penalty.max()) + abs(min(0.0, float(stage.volume.min()) * logs))
        dearest += stage.first_cost.max(axis=(1, 2, 3)) + depth * stage.rest_cost.max(axis=(1, 2))
    worst -= float(np.abs(problem.price) @ dearest)
    # A space may hold a single network, and its sum must not fall below by rounding.
    return worst - 1e-6 * (1.0 + abs(worst))
