"""Complete networks at the end of an enumeration: their exact objective, and their architectures."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from fednas.toolchain.search.labels import Enumeration, Layer, objective
from fednas.toolchain.search.problem import Indices, population_of
from fednas.toolchain.space.architecture import Architecture
from fednas.toolchain.space.population import Floats


@dataclass(frozen=True, slots=True)
class Completed:
    """n networks that keep every limit and rho0."""

    run: Enumeration
    layers: list[Layer]
    cost: Floats
    """(k, n), head included."""
    value: Floats
    """(n,): the exact objective."""
    group: Indices
    """(n,): which group of the last layer the network is in."""
    row: Indices
    """(n,): its row there."""

    @classmethod
    def of(cls, run: Enumeration, layers: list[Layer]) -> Self:
        """The allowed networks of the last layer."""
        costs, values, groups, rows = [], [], [], []
        for number, (key, labels) in enumerate(layers[-1].items()):
            cost = labels.cost + run.problem.head_cost[:, key[0]][:, None]
            value = objective(run.problem, key, labels)
            allowed = np.flatnonzero((cost <= run.budgets[:, None]).all(axis=0) & np.isfinite(value))
            costs.append(cost[:, allowed])
            values.append(value[allowed])
            rows.append(allowed)
            groups.append(np.full(len(allowed), number))
        if not values:
            none = np.zeros(0, np.intp)
            return cls(run, layers, np.zeros((len(run.budgets), 0)), np.zeros(0), none, none)
        return cls(
            run,
            layers,
            np.concatenate(costs, axis=1),
            np.concatenate(values),
            np.concatenate(groups),
            np.concatenate(rows),
        )

    def __len__(self) -> int:
        return len(self.value)

    def architecture(self, index: int) -> Architecture:
        """Walk back through the labels' parents."""
        problem = self.run.problem
        pairs = problem.depth_states.pairs
        key, row = list(self.layers[-1])[int(self.group[index])], int(self.row[index])
        stages = []
        for done in range(problem.space.num_stages, 0, -1):
            labels = self.layers[done][key]
            before = list(self.layers[done - 1])[int(labels.group[row])]
            depth = pairs[done][key[1]][0] - pairs[done - 1][before[1]][0]
            options = self.run.options.get(done - 1, before[0], key[0], depth)
            ratios = options.ratios[int(labels.option[row])]
            stages.append((np.array([key[0]]), np.array([depth]), ratios[None]))
            row, key = int(labels.parent[row]), before
        population = population_of(problem, np.array([key[0]]), stages[::-1])
        return population.architecture(problem.space, 0)
