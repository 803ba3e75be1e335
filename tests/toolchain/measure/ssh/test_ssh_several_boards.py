"""Several boards at one time."""

import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ssh_bench import QUICK, Bench, wait_for

from fednas.common import FednasError
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.ssh import Places, SshAddress, collect_from_boards

HOSTS = ("board", "locked", "other")


def test_two_boards_at_once_each_with_its_own_outcome(
    bench: Bench, board: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = bench.kit(rounds=8, pause=0.1)()
    written: list[Path] = []

    def write(job: MeasuringJob, folder: Path) -> None:
        written.append(folder)
        shutil.copytree(kit, folder)

    monkeypatch.setattr("fednas.toolchain.measure.ssh.boards.write_kit", write)
    places = {name: Places(bench.folder / f"{name}.board", bench.folder / f"{name}.json") for name in HOSTS}
    boards = [(SshAddress(name), places[name]) for name in HOSTS]
    with closing(collect_from_boards(bench.job, boards, say=bench.said.append, patience=QUICK)) as outcomes:
        found = {str(outcome.address): outcome.result for outcome in outcomes}
    assert sorted(found) == ["board", "locked", "other"]
    assert "it does not let you in" in str(found.pop("locked"))
    assert all(isinstance(result, Collected) for result in found.values())
    assert len(written) == 1
    assert not written[0].exists()
    assert board.folders == []
    assert sorted(path.name for path in bench.folder.glob("*.json")) == ["board.json", "other.json"]


def test_leaving_several_boards_stops_them_all(bench: Bench, board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = bench.kit(rounds=100, pause=0.1)()
    monkeypatch.setattr("fednas.toolchain.measure.ssh.boards.write_kit", lambda _, folder: shutil.copytree(kit, folder))
    boards = [(SshAddress(name), Places(bench.folder / f"{name}.board", bench.folder / name)) for name in HOSTS]
    with closing(collect_from_boards(bench.job, boards, say=bench.said.append, patience=QUICK)) as outcomes:
        next(outcomes)
        wait_for(lambda: len(list(board.temporary.glob("fednas-*/kit/readings.partial"))) == 2)
    assert sum("--resume goes on with them" in text for text in bench.said) == 2
    counts = [path.read_bytes() for path in board.temporary.glob("fednas-*/kit/readings.partial")]
    time.sleep(0.3)
    assert counts == [path.read_bytes() for path in board.temporary.glob("fednas-*/kit/readings.partial")]


def test_a_board_named_twice_is_refused(bench: Bench, board: Any) -> None:
    boards = [(SshAddress("board", user), bench.places) for user in ("me", "you")]
    with pytest.raises(FednasError, match="--over names you@board twice"):
        next(collect_from_boards(bench.job, boards))
