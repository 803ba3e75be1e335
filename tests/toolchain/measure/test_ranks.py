"""Kendall's tau is scipy's."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from fednas.toolchain.measure.ranks import kendall_tau


def test_worked_by_hand() -> None:
    # Of the six pairs, four agree and two do not.
    assert kendall_tau(np.array([1, 2, 3, 4]), np.array([1, 3, 2, 4])) == pytest.approx(4 / 6)
    assert kendall_tau(np.array([1, 2, 3]), np.array([3, 2, 1])) == -1.0
    assert kendall_tau(np.array([1, 1, 1]), np.array([3, 2, 1])) == 0.0
    assert kendall_tau(np.array([1]), np.array([1])) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_ties_are_counted_as_scipy_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 12, 60), rng.normal(size=60).round(1)
    assert kendall_tau(first, second) == pytest.approx(kendalltau(first, second).statistic)
