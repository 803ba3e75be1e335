"""Which few networks and blocks to measure: those whose readings pin the block model down best for the time they take.

D-optimal design, greedily (Fedorov 1972): the next one is that which most enlarges the determinant of the information
about the model's coefficients, for each millisecond of its measuring. Small and large networks are drawn alike, since
a uniform draw hardly ever gives a small one.
"""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fednas.latency_tables import BlockSpec
from fednas.toolchain.space import Architecture, SearchSpace, architecture_from_genes, blocks_of

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

POOL = 600
"""Networks drawn to choose from."""
RIDGE = 1e-3
"""Information that is there before the first choice, so that the determinant is not zero."""
LEAST_COST = 0.25
"""Of a median candidate: below it the calls around a reading cost as much, and no candidate counts as cheaper."""


def chosen_networks(
    space: SearchSpace, rng: random.Random, known: Sequence[tuple[BlockSpec, ...]], count: int
) -> list[tuple[BlockSpec, ...]]:
    """Up to ``count`` networks, the most telling first, different from each other and from ``known``."""
    from fednas.latency_tables import network_features

    pool = _small_and_large(space, rng, set(known))
    features = [network_features(specs) for specs in [*known, *pool]]
    order = _telling(features, [sum(spec.macs for spec in specs) for specs in [*known, *pool]], len(known), count)
    return [pool[index - len(known)] for index in order]


def chosen_blocks(blocks: Sequence[BlockSpec], count: int) -> list[BlockSpec]:
    """Up to ``count`` of these blocks, the most telling first."""
    from fednas.latency_tables import block_features

    order = _telling([block_features(spec) for spec in blocks], [spec.macs for spec in blocks], 0, count)
    return [blocks[index] for index in order]


def _small_and_large(
    space: SearchSpace, rng: random.Random, known: set[tuple[BlockSpec, ...]]
) -> list[tuple[BlockSpec, ...]]:
    seen = set(known)
    pool: list[tuple[BlockSpec, ...]] = []
    for _ in range(2 * POOL):
        network = blocks_of(space, _within_random_bounds(space, rng))
        if network not in seen and len(pool) < POOL:
            seen.add(network)
            pool.append(network)
    return pool


def _within_random_bounds(space: SearchSpace, rng: random.Random) -> Architecture:
    """Widths and depths of random genes between random bounds, so that all sizes of network occur."""
    low, high = sorted((rng.random(), rng.random()))

    def gene(choices: int) -> int:
        return min(choices - 1, int(rng.uniform(low, high) * choices))

    d = [gene(space.blocks_per_stage) for _ in range(space.num_stages)]
    e = [rng.choice(space.expansion_ratio_choices) for _ in range(space.expansion_slots)]
    w = [gene(len(space.width_multiplier_choices)) for _ in range(space.num_stages + 1)]
    return architecture_from_genes(space, d, e, w)


def _telling(features: "Sequence[Array]", macs: Sequence[int], known: int, count: int) -> list[int]:
    """Indices of the next ``count`` candidates; the first ``known`` are measured anyway."""
    import numpy as np

    cost = np.maximum(np.array(macs, dtype=float), LEAST_COST * np.median(macs))
    # Errors count relative to the latency, for which the MACs stand in before anything is measured.
    rows = np.array(features) / np.array(macs, dtype=float)[:, None]
    size = np.sqrt((rows**2).mean(axis=0))
    rows /= np.where(size > 0, size, 1.0)
    covariance = np.eye(rows.shape[1]) / RIDGE
    open_ = np.ones(len(rows), bool)
    order: list[int] = []
    for step in range(known + min(count, len(rows) - known)):
        gain = np.log1p(np.einsum("ij,jk,ik->i", rows, covariance, rows)) / cost
        index = step if step < known else int(np.argmax(np.where(open_, gain, -1.0)))
        open_[index] = False
        pulled = covariance @ rows[index]
        covariance -= np.outer(pulled, pulled) / (1 + rows[index] @ pulled)
        if step >= known:
            order.append(index)
    return order
