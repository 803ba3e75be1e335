"""The rounds on a runtime that is made up: clocks that jump, machines that sleep, models below a tick of the clock."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fednas.common import ExitCode, FednasError
from fednas.latency_tables import readings_needed
from fednas.toolchain.measure import clock
from fednas.toolchain.measure.conditions import Watch
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.journal import Journal
from fednas.toolchain.measure.plan import NETWORK_VISITS, plan_for
from fednas.toolchain.measure.rounds import LEAST_ROUNDS, measure, usual_ms
from fednas.toolchain.measure.runtimes import TimedModel
from fednas.toolchain.space import SearchSpace

PASSES, ROUNDS_OF_A_PASS = 3, 3
"""Of the exhaustive plan."""


class MadeUpModel(TimedModel):
    """Takes what it is told to."""

    def __init__(self, milliseconds: Callable[[int], float]) -> None:
        super().__init__()
        self._take = milliseconds
        self.calls = self.released = 0

    def _milliseconds(self, times: int) -> float:
        self.calls += times
        return self._take(times)

    def _last_output(self) -> np.ndarray:
        return np.zeros(1, np.float32)

    def _release(self) -> None:
        self.released += 1


class MadeUpRuntime:
    """Loads models that all take the same."""

    on_gpu = networks_only = False

    def __init__(self, milliseconds: Callable[[int], float]) -> None:
        self.loaded = [MadeUpModel(milliseconds)]
        self._take = milliseconds

    def load(self, _model: bytes, **_: object) -> MadeUpModel:
        self.loaded.append(MadeUpModel(self._take))
        return self.loaded[-1]


@pytest.fixture
def job(tiny_space: SearchSpace) -> MeasuringJob:
    return MeasuringJob(
        device="cpu",
        plan=plan_for("exhaustive", tiny_space),
        runtime="made up",
        precision="fp32",
        threads=1,
        batch=1,
        seconds=1e-9,  # the least number of rounds
        seed=0,
        space=tiny_space,
    )


def use(monkeypatch: pytest.MonkeyPatch, milliseconds: Callable[[int], float]) -> MadeUpRuntime:
    runtime = MadeUpRuntime(milliseconds)
    monkeypatch.setattr("fednas.toolchain.measure.rounds.find_runtime", lambda _: runtime)
    return runtime


def test_every_model_has_the_readings_that_its_median_needs(job: MeasuringJob, monkeypatch: pytest.MonkeyPatch) -> None:
    assert readings_needed(0.5) <= LEAST_ROUNDS
    use(monkeypatch, lambda _: 2.0)
    with Journal(None, job="", resume=False) as journal:
        measure(job, journal)
    counts = np.bincount([reading.candidate for reading in journal.readings])
    assert list(counts) == [PASSES * ROUNDS_OF_A_PASS * job.plan.visits_of(i) for i in range(len(job.plan.candidates))]
    assert {job.plan.visits_of(i) for i in range(1 + len(job.plan.blocks))} == {1}
    assert job.plan.visits_of(1 + len(job.plan.blocks)) == NETWORK_VISITS
    assert PASSES * ROUNDS_OF_A_PASS >= LEAST_ROUNDS
    assert {reading.latency_ms for reading in journal.readings} == {2.0}


@pytest.mark.parametrize("seconds", [1e-9, 0.02])
def test_tails_take_as_many_readings_as_p90_needs_or_ten_times_the_seconds(
    job: MeasuringJob, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    use(monkeypatch, lambda _: 2.0)
    # One reading in five is disturbed, and does not count towards a tail.
    asked = iter(range(10**9))
    monkeypatch.setattr("fednas.toolchain.measure.rounds.interruptions", lambda: next(asked) // 10)
    monkeypatch.setattr("fednas.toolchain.measure.rounds.TAIL_TIMES", 10 if seconds < 1e-6 else 1e6)
    with Journal(None, job="", resume=False) as journal:
        measure(dataclasses.replace(job, seconds=seconds, tails=True), journal)
    quiet = Counter(reading.candidate for reading in journal.readings if not reading.interrupted)
    assert len(quiet) == len(job.plan.candidates)
    if seconds < 1e-6:
        counts = Counter(reading.candidate for reading in journal.readings)
        assert {counts[i] / job.plan.visits_of(i) for i in counts} == {PASSES * ROUNDS_OF_A_PASS}
    else:
        assert min(quiet.values()) >= readings_needed(0.9) == 44


def test_a_large_model_is_not_called_more_often_than_it_is_read(
    job: MeasuringJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = use(monkeypatch, lambda _: 50.0)
    with Journal(None, job="", resume=False) as journal:
        measure(job, journal)
    # One probe, then a warm call and a reading in each visit.
    assert {model.calls for model in runtime.loaded[2:]} == {1 + 2 * ROUNDS_OF_A_PASS * times for times in (1, 3)}


def test_every_model_is_closed_after_the_run(job: MeasuringJob, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = use(monkeypatch, lambda _: 2.0)
    with Journal(None, job="", resume=False) as journal:
        measure(job, journal)
    # The reference once, all others anew in each pass; the first in the list was never asked for.
    loaded = 1 + PASSES * (len(job.plan.candidates) - 1)
    assert [model.released for model in runtime.loaded[1:]] == [1] * loaded


def test_what_takes_long_to_build_is_built_once(job: MeasuringJob, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = use(monkeypatch, lambda _: 2.0)
    runtime.networks_only = True
    with Journal(None, job="", resume=False) as journal:
        measure(job, journal)
    assert len(runtime.loaded) == 1 + len(job.plan.candidates)
    assert len(journal.readings) == LEAST_ROUNDS * sum(map(job.plan.visits_of, range(len(job.plan.candidates))))


def test_a_group_that_cannot_be_loaded_leaves_nothing_loaded(
    job: MeasuringJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = use(monkeypatch, lambda _: 2.0)
    load = runtime.load

    def full(model: bytes, **options: object) -> MadeUpModel:
        if len(runtime.loaded) == 5:
            raise FednasError("memory is full")
        return load(model, **options)

    monkeypatch.setattr(runtime, "load", full)
    with Journal(None, job="", resume=False) as journal, pytest.raises(FednasError, match="memory is full"):
        measure(job, journal)
    assert [model.released for model in runtime.loaded[1:]] == [1] * 4


@pytest.mark.parametrize("bad_ms", [0.0, -0.5, float("nan")])
def test_a_clock_that_jumps_ends_the_run_and_keeps_the_readings(
    job: MeasuringJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bad_ms: float
) -> None:
    taken: Iterator[float] = itertools.chain([2.0] * 600, itertools.repeat(bad_ms))
    use(monkeypatch, lambda _: next(taken))
    partial = tmp_path / "partial"
    with (
        pytest.raises(FednasError, match=r"its clock gave a reading of .*--resume") as caught,
        Journal(partial, job="a", resume=False) as journal,
    ):
        measure(job, journal)
    assert caught.value.exit_code is ExitCode.CANNOT_TELL
    with Journal(partial, job="a", resume=True) as journal:
        assert len(journal.readings) > 50


def test_a_suspended_machine_costs_one_reading(job: MeasuringJob, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, lambda _: 2.0)
    asked = iter(range(10_000))
    monkeypatch.setattr(clock, "_asleep_s", lambda: 3600.0 if next(asked) >= 200 else 0.0)
    monkeypatch.setattr("fednas.toolchain.measure.rounds.interruptions", lambda: 0)
    watch = Watch()
    with Journal(None, job="", resume=False) as journal:
        measure(job, journal, watch=watch)
    assert [reading.interrupted for reading in journal.readings].count(True) == 1
    assert watch.conditions().stops == 1


def test_a_model_below_a_tick_of_the_clock_is_called_until_it_ticks() -> None:
    # Each call takes 4 us, and the clock counts whole milliseconds.
    model = MadeUpModel(lambda times: (times * 4 // 1000) / times)
    assert usual_ms(model, 100.0) == pytest.approx(0.004, rel=0.1)


def test_a_clock_that_stands_still_is_said() -> None:
    with pytest.raises(FednasError, match="its clock gave a reading of 0 ms"):
        usual_ms(MadeUpModel(lambda _: 0.0), 0.1)
