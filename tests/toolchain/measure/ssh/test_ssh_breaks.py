"""What can break while a board measures: its disk, its folder, the kit and the link."""

import os
import shutil
import signal
from typing import Any

import pytest
from ssh_bench import Bench, child_of_measuring, no_kit, readings_on, wait_for

from fednas.common import FednasError
from fednas.toolchain.measure.job import Collected
from fednas.toolchain.measure.ssh import Patience


def test_a_disk_that_fills_up_keeps_the_readings(bench: Bench, board: Any) -> None:
    thread, outcome = bench.in_background(kit=bench.kit(rounds=100, pause=0.1))
    wait_for(lambda: readings_on(board) > 1)
    with board.program("df", "echo /dev/disk 1000 1000 100 100% /"):
        os.kill(child_of_measuring(board), signal.SIGKILL)
        thread.join()
    assert "the disk of board is full; free some space there" in str(outcome[0])
    assert "--resume goes on with them" in bench.said[-1]
    assert readings_on(board) > 1
    shutil.rmtree(board.folders[0])
    with pytest.raises(FednasError, match="is gone from board, and with it the readings"):
        bench.collect(resume=True, kit=no_kit)
    assert not bench.places.state.exists()


def test_a_folder_that_vanishes_is_one_line(bench: Bench, board: Any) -> None:
    thread, outcome = bench.in_background(kit=bench.kit(rounds=100, pause=0.1))
    wait_for(lambda: readings_on(board) > 1)
    child = child_of_measuring(board)
    shutil.rmtree(board.folders[0])
    thread.join()
    os.kill(child, signal.SIGKILL)
    assert isinstance(outcome[0], FednasError)
    assert "is gone from board, and with it the readings" in str(outcome[0])
    assert not bench.places.state.exists()


def test_measuring_that_is_killed_on_the_board_goes_on(bench: Bench, board: Any) -> None:
    thread, outcome = bench.in_background(kit=bench.kit(rounds=20, pause=0.1))
    wait_for(lambda: readings_on(board) > 3)
    os.kill(child_of_measuring(board), signal.SIGKILL)
    thread.join()
    assert isinstance(outcome[0], Collected)
    assert len(outcome[0].readings) == 20
    assert outcome[0].readings[0].elapsed_s > 3
    assert any("ended from outside" in text for text in bench.said)
    assert board.folders == []


def test_measuring_that_is_killed_again_and_again_is_given_up(bench: Bench, board: Any) -> None:
    with pytest.raises(FednasError, match="ended 4 times without a further reading; its last line: out of memory"):
        bench.collect(kit=bench.kit(says="out of memory", code=137))
    assert board.folders == []


def test_a_link_that_is_cut_is_taken_up_again(bench: Bench, board: Any) -> None:
    thread, outcome = bench.in_background(kit=bench.kit(rounds=25, pause=0.1))
    wait_for(lambda: readings_on(board) > 2)
    board.cut_links()
    thread.join()
    assert isinstance(outcome[0], Collected)
    assert outcome[0].readings[0].elapsed_s == 0.0, "the board must not have noticed"
    assert board.folders == []


def test_a_board_that_stays_away_is_given_up_and_can_be_resumed(
    bench: Bench, board: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = Patience(first_poll_s=0.1, poll_s=0.2, first_retry_s=0.1, retry_s=0.2, give_up_s=0.5)
    thread, outcome = bench.in_background(kit=bench.kit(rounds=25, pause=0.1), patience=patience)
    wait_for(lambda: readings_on(board) > 2)
    host_key, away = board.folder / "ssh_config", board.folder / "away"
    host_key.rename(away)
    host_key.write_text(away.read_text().replace(f"Port {board.port}", "Port 1"))
    board.cut_links()
    thread.join()
    away.replace(host_key)
    assert "board has not answered for 0 s: " in str(outcome[0])
    assert any("the link broke" in text for text in bench.said)
    assert "does not answer" in bench.said[-1]
    assert f"`ssh board rm -rf {board.folders[0]}` removes it" in bench.said[-1]
    collected = bench.collect(resume=True, kit=no_kit)
    assert collected.readings[0].elapsed_s == 0.0
    assert board.folders == []
    assert not bench.places.state.exists()
