"""Runs that stopped here and are taken up again, or not."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ssh_bench import Bench, no_kit, read_counted, readings_on, wait_for

from fednas.common import ExitCode, FednasError, encode_json
from fednas.toolchain.measure.conditions import Conditions
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.ssh import SshAddress
from fednas.toolchain.measure.ssh.board import Board
from fednas.toolchain.measure.ssh.link import Link
from fednas.toolchain.measure.ssh.state import BoardState, digest_of
from fednas.toolchain.space import SearchSpace


def test_stopping_stops_the_board_and_says_what_stays(bench: Bench, board: Any) -> None:
    stop = threading.Event()
    thread, outcome = bench.in_background(kit=bench.kit(rounds=40, pause=0.1), stop=stop)
    wait_for(lambda: readings_on(board) > 2)
    stop.set()
    thread.join()
    assert isinstance(outcome[0], KeyboardInterrupt)
    (folder,) = board.folders
    assert bench.said[-1] == (
        f"board: the readings so far stand in {folder}; --resume goes on with them, "
        f"and `ssh board rm -rf {folder}` removes them"
    )
    before = readings_on(board)
    time.sleep(0.3)
    assert readings_on(board) == before
    (folder / "kit" / "job.json").write_text(json.dumps({"rounds": before + 2, "pause": 0.0}))
    collected = bench.collect(resume=True, kit=no_kit)
    assert collected.readings[0].elapsed_s == before
    assert board.folders == []


DRIVER = """\
from pathlib import Path
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.kit import read_results
from fednas.toolchain.measure.plan import plan_for
from fednas.toolchain.measure.ssh import SshAddress, collect_over_ssh
from fednas.toolchain.measure.ssh import SshAddress
from fednas.toolchain.measure.ssh.board import Board
from fednas.toolchain.measure.ssh.link import Link
from fednas.toolchain.measure.ssh.state import BoardState, digest_of
from fednas.toolchain.space import SearchSpace
here = Path({folder!r})
settings = dict(device="cpu", runtime="onnxruntime", precision="fp32", threads=1, batch=1, seconds=5.0, seed=0)
job = MeasuringJob(plan=plan_for("exhaustive", {space!r}), **settings)
files = dict(state=here / "table.json.board", results=here / "results.json")
collect_over_ssh(job, SshAddress("board"), kit=lambda: here / "kit", **files)
"""


def test_a_run_killed_here_goes_on_there_and_is_taken_up(bench: Bench, board: Any, tiny_space: SearchSpace) -> None:
    bench.kit(rounds=30, pause=0.1)
    driver = bench.folder / "driver.py"
    driver.write_text(DRIVER.format(folder=str(bench.folder), space=tiny_space))
    # What a killed process leaves in the temporary folder goes away with the test's.
    process = subprocess.Popen([sys.executable, str(driver)], env=os.environ | {"TMPDIR": str(bench.folder)})
    wait_for(lambda: readings_on(board) > 2)
    with pytest.raises(FednasError, match=r"another run holds .*table.json.board"):
        bench.collect(resume=True, kit=no_kit)
    process.kill()
    process.wait()
    collected = bench.collect(resume=True, kit=no_kit)
    assert collected.readings[0].elapsed_s == 0.0, "the board must not have noticed"
    assert board.folders == []


def test_what_an_earlier_run_left_is_removed_when_starting_anew(bench: Bench, board: Any) -> None:
    stop = threading.Event()
    thread, _ = bench.in_background(kit=bench.kit(rounds=40, pause=0.1), stop=stop)
    wait_for(lambda: readings_on(board) > 2)
    stop.set()
    thread.join()
    assert len(board.folders) == 1
    assert bench.collect().readings[0].elapsed_s == 0.0
    assert board.folders == []


def test_only_the_same_job_on_the_same_board_is_taken_up(bench: Bench, board: Any) -> None:
    with pytest.raises(FednasError, match=r"no run to take up: .*table.json.board does not exist"):
        bench.collect(resume=True)
    state = {
        "schema": 1,
        "host": "elsewhere",
        "port": None,
        "job": "0" * 64,
        "folder": "/tmp/fednas-abcdefgh",  # noqa: S108
        "phase": "measuring",
        "seconds": 5.0,
    }
    bench.places.state.write_text(json.dumps(state))
    with pytest.raises(FednasError, match="is of a run on elsewhere, not on board"):
        bench.collect(resume=True)
    bench.places.state.write_text(json.dumps(state | {"host": "board"}))
    with pytest.raises(FednasError, match="belongs to another job"):
        bench.collect(resume=True)
    for folder in ("/home/me", "/tmp/../fednas-abcdefgh", "/tmp/fednas-abcdefgh/x", "/; reboot/fednas-abcdefgh"):  # noqa: S108
        bench.places.state.write_text(json.dumps(state | {"folder": folder}))
        with pytest.raises(FednasError, match="which is none that this program makes"):
            bench.collect(resume=True)
    assert bench.places.state.exists()


def unfit_below(rounds: int) -> Callable[[Collected], None]:
    def judge(collected: Collected) -> None:
        if len(collected.readings) < rounds:
            raise FednasError("the machine is not fit to measure", hint="wait", exit_code=ExitCode.CANNOT_TELL)

    return judge


def test_readings_that_are_not_fit_stay_on_the_board_and_more_are_taken(bench: Bench, board: Any) -> None:
    """As long again with the same options: three rounds, then six in all."""
    with pytest.raises(FednasError, match="not fit to measure"):
        bench.collect(kit=bench.kit(rounds=3), judge=unfit_below(6))
    (folder,) = board.folders
    assert bench.said[-1].startswith(f"board: the readings so far stand in {folder}; --resume goes on with them")
    assert json.loads(bench.places.state.read_text())["phase"] == "unfit"
    collected = bench.collect(resume=True, kit=no_kit, judge=unfit_below(6))
    assert (len(collected.readings), collected.readings[0].elapsed_s) == (6, 3.0)
    assert board.folders == []
    assert not bench.places.state.exists()


def test_more_seconds_are_seconds_in_all(bench: Bench, board: Any) -> None:
    with pytest.raises(FednasError, match="not fit to measure"):
        bench.collect(kit=bench.kit(rounds=2), judge=unfit_below(5))
    bench.job = replace(bench.job, seconds=12.5)
    collected = bench.collect(resume=True, kit=no_kit, judge=unfit_below(5))
    assert (len(collected.readings), collected.readings[0].elapsed_s) == (5, 2.0)
    assert board.folders == []


def test_what_still_runs_for_fewer_seconds_is_started_again_for_more(bench: Bench, board: Any) -> None:
    """A run that was killed here measures on there, for what was asked at first."""
    kit = bench.kit(rounds=10, pause=0.05)()
    with Link(SshAddress("board"), threading.Event()) as link:
        there = Board(link)
        folder = there.make_folder(1)
        there.send(kit, folder)
        assert not there.start(folder, bench.job.seconds)
    left = BoardState(
        host="board", port=None, job=digest_of(bench.job), folder=folder, phase="measuring", seconds=bench.job.seconds
    )
    bench.places.state.write_text(encode_json(left))
    bench.job = replace(bench.job, seconds=10.0)
    collected = bench.collect(resume=True, kit=no_kit)
    assert (len(collected.readings), collected.readings[0].elapsed_s) == (20, 10.0)
    assert board.folders == []


def test_readings_that_never_become_fit_can_be_resumed_again_and_again(bench: Bench, board: Any) -> None:
    for turn in range(3):
        with pytest.raises(FednasError, match="not fit to measure"):
            bench.collect(resume=turn > 0, kit=no_kit if turn else bench.kit(rounds=2), judge=unfit_below(99))
        assert json.loads(bench.places.state.read_text())["seconds"] == 5.0 * (turn + 1)
    assert len(board.folders) == 1


def test_a_table_that_cannot_be_written_leaves_nothing_on_the_board(bench: Bench, board: Any) -> None:
    def judge(_: Collected) -> None:
        raise FednasError("disk full", hint="free some space")

    with pytest.raises(FednasError, match="disk full"):
        bench.collect(judge=judge)
    assert board.folders == []
    assert bench.places.results.is_file()
    assert not bench.places.state.exists()


def test_another_number_of_passes_is_another_job_and_nothing_is_lost(bench: Bench, board: Any) -> None:
    """More seconds make more passes of some plans: that is said before anything is measured."""
    with pytest.raises(FednasError, match="not fit to measure"):
        bench.collect(kit=bench.kit(rounds=2), judge=unfit_below(5))
    left, first = bench.places.state.read_text(), bench.job
    bench.job = replace(first, seconds=12.5, plan=replace(first.plan, passes=first.plan.passes + 1))
    with pytest.raises(FednasError, match="belongs to another job"):
        bench.collect(resume=True, kit=no_kit)
    assert bench.places.state.read_text() == left
    (folder,) = board.folders
    assert (folder / "kit" / "readings.partial").is_file()
    bench.job = replace(first, seconds=12.5)
    assert len(bench.collect(resume=True, kit=no_kit).readings) == 5


def test_results_that_are_refused_stay_on_the_board(bench: Bench, board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> Collected:
        raise FednasError(f"results {path} were edited or damaged", hint="copy the file again")

    with monkeypatch.context() as patched:
        patched.setattr("fednas.toolchain.measure.ssh.collect.read_results", refuse)
        with pytest.raises(FednasError, match="were edited or damaged"):
            bench.collect(kit=bench.kit(rounds=2))
    (folder,) = board.folders
    assert bench.said[-1].startswith(f"board: the readings so far stand in {folder}; --resume goes on with them")
    assert len(bench.collect(resume=True, kit=no_kit).readings) == 2
    assert board.folders == []


def test_more_readings_do_not_help_against_a_doubt(bench: Bench, board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def doubtful(path: Path, *, job: MeasuringJob) -> Collected:
        return replace(read_counted(path, job=job), conditions=Conditions(doubts=("which precision?",)))

    monkeypatch.setattr("fednas.toolchain.measure.ssh.collect.read_results", doubtful)
    with pytest.raises(FednasError, match="not fit to measure"):
        bench.collect(kit=bench.kit(rounds=2), judge=unfit_below(5))
    assert board.folders == []
