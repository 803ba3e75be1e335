"""Taking the machine's drift out of interleaved readings.

Neighbours on the host, heat and clocks slow everything that runs at the same moment alike. Because candidates
are interleaved in random order, the readings around one moment tell how slow the machine was then: a two-way fit,
log reading = level of the candidate + speed of the moment, by medians (Tukey's median polish with a sliding window).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fednas.toolchain.measure.grouped import medians_by

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

WINDOW = 13
"""Readings around a moment, one or two milliseconds on small networks; odd."""
SWEEPS = 4
HUBER = 3.0
"""Usual distances beyond which what a candidate says of its group's shift counts less."""
REFERENCE = 0


@dataclass(frozen=True, slots=True)
class Corrected:
    """Readings with the drift taken out, in the order they came."""

    candidate: "Array"
    latency_ms: "Array"
    """As if the machine had always run at the session's median speed."""
    slowness: "Array"
    """How slow the machine was at each reading, 1 at the median."""
    group: "Array"
    """What was loaded and read together."""

    def of(self, candidate: int) -> "Array":
        """The corrected readings of one candidate."""
        readings: Array = self.latency_ms[self.candidate == candidate]
        return readings

    def wander(self) -> float:
        """Factor, at least 1, between the slowest and the fastest tenth of the session.

        Such a tenth is what the next measurement on this machine will be: a short session of its own. This session's
        median was taken in one state of the machine, the next measurement will be in another, and how far apart two
        states can lie is only known from those that were seen.
        """
        import numpy as np

        tenths = [float(np.median(part)) for part in np.array_split(np.log(self.slowness), 10)]
        return float(np.exp(max(tenths) - min(tenths)))


def take_drift_out(group: "Array", candidate: "Array", latency_ms: "Array") -> Corrected:
    """Correct the readings of every group; groups are tied together by the candidates that they share.

    Those are the reference, candidate 0, and where there are several passes, all others.
    """
    import numpy as np

    logs = np.log(latency_ms)
    drift = np.zeros_like(logs)
    for number in np.unique(group):
        members = group == number
        drift[members] = _drift(candidate[members], logs[members])
    drift += _shifts(group, candidate, logs - drift)
    return Corrected(candidate, np.exp(logs - drift), np.exp(drift), group)


def _shifts(group: "Array", candidate: "Array", logs: "Array") -> "Array":
    """How slow each reading's group was, in logarithms; their mean over groups is 0.

    A least squares fit, level of a candidate in a group = level of the candidate + shift of the group, each
    counting by its readings. A candidate of one group only says nothing of shifts. Those that disagree with the
    rest of their group count less (Huber), since a candidate may be faster or slower for being loaded anew.
    """
    import numpy as np

    _, place = np.unique(group, return_inverse=True)
    cells, cell = np.unique(candidate * (place.max() + 1) + place, return_inverse=True)
    level, readings = medians_by(cell, logs), np.bincount(cell).astype(float)
    row, column = np.divmod(cells, place.max() + 1)
    trust = np.ones(len(cells))
    shifts = np.zeros(place.max() + 1)
    for _ in range(SWEEPS):
        weight = readings * trust
        shifts = _two_way(row, column, level, weight)
        left = level - shifts[column]
        centre = np.bincount(row, weight * left) / np.bincount(row, weight).clip(1e-12)
        distance = np.abs(left - centre[row])
        shared = np.bincount(row)[row] > 1
        usual = np.median(distance[shared]) if shared.any() else 0.0
        trust = np.minimum(1.0, HUBER * usual / np.maximum(distance, 1e-12)) if usual > 0 else trust
    found: Array = shifts[place]
    return found


def _two_way(row: "Array", column: "Array", level: "Array", weight: "Array") -> "Array":
    """Shift of each column, of mean 0, where ``level`` = row + column in the least squares; (columns,)."""
    import numpy as np

    table = np.zeros((row.max() + 1, column.max() + 1))
    table[row, column] = weight
    share = table / table.sum(axis=1, keepdims=True).clip(1e-12)
    middle = np.bincount(row, weight * level) / np.bincount(row, weight).clip(1e-12)
    normal = np.diag(table.sum(axis=0)) - table.T @ share
    right = np.bincount(column, weight * (level - middle[row]))
    shifts: Array = np.linalg.lstsq(normal, right, rcond=None)[0]
    centred: Array = shifts - shifts.mean()
    return centred


def _drift(candidate: "Array", logs: "Array") -> "Array":
    """Log of the slowness at each reading of one group; its median is 0."""
    import numpy as np

    drift = np.zeros_like(logs)
    for _ in range(SWEEPS):
        levels = medians_by(candidate, logs - drift)
        drift = _sliding_median(logs - levels[candidate])
        drift -= np.median(drift)
    return drift


def _sliding_median(values: "Array") -> "Array":
    import numpy as np

    padded = np.pad(values, WINDOW // 2, mode="reflect")
    result: Array = np.median(np.lib.stride_tricks.sliding_window_view(padded, WINDOW), axis=1)
    return result
