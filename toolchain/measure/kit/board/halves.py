"""How slow the machine was in the second half of a session, over the first: heat shows here.

The one definition, on the board and where the table is made.
"""

from typing import Any, Dict, List, Optional, Sequence, Tuple

REFERENCE = 0
"""Candidate that is measured in every group, and so ties the groups together."""
UNFIT_HALVES_RATIO = 1.15
"""And its inverse: beyond it no table is made of the readings unless that is asked for."""
TOLD_HALVES_RATIO = 1.05


def halves_ratio(readings: Sequence[Any]) -> Optional[float]:
    """Median slowness of the second half of the readings, as they came, over that of the first; None of too few.

    The slowness of a reading is its time over the median of its candidate in its group, times the median of the
    reference in that group over that in all groups. ``readings`` have ``group``, ``candidate`` and ``latency_ms``.
    """
    slowness = _slowness(readings)
    half = (len(slowness) + 1) // 2
    if half == len(slowness):
        return None
    return _median(slowness[half:]) / _median(slowness[:half])


def _slowness(readings: Sequence[Any]) -> List[float]:
    times: Dict[Tuple[int, int], List[float]] = {}
    for reading in readings:
        times.setdefault((reading.group, reading.candidate), []).append(reading.latency_ms)
    medians = {place: _median(values) for place, values in times.items()}
    reference_ms = _median([value for place, values in times.items() if place[1] == REFERENCE for value in values])
    groups = {place[0]: medians[place] / reference_ms for place in medians if place[1] == REFERENCE}
    return [
        reading.latency_ms / medians[reading.group, reading.candidate] * groups.get(reading.group, 1.0)
        for reading in readings
    ]


def _median(values: List[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    if not ordered:
        return 1.0
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
