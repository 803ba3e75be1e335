"""The three-way verdict: only a whole interval decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.common import ContractError
from fednas.toolchain.budgets import Reading, exactly, overall, verdict_of
from fednas.toolchain.budgets.verdict import Bound, Verdict

NUMBERS = st.floats(min_value=1e-6, max_value=1e12)


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    low, value, high = sorted(draw(st.tuples(NUMBERS, NUMBERS, NUMBERS)))
    return Reading(value=value, low=low, high=high)


@pytest.mark.parametrize(
    ("bound", "limit", "low", "high", "verdict"),
    [
        pytest.param("at most", 5, 3, 4, "met", id="below"),
        pytest.param("at most", 5, 3, 5, "met", id="equality passes"),
        pytest.param("at most", 5, 5, 5, "met", id="exact equality passes"),
        pytest.param("at most", 5, 4, 6, "cannot tell", id="straddles"),
        pytest.param("at most", 5, 5, 6, "cannot tell", id="starts at the limit"),
        pytest.param("at most", 5, 5.01, 6, "missed", id="above"),
        pytest.param("at least", 0.9, 0.92, 0.95, "met", id="accurate enough"),
        pytest.param("at least", 0.9, 0.9, 0.95, "met", id="accuracy equal"),
        pytest.param("at least", 0.9, 0.88, 0.95, "cannot tell", id="accuracy straddles"),
        pytest.param("at least", 0.9, 0.8, 0.9, "cannot tell", id="accuracy ends at the limit"),
        pytest.param("at least", 0.9, 0.8, 0.89, "missed", id="not accurate enough"),
    ],
)
def test_hand_worked_cases(bound: Bound, limit: float, low: float, high: float, verdict: Verdict) -> None:
    assert verdict_of(bound, limit, Reading(value=(low + high) / 2, low=low, high=high)) == verdict


@given(readings(), NUMBERS)
def test_the_verdict_says_what_all_values_of_the_interval_do(reading: Reading, limit: float) -> None:
    kept = {value <= limit for value in (reading.low, reading.high)}
    expected = {frozenset({True}): "met", frozenset({False}): "missed"}.get(frozenset(kept), "cannot tell")
    assert verdict_of("at most", limit, reading) == expected


@given(readings(), NUMBERS)
def test_at_least_is_at_most_mirrored(reading: Reading, limit: float) -> None:
    mirrored = Reading(value=-reading.value, low=-reading.high, high=-reading.low)
    assert verdict_of("at least", limit, reading) == verdict_of("at most", -limit, mirrored)


@given(readings(), NUMBERS, NUMBERS)
def test_a_looser_limit_never_turns_met_into_anything_else(reading: Reading, one: float, other: float) -> None:
    tight, loose = sorted((one, other))
    order = ("missed", "cannot tell", "met")
    assert order.index(verdict_of("at most", tight, reading)) <= order.index(verdict_of("at most", loose, reading))


@given(NUMBERS, NUMBERS)
def test_an_exact_reading_always_tells(value: float, limit: float) -> None:
    assert verdict_of("at most", limit, exactly(value)) != "cannot tell"


def test_the_worst_verdict_counts() -> None:
    assert overall(["met", "cannot tell", "missed"]) == "missed"
    assert overall(["met", "cannot tell"]) == "cannot tell"
    assert overall(["met"]) == "met"


@pytest.mark.parametrize(("value", "low", "high"), [(1, 2, 3), (4, 2, 3), (float("nan"), 1, 2)])
def test_an_impossible_reading_is_our_bug(value: float, low: float, high: float) -> None:
    with pytest.raises(ContractError, match="outside of its interval"):
        Reading(value=value, low=low, high=high)
