"""Which few networks and blocks to measure: those whose readings pin the block model down best, of every size.

D-optimal design, greedily (Fedorov 1972): the next one is that which most enlarges the determinant of the information
about the model's coefficients. Candidates are sorted into classes by their MACs, and the classes take turns: left to
itself the design asks for extremes, while searches ask about everything between.
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
CLASSES = 5
"""Of size, by MACs, with equally many candidates each."""


def chosen_networks(
    space: SearchSpace, rng: random.Random, known: Sequence[tuple[BlockSpec, ...]], count: int
) -> list[tuple[BlockSpec, ...]]:
    """Up to ``count`` networks, the most telling of each size first, none of them in ``known``."""
    from fednas.latency_tables import network_features

    pool = _small_and_large(space, rng, known)
    features = network_features([*known, *pool])
    order = _telling(features, [sum(spec.macs for spec in specs) for specs in [*known, *pool]], len(known), count)
    return [pool[index - len(known)] for index in order]


def chosen_blocks(blocks: Sequence[BlockSpec], count: int) -> list[BlockSpec]:
    """Up to ``count`` of these blocks, the most telling of each size first."""
    from fednas.latency_tables import block_features

    order = _telling(block_features(tuple(blocks)), [spec.macs for spec in blocks], 0, count)
    return [blocks[index] for index in order]


def _small_and_large(
    space: SearchSpace, rng: random.Random, known: Sequence[tuple[BlockSpec, ...]]
) -> list[tuple[BlockSpec, ...]]:
    """Half of random genes, half from between random bounds: a uniform draw hardly ever gives a small network."""
    seen = set(known)
    pool: list[tuple[BlockSpec, ...]] = []
    for draw in range(2 * POOL):
        low, high = sorted((rng.random(), rng.random())) if draw % 2 else (0.0, 1.0)
        network = blocks_of(space, _random_within(space, rng, low, high))
        if network not in seen and len(pool) < POOL:
            seen.add(network)
            pool.append(network)
    return pool


def _random_within(space: SearchSpace, rng: random.Random, low: float, high: float) -> Architecture:
    """Random genes; widths and depths from the part of their choices between two shares."""

    def gene(choices: int) -> int:
        return min(choices - 1, int(rng.uniform(low, high) * choices))

    d = [gene(space.blocks_per_stage) for _ in range(space.num_stages)]
    e = [rng.choice(space.expansion_ratio_choices) for _ in range(space.expansion_slots)]
    w = [gene(len(space.width_multiplier_choices)) for _ in range(space.num_stages + 1)]
    return architecture_from_genes(space, d, e, w)


def _telling(features: "Array", macs: Sequence[int], known: int, count: int) -> list[int]:
    """Indices of the next ``count`` candidates; the first ``known`` are measured anyway."""
    import numpy as np

    # Errors count relative to the latency, for which the MACs stand in before anything is measured.
    rows = features / np.array(macs, dtype=float)[:, None]
    size = np.sqrt((rows**2).mean(axis=0))
    rows /= np.where(size > 0, size, 1.0)
    covariance = np.eye(rows.shape[1]) / RIDGE
    for index in range(known):
        covariance = _informed(covariance, rows[index])
    classes = np.array_split(known + np.argsort(macs[known:], kind="stable"), CLASSES)
    order: list[int] = []
    while len(order) < min(count, len(rows) - known):
        turn = len(order) % CLASSES
        # Classes differ by one in number, so the last turns may find one empty.
        members = classes[turn] if len(classes[turn]) else max(classes, key=len)
        gain = np.einsum("ij,jk,ik->i", rows[members], covariance, rows[members])
        best = int(members[np.argmax(gain)])
        classes = [part[part != best] for part in classes]
        covariance = _informed(covariance, rows[best])
        order.append(best)
    return order


def _informed(covariance: "Array", row: "Array") -> "Array":
    """What is left open once this row is measured (Sherman and Morrison 1950)."""
    import numpy as np

    pulled = covariance @ row
    left: Array = covariance - np.outer(pulled, pulled) / (1 + row @ pulled)
    return left
