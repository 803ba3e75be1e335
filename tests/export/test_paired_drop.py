"""Accuracy lost on the same images: counts, interval and verdict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.common import ContractError
from fednas.export import images_enough_for, percent_rounded_up, range_of_smallest_limits
from fednas.export.fewest_images import smallest_limit
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
    assert (
        limited.with_verdict
        == f"{drop}; at most 1 points: cannot tell (5 images cannot rule out a loss of 39.36 points)"
    )


@pytest.mark.parametrize(
    ("lost", "limit", "verdict"),
    [(0, 0.01, "met"), (30, 0.01, "missed"), (5, 0.01, "cannot tell"), (30, 0.1, "met")],
)
def test_verdicts_follow_the_interval(lost: int, limit: float, verdict: str) -> None:
    labels = np.zeros(1000, dtype=np.int64)
    source = logits([0] * 1000)
    artefact = logits([1] * lost + [0] * (1000 - lost))
    assert paired_drop(source, artefact, labels, limit).verdict == verdict


def test_smallest_limit_by_hand() -> None:
    """All of 100 right: Wilson's lower end is 100 / (100 + 1.96^2) = 0.9630, and nothing correlates."""
    assert smallest_limit(100, 100) == pytest.approx(1 - 100 / (100 + 1.959964**2), abs=1e-6)


@given(st.integers(1, 400).flatmap(lambda images: st.tuples(st.integers(0, images), st.just(images))))
def test_smallest_limits_lie_in_their_range(counts: tuple[int, int]) -> None:
    right, images = counts
    least, most = range_of_smallest_limits(images)
    assert least - 1e-12 <= smallest_limit(right, images) <= most + 1e-12


@given(st.floats(0.002, 0.5))
def test_enough_images_are_the_fewest(limit: float) -> None:
    enough = images_enough_for(limit)
    assert range_of_smallest_limits(enough)[1] <= limit
    assert enough == 1 or range_of_smallest_limits(enough - 1)[1] > limit


def test_too_few_images_are_said_with_a_limit_that_they_can_show() -> None:
    labels = np.zeros(450, dtype=np.int64)
    right = logits([0] * 450)
    drop = paired_drop(right, right, labels, limit=0.001)
    assert drop.verdict == "cannot tell"
    assert drop.with_verdict.endswith("cannot tell (450 images cannot rule out a loss of 0.85 points)")
    assert paired_drop(right, right, labels, limit=0.0085).verdict == "met"
    # Here the file is at fault, not the number of images.
    lost = paired_drop(right, logits([1] * 4 + [0] * 446), labels, limit=0.01)
    assert (lost.verdict, lost.too_few_images) == ("cannot tell", "")


@pytest.mark.parametrize(("share", "shown"), [(0.0093, "0.93"), (0.00931, "0.94"), (0.5, "50")])
def test_limits_are_rounded_up(share: float, shown: str) -> None:
    assert percent_rounded_up(share) == shown
