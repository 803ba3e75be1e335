"""Everything that makes a machine unfit is said: each is brought about in readings or conditions that are made up."""

import dataclasses

import msgspec
import numpy as np
import pytest
from made_up_sessions import BEFORE, QUIET, readings_in, session

from fednas.common import ExitCode, FednasError
from fednas.latency_tables import LatencyTable
from fednas.toolchain.measure.conditions import Conditions
from fednas.toolchain.measure.counters import Usage
from fednas.toolchain.measure.job import Collected
from fednas.toolchain.measure.profiling import table_of
from fednas.toolchain.measure.unfit import Remedy, UnfitMachine
from fednas.toolchain.space import SearchSpace


def remarks(collected: Collected) -> tuple[str, ...]:
    return table_of(collected, accept_unfit=True).session.remarks


def test_a_quiet_machine_is_fit(tiny_space: SearchSpace) -> None:
    table = table_of(session(tiny_space), accept_unfit=False)
    assert table.session.remarks == ()
    assert (table.machine, table.machine_after) == (BEFORE, BEFORE)
    assert (table.session.others_cores, table.session.timer_share) == (0.1, 0.001)


def test_an_unfit_machine_ends_with_exit_code_5(tiny_space: SearchSpace) -> None:
    crowded = dataclasses.replace(QUIET, usage=Usage(others_cores=3.9, stolen=None, throttled=None))
    message = r"not fit to measure: other programs kept 3.9 of its 4 cores busy.*; stop other work and start anew"
    with pytest.raises(FednasError, match=message) as caught:
        table_of(dataclasses.replace(session(tiny_space), conditions=crowded), accept_unfit=False)
    assert caught.value.exit_code is ExitCode.CANNOT_TELL


@pytest.mark.parametrize(
    ("plan", "hint"),
    [("exhaustive", "give more --seconds with --resume"), ("sparse", "start anew, without --resume, with more")],
)
def test_more_seconds_are_another_job_where_they_choose_what_is_measured(
    plan: str, hint: str, tiny_space: SearchSpace
) -> None:
    found = session(tiny_space)
    job = dataclasses.replace(found.job, plan=dataclasses.replace(found.job.plan, name=plan))
    stopped = dataclasses.replace(QUIET, stops=50)
    with pytest.raises(FednasError, match=hint):
        table_of(dataclasses.replace(found, job=job, conditions=stopped), accept_unfit=False)


def test_more_readings_of_engines_that_say_nothing_are_not_asked_for(tiny_space: SearchSpace) -> None:
    doubtful = dataclasses.replace(QUIET, doubts=("an engine does not say whether its layers run in fp16",))
    message = r"layers run in fp16; more readings do not help: another version of TensorRT, .* may say it; --accept-unf"
    with pytest.raises(UnfitMachine, match=message) as caught:
        table_of(dataclasses.replace(session(tiny_space), conditions=doubtful), accept_unfit=False)
    assert (caught.value.exit_code, caught.value.remedy) == (ExitCode.CANNOT_TELL, Remedy.OTHER_ENGINES)
    assert "--seconds" not in str(caught.value)


def test_more_readings_of_launches_are_not_asked_for(tiny_space: SearchSpace) -> None:
    with pytest.raises(UnfitMachine, match="do not help: a larger --batch, or --plan network"):
        table_of(session(tiny_space, flat=True), accept_unfit=False)


@pytest.mark.parametrize("part", ["calibration", "held_out", "priced", "blocks"])
def test_half_a_plan_makes_no_table(part: str, tiny_space: SearchSpace) -> None:
    found = session(tiny_space)
    plan = dataclasses.replace(found.job.plan, **{part: getattr(found.job.plan, part)[:1]})
    job = dataclasses.replace(found.job, plan=plan)
    with pytest.raises(FednasError, match="no table can be made of this exhaustive plan"):
        table_of(dataclasses.replace(found, job=job), accept_unfit=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timer_share": 0.05}, "its clock is too coarse: 5%"),
        ({"stops": 50}, "stood still, or its clock jumped, during 50 of"),
        ({"usage": Usage(others_cores=None, stolen=0.2, throttled=None)}, "host of this virtual machine took 20%"),
        ({"usage": Usage(others_cores=None, stolen=None, throttled=0.1)}, "quota stopped it for 10% of the time"),
    ],
)
def test_conditions_that_are_unfit(tiny_space: SearchSpace, change: dict[str, object], message: str) -> None:
    conditions = dataclasses.replace(QUIET, **change)  # type: ignore[arg-type]
    (found,) = remarks(dataclasses.replace(session(tiny_space), conditions=conditions))
    assert message in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"power_mode": "15W"}, "power_mode changed from 25W to 15W meanwhile"),
        ({"governor": "powersave"}, "governor changed from schedutil to powersave"),
        ({"limit_mhz": 1190.0}, "limit_mhz changed from 1344.0 to 1190.0"),
        ({"affinity": (0, 1)}, "affinity changed"),
        ({"throttle_events": 5}, "heat or low voltage slowed the processor 3 times"),
    ],
)
def test_a_machine_that_changed_meanwhile(tiny_space: SearchSpace, change: dict[str, object], message: str) -> None:
    after = msgspec.structs.replace(BEFORE, **change)
    (found,) = remarks(dataclasses.replace(session(tiny_space), after=after))
    assert message in found


def test_load_is_judged_by_its_average_where_nothing_better_is_known(tiny_space: SearchSpace) -> None:
    unknown = dataclasses.replace(session(tiny_space), conditions=Conditions(), load_before=6.0)
    assert remarks(unknown) == ("6.0 processes ran before the start, on 4 cores",)


def test_heat_shows_in_the_halves(tiny_space: SearchSpace) -> None:
    count = readings_in(tiny_space)
    heating = np.repeat([1.0, 1.3], [count // 2, count - count // 2])
    (found,) = remarks(session(tiny_space, heating))
    assert "the second half of the session took 1.30 times as long as the first: heat" in found


def test_a_machine_that_halves_its_speed_now_and_then(tiny_space: SearchSpace) -> None:
    spells = np.where(np.arange(readings_in(tiny_space)) // 60 % 3 == 0, 2.5, 1.0)
    assert "its speed varies by a factor of 2.5 (limit 2)" in remarks(session(tiny_space, spells))


def test_interrupted_readings(tiny_space: SearchSpace) -> None:
    found = session(tiny_space)
    readings = [reading._replace(interrupted=i % 3 == 0) for i, reading in enumerate(found.readings)]
    (remark,) = remarks(dataclasses.replace(found, readings=readings))
    assert "other programs took the core during 33% of the readings" in remark


def test_blocks_that_cost_the_same_whatever_they_do(tiny_space: SearchSpace) -> None:
    assert any("launches dominate" in remark for remark in remarks(session(tiny_space, flat=True)))


def test_outliers_are_counted_and_kept(tiny_space: SearchSpace) -> None:
    found = session(tiny_space)
    slow = [r._replace(latency_ms=50 * r.latency_ms) if i in (300, 500) else r for i, r in enumerate(found.readings)]
    table: LatencyTable = table_of(dataclasses.replace(found, readings=slow), accept_unfit=True)
    assert table.session.outliers >= 2
    assert table.session.readings == len(slow)


@pytest.mark.parametrize(("rounds", "claimed"), [(12, False), (43, False), (44, True)])
def test_percentiles_are_claimed_from_44_readings_on(
    tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch, rounds: int, claimed: bool
) -> None:
    monkeypatch.setattr("made_up_sessions.ROUNDS", rounds)
    table = table_of(session(tiny_space), accept_unfit=True)
    for read in (*table.entries, *(network for network in table.networks if network.samples == rounds)):
        assert (read.p10_ms is not None, read.p90_ms is not None) == (claimed, claimed)
