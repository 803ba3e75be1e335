"""Accuracy lost on the same images: counts, interval and verdict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.common import ContractError
from fednas.export.intervals import newcombe_interval
from fednas.export.paired_drop import paired_drop


def test_by_hand() -> None:
    """The table 1, 1, 7, 12 of Fagerland, Lydersen and Laake 2014; its correlation is corrected to none.

    Wilson: 2 of 21 is 0.027 to 0.289, 8 of 21 is 0.208 to 0.591. Half widths towards each other are 0.0687 and
    0.2102, away from each other 0.1939 and 0.1735; their hypotenuses 0.2212 and 0.2602.
    """
    low, high = newcombe_interval(1, 1, 7, 12)
    assert (round(low, 3), round(high, 3)) == (-0.507, -0.026)


counts = st.integers(0, 2000)


@given(counts, counts, counts, counts)
def test_the_interval_holds_the_difference_and_mirrors(both: int, first: int, second: int, neither: int) -> None:
    total = both + first + second + neither
    if total == 0:
        with pytest.raises(ContractError, match="impossible counts"):
            newcombe_interval(both, first, second, neither)
        return
    low, high = newcombe_interval(both, first, second, neither)
    assert -1 - 1e-9 <= low <= (first - second) / total <= high <= 1 + 1e-9
    assert newcombe_interval(both, second, first, neither) == pytest.approx((-high, -low))


def logits(classes: list[int]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[classes]


def test_who_is_right_where() -> None:
    labels = np.array([0, 0, 0, 1, 2])
    drop = paired_drop(logits([0, 0, 0, 1, 1]), logits([0, 1, 2, 1, 2]), labels)
    assert (drop.only_source_right, drop.only_artefact_right, drop.images) == (2, 1, 5)
    assert drop.drop == pytest.approx(0.2)
    assert (drop.limit, drop.verdict) == (None, None)
    assert "Newcombe 1998" in drop.method
    assert str(drop).startswith("+20.00 points (")
    assert drop.with_verdict == str(drop)
    limited = paired_drop(logits([0, 0, 0, 1, 1]), logits([0, 1, 2, 1, 2]), labels, limit=0.01)
    assert limited.with_verdict == f"{drop}; at most 1 points: cannot tell"


@pytest.mark.parametrize(
    ("lost", "limit", "verdict"),
    [(0, 0.01, "met"), (30, 0.01, "missed"), (5, 0.01, "cannot tell"), (30, 0.1, "met")],
)
def test_verdicts_follow_the_interval(lost: int, limit: float, verdict: str) -> None:
    labels = np.zeros(1000, dtype=np.int64)
    source = logits([0] * 1000)
    artefact = logits([1] * lost + [0] * (1000 - lost))
    assert paired_drop(source, artefact, labels, limit).verdict == verdict
