"""Search space, architectures, their exact cost and their zero-cost fitness (method sections 1 to 3)."""

from fednas.toolchain.space.architecture import (
    Architecture,
    architecture_from_cells,
    architecture_from_genes,
    architecture_from_json,
    largest_architecture,
    smallest_architecture,
)
from fednas.toolchain.space.architecture_file import read_architectures
from fednas.toolchain.space.blocks import blocks_of, distinct_blocks
from fednas.toolchain.space.search_space import Accounting, SearchSpace, load_space, space_of_table

__all__ = [
    "Accounting",
    "Architecture",
    "SearchSpace",
    "architecture_from_cells",
    "architecture_from_genes",
    "architecture_from_json",
    "blocks_of",
    "distinct_blocks",
    "largest_architecture",
    "load_space",
    "read_architectures",
    "smallest_architecture",
    "space_of_table",
]
