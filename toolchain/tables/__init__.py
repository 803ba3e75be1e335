"""What can be done with finished latency tables: merge them, validate one on the machine, draw one as a page."""

from fednas.toolchain.tables.merge import Merged, MergeInput, merge

__all__ = ["MergeInput", "Merged", "merge"]
