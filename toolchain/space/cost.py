"""MACs and parameters of architectures (method section 2), for one or for millions.

With the network accounting they equal a count on the real module; with the published accounting they equal
what the public implementation reports, its differences from the network included (Q1, Q5, Q6).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fednas.toolchain.space.architecture import Architecture
from fednas.toolchain.space.population import Floats, Ints, Population
from fednas.toolchain.space.search_space import Accounting, SearchSpace

Numbers = Ints | Floats


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one architecture, for one image."""

    macs: int
    params: int


@dataclass(frozen=True, slots=True)
class StageCosts:
    """One additive quantity of one stage, for every choice."""

    first: Numbers
    """First block, its projection included: [width index before, width index, expansion index]."""
    rest: Numbers
    """Any further block: [width index, expansion index]."""


@dataclass(frozen=True, slots=True)
class CostTable:
    """One additive quantity of a whole space: a network's value is the sum of one entry for each part."""

    stem: Numbers
    """[width index]."""
    stages: tuple[StageCosts, ...]
    head: Numbers
    """[width index of the last stage]."""


BlockPrice = Callable[[int, int, int, int, int, bool], int]
"""(channels in, middle, out, side of the output, stride, first) -> price of a residual block."""


@lru_cache(maxsize=32)
def macs_table(space: SearchSpace, accounting: Accounting = "network") -> CostTable:
    """Multiply-accumulates of every part, for one image."""

    def block(c_in: int, middle: int, c_out: int, side: int, stride: int, first: bool) -> int:
        projection = c_in * c_out if first and _projects(accounting, c_in, c_out, stride) else 0
        return (9 * middle * (c_in + c_out) + projection) * side**2

    # The published cost model charges the stem at the input resolution, whatever its stride (Q6).
    stem_side = space.initial_input_hw if accounting == "published" else space.sides()[0]
    stem = [9 * space.initial_input_channels * width * stem_side**2 for width in space.stem_widths]
    head = [width * space.n_classes for width in space.stage_widths[-1]]
    return _table(space, accounting, stem, head, block)


@lru_cache(maxsize=32)
def params_table(space: SearchSpace, accounting: Accounting = "network") -> CostTable:
    """Parameters of every part: weights, affine batch-norm pairs (if the space normalises), classifier bias."""
    affine = 2 if accounting == "published" or space.normalization == "batch" else 0

    def block(c_in: int, middle: int, c_out: int, _side: int, stride: int, first: bool) -> int:
        projects = first and _projects(accounting, c_in, c_out, stride)
        projection = c_in * c_out + affine * c_out if projects else 0
        return 9 * middle * (c_in + c_out) + affine * (middle + c_out) + projection

    stem = [9 * space.initial_input_channels * width + affine * width for width in space.stem_widths]
    head = [(width + 1) * space.n_classes for width in space.stage_widths[-1]]
    return _table(space, accounting, stem, head, block)


def _projects(accounting: Accounting, c_in: int, c_out: int, stride: int) -> bool:
    """Whether a first block has a projection: published accounting charges it always (Q5)."""
    return accounting == "published" or stride != 1 or c_in != c_out


def _table(
    space: SearchSpace, accounting: Accounting, stem: list[int], head: list[int], block: BlockPrice
) -> CostTable:
    sides = space.sides(accounting)
    stages = []
    entering = space.stem_widths
    for stage, widths in enumerate(space.stage_widths):
        middles = space.middle_widths(stage, accounting)
        stride, side = space.stage_downsample_factors[stage], sides[stage + 1]
        pairs = list(zip(widths, middles, strict=True))
        first = [[[block(c, m, w, side, stride, True) for m in ms] for w, ms in pairs] for c in entering]
        rest = [[block(w, m, w, side, 1, False) for m in ms] for w, ms in pairs]
        stages.append(StageCosts(np.array(first, np.int64), np.array(rest, np.int64)))
        entering = widths
    return CostTable(np.array(stem, np.int64), tuple(stages), np.array(head, np.int64))


def population_totals(table: CostTable, population: Population) -> Numbers:
    """The quantity of every architecture of ``population``, (n,)."""
    widths = population.widths
    total: Numbers = table.stem[widths[:, 0]] + table.head[widths[:, -1]]
    for stage, costs in enumerate(table.stages):
        before, width = widths[:, stage], widths[:, stage + 1]
        total = total + costs.first[before, width, population.ratios[:, stage, 0]]
        for block in range(1, population.ratios.shape[2]):
            active = population.depths[:, stage] >= block
            total = total + np.where(active, costs.rest[width, population.ratios[:, stage, block]], 0)
    return total


def population_cost(
    space: SearchSpace, population: Population, accounting: Accounting = "network"
) -> tuple[Ints, Ints]:
    """(MACs, parameters), each (n,)."""
    macs = population_totals(macs_table(space, accounting), population)
    params = population_totals(params_table(space, accounting), population)
    return macs.astype(np.int64), params.astype(np.int64)


def cost_of(space: SearchSpace, arch: Architecture, accounting: Accounting = "network") -> Cost:
    """MACs and parameters of one architecture."""
    macs, params = population_cost(space, Population.from_architectures(space, [arch]), accounting)
    return Cost(int(macs[0]), int(params[0]))
