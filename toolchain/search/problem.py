"""The search problem as arrays: every additive quantity of every choice of a space.

A network is a stem, num_stages stages of blocks, and a head. What a block adds to a cost, to the entropy or
to the sum of logarithms depends only on its stage, the widths before and after, and its expansion ratio. So
everything that the search needs is a sum of table entries, but for two terms of the fitness: the depth
penalty Q (a function of the stage depths) and the effectiveness rho (a function of the number of layers and
of the sum of logarithms).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fednas.toolchain.space.cost import CostTable
from fednas.toolchain.space.fitness import FitnessSettings, log_tables
from fednas.toolchain.space.population import Floats, Population
from fednas.toolchain.space.search_space import Accounting, SearchSpace

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class StageArrays:
    """One stage. Axes: k cost, p width before, w width, e expansion ratio."""

    first_cost: Floats
    """(k, p, w, e): the first block, its projection included."""
    rest_cost: Floats
    """(k, w, e): any further block."""
    first_log: Floats
    """(p, w, e): logarithms of the fan-ins of the first block and of the projection."""
    rest_log: Floats
    """(w, e)."""
    volume: Floats
    """(w,): alpha times ln(side^2 * channels), the factor of this stage's logarithms in the entropy."""
    penalty: Floats
    """(p, w): the weighted channel penalty against the stage before; 0 for the first stage."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Maximise F - price @ cost under ``cost <= budget`` for each of k additive costs."""

    space: SearchSpace
    settings: FitnessSettings
    accounting: Accounting
    price: Floats
    """(k,): what a unit of each cost takes off the objective; 0 for a cost that is only limited."""
    stem_cost: Floats
    """(k, w)."""
    head_cost: Floats
    """(k, w)."""
    stem_log: float
    stages: tuple[StageArrays, ...]
    choices: tuple[Indices, ...]
    """Width indices that stand for [stem, stage 1, ...]: one for each distinct number of channels."""
    depth_states: "DepthStates"


@dataclass(frozen=True, slots=True)
class DepthStates:
    """What the depth penalty needs to know of the stages so far: (sum of d, sum of d^2)."""

    pairs: tuple[tuple[tuple[int, int], ...], ...]
    """[stages done] -> the reachable pairs."""
    following: tuple[Indices, ...]
    """[stages done][state, d] -> index of the state after one more stage of depth d."""
    penalty: Floats
    """Q of each final state."""


def problem_of(
    space: SearchSpace,
    settings: FitnessSettings,
    accounting: Accounting,
    costs: Sequence[CostTable],
    price: Sequence[float] | None = None,
) -> Problem:
    """The arrays for these additive costs (at least one); equal widths are merged."""
    choices = tuple(_distinct(widths) for widths in (space.stem_widths, *space.stage_widths))
    logs = log_tables(space, accounting)
    stages = []
    for stage in range(space.num_stages):
        before, after = choices[stage], choices[stage + 1]
        middle = logs.middle[stage][after]
        entry = (logs.fan_in[stage] + logs.projection[stage])[before]
        parts = [table.stages[stage] for table in costs]
        stages.append(
            StageArrays(
                first_cost=np.stack([part.first[np.ix_(before, after)] for part in parts]).astype(float),
                rest_cost=np.stack([part.rest[after] for part in parts]).astype(float),
                first_log=entry[:, None, None] + middle[None],
                rest_log=logs.fan_in[stage + 1][after][:, None] + middle,
                volume=settings.alpha[stage] * logs.volume[stage][after],
                penalty=_channel_penalty(space, settings, stage, before, after),
            )
        )
    return Problem(
        space,
        settings,
        accounting,
        np.zeros(len(costs)) if price is None else np.array(price, float),
        np.stack([table.stem[choices[0]] for table in costs]).astype(float),
        np.stack([table.head[choices[-1]] for table in costs]).astype(float),
        logs.stem,
        tuple(stages),
        choices,
        _depth_states(space),
    )


def _distinct(widths: Sequence[int]) -> Indices:
    """The first index of each distinct width: equal widths are one network, priced and built alike."""
    return np.sort(np.unique(np.array(widths), return_index=True)[1])


def _channel_penalty(
    space: SearchSpace, settings: FitnessSettings, stage: int, before: Indices, after: Indices
) -> Floats:
    if stage == 0:
        return np.zeros((len(before), len(after)))
    wide = np.array(space.stage_widths[stage - 1], float)[before]
    narrow = np.array(space.stage_widths[stage], float)[after]
    lost: Floats = np.maximum(0.0, wide[:, None] - narrow[None])
    return settings.channel_penalty_weight * lost


def _depth_states(space: SearchSpace) -> DepthStates:
    depths = range(space.blocks_per_stage)
    pairs: list[tuple[tuple[int, int], ...]] = [((0, 0),)]
    following = []
    for _ in range(space.num_stages):
        reached = sorted({(n + d, q + d * d) for n, q in pairs[-1] for d in depths})
        index = {pair: i for i, pair in enumerate(reached)}
        following.append(np.array([[index[n + d, q + d * d] for d in depths] for n, q in pairs[-1]]))
        pairs.append(tuple(reached))
    total, squares = np.array(pairs[-1], float).T
    mean = total / space.num_stages
    return DepthStates(tuple(pairs), tuple(following), np.exp(squares / space.num_stages - mean**2))


def population_of(problem: Problem, stem: Indices, stages: Sequence[tuple[Indices, Indices, Indices]]) -> Population:
    """Population from choice positions: stem (n,), and for each stage widths (n,), depths (n,), ratios (n, blocks)."""
    widths = [problem.choices[0][stem]] + [problem.choices[j + 1][w] for j, (w, _, _) in enumerate(stages)]
    return Population(
        np.stack([depth for _, depth, _ in stages], axis=1).astype(np.int8),
        np.stack([ratios for _, _, ratios in stages], axis=1).astype(np.int8),
        np.stack(widths, axis=1).astype(np.int8),
    )
