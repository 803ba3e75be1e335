"""Which sittings of a kit count together: what the script does not go on after is what home refuses, and no more."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from board_stand_ins import python_of, run, stand_in_onnxruntime
from results_changes import GPU, GPU_CHANGES, NO_GPU_CHANGES, NO_STATE_CHANGES, STATE_CHANGES

from fednas.export.board.problem import BoardProblem
from fednas.latency_tables import GpuState, Machine
from fednas.latency_tables.fingerprint import CHANGING, CLOSE_MEMORY
from fednas.toolchain.measure.kit import read_results
from fednas.toolchain.measure.kit.board import same
from fednas.toolchain.measure.kit.board.partial import BoardReading, Partial

MakeKit = Callable[..., Path]


BOARD = {
    "cpu_model": "one",
    "architecture": "x",
    "operating_system": "Linux 6.1",
    "cores": 4,
    "affinity": [0, 1],
    "memory_bytes": 8_000_000_000,
    "governor": "ondemand",
    "power_mode": None,
    "min_mhz": 600.0,
    "max_mhz": 2400.0,
    "limit_mhz": 2400.0,
    "numpy_version": "1.19.5",
    "python_version": "3.9.1",
}


@pytest.mark.parametrize("change", STATE_CHANGES, ids=str)
def test_a_run_does_not_go_on_where_home_would_refuse_it(change: dict[str, Any], tmp_path: Path) -> None:
    with Partial(str(tmp_path), {"kit": "k"}, BOARD) as kept:
        kept.add(BoardReading(0, 1, 0.25, 1.5, False))
    (name,) = change
    message = f"readings.partial belongs to other measurements: {name.replace('_', ' ')} was .*, now .*; delete it"
    with pytest.raises(BoardProblem, match=message) as caught:
        Partial(str(tmp_path), {"kit": "k"}, BOARD | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [*NO_STATE_CHANGES, {"memory_bytes": 8_050_000_000}], ids=str)
def test_a_run_goes_on_after_what_makes_no_difference(change: dict[str, Any], tmp_path: Path) -> None:
    with Partial(str(tmp_path), {"kit": "k"}, BOARD) as kept:
        kept.add(BoardReading(0, 1, 0.25, 1.5, False))
    with Partial(str(tmp_path), {"kit": "k"}, BOARD | change) as again:
        assert len(again.readings) == 1


def test_the_rule_of_the_board_leaves_out_nothing_that_tables_compare() -> None:
    told_elsewhere = {"locked", "capacities", "gpu", "gpu_state", "python_version"}
    assert set(Machine.__struct_fields__) - CHANGING - told_elsewhere == set(same.DECISIVE)
    assert same.NEAR_MEMORY == CLOSE_MEMORY
    assert {name for change in STATE_CHANGES for name in change} == set(same.DECISIVE)
    assert set(GpuState.__struct_fields__) - CHANGING == set(same.GPU_DECISIVE) - {"name"}
    assert {name for change in GPU_CHANGES for name in change} == set(same.GPU_DECISIVE)


@pytest.mark.parametrize("change", GPU_CHANGES, ids=str)
def test_a_run_does_not_go_on_with_another_gpu_or_other_settings_of_it(change: dict[str, Any], tmp_path: Path) -> None:
    with Partial(str(tmp_path), {"kit": "k"}, BOARD | {"gpu": GPU}) as kept:
        kept.add(BoardReading(0, 1, 0.25, 1.5, False))
    (name,) = change
    with pytest.raises(BoardProblem, match=f"gpu {name.replace('_', ' ')} was .*, now .*; delete it"):
        Partial(str(tmp_path), {"kit": "k"}, BOARD | {"gpu": GPU | change})
    with pytest.raises(BoardProblem, match=r"gpu driver was 580.65.06, now not readable"):
        Partial(str(tmp_path), {"kit": "k"}, BOARD | {"gpu": None})


@pytest.mark.parametrize("change", NO_GPU_CHANGES, ids=str)
def test_a_run_goes_on_with_a_gpu_at_another_clock_or_heat(change: dict[str, Any], tmp_path: Path) -> None:
    with Partial(str(tmp_path), {"kit": "k"}, BOARD | {"gpu": GPU}) as kept:
        kept.add(BoardReading(0, 1, 0.25, 1.5, False))
    with Partial(str(tmp_path), {"kit": "k"}, BOARD | {"gpu": GPU | change}) as again:
        assert len(again.readings) == 1


def test_a_run_without_readings_starts_anew_whatever_changed(tmp_path: Path) -> None:
    with Partial(str(tmp_path), {"kit": "k"}, BOARD) as kept:
        kept.add_sitting(0, {"began": "then", "before": BOARD, "around": {}, "after": None})
        kept.add_event("a doubt", 0.0)
    changed = BOARD | {"governor": "performance"}
    with Partial(str(tmp_path), {"kit": "k"}, changed) as again:
        assert (again.sittings, again.events, again.header["before"]) == ([], [], changed)


def test_a_sitting_that_was_killed_before_its_first_reading_leaves_nothing(tmp_path: Path) -> None:
    def sit(kept: Partial, began: str, *, reads: bool) -> None:
        kept.add_sitting(len(kept.sittings), {"began": began, "before": BOARD, "around": {}, "after": None})
        if reads:
            kept.add(BoardReading(0, 1, 0.25, 1.5, False))

    for began, reads in (("first", True), ("killed", False), ("killed too", False), ("second", True)):
        with Partial(str(tmp_path), {"kit": "k"}, BOARD) as kept:
            sit(kept, began, reads=reads)
    with Partial(str(tmp_path), {"kit": "k"}, BOARD) as last:
        assert [sitting["began"] for sitting in last.sittings] == ["first", "second"]


def test_another_numpy_ends_a_run_before_it_measures(make_kit: MakeKit, tmp_path: Path) -> None:
    kit, environment = make_kit(), stand_in_onnxruntime(tmp_path / "installed")
    assert run(kit, environment=environment).returncode == 0
    numpy = tmp_path / "installed" / "numpy.py"
    numpy.write_text(numpy.read_text().replace("1.19.5", "1.20.0"))
    before = (kit / "readings.partial").read_bytes()
    done = run(kit, "--seconds", 0.6, environment=environment)
    assert (done.returncode, done.stderr) == (
        1,
        "measure.py: error: readings.partial belongs to other measurements: numpy version was 1.19.5, now 1.20.0; "
        "delete it to start again, or put things back as they were\n",
    )
    assert (kit / "readings.partial").read_bytes() == before


def test_another_python_with_the_same_runtime_goes_on_and_is_imported(make_kit: MakeKit, tmp_path: Path) -> None:
    kit, environment = make_kit(), stand_in_onnxruntime(tmp_path / "installed")
    assert run(kit, python=python_of("3.6"), environment=environment).returncode == 0
    done = run(kit, "--seconds", 0.6, python=python_of("3.13"), environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    versions = [sitting.before.python_version[:4] for sitting in read_results(kit / "results.json").sittings]
    assert versions == ["3.6.", "3.13"]


def test_a_run_that_fails_while_it_loads_is_no_sitting(make_kit: MakeKit, tmp_path: Path) -> None:
    kit, environment = make_kit(), stand_in_onnxruntime(tmp_path / "installed")
    runtime = tmp_path / "installed" / "onnxruntime.py"
    good = runtime.read_text()
    bad = good.replace("self._slow_s =", "raise ValueError('no memory') #")
    for text, seconds, code in ((bad, 0.2, 1), (good, 0.2, 0), (bad, 0.6, 1), (good, 0.6, 0)):
        runtime.write_text(text)
        assert run(kit, "--seconds", seconds, environment=environment).returncode == code
    sittings = json.loads((kit / "results.json").read_text())["sittings"]
    assert [sitting["after"] is None for sitting in sittings] == [False, False]
