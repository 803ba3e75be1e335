"""Random spaces small enough to try every network, and random latency tables for them."""

import itertools
import math

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from fednas.toolchain.search import Quantity
from fednas.toolchain.space import SearchSpace
from fednas.toolchain.space.cost import CostTable, StageCosts
from fednas.toolchain.space.fitness import FitnessSettings
from fednas.toolchain.space.population import Population

WIDTHS = (0.1, 0.2, 0.25, 0.4, 0.5, 0.55, 0.75, 0.8, 1.0, 1.5)
RATIOS = (0.1, 0.14, 0.18, 0.25, 0.33, 0.5, 1.0)


def every_network(space: SearchSpace) -> Population:
    """All genotypes, inactive genes included."""
    stages, blocks = space.num_stages, space.blocks_per_stage
    d = list(itertools.product(range(blocks), repeat=stages))
    e = list(itertools.product(range(len(space.expansion_ratio_choices)), repeat=stages * blocks))
    w = list(itertools.product(range(len(space.width_multiplier_choices)), repeat=stages + 1))
    index = np.indices((len(d), len(e), len(w))).reshape(3, -1)
    ratios = np.array(e, np.int8).reshape(-1, stages, blocks)
    return Population(np.array(d, np.int8)[index[0]], ratios[index[1]], np.array(w, np.int8)[index[2]])


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    stages = draw(st.integers(1, 3))
    extra = draw(st.integers(0, 2 if stages < 3 else 1))
    slots = stages * (extra + 1)
    widths = draw(st.sets(st.sampled_from(WIDTHS), min_size=1, max_size=3 if stages < 3 else 2))
    ratios = draw(st.sets(st.sampled_from(RATIOS), min_size=1, max_size=3 if slots <= 4 else 2))
    bases = draw(st.lists(st.sampled_from((16, 32, 40, 64, 128)), min_size=stages, max_size=stages))
    factors = draw(st.lists(st.sampled_from((1, 2)), min_size=stages, max_size=stages))
    return SearchSpace(
        num_stages=stages,
        max_extra_blocks_per_stage=extra,
        original_stem_out_channels=draw(st.sampled_from((8, 16, 32, 64))),
        original_stage_base_channels=tuple(bases),
        initial_input_hw=draw(st.sampled_from((16, 17, 32))),
        initial_input_channels=draw(st.sampled_from((1, 3))),
        stem_stride=draw(st.sampled_from((1, 2))),
        stage_downsample_factors=tuple(factors),
        channel_divisible_by=8,
        n_classes=10,
        width_multiplier_choices=tuple(sorted(widths)),
        expansion_ratio_choices=tuple(sorted(ratios)),
    )


def fitness_settings(stages: int) -> st.SearchStrategy[FitnessSettings]:
    """Large gamma makes more entropy lower F through rho; small alpha makes the penalties matter."""
    return st.builds(
        FitnessSettings,
        alpha=st.tuples(*[st.sampled_from((1.0, 0.5, 2.0, 0.1))] * stages),
        beta=st.sampled_from((10.0, 0.0, 3.0)),
        gamma=st.sampled_from((1000.0, 0.0, 100.0, 5000.0)),
        channel_penalty_weight=st.sampled_from((0.0, 1.0, 0.3)),
        rho0=st.one_of(st.just(math.inf), st.floats(0.05, 0.5)),
    )


@st.composite
def small_problems(draw: st.DrawFn) -> tuple[SearchSpace, Population]:
    """A space with all its networks."""
    space = draw(spaces())
    everything = every_network(space)
    assume(len(everything) <= 60_000)
    return space, everything


@st.composite
def latencies(draw: st.DrawFn, space: SearchSpace, name: str) -> Quantity:
    """A latency table of random prices above zero; with few levels, many networks tie."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    levels = draw(st.sampled_from((0, 3, 10)))

    def prices(*shape: int) -> np.ndarray:
        if levels:
            return rng.integers(1, levels + 1, shape) * 0.1
        return rng.lognormal(0.0, 1.0, shape)

    widths, ratios = len(space.width_multiplier_choices), len(space.expansion_ratio_choices)
    stages = tuple(
        _alike_where_equal(space, stage, StageCosts(prices(widths, widths, ratios), prices(widths, ratios)))
        for stage in range(space.num_stages)
    )
    stem, head = prices(widths)[_first(space.stem_widths)], prices(widths)[_first(space.stage_widths[-1])]
    return Quantity(f"latency_ms[{name}]", CostTable(stem, stages, head), draw(st.sampled_from((0.0, 1.5))))


def _alike_where_equal(space: SearchSpace, stage: int, costs: StageCosts) -> StageCosts:
    """Width indices of equal channels are one network, so they have one price."""
    before = _first(space.stem_widths if stage == 0 else space.stage_widths[stage - 1])
    after = _first(space.stage_widths[stage])
    return StageCosts(costs.first[before][:, after], costs.rest[after])


def _first(widths: tuple[int, ...]) -> list[int]:
    return [widths.index(width) for width in widths]
