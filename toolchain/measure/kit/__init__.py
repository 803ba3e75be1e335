"""The kit: a folder that measures a job on a board with no network, and what comes back from there."""

from fednas.toolchain.measure.kit.results import read_results
from fednas.toolchain.measure.kit.writing import KitInfo, read_kit, write_kit

__all__ = ["KitInfo", "read_kit", "read_results", "write_kit"]
