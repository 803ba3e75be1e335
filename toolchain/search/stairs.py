"""What is known of the frontier inside one stretch of its axis."""

import numpy as np

from fednas.toolchain.space.population import Floats


class Stairs:
    """The fittest known network at every cost from ``start`` to ``end``.

    With prices per unit of cost moved into the objective, a network of cost x that is bounded by ``bound`` at the
    budget ``end`` has a fitness of at most ``bound - price * (end - x)``. It can only be above the stairs if its
    bound is above `threshold`: the stairs then prune networks of every cost in the stretch alike.
    """

    def __init__(self, start: float, end: float, best: float) -> None:
        """``best``: the fitness that is proven to be the highest at a cost of at most ``start``."""
        self.start, self.end, self.best = start, end, best
        self._cost: Floats = np.zeros(0)
        self._value: Floats = np.zeros(0)

    def add(self, cost: Floats, value: Floats) -> None:
        """Networks that were found, each (n,)."""
        cost, value = np.concatenate([self._cost, cost]), np.concatenate([self._value, value])
        order = np.lexsort((-value, cost))
        kept = order[rising(value[order], self.best)]
        self._cost, self._value = cost[kept], value[kept]

    def threshold(self, price: float) -> float:
        """No network bounded by this at the budget ``end`` is above the stairs."""
        level = np.r_[self.best, self._value]
        until = np.r_[self._cost, self.end]
        return float((level + price * (self.end - until)).min())


def rising(values: Floats, above: float) -> np.ndarray:
    """Which of ``values`` (n,) are higher than all before them and than ``above``."""
    result: np.ndarray = values > np.maximum.accumulate(np.r_[above, values])[:-1]
    return result
