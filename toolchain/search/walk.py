"""The walk along a frontier: short stretches of one cost, each searched for everything that is Pareto-optimal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fednas.toolchain.search.bounds import completions, slices_of, tighten
from fednas.toolchain.search.completed import Completed
from fednas.toolchain.search.exact import Solver, with_rounding_slack, worst_possible
from fednas.toolchain.search.labels import Enumeration
from fednas.toolchain.search.options import OptionCache
from fednas.toolchain.search.problem import Problem
from fednas.toolchain.search.stairs import Stairs, rising
from fednas.toolchain.space.architecture import Architecture
from fednas.toolchain.space.population import Floats

FIRST_STRETCH, LONGEST_STRETCH = 0.02, 0.09
"""As shares of the value where a stretch begins."""
MANY_NETWORKS, FEW_NETWORKS = 5_000, 1_000
"""Networks found in a stretch that make the next one shorter or longer."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one stretch added to the frontier."""

    reached: float
    """Up to this cost the frontier is complete."""
    networks: tuple[tuple[float, Architecture], ...]
    """(objective, architecture) in order, each fitter than the one before."""


class Walk:
    """The stretches of one frontier over the first cost of ``problem``, the others within their budgets.

    Costs are those of the problem, without the constants of its quantities.
    """

    def __init__(self, problem: Problem, other_budgets: Sequence[float]) -> None:
        self._problem, self._others = problem, list(other_budgets)
        self._options = OptionCache(problem)
        self._slices = slices_of(problem)
        self._multipliers: Floats | None = None
        self._band = np.inf

    @property
    def largest(self) -> float:
        """The largest first cost of any network."""
        return self._options.reach.most_of_first(self._problem)

    def from_best_at(self, start: float, end: float) -> Iterator[Step]:
        """From the best network that costs at most ``start`` to the best that costs at most ``end``."""
        first = Solver(self._problem, self._options, np.array([start, *self._others]), None).solve()
        best = worst_possible(self._problem) if first.architecture is None else first.objective
        yield Step(start, () if first.architecture is None else ((best, first.architecture),))
        yield from self.above(best, start, end)

    def above(self, best: float, start: float, end: float) -> Iterator[Step]:
        """Everything better than ``best``, the best objective of networks that cost at most ``start``."""
        reached, stretch = start, FIRST_STRETCH
        while reached < end:
            stairs = Stairs(reached, min(reached * (1 + stretch), end), best)
            networks, count = self._stretch(stairs)
            best = networks[-1][0] if networks else best
            reached = stairs.end
            yield Step(reached, tuple(networks))
            if count > MANY_NETWORKS:
                stretch /= 2
            elif count < FEW_NETWORKS:
                stretch = min(stretch * 1.5, LONGEST_STRETCH)

    def _stretch(self, stairs: Stairs) -> tuple[list[tuple[float, Architecture]], int]:
        """(objective, architecture) of the undominated networks of a stretch, and how many were found."""
        budgets = with_rounding_slack(np.array([stairs.end, *self._others]))
        multipliers = self._tuned(stairs, budgets)
        upper = completions(self._problem, self._slices, multipliers, budgets).upper
        runs = []
        for i in np.argsort(-upper, kind="stable"):
            run = self._slice(int(i), float(upper[i]), multipliers[i : i + 1], budgets, stairs)
            if run is not None:
                runs.append(run)
        return _undominated(runs, stairs.best)

    def _slice(self, i: int, upper: float, multipliers: Floats, budgets: Floats, stairs: Stairs) -> Completed | None:
        """All networks of a slice that may be above the stairs, which rise by what is found.

        The first try looks only into a band below the bound that sufficed before. What it finds raises the
        stairs, and if they are then above the bottom of the band, nothing was missed; else a second try looks
        down to the stairs.
        """
        price = float(multipliers[0, 0])
        needed = stairs.threshold(price)
        if upper < needed:
            return None
        piece = self._slices.one(i)
        run = Enumeration(
            self._problem, piece, multipliers, budgets, self._options, floor=stairs.start, axis_price=price
        )
        threshold = max(needed, upper - self._band)
        while True:
            networks = Completed.of(run, run.layers(threshold))
            stairs.add(networks.cost[0], networks.value)
            needed = stairs.threshold(price)
            if needed >= threshold:
                break
            threshold = needed
        # NOTE: a little wider, because the next stretch may need a little more.
        self._band = 1.2 * max(upper - needed, 1e-6)
        return networks

    def _tuned(self, stairs: Stairs, budgets: Floats) -> Floats:
        """Multipliers that keep the bounds low over the whole stretch: those for its middle."""
        middle = np.r_[(stairs.start + stairs.end) / 2, budgets[1:]]
        if self._multipliers is None:
            self._multipliers = tighten(self._problem, self._slices, middle)
        upper = completions(self._problem, self._slices, self._multipliers, budgets).upper
        live = np.flatnonzero(upper >= stairs.best)
        near = self._multipliers[live]
        self._multipliers[live] = tighten(self._problem, self._slices.take(live), middle, start=near)
        return self._multipliers


def _undominated(runs: Sequence[Completed], best: float) -> tuple[list[tuple[float, Architecture]], int]:
    costs = np.concatenate([np.zeros(0), *(run.cost[0] for run in runs)])
    values = np.concatenate([np.zeros(0), *(run.value for run in runs)])
    owners = np.repeat(np.arange(len(runs)), [len(run) for run in runs])
    starts = np.cumsum([0, *(len(run) for run in runs)])
    order = np.lexsort((-values, costs))
    kept = order[rising(values[order], best)]
    return [(float(values[i]), runs[owners[i]].architecture(int(i - starts[owners[i]]))) for i in kept], len(values)
