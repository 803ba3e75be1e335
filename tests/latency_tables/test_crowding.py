"""Networks that take longer than the sum of their blocks."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.latency_tables import Calibration, chosen_crowding, crowded_ms, crowdings_for, uncrowded_ms


def test_the_cost_of_crowding_grows_with_the_square_of_the_sum() -> None:
    assert crowded_ms(2.0, 0.1) == pytest.approx(2.0 + 0.1 * 4.0)
    assert crowded_ms(2.0, 0.0) == 2.0
    # 2.4 = s + 0.1 s^2 at s = 2.
    assert uncrowded_ms(2.4, 0.1) == pytest.approx(2.0)
    assert uncrowded_ms(math.inf, 0.1) == math.inf


@given(sum_ms=st.floats(1e-6, 1e6), crowding=st.floats(0, 1e3))
def test_the_inverse_gives_the_sum_back(sum_ms: float, crowding: float) -> None:
    assert uncrowded_ms(crowded_ms(sum_ms, crowding), crowding) == pytest.approx(sum_ms, rel=1e-9)


@given(sums=st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=2, unique=True), crowding=st.floats(0, 1e3))
def test_the_order_of_sums_is_that_of_latencies(sums: list[float], crowding: float) -> None:
    low, high = sorted(sums)
    assert crowded_ms(low, crowding) <= crowded_ms(high, crowding)


def test_what_is_tried_begins_with_none_and_goes_by_the_median_network() -> None:
    tried = crowdings_for([1.0, 2.0, 30.0])
    assert tried[0] == 0.0
    assert tried[-1] == pytest.approx(0.15)


def test_a_plain_sum_stays_unless_crowding_is_clearly_better() -> None:
    assert chosen_crowding({0.0: 0.020, 0.1: 0.019, 0.2: 0.030}) == 0.0
    assert chosen_crowding({0.0: 0.020, 0.1: 0.015, 0.2: 0.010}) == 0.2


@pytest.mark.parametrize("crowding", [-0.1, 1e7, math.inf])
def test_a_calibration_takes_only_what_can_be_computed_with(crowding: float) -> None:
    with pytest.raises((msgspec.ValidationError, ValueError)):
        msgspec.convert({"crowding_per_ms": crowding}, Calibration)
