"""Quantiles of many groups at once are those of each group alone."""

import numpy as np
import pytest

from fednas.toolchain.measure.grouped import medians_by, quantiles_by, ranks_within


def test_worked_by_hand() -> None:
    group, values = np.array([1, 0, 1, 1, 3]), np.array([4.0, 7.0, 1.0, 2.0, 5.0])
    assert medians_by(group, values).tolist()[:2] == [7.0, 2.0]
    assert np.isnan(medians_by(group, values)[2])
    assert medians_by(group, values)[3] == 5.0
    assert quantiles_by(group, values, (0.0, 0.75, 1.0))[:, 1].tolist() == [1.0, 3.0, 4.0]
    assert len(medians_by(group, values, groups=6)) == 6
    assert ranks_within(group).tolist() == [0, 0, 1, 2, 0]


@pytest.mark.parametrize("seed", range(5))
def test_as_numpy_has_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group, values = rng.integers(0, 20, 400), rng.lognormal(size=400)
    found = quantiles_by(group, values, (0.1, 0.5, 0.9))
    for number in range(20):
        np.testing.assert_allclose(found[:, number], np.quantile(values[group == number], (0.1, 0.5, 0.9)), rtol=1e-12)
