"""Which architecture a client trains (method section 6.3)."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fednas.common import FednasError
from fednas.toolchain.space import (
    Architecture,
    SearchSpace,
    architecture_from_genes,
    largest_architecture,
    smallest_architecture,
)
from fednas.toolchain.space.cost import cost_of


class ArchitectureSampler(Protocol):
    """Gives each client of a round its architecture."""

    @property
    def smallest(self) -> Architecture:
        """For the client whose role is the smallest network."""
        ...

    @property
    def largest(self) -> Architecture:
        """For the client whose role is the largest network."""
        ...

    def other(self, generator: np.random.Generator) -> Architecture:
        """For everybody else."""
        ...


class ParetoPathSampler:
    """Architectures of a cache of Pareto-optimal ones (DeepFedNAS; TS_optimal_path of the published code)."""

    def __init__(self, space: SearchSpace, cache: Sequence[Architecture]) -> None:
        if not cache:
            raise FednasError("the cache holds no architecture", hint="make one with fednas-export cache")
        # By the MACs of the network that is trained, whatever a file says.
        self.path = tuple(sorted(set(cache), key=lambda arch: (cost_of(space, arch).macs, str(arch))))
        self.smallest = self.path[0]
        self.largest = self.path[-1]

    def other(self, generator: np.random.Generator) -> Architecture:
        """Any of the cache, the two ends included, with equal chance."""
        return self.path[int(generator.integers(len(self.path)))]


class RandomSandwichSampler:
    """Uniform genes between the smallest and the largest network (SuperFedNAS; TS_all_random)."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.smallest = smallest_architecture(space)
        self.largest = largest_architecture(space)

    def other(self, generator: np.random.Generator) -> Architecture:
        """Every gene uniform over its choices."""
        space = self.space
        d = generator.integers(space.blocks_per_stage, size=space.num_stages).tolist()
        ratios = generator.integers(len(space.expansion_ratio_choices), size=space.expansion_slots)
        w = generator.integers(len(space.width_multiplier_choices), size=space.num_stages + 1).tolist()
        return architecture_from_genes(space, d, [space.expansion_ratio_choices[i] for i in ratios], w)
