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
REFERENCE = 0


@dataclass(frozen=True, slots=True)
class Corrected:
    """Readings with the drift taken out, in the order they came."""

    candidate: "Array"
    latency_ms: "Array"
    """As if the machine had always run at the session's median speed."""
    slowness: "Array"
    """How slow the machine was at each reading, 1 at the median."""

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
    """Correct the readings of every group; groups are tied together by the reference, candidate 0."""
    import numpy as np

    logs = np.log(latency_ms)
    drift = np.zeros_like(logs)
    for number in np.unique(group):
        members = group == number
        drift[members] = _drift(candidate[members], logs[members])
    corrected = logs - drift
    references = [np.median(corrected[(group == g) & (candidate == REFERENCE)]) for g in np.unique(group)]
    for number, level in zip(np.unique(group), references, strict=True):
        shift = level - np.mean(references)
        corrected[group == number] -= shift
        drift[group == number] += shift
    return Corrected(candidate, np.exp(corrected), np.exp(drift))


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
