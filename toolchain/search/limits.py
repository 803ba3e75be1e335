"""What a search is limited by: additive quantities of a network and their budgets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fednas.common import FednasError
from fednas.latency_tables import AdditiveTerms, BlockSpec, crowded_ms, uncrowded_ms
from fednas.latency_tables.model import LatencyModel
from fednas.toolchain.space.blocks import head_block, residual_block, stem_block
from fednas.toolchain.space.cost import CostTable, StageCosts, macs_table, params_table, population_totals
from fednas.toolchain.space.population import Floats, Population
from fednas.toolchain.space.search_space import Accounting, SearchSpace

BlockPricer = Callable[[Sequence[BlockSpec]], Sequence[float]]
"""Prices of blocks, in their order."""

GRAPH_BYTES = 4_000.0
"""Of an ONNX file: its metadata and what does not grow with the network."""
GRAPH_BYTES_PER_BLOCK = {"fp32": 1_300, "fp16": 1_300, "int8": 8_000}
"""Names, attributes and, for int8, scales of one block; rounded up from exported files."""
BYTES_PER_WEIGHT = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True, slots=True)
class Quantity:
    """An additive quantity of a network: a constant plus one table entry for each part, crowded.

    Crowding keeps the order of sums, so searches work on sums and only what goes in and comes out is converted.
    """

    name: str
    """``macs``, ``params``, ``weight_bytes``, or ``latency_ms`` with the device, such as ``latency_ms[cpu]``."""
    table: CostTable
    constant: float = 0.0
    crowding: float = 0.0
    """Per unit of the quantity, as `crowded_ms` has it; 0 but for the latency of some measured tables."""

    def entries_at(self, value: float) -> float:
        """The sum of table entries at which the quantity has this value."""
        return uncrowded_ms(value, self.crowding) - self.constant

    def value_at(self, entries: float) -> float:
        """The quantity where the table entries have this sum."""
        return crowded_ms(self.constant + entries, self.crowding)

    def values(self, population: Population) -> Floats:
        """Of every network, (n,)."""
        sums: Floats = self.constant + population_totals(self.table, population).astype(np.float64)
        return crowded_ms(sums, self.crowding)


@dataclass(frozen=True, slots=True)
class Limit:
    """``quantity <= at_most``; equality passes."""

    quantity: Quantity
    at_most: float

    def __post_init__(self) -> None:
        if not self.at_most > 0:
            raise FednasError(f"the limit on {self.quantity.name} is {self.at_most}; it must be above zero")


def macs_quantity(space: SearchSpace, accounting: Accounting) -> Quantity:
    """Multiply-accumulates."""
    return Quantity("macs", macs_table(space, accounting))


def params_quantity(space: SearchSpace, accounting: Accounting) -> Quantity:
    """Parameters."""
    return Quantity("params", params_table(space, accounting))


def weight_bytes_quantity(space: SearchSpace, precision: str) -> Quantity:
    """Bytes of the exported weights, batch norms folded; an ONNX file adds a few kilobytes of graph to them."""
    each = BYTES_PER_WEIGHT[precision]
    return Quantity("weight_bytes", _block_table(space, lambda blocks: [each * b.weights for b in blocks]))


def file_bytes_quantity(space: SearchSpace, precision: str) -> Quantity:
    """Upper bound of the bytes of the exported ONNX file: weights, and the description of the graph."""
    each, block = BYTES_PER_WEIGHT[precision], GRAPH_BYTES_PER_BLOCK[precision]
    table = _block_table(space, lambda blocks: [each * b.weights + block for b in blocks])
    return Quantity("file_bytes", table, GRAPH_BYTES)


def latency_quantity(space: SearchSpace, model: LatencyModel) -> Quantity:
    """Predicted latency on one device; raises `FednasError` if the model lacks a block of the space."""
    asked: list[AdditiveTerms] = []

    def price(blocks: Sequence[BlockSpec]) -> Sequence[float]:
        asked.append(model.additive_terms(blocks))
        return asked[0].contributions_ms

    table = _block_table(space, price)
    name = f"latency_ms[{model.identity.device}]"
    return Quantity(name, table, asked[0].intercept_ms, asked[0].crowding_per_ms)


def _block_table(space: SearchSpace, price: BlockPricer) -> CostTable:
    """A cost table from prices of blocks; ``price`` is asked once, for every block of the space."""
    sides = space.sides()
    stem = [stem_block(space, width) for width in space.stem_widths]
    head = [head_block(space, width) for width in space.stage_widths[-1]]
    parts: list[np.ndarray] = [np.array(stem, object), np.array(head, object)]
    entering = space.stem_widths
    for stage, widths in enumerate(space.stage_widths):
        pairs = list(zip(widths, space.middle_widths(stage), strict=True))
        stride = space.stage_downsample_factors[stage]
        first = [[[residual_block(c, m, w, sides[stage], stride) for m in ms] for w, ms in pairs] for c in entering]
        # A space without extra blocks has no further blocks: the first ones stand in, and are never added.
        further = [[residual_block(w, m, w, sides[stage + 1], 1) for m in ms] for w, ms in pairs]
        rest = further if space.max_extra_blocks_per_stage else first[0]
        parts += [np.array(first, object), np.array(rest, object)]
        entering = widths
    distinct = sorted({block for part in parts for block in part.flat})
    prices = dict(zip(distinct, price(distinct), strict=True))
    priced = [np.array([prices[block] for block in part.flat]).reshape(part.shape) for part in parts]
    stages = tuple(StageCosts(priced[2 + 2 * j], priced[3 + 2 * j]) for j in range(space.num_stages))
    return CostTable(priced[0], stages, priced[1])
