"""What the terminal and the report say of how candidates were compared."""

import msgspec
import pytest

from fednas.export import Candidate, told_apart
from fednas.export.latency_record import MeasuredLatency
from fednas.export.manifest import verdict_of
from fednas.export.report_comparisons import candidates_section

LIMIT_MS = 1.0
READING = MeasuredLatency(
    median_ms=1.0, low_ms=1.0, high_ms=1.0, p10_ms=1.0, p90_ms=1.0, runs=9, threads=1, runtime="r", machine="m"
)


def candidate(reading: tuple[float, float] | None, predicted_ms: float = 1.0, *, corrected: bool = False) -> Candidate:
    """With a reading of that interval and a prediction that holds for a tenth more or less."""
    measured = None
    if reading is not None:
        low, high = reading
        measured = msgspec.structs.replace(READING, low_ms=low, median_ms=(low + high) / 2, high_ms=high)
    low, high = reading or (0.9 * predicted_ms, 1.1 * predicted_ms)
    return Candidate(
        architecture={},
        fitness=1.0,
        macs=1,
        params=1,
        predicted_ms=predicted_ms,
        predicted_low_ms=0.9 * predicted_ms,
        predicted_high_ms=1.1 * predicted_ms,
        measured=measured,
        verdict=verdict_of(low, high, LIMIT_MS),
        kept=False,
        not_measured_because="" if measured else "busy",
        corrected=corrected,
    )


@pytest.mark.parametrize(
    ("readings", "sentence"),
    [
        ([(0.8, 0.9), (0.85, 0.95), (0.88, 1.0)], "Nor do the readings, whose intervals overlap."),
        ([(0.8, 0.9), (0.85, 0.95), (1.0, 1.1)], "The readings do with some of them."),
        ([(1.0, 1.1), (0.8, 0.9), (0.92, 0.95)], "The readings do."),
        ([(1.0, 1.1), None, None], "predictions do not tell them apart."),
    ],
)
def test_whether_readings_tell_all_some_or_none_apart(
    readings: list[tuple[float, float] | None], sentence: str
) -> None:
    assert told_apart([candidate(reading) for reading in readings]).endswith(sentence)


def test_predictions_that_are_apart_need_no_readings() -> None:
    found = told_apart([candidate(None, 1.0), candidate(None, 1.5)])
    assert found == "Their predictions lie within 50% of each other."


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        ([(0.8, 0.9), (0.7, 0.8)], "All of them measured within it; so 1 fitter one was added"),
        ([(1.1, 1.2), (0.9, 1.1)], "None of them surely measured within it; so 1 faster one was added"),
        # What was not measured has the verdict of its prediction, which says nothing here.
        ([(1.1, 1.2), None], "None of those that could be read surely measured within it; so 1 faster one"),
        ([(0.8, 0.9), None], "All of those that could be read measured within it; so 1 fitter one"),
    ],
)
def test_why_there_was_a_second_round(first: list[tuple[float, float] | None], sentence: str) -> None:
    candidates = [candidate(reading, 0.9) for reading in first] + [candidate((0.9, 0.95), 0.8, corrected=True)]
    section = candidates_section(candidates)
    assert section is not None
    assert sentence in str(section)
