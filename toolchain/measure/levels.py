"""From raw readings to one level for each candidate, with the machine's drift taken out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fednas.toolchain.measure.drift import Corrected, take_drift_out
from fednas.toolchain.measure.journal import Reading
from fednas.toolchain.measure.rounds import LEAST_ROUNDS

if TYPE_CHECKING:
    import numpy as np

OUTLIER = 14.8
"""Modified z score from which a reading is called an outlier."""


@dataclass(frozen=True, slots=True)
class Level:
    """What the corrected readings say about one candidate."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    samples: int
    spread: float
    """Standard error of the median, as a share of it."""
    even_over_odd: float
    """Median of its even readings over that of its odd ones."""


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

    order = np.argsort(corrected.candidate, kind="stable")
    borders = np.searchsorted(corrected.candidate[order], np.arange(1, candidates))
    return [_level(part) for part in np.split(corrected.latency_ms[order], borders)]


def outliers(corrected: Corrected, candidates: int) -> int:
    """Readings that lie more than ten standard deviations from their candidate's median; they are counted, not dropped.

    By the modified z score of Iglewicz and Hoaglin (1993), 0.6745 |x - median| / MAD, against hyperfine's 14.8.
    """
    import numpy as np

    order = np.argsort(corrected.candidate, kind="stable")
    borders = np.searchsorted(corrected.candidate[order], np.arange(1, candidates))
    parts = np.split(corrected.latency_ms[order], borders)
    return sum(int(np.sum(_distance(part) > OUTLIER * _mad(part))) for part in parts)


def _distance(readings: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    import numpy as np

    result: np.ndarray[Any, Any] = 0.6745 * np.abs(readings - np.median(readings))
    return result


def _mad(readings: "np.ndarray[Any, Any]") -> float:
    import numpy as np

    return float(np.median(np.abs(readings - np.median(readings))))


def _usable(readings: Sequence[Reading], candidates: int) -> Sequence[Reading]:
    """The readings that no other program interrupted, if every candidate has enough of them; else all.

    An interrupted reading holds the other program's time. It is known by its cause, not by its value: no
    reading is dropped for being slow.
    """
    clean = [reading for reading in readings if not reading.interrupted]
    counts = Counter(reading.candidate for reading in clean)
    return clean if all(counts[index] >= LEAST_ROUNDS for index in range(candidates)) else readings


def _level(readings: "np.ndarray[Any, Any]") -> Level:
    import numpy as np

    p10, median, p90 = (float(value) for value in np.quantile(readings, (0.1, 0.5, 0.9)))
    return Level(
        median_ms=median,
        p10_ms=p10,
        p90_ms=p90,
        samples=len(readings),
        spread=_standard_error(readings) / median,
        even_over_odd=float(np.median(readings[::2]) / np.median(readings[1::2])),
    )


def _standard_error(readings: "np.ndarray[Any, Any]") -> float:
    """Of the median, from the median absolute deviation (exact for normal readings)."""
    import numpy as np

    return float(1.2533 * 1.4826 * _mad(readings) / np.sqrt(len(readings)))
