"""How sure the median of a candidate is that was loaded several times.

A network loaded anew lies elsewhere in memory and is up to some per cent faster or slower for all readings of that
load: more readings of the same loads do not make its level any surer. Three loads tell little of their own scatter, but
a session has hundreds of candidates, and those of about the same latency scatter alike (small ones most). So the
variance between loads is pooled over each one's neighbours in latency.
"""

from typing import TYPE_CHECKING, Any

from fednas.toolchain.measure.drift import REFERENCE, Corrected
from fednas.toolchain.measure.grouped import medians_by

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

NEIGHBOURS = 50
"""Candidates of the nearest latencies that pool their variances. In sessions of 250 and of 2100 candidates, each load
then lay within twice the deviation from the others of its candidate in 95 % of cases, small and large ones alike."""
MEDIAN_OF_LOADS = 1.16
"""Standard error of a median of three over that of their mean; of five it is 1.20."""


def loads_of(corrected: Corrected) -> "Array":
    """How often each candidate was loaded, (candidates,); the reference is loaded once and read in every group."""
    import numpy as np

    cells = np.unique(_cell_numbers(corrected))
    loads: Array = np.bincount(cells // (corrected.group.max() + 1))
    loads[REFERENCE] = min(1, loads[REFERENCE])
    return loads


def error_between_loads(corrected: Corrected, median_ms: "Array") -> "Array":
    """Standard error of each median, as a share of it, that comes of its few loads; 0 for what was loaded once.

    Args:
        corrected: readings.
        median_ms: of each candidate, (candidates,).
    """
    import numpy as np

    cells, cell = np.unique(_cell_numbers(corrected), return_inverse=True)
    owner = cells // (corrected.group.max() + 1)
    level = np.log(medians_by(cell, corrected.latency_ms))
    loads = loads_of(corrected)
    centre = np.bincount(owner, level) / np.bincount(owner).clip(1)
    squares = np.bincount(owner, (level - centre[owner]) ** 2)
    again = np.flatnonzero(loads > 1)
    order = again[np.argsort(median_ms[again], kind="stable")]
    error = np.zeros(len(loads))
    if len(order):
        pooled = _sliding_sum(squares[order]) / _sliding_sum(loads[order] - 1)
        error[order] = MEDIAN_OF_LOADS * np.sqrt(pooled / loads[order])
    return error


def _cell_numbers(corrected: Corrected) -> "Array":
    """A number for each reading that tells its candidate and its group."""
    numbers: Array = corrected.candidate * (corrected.group.max() + 1) + corrected.group
    return numbers


def _sliding_sum(values: "Array") -> "Array":
    """Over `NEIGHBOURS` values around each, or over all if there are not so many; (n,)."""
    import numpy as np

    count, width = len(values), min(NEIGHBOURS, len(values))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.clip(np.arange(count) - width // 2, 0, count - width)
    result: Array = sums[first + width] - sums[first]
    return result
