"""Many architectures at once, as index arrays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from fednas.toolchain.space.architecture import Architecture
from fednas.toolchain.space.search_space import SearchSpace

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Population:
    """n architectures of one space; genes of blocks that do not exist carry no meaning."""

    depths: npt.NDArray[np.int8]
    """Extra blocks, (n, stages)."""
    ratios: npt.NDArray[np.int8]
    """Index into expansion_ratio_choices, (n, stages, blocks a stage)."""
    widths: npt.NDArray[np.int8]
    """Index into width_multiplier_choices, (n, stages + 1); column 0 is the stem."""

    def __len__(self) -> int:
        return len(self.depths)

    def __getitem__(self, rows: slice) -> "Population":
        return Population(self.depths[rows], self.ratios[rows], self.widths[rows])

    @classmethod
    def from_architectures(cls, space: SearchSpace, archs: Iterable[Architecture]) -> Self:
        """The same architectures as arrays."""
        listed = list(archs)
        index = {ratio: i for i, ratio in enumerate(space.expansion_ratio_choices)}
        ratios = [[index[ratio] for ratio in arch.e] for arch in listed]
        shape = (len(listed), space.num_stages, space.blocks_per_stage)
        return cls(
            np.array([arch.d for arch in listed], np.int8).reshape(-1, space.num_stages),
            np.array(ratios, np.int8).reshape(shape),
            np.array([arch.w_indices for arch in listed], np.int8).reshape(-1, space.num_stages + 1),
        )

    @classmethod
    def random(cls, space: SearchSpace, count: int, seed: int | np.random.Generator) -> Self:
        """``count`` architectures with uniform genes."""
        rng = np.random.default_rng(seed)
        stages, blocks = space.num_stages, space.blocks_per_stage
        n_ratios, n_widths = len(space.expansion_ratio_choices), len(space.width_multiplier_choices)
        return cls(
            rng.integers(0, blocks, (count, stages), dtype=np.int8),
            rng.integers(0, n_ratios, (count, stages, blocks), dtype=np.int8),
            rng.integers(0, n_widths, (count, stages + 1), dtype=np.int8),
        )

    def architecture(self, space: SearchSpace, row: int) -> Architecture:
        """Row ``row`` in canonical form."""
        depth = self.depths[row]
        active = np.arange(space.blocks_per_stage)[None, :] <= depth[:, None]
        ratios = np.where(active, self.ratios[row], 0).ravel()
        return Architecture(
            tuple(map(int, depth)),
            tuple(space.expansion_ratio_choices[i] for i in ratios),
            tuple(map(int, self.widths[row])),
        )

    def architectures(self, space: SearchSpace) -> Sequence[Architecture]:
        """Every row in canonical form."""
        return [self.architecture(space, row) for row in range(len(self))]
