"""What a comparison of candidates could tell: how far they lie apart by prediction, and by reading."""

from collections.abc import Sequence
from itertools import pairwise

from fednas.export.latency_record import MeasuredLatency
from fednas.export.manifest import Candidate


def told_apart(candidates: Sequence[Candidate]) -> str:
    """How near the predictions lie to each other, in sentences, and whether they or the readings tell them apart."""
    if len(candidates) < 2:
        return ""
    predicted = [each.predicted_ms for each in candidates]
    apart = f"Their predictions lie within {_percent(max(predicted) / min(predicted) - 1)} of each other"
    widest = max(candidates, key=lambda each: each.predicted_high_ms / each.predicted_low_ms)
    low, high = (end / widest.predicted_ms - 1 for end in (widest.predicted_low_ms, widest.predicted_high_ms))
    if not _overlap([(each.predicted_low_ms, each.predicted_high_ms) for each in candidates]):
        return f"{apart}."
    span = f"{low:+.1%} to {high:+.1%}"
    sentence = f"{apart}, less than the interval of one ({span}): predictions do not tell them apart."
    read = [each.measured for each in candidates if each.measured is not None]
    if len(read) < 2:
        return sentence
    if _overlap([(each.low_ms, each.high_ms) for each in read]):
        return f"{sentence} Nor do the readings, whose intervals overlap."
    return f"{sentence} The readings do{'' if _all_apart(read) else ' with some of them'}."


def why_not_measured(candidates: Sequence[Candidate]) -> str:
    """The reason why some were not; of several reasons the first."""
    reasons = dict.fromkeys(each.not_measured_because for each in candidates if each.not_measured_because)
    first = next(iter(reasons), "")
    return f"{first}; manifest.json has the reason of each" if len(reasons) > 1 else first


def _overlap(intervals: Sequence[tuple[float, float]]) -> bool:
    """Whether all of them share a value."""
    return max(low for low, _ in intervals) <= min(high for _, high in intervals)


def _all_apart(read: Sequence[MeasuredLatency]) -> bool:
    """Whether no two of the intervals overlap."""
    ordered = sorted(read, key=lambda each: each.low_ms)
    return all(one.high_ms < other.low_ms for one, other in pairwise(ordered))


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%"
