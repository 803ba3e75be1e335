"""Clocks that tick coarsely, stand still and jump."""

import itertools

import pytest

from fednas.common import ExitCode, FednasError
from fednas.toolchain.measure.clock import Clock, Standstill, checked_reading, examine_clock


@pytest.mark.parametrize(("tick_ns", "step_ms"), [(1_000_000, 1.0), (1000, 1e-3), (1, 50e-6)])
def test_the_step_of_a_clock_is_its_tick_or_what_reading_it_costs(tick_ns: int, step_ms: float) -> None:
    true_ns = itertools.count(0, 50)
    assert examine_clock(lambda: next(true_ns) // tick_ns * tick_ns).step_ms == pytest.approx(step_ms)


def test_the_clock_of_this_machine_resolves_our_readings() -> None:
    assert examine_clock().share(0.1) < 0.5


def test_a_clock_of_whole_milliseconds_asks_for_longer_readings() -> None:
    assert Clock(step_ms=1.0).reading_ms(0.1) == 100.0
    assert Clock(step_ms=1e-6).reading_ms(0.1) == 0.1
    assert Clock(step_ms=1.0).share(100.0) == pytest.approx(0.01)


@pytest.mark.parametrize("latency_ms", [0.0, -3.0, float("nan"), float("inf")])
def test_a_reading_that_no_clock_gives_is_refused(latency_ms: float) -> None:
    with pytest.raises(FednasError, match=r"its clock gave a reading of .*, so it jumps; .*--resume") as caught:
        checked_reading(latency_ms)
    assert caught.value.exit_code is ExitCode.CANNOT_TELL


def test_a_suspended_machine_is_noticed_once() -> None:
    asleep_s = iter([5.0, 5.0, 905.0, 905.0])
    still = Standstill(lambda: next(asleep_s))
    assert [still.happened(1.0, usual_ms=1.0) for _ in range(3)] == [False, True, False]
    assert still.count == 1


@pytest.mark.parametrize(
    ("latency_ms", "usual_ms", "stood"),
    [(30.0, 1.0, False), (1500.0, 1.0, True), (1500.0, 400.0, False), (9000.0, 400.0, True)],
)
def test_a_reading_is_a_standstill_if_it_is_many_times_and_a_second_longer(
    latency_ms: float, usual_ms: float, stood: bool
) -> None:
    assert Standstill(lambda: 0.0).happened(latency_ms, usual_ms) is stood
