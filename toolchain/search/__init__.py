"""Search for the fittest subnet under budgets, with proof."""

from fednas.toolchain.search.exact import Best, ExactSearch, cheapest, find_best
from fednas.toolchain.search.frontier import FrontierPoint, find_frontier
from fednas.toolchain.search.genetic import GeneticSettings, find_genetically
from fednas.toolchain.search.limits import (
    Limit,
    Quantity,
    latency_quantity,
    macs_quantity,
    params_quantity,
    weight_bytes_quantity,
)

__all__ = [
    "Best",
    "ExactSearch",
    "FrontierPoint",
    "GeneticSettings",
    "Limit",
    "Quantity",
    "cheapest",
    "find_best",
    "find_frontier",
    "find_genetically",
    "latency_quantity",
    "macs_quantity",
    "params_quantity",
    "weight_bytes_quantity",
]
