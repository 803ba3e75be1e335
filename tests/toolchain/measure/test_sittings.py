"""Every sitting of a run counts: another machine, state or runtime is refused, and trouble in any of them is said."""

import dataclasses
from pathlib import Path

import msgspec
import pytest
from made_up_sessions import BEFORE, QUIET, session

from fednas.common import FednasError
from fednas.latency_tables import GpuState, Machine
from fednas.profiles import find_profile
from fednas.toolchain.measure import profile_space
from fednas.toolchain.measure.conditions import Conditions, Watch
from fednas.toolchain.measure.counters import Usage
from fednas.toolchain.measure.environment import read_machine
from fednas.toolchain.measure.job import Collected
from fednas.toolchain.measure.journal import Journal, Reading
from fednas.toolchain.measure.profiling import table_of
from fednas.toolchain.measure.runtimes import find_runtime
from fednas.toolchain.measure.sittings import Sitting, all_conditions, require_same_state
from fednas.toolchain.space import SearchSpace

CARD = msgspec.structs.replace(BEFORE, gpu="NVIDIA L4", gpu_state=GpuState(driver="580.65", power_limit_w=72.0))


def sitting(number: int = 1, conditions: Conditions = QUIET, before: Machine = BEFORE, **changes: object) -> Sitting:
    made = Sitting(
        number=number,
        began="2026-01-01T00:00:00+00:00",
        runtime_version="1.2",
        before=before,
        load_before=0.5,
        conditions=conditions,
        runtime_version_after="1.2",
        after=before,
        load_after=0.5,
    )
    return msgspec.structs.replace(made, **changes)


def remarks(space: SearchSpace, *sittings: Sitting) -> tuple[str, ...]:
    collected = dataclasses.replace(session(space), sittings=sittings, conditions=all_conditions(sittings))
    return table_of(collected, accept_unfit=True).session.remarks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"power_mode": "15W"}, "power mode was 25W, is 15W"),
        ({"affinity": (0, 1)}, "affinity was 0 1 2 3, is 0 1"),
        ({"governor": "performance"}, "governor was schedutil, is performance"),
        ({"limit_mhz": 1190.0}, "limit mhz was 1344, is 1190"),
        ({"cpu_model": "another"}, "cpu model was a board, is another"),
    ],
)
def test_readings_of_two_states_are_not_mixed(change: dict[str, object], message: str) -> None:
    now = sitting(before=msgspec.structs.replace(BEFORE, **change))
    with pytest.raises(FednasError, match=f"another state of the machine: {message}; put it back, or start again"):
        require_same_state([sitting()], now, Path("x.partial"))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"driver": "590.1"}, "gpu driver was 580.65, is 590.1"), ({"power_limit_w": 60.0}, "gpu power limit w was 72")],
)
def test_a_gpu_with_other_settings_is_another_state(change: dict[str, object], message: str) -> None:
    other = msgspec.structs.replace(CARD, gpu_state=msgspec.structs.replace(CARD.gpu_state, **change))
    with pytest.raises(FednasError, match=message):
        require_same_state([sitting(before=CARD)], sitting(before=other), None)


def test_what_changes_by_itself_is_no_other_state() -> None:
    warm = {"current_mhz": 1990.0, "temperature_c": 70.0, "performance_state": "P0", "slowed_by": ("heat (software)",)}
    now = msgspec.structs.replace(CARD, temperature_c=80.0, gpu_state=msgspec.structs.replace(CARD.gpu_state, **warm))
    require_same_state([sitting(before=CARD)], sitting(before=now), None)


def test_another_runtime_is_refused_and_so_is_one_that_changed_meanwhile() -> None:
    with pytest.raises(FednasError, match=r"runtime version was 1\.2, is 1\.3"):
        require_same_state([sitting()], sitting(runtime_version="1.3"), None)
    replaced = sitting(runtime_version_after="1.3")
    with pytest.raises(FednasError, match=r"changed from version 1\.2 to 1\.3 while it measured; start again"):
        require_same_state([replaced], sitting(), None)


def test_two_quiet_sittings_are_fit(tiny_space: SearchSpace) -> None:
    assert remarks(tiny_space, sitting(1), sitting(2)) == ()


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (
            {"usage": Usage(others_cores=3.9, stolen=None, throttled=None)},
            "other programs kept 3.9 of its 4 cores busy",
        ),
        ({"usage": Usage(others_cores=None, stolen=0.2, throttled=None)}, "the host of this virtual machine took 20%"),
        ({"timer_share": 0.05}, "its clock is too coarse"),
        ({"gpu_slowed_by": ("heat (hardware)",)}, "the clock of the GPU was lowered by heat (hardware)"),
    ],
)
def test_trouble_in_an_earlier_sitting_is_said(
    tiny_space: SearchSpace, conditions: dict[str, object], message: str
) -> None:
    (found,) = remarks(tiny_space, sitting(1, dataclasses.replace(QUIET, **conditions)), sitting(2))
    assert found.startswith(f"in sitting 1, {message}")


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ({"throttle_events": 5}, "in sitting 1, heat or low voltage slowed the processor 3 times"),
        ({"power_mode": "15W"}, "in sitting 1, power_mode changed from 25W to 15W"),
        ({"gpu_state": GpuState(max_mhz=600.0)}, "in sitting 1, the GPU's max_mhz changed from None to 600.0"),
    ],
)
def test_a_state_that_changed_in_an_earlier_sitting_is_said(
    tiny_space: SearchSpace, after: dict[str, object], message: str
) -> None:
    (found,) = remarks(tiny_space, sitting(1, after=msgspec.structs.replace(BEFORE, **after)), sitting(2))
    assert found.startswith(message)


def test_a_card_at_its_power_limit_is_fit(tiny_space: SearchSpace) -> None:
    assert remarks(tiny_space, sitting(1, dataclasses.replace(QUIET, gpu_slowed_by=("its power limit",)))) == ()


def test_a_killed_sitting_has_no_end_and_counts_all_the_same(tiny_space: SearchSpace) -> None:
    killed = sitting(1, dataclasses.replace(QUIET, timer_share=0.5), after=None, load_after=None)
    assert remarks(tiny_space, killed, sitting(2))[0].startswith("in sitting 1, its clock is too coarse")


def test_conditions_of_all_sittings() -> None:
    first = Conditions(build_s=1.0, stops=2, clock_low_mhz=900.0, hottest_c=50.0, gpu_slowed_by=("heat (software)",))
    second = Conditions(build_s=2.0, stops=1, clock_low_mhz=800.0, hottest_c=None, doubts=("which precision?",))
    found = all_conditions([sitting(1, first), sitting(2, second)])
    assert (found.build_s, found.stops, found.clock_low_mhz, found.hottest_c) == (3.0, 3, 800.0, 50.0)
    assert (found.gpu_slowed_by, found.doubts) == (("heat (software)",), ("which precision?",))


READING = Reading(0, 0, 1.0, 0.5, False)


def test_the_journal_keeps_each_sitting_as_it_was_last_seen(tmp_path: Path) -> None:
    path = tmp_path / "partial"
    busy = Conditions(usage=Usage(others_cores=1.5, stolen=None, throttled=None))
    with Journal(path, job="a", resume=False) as journal:
        journal.keep(sitting(1, after=None))
        journal.add(READING)
        journal.keep(sitting(1, busy, before=CARD, after=None))
        journal.add(READING)
    with Journal(path, job="a", resume=True) as journal:
        journal.keep(sitting(2))  # took no reading, so it says nothing of any
    with Journal(path, job="a", resume=True) as journal:
        journal.keep(sitting(journal.next_sitting))
        journal.add(READING)
        assert journal.readings == [READING] * 3
        assert journal.sittings == (sitting(1, busy, before=CARD, after=None), sitting(3))


def test_sittings_out_of_order_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "partial"
    with Journal(path, job="a", resume=False):
        pass
    path.write_bytes(path.read_bytes() + msgspec.json.encode(sitting(2)) + b"\n")
    with pytest.raises(FednasError, match="are damaged: sitting 2 comes after 0"):
        Journal(path, job="a", resume=True)


def test_a_run_resumed_in_another_power_mode_is_refused(
    tiny_space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = tmp_path / "partial"
    profile_space(tiny_space, find_profile("cpu"), seconds=0.1, partial=partial, accept_unfit=True)
    before = partial.read_bytes()
    other = msgspec.structs.replace(read_machine(), power_mode="15W")
    monkeypatch.setattr("fednas.toolchain.measure.sittings.read_machine", lambda **_: other)
    with pytest.raises(FednasError, match=r"another state of the machine: power mode was .*, is 15W"):
        profile_space(tiny_space, find_profile("cpu"), seconds=0.1, partial=partial, resume=True)
    assert partial.read_bytes() == before


def test_a_runtime_that_is_replaced_while_it_measures_is_refused(
    tiny_space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = iter(["1.0", "1.1"])
    monkeypatch.setattr(type(find_runtime("onnxruntime")), "version", lambda _self: next(versions))
    with pytest.raises(FednasError, match=r"changed from version 1\.0 to 1\.1 while it measured"):
        profile_space(tiny_space, find_profile("cpu"), seconds=0.1, partial=tmp_path / "partial", accept_unfit=True)


def test_an_interrupted_sitting_leaves_its_end_in_the_journal(tiny_space: SearchSpace, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(done: float, total: float, what: str = "") -> None:
        raise StoppedError

    partial = tmp_path / "partial"
    with pytest.raises(StoppedError):
        profile_space(tiny_space, find_profile("cpu"), seconds=0.1, partial=partial, progress=stop)
    last = msgspec.json.decode(partial.read_bytes().splitlines()[-1], type=Sitting)
    assert last.after is not None
    assert last.conditions.load_s is not None


def test_the_watch_tells_what_it_saw_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.conditions.LOOK_EVERY_S", -1.0)
    seconds = iter(range(0, 100, 4))
    monkeypatch.setattr("fednas.toolchain.measure.conditions.time.monotonic", lambda: float(next(seconds)))
    told: list[Conditions] = []
    watch = Watch(root=tmp_path, keep=told.append)
    for _ in range(9):
        watch.stops += 1
        watch.look()
    assert [each.stops for each in told] == sorted({each.stops for each in told})
    assert 1 < len(told) < 9


def test_collected_without_sittings_is_one(tiny_space: SearchSpace) -> None:
    found: Collected = session(tiny_space)
    (only,) = found.each_sitting
    assert (only.before, only.conditions, only.load_before) == (found.before, found.conditions, found.load_before)
