"""The best architecture under additive limits, with a proof that none is better.

The proof: every network belongs to a slice (see `fednas.toolchain.search.bounds`); a slice is either bounded
below the answer, or enumerated with every network that its bounds leave (see `fednas.toolchain.search.labels`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fednas.common import ContractError
from fednas.toolchain.search.bounds import Completions, Slices, completions, slices_of, tighten
from fednas.toolchain.search.labels import Enumeration, Labels
from fednas.toolchain.search.limits import Limit, Quantity, macs_quantity
from fednas.toolchain.search.options import OptionCache
from fednas.toolchain.search.problem import Problem, population_of, problem_of
from fednas.toolchain.space.architecture import Architecture
from fednas.toolchain.space.fitness import FitnessSettings, depth_penalty, fitness_of
from fednas.toolchain.space.population import Floats
from fednas.toolchain.space.search_space import Accounting, SearchSpace

BEAM = 200
"""Labels kept a group where the time is up and only a good answer, not the best, can be had."""


@dataclass(frozen=True, slots=True)
class Best:
    """The outcome of one search."""

    status: str
    """``optimal``, ``feasible`` (time was up; see the gap) or ``infeasible``."""
    architecture: Architecture | None
    """None if infeasible, or if no network was found in time."""
    fitness: float
    """F of the architecture; minus infinity without one."""
    upper_bound: float
    """No network within the limits has a higher F; equal to ``fitness`` when optimal."""
    seconds: float

    @property
    def gap(self) -> float:
        """(upper bound - fitness) / |fitness|; 0 when optimal."""
        if self.upper_bound == self.fitness:
            return 0.0
        return (self.upper_bound - self.fitness) / max(abs(self.fitness), 1e-12)


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
        """``price``: what a unit of each quantity takes off the fitness, for a weighted objective."""
        chosen = list(quantities) or [macs_quantity(space, accounting)]
        self._constants = np.array([quantity.constant for quantity in chosen])
        self._problem = problem_of(space, settings, accounting, [q.table for q in chosen], price)
        self._options = OptionCache(self._problem)

    def best(self, budgets: Sequence[float], time_limit_s: float | None = None) -> Best:
        """The fittest architecture with every quantity at most its budget (`math.inf`: no limit).

        Status is ``optimal`` unless the time was up. Without quantities, ``budgets`` is empty.
        """
        started = time.perf_counter()
        at_most = np.array(budgets or [np.inf], float) - self._constants
        deadline = None if time_limit_s is None else started + time_limit_s
        found = _Solver(self._problem, self._options, at_most, deadline).solve()
        return replace(found, seconds=time.perf_counter() - started)


def find_best(
    space: SearchSpace,
    settings: FitnessSettings,
    limits: Sequence[Limit],
    *,
    accounting: Accounting = "network",
    time_limit_s: float | None = None,
) -> Best:
    """The fittest architecture within every limit, its fitness checked against the definition."""
    search = ExactSearch(space, settings, [limit.quantity for limit in limits], accounting=accounting)
    best = search.best([limit.at_most for limit in limits], time_limit_s)
    return _checked(space, settings, accounting, best)


def cheapest(space: SearchSpace, limits: Sequence[Limit], which: int) -> tuple[float, Architecture] | None:
    """The smallest value that quantity ``which`` can take within the other limits, and a network that has it.

    None if the other limits alone leave no network.
    """
    nothing = FitnessSettings(alpha=(0.0,) * space.num_stages, beta=0.0, gamma=0.0, channel_penalty_weight=0.0)
    price = [float(k == which) for k in range(len(limits))]
    search = ExactSearch(space, nothing, [limit.quantity for limit in limits], price=price)
    best = search.best([np.inf if k == which else limit.at_most for k, limit in enumerate(limits)])
    if best.architecture is None:
        return None
    return limits[which].quantity.constant - best.fitness, best.architecture


class _TimeIsUpError(Exception):
    """The deadline passed."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The best complete network so far, as a place in the label arrays of one enumeration."""

    value: float
    architecture: Architecture | None


class _Solver:
    """One problem with its budgets."""

    def __init__(self, problem: Problem, options: OptionCache, budgets: Floats, deadline: float | None) -> None:
        """A relative 1e-12 is added to budgets and rho0, so that equality passes after rounding."""
        self._problem, self._options, self._deadline = problem, options, deadline
        self._budgets = np.where(np.isfinite(budgets), budgets + 1e-12 * np.abs(budgets), np.inf)

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
        except _TimeIsUpError:
            quick = self._above(self._worst_possible(), slices, multipliers, upper, beam=BEAM)
            value = -np.inf if quick.architecture is None else quick.value
            return Best("feasible", quick.architecture, value, float(upper.max()), 0.0)
        if found.architecture is None:
            return infeasible
        return Best("optimal", found.architecture, found.value, found.value, 0.0)

    def _search(self, slices: Slices, multipliers: Floats, upper: Floats) -> _Found:
        """Look for networks above a threshold close to the bound; lower it until one is found."""
        top = float(upper.max())
        lowest = self._worst_possible()
        slack = max(1e-3 * abs(top), 1e-6)
        while True:
            threshold = max(top - slack, lowest)
            found = self._above(threshold, slices, multipliers, upper, beam=None)
            if found.architecture is not None or threshold <= lowest:
                return found
            slack *= 8

    def _above(self, threshold: float, slices: Slices, multipliers: Floats, upper: Floats, beam: int | None) -> _Found:
        """The best network whose objective is at least ``threshold``, if there is one."""
        found = _Found(threshold, None)
        for i in np.argsort(-upper, kind="stable"):
            if upper[i] < found.value:
                break
            piece, prices = slices.one(int(i)), multipliers[i : i + 1]
            bounds = completions(self._problem, piece, prices, self._budgets)
            found = self._enumerate(piece, prices, bounds, found, beam)
        return found

    def _enumerate(
        self, piece: Slices, multipliers: Floats, bounds: Completions, found: _Found, beam: int | None
    ) -> _Found:
        if beam is None and self._deadline is not None and time.perf_counter() > self._deadline:
            raise _TimeIsUpError
        run = Enumeration(self._problem, piece, multipliers, bounds, self._budgets, self._options)
        layers = run.run(found.value, beam)
        for key, labels in layers[-1].items():
            values = self._final_values(key, labels)
            row = int(values.argmax())
            if values[row] > found.value or (found.architecture is None and values[row] >= found.value):
                found = _Found(float(values[row]), self._architecture(layers, key, row))
        return found

    def _final_values(self, key: tuple[int, int], labels: Labels) -> Floats:
        """The objective of complete networks; minus infinity where a limit or rho0 is broken."""
        width, state = key
        problem, settings = self._problem, self._problem.settings
        stages = problem.space.num_stages
        layers = 1 + 3 * stages + 2 * problem.depth_states.pairs[-1][state][0]
        rho = layers / np.exp(labels.log_sum / layers)
        head = problem.head_cost[:, width]
        value = labels.value - problem.price @ head - settings.beta * problem.depth_states.penalty[state]
        allowed = (labels.cost + head[:, None] <= self._budgets[:, None]).all(axis=0) & (
            rho <= settings.rho0 * (1 + 1e-12)
        )
        return np.where(allowed, value + settings.gamma * rho, -np.inf)

    def _architecture(
        self, layers: list[dict[tuple[int, int], Labels]], key: tuple[int, int], row: int
    ) -> Architecture:
        """Walk back through the labels' parents."""
        problem = self._problem
        stages = []
        for done in range(problem.space.num_stages, 0, -1):
            labels = layers[done][key]
            before = list(layers[done - 1])[int(labels.group[row])]
            depth = problem.depth_states.pairs[done][key[1]][0] - problem.depth_states.pairs[done - 1][before[1]][0]
            options = self._options.get(done - 1, before[0], key[0], depth)
            ratios = options.ratios[int(labels.option[row])]
            stages.append((np.array([key[0]]), np.array([depth]), ratios[None]))
            row, key = int(labels.parent[row]), before
        population = population_of(problem, np.array([key[0]]), stages[::-1])
        return population.architecture(problem.space, 0)

    def _worst_possible(self) -> float:
        """A value that every allowed network's objective reaches."""
        problem, settings = self._problem, self._problem.settings
        depth = problem.space.max_extra_blocks_per_stage
        stages = problem.space.num_stages
        uneven = np.array([[0] * (stages // 2) + [depth] * (stages - stages // 2)], np.int8)
        worst = -abs(settings.beta) * float(depth_penalty(uneven)[0])
        dearest = problem.stem_cost.max(axis=1) + problem.head_cost.max(axis=1)
        for stage in problem.stages:
            logs = stage.first_log.max() + depth * stage.rest_log.max()
            worst -= float(stage.penalty.max()) + abs(min(0.0, float(stage.volume.min()) * logs))
            dearest += stage.first_cost.max(axis=(1, 2, 3)) + depth * stage.rest_cost.max(axis=(1, 2))
        return worst - float(np.abs(problem.price) @ dearest)


def _checked(space: SearchSpace, settings: FitnessSettings, accounting: Accounting, best: Best) -> Best:
    """``best`` after its fitness was computed anew by the independent code that scores populations."""
    if best.architecture is None:
        return best
    fitness = fitness_of(space, best.architecture, settings, accounting)
    if abs(fitness - best.fitness) > 1e-9 * max(1.0, abs(fitness)):
        raise ContractError(f"the search says F = {best.fitness!r}, the definition {fitness!r}: {best.architecture}")
    bound = fitness if best.status == "optimal" else max(best.upper_bound, fitness)
    return replace(best, fitness=fitness, upper_bound=bound)
