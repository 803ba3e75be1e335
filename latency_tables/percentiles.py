"""How many readings a statement about a percentile needs."""

import math
from functools import cache

CONFIDENCE = 0.99


@cache
def readings_needed(percentile: float, *, above: int = 0, confidence: float = CONFIDENCE) -> int:
    """Fewest readings for "the ``percentile`` of all runs is at most X" when ``above`` of them lie above X.

    The chance that so many readings miss the slowest share is at most 1 - ``confidence``: the early-stopping rule of
    MLPerf's load generator. 7 for the median, 44 for 0.9, 459 for 0.99 (none above), 662 with one above.
    """
    count = above + 1
    while _chance(count, above, percentile) > 1 - confidence:
        count += 1
    return count


def _chance(count: int, above: int, percentile: float) -> float:
    """That at most ``above`` of ``count`` readings lie over the percentile."""
    slow = 1 - percentile
    return sum(math.comb(count, k) * slow**k * percentile ** (count - k) for k in range(above + 1))
