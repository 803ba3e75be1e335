"""What a network costs beyond the sum of its blocks: they push each other's weights and numbers out of the caches.

A network whose weights fit into a core's own cache finds them there again at the next call; one that is twice as large
fetches most of them anew. So the latency of networks around the size of a cache grows faster than the sum of their
blocks. One coefficient says how much, and since the latency still rises with the sum, whatever compares sums (exact
searches, frontiers) finds the same networks.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np

Milliseconds = TypeVar("Milliseconds", float, "np.ndarray[Any, Any]")
SHARES = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3)
"""Crowding that is tried: of the latency of a network of the median size, over the plain sum."""
CLEARLY = 0.9
"""The plain sum stays unless the networks' error falls below this share of what it is then."""


def crowdings_for(latencies_ms: Sequence[float]) -> list[float]:
    """Coefficients to try on networks of these latencies, per ms; the first is none."""
    return [share / statistics.median(latencies_ms) for share in SHARES]


def chosen_crowding(errors: Mapping[float, float]) -> float:
    """The coefficient of least error, from the errors of each; none unless it is clearly better than none."""
    best = min(errors, key=lambda crowding: errors[crowding])
    return best if errors[best] < CLEARLY * errors[0.0] else 0.0


def crowded_ms(sum_ms: Milliseconds, crowding_per_ms: Milliseconds | float) -> Milliseconds:
    """Latency of a network, or of an array of them, whose blocks sum up to ``sum_ms``."""
    return sum_ms * (1 + crowding_per_ms * sum_ms)


def uncrowded_ms(latency_ms: float, crowding_per_ms: float) -> float:
    """The sum of blocks at which a network takes ``latency_ms``: the inverse of `crowded_ms`."""
    if math.isinf(latency_ms):
        return latency_ms
    return 2 * latency_ms / (1 + math.sqrt(1 + 4 * crowding_per_ms * latency_ms))
