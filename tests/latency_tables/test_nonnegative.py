"""Many non-negative least squares at once, against scipy's one at a time and against the conditions of an optimum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from fednas.latency_tables import solve_nonnegative


def problems(seed: int, count: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns of sizes far apart that go much the same way, as the features of networks do."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform(0, 1, (count, height, width)) + rng.uniform(0, 3, width)
    target = 1 + 0.1 * rng.standard_normal((count, height))
    return rows * rng.choice([-1, 1], width) * 10 ** rng.uniform(-6, 6, width), target


@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(0, 40), st.integers(1, 8))
@settings(max_examples=200, deadline=None)
def test_each_is_what_scipy_finds(seed: int, count: int, more: int, width: int) -> None:
    rows, target = problems(seed, count, width + more, width)
    size = np.linalg.norm(rows, axis=1)
    for found, each, wanted, scale in zip(solve_nonnegative(rows, target), rows, target, size, strict=True):
        expected, _ = nnls(each / scale, wanted)
        assert found * scale == pytest.approx(expected, rel=1e-9, abs=1e-9 * max(1, expected.max()))


@given(st.integers(0, 2**32), st.integers(1, 10), st.integers(1, 5), st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_fewer_rows_than_coefficients_leave_as_little_as_can_be(seed: int, count: int, height: int, width: int) -> None:
    rows, target = problems(seed, count, height, width)
    for found, each, wanted in zip(solve_nonnegative(rows, target), rows, target, strict=True):
        _, least = nnls(each / np.linalg.norm(each, axis=0), wanted)
        assert (found >= 0).all()
        assert np.linalg.norm(each @ found - wanted) == pytest.approx(least, abs=1e-7)


def test_by_hand() -> None:
    # Alone, the first column would take 2; the second pulls the wrong way, so it stays at zero.
    rows = np.array([[[1.0, -1.0], [1.0, -2.0]], [[1.0, 0.0], [0.0, 2.0]]])
    assert solve_nonnegative(rows, np.array([[1.0, 3.0], [5.0, 4.0]])) == pytest.approx(np.array([[2, 0], [5, 2]]))


def test_columns_that_are_the_same_or_nothing_do_no_harm() -> None:
    rows = np.array([[[1.0, -12.0, 1.0, 0.0], [2.0, -24.0, 2.0, 0.0]]])
    found = solve_nonnegative(rows, np.array([[1.0, 2.0]]))
    assert rows[0] @ found[0] == pytest.approx([1.0, 2.0])
    assert found[0, 1] == found[0, 3] == 0


def test_rows_of_zeros_change_nothing() -> None:
    rows, target = problems(3, 4, 12, 5)
    padded = np.concatenate([rows, np.zeros((4, 3, 5))], axis=1), np.concatenate([target, np.zeros((4, 3))], axis=1)
    assert solve_nonnegative(*padded) == pytest.approx(solve_nonnegative(rows, target), rel=1e-9)


def test_nothing_to_explain_takes_nothing() -> None:
    assert not solve_nonnegative(np.ones((2, 3, 2)), np.zeros((2, 3))).any()
