"""From raw readings to one level for each candidate, with the machine's drift taken out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fednas.toolchain.measure.drift import Corrected, take_drift_out
from fednas.toolchain.measure.grouped import medians_by, quantiles_by, ranks_within
from fednas.toolchain.measure.journal import Reading
from fednas.toolchain.measure.loads import error_between_loads, loads_of
from fednas.toolchain.measure.rounds import LEAST_ROUNDS, TAIL_READINGS

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

OUTLIER = 14.8
"""Modified z score from which a reading is called an outlier."""


@dataclass(frozen=True, slots=True)
class Level:
    """What the corrected readings say about one candidate."""

    median_ms: float
    p10_ms: float | None
    """Percentiles: None where the readings are too few to claim them."""
    p90_ms: float | None
    samples: int
    loads: int
    """How often it was loaded anew."""
    spread: float
    """Standard error of the median, as a share of it: that of its readings, or that of its loads, if larger."""
    first_over_second: float
    """Its median in one half of the passes over that in the other; of even over odd readings if it had one pass."""


def correct(readings: Sequence[Reading], candidates: int) -> Corrected:
    """The readings that count, drift taken out."""
    import numpy as np

    used = _usable(readings, candidates)
    candidate = np.array([r.candidate for r in used])
    latency_ms = np.array([r.latency_ms for r in used])
    return take_drift_out(np.array([r.group for r in used]), candidate, latency_ms)


def levels_of(corrected: Corrected, candidates: int) -> list[Level]:
    """One level a candidate, in their order."""
    import numpy as np

    candidate, latency_ms = corrected.candidate, corrected.latency_ms
    p10, median, p90 = quantiles_by(candidate, latency_ms, (0.1, 0.5, 0.9))
    samples = np.bincount(candidate)
    within = _standard_error(_mad(candidate, latency_ms, median), samples) / median
    spread = np.maximum(within, error_between_loads(corrected, median))
    again = _measured_again(corrected.group, candidate)
    first, second = (medians_by(candidate[half], latency_ms[half], groups=candidates) for half in (~again, again))
    rows = np.column_stack([median, p10, p90, spread, first / second]).tolist()
    counts = zip(samples.tolist(), loads_of(corrected).tolist(), strict=True)
    return [_level(row, *count) for row, count in zip(rows[:candidates], counts, strict=True)]


def _level(row: Sequence[float], samples: int, loads: int) -> Level:
    median_ms, p10_ms, p90_ms, spread, first_over_second = row
    claimed = samples >= TAIL_READINGS
    return Level(
        median_ms=median_ms,
        p10_ms=p10_ms if claimed else None,
        p90_ms=p90_ms if claimed else None,
        samples=samples,
        loads=loads,
        spread=spread,
        first_over_second=first_over_second,
    )


def _measured_again(group: "Array", candidate: "Array") -> "Array":
    """Which of two halves each reading belongs to, for a test and retest of its candidate.

    Every other pass, since a network loaded anew is up to some per cent faster or slower; of a candidate that was
    loaded once, every other reading.
    """
    import numpy as np

    cells, cell = np.unique(candidate * (group.max() + 1) + group, return_inverse=True)
    owner = cells // (group.max() + 1)
    by_pass = ranks_within(owner)[cell] % 2 == 1
    loaded_again = np.bincount(owner)[candidate] > 1
    halves: Array = np.where(loaded_again, by_pass, ranks_within(candidate) % 2 == 1)
    return halves


def outliers(corrected: Corrected) -> int:
    """Readings that lie more than ten standard deviations from their candidate's median; they are counted, not dropped.

    By the modified z score of Iglewicz and Hoaglin (1993), 0.6745 |x - median| / MAD, against hyperfine's 14.8.
    """
    import numpy as np

    candidate, latency_ms = corrected.candidate, corrected.latency_ms
    median = medians_by(candidate, latency_ms)
    distance = 0.6745 * np.abs(latency_ms - median[candidate])
    return int(np.sum(distance > OUTLIER * _mad(candidate, latency_ms, median)[candidate]))


def _mad(candidate: "Array", latency_ms: "Array", median: "Array") -> "Array":
    """Median absolute deviation of each candidate's readings."""
    import numpy as np

    return medians_by(candidate, np.abs(latency_ms - median[candidate]))


def _usable(readings: Sequence[Reading], candidates: int) -> Sequence[Reading]:
    """The readings that no other program interrupted, if every candidate has enough of them; else all.

    An interrupted reading holds the other program's time. It is known by its cause, not by its value: no
    reading is dropped for being slow.
    """
    clean = [reading for reading in readings if not reading.interrupted]
    counts = Counter(reading.candidate for reading in clean)
    return clean if all(counts[index] >= LEAST_ROUNDS for index in range(candidates)) else readings


def _standard_error(mad: "Array", samples: "Array") -> "Array":
    """Of the median, from the median absolute deviation (exact for normal readings)."""
    import numpy as np

    result: Array = 1.2533 * 1.4826 * mad / np.sqrt(samples)
    return result
