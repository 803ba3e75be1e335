"""The additive fit on data whose law is known, and on rows that want to spoil it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fednas.common import FednasError
from fednas.latency_tables import conformal_factor, fit_additive, require_readings


def rows(count: int, columns: int, seed: int = 0) -> np.ndarray:
    """A constant, and random features of very different size."""
    rng = np.random.default_rng(seed)
    features = rng.uniform(0.2, 1.8, (count, columns)) * 10.0 ** np.arange(columns)
    features[:, 0] = 1.0
    return features


TRUE = np.array([2.0, 0.3, 0.04])


def test_a_law_is_recovered_through_noise() -> None:
    features = rows(200, 3)
    noise = np.exp(0.02 * np.random.default_rng(1).standard_normal(200))
    fit = fit_additive([features], features @ TRUE * noise)
    fresh = rows(500, 3, seed=2)
    assert np.abs(fit.predict([fresh]) / (fresh @ TRUE) - 1).max() < 0.02
    assert fit.noise[0] == pytest.approx(0.02, rel=0.2)
    assert not fit.looks_like_a_sum


def test_a_refining_group_is_used_with_many_rows_and_left_alone_with_few() -> None:
    """A hundred useless columns beside three that count: thirty rows must not be spent on them."""
    base, useless = rows(2000, 3), np.random.default_rng(3).integers(0, 2, (2000, 100)).astype(float)
    truth = base @ TRUE * np.exp(0.02 * np.random.default_rng(4).standard_normal(2000))
    alone = fit_additive([base[:30]], truth[:30])
    both = fit_additive([base[:30], useless[:30]], truth[:30])
    error_alone = np.abs(alone.predict([base[30:]]) / truth[30:] - 1).mean()
    error_both = np.abs(both.predict([base[30:], useless[30:]]) / truth[30:] - 1).mean()
    assert error_both < 1.2 * error_alone
    useful = truth * (1 + 0.1 * useless[:, 0])
    helped = fit_additive([base[:500], useless[:500]], useful[:500])
    missed = fit_additive([base[:500]], useful[:500])
    assert helped.noise[0] < 0.7 * missed.noise[0]


def test_rows_of_nearly_no_latency_do_not_decide_the_fit() -> None:
    """Folded networks read a ten-thousandth of the others: relative weights alone would fit nothing else."""
    features = rows(100, 3)
    latency_ms = features @ TRUE
    latency_ms[:5] = 1e-4 * latency_ms[:5]
    fit = fit_additive([features], latency_ms)
    fresh = rows(200, 3, seed=5)
    assert np.abs(fit.predict([fresh]) / (fresh @ TRUE) - 1).max() < 0.05


def test_one_wild_reading_counts_little() -> None:
    features = rows(60, 3)
    latency_ms = features @ TRUE * np.exp(0.01 * np.random.default_rng(6).standard_normal(60))
    latency_ms[7] *= 4
    fit = fit_additive([features], latency_ms)
    assert np.abs(fit.predict([features]) / (features @ TRUE) - 1).max() < 0.05


def test_bounded_coefficients_stay_at_zero() -> None:
    features = rows(50, 3)
    latency_ms = features @ np.array([20.0, -0.3, 0.04])
    free, bounded = fit_additive([features], latency_ms), fit_additive([features], latency_ms, nonnegative=[True])
    assert free.coefficients_ms[1] < -0.2
    assert bounded.coefficients_ms.min() >= 0


def test_each_kind_of_row_has_a_noise_of_its_own() -> None:
    features, kinds = rows(400, 3), np.arange(400) % 2
    rng = np.random.default_rng(7)
    latency_ms = features @ TRUE * np.exp(np.where(kinds, 0.10, 0.01) * rng.standard_normal(400))
    fit = fit_additive([features], latency_ms, kinds=kinds)
    assert fit.noise == pytest.approx((0.01, 0.10), rel=0.25)


def test_intervals_hold_what_they_claim() -> None:
    inside = []
    for seed in range(10):
        features, fresh = rows(60, 3, seed), rows(300, 3, 100 + seed)
        rng = np.random.default_rng(seed)
        fit = fit_additive([features], features @ TRUE * np.exp(0.05 * rng.standard_normal(60)))
        read = fresh @ TRUE * np.exp(0.05 * rng.standard_normal(300))
        inside.append(np.mean(np.abs(np.log(fit.predict([fresh]) / read)) <= math.log(fit.factor(0.9))))
    assert 0.87 < np.mean(inside) < 0.95


def test_deviation_grows_away_from_the_rows() -> None:
    features = rows(40, 3)
    fit = fit_additive([features], features @ TRUE * np.exp(0.03 * np.random.default_rng(8).standard_normal(40)))
    near, far = features.mean(axis=0, keepdims=True), 10 * features.max(axis=0, keepdims=True)
    assert 0 < fit.deviation_ms([near])[0] < fit.deviation_ms([far])[0]


def test_numbers_that_were_added_up_are_refused_as_evidence() -> None:
    features = rows(100, 3)
    fit = fit_additive([features], features @ TRUE)
    with pytest.raises(FednasError, match=r"device X: this is a sum, not a reading: .* 0.00.%"):
        require_readings(fit, "device X")
    read = features @ TRUE * np.exp(0.003 * np.random.default_rng(9).standard_normal(100))
    require_readings(fit_additive([features], read), "device X")


@given(
    count=st.integers(4, 12),
    columns=st.integers(1, 20),
    copies=st.booleans(),
    constant=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_few_rows_copies_and_empty_columns_give_finite_predictions(
    count: int, columns: int, copies: bool, constant: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.uniform(0, 1, (count, columns))
    features[:, -1] = 0.0
    if copies:
        features[:] = features[0]
    latency_ms = np.full(count, 3.0) if constant else rng.uniform(1, 5, count)
    fit = fit_additive([np.ones((count, 1)), features], latency_ms)
    predicted = fit.predict([np.ones((count, 1)), features])
    assert np.isfinite(predicted).all()
    assert (predicted >= latency_ms.min() / 2).all()
    assert fit.factor(0.9) >= 1


@pytest.mark.parametrize(
    ("features", "latency_ms", "message"),
    [
        (np.ones((3, 1)), np.ones(3), "3 latencies are too few to fit a model; at least 4"),
        (np.ones((5, 1)), np.array([1, 2, 0, 1, 1.0]), "every latency must be a number above zero"),
        (np.ones((5, 1)), np.array([1, 2, np.nan, 1, 1]), "every latency must be a number above zero"),
        (np.ones((4, 1)), np.ones(5), r"features of shape \(4, 1\) do not describe 5 latencies"),
        (np.full((5, 1), np.inf), np.ones(5), "or are not finite"),
    ],
)
def test_what_cannot_be_fitted_is_said(features: np.ndarray, latency_ms: np.ndarray, message: str) -> None:
    with pytest.raises(FednasError, match=message):
        fit_additive([features], latency_ms)


def test_conformal_factor_takes_the_rank_that_covers_one_more() -> None:
    errors = [0.01 * i for i in range(1, 10)]
    assert conformal_factor(errors, 0.9) == pytest.approx(math.exp(0.09))  # ceil(10 * 0.9) = 9th of 9
    assert conformal_factor(errors, 0.5) == pytest.approx(math.exp(0.05))
    assert conformal_factor(errors, 0.99) == pytest.approx(math.exp(0.09))  # ten are asked for, nine are there
