"""A job on a board over a real sshd: what can go wrong on the way, on the board and here.

The kit is a small one that counts rounds; the real one has tests of its own and one at the end.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fednas.common import ExitCode, FednasError
from fednas.latency_tables import Machine
from fednas.profiles import find_profile
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.journal import Reading
from fednas.toolchain.measure.kit import read_results
from fednas.toolchain.measure.plan import plan_for
from fednas.toolchain.measure.ssh import Patience, Places, SshAddress, collect_from_boards, collect_over_ssh
from fednas.toolchain.space import SearchSpace

QUICK = Patience(first_poll_s=0.1, poll_s=0.2, first_retry_s=0.1, retry_s=0.2, give_up_s=20.0)
SCRIPT = """\
import json, os, sys, time
job = json.load(open("job.json"))
if "says" in job:
    print("looking around")
    print(job["says"])
    sys.exit(job["code"])
done = len(open("readings.partial").readlines()) if os.path.exists("readings.partial") else 0
with open("readings.partial", "a", buffering=1) as stream:
    for number in range(done, job["rounds"]):
        stream.write("%d\\n" % number)
        print("round %d of about %d, %d s" % (number + 1, job["rounds"], number), flush=True)
        time.sleep(job["pause"])
with open("results.scratch", "w") as stream:
    json.dump({"rounds": job["rounds"], "taken_up_at": done}, stream)
os.replace("results.scratch", "results.json")
"""


@pytest.fixture(scope="session")
def job(tiny_space: SearchSpace) -> MeasuringJob:
    plan = plan_for("exhaustive", tiny_space)
    return MeasuringJob(
        device="cpu", plan=plan, runtime="onnxruntime", precision="fp32", threads=1, batch=1, seconds=5.0, seed=0
    )


class Bench:
    """What every test here needs: a kit, files, and what was said."""

    def __init__(self, folder: Path, job: MeasuringJob) -> None:
        self.folder = folder
        self.job = job
        self.said: list[str] = []
        self.progress: list[tuple[float, float, str]] = []
        self.places = Places(folder / "table.json.board", folder / "results.json")

    def kit(self, **settings: object) -> Callable[[], Path]:
        kit = self.folder / "kit"
        (kit / "models").mkdir(parents=True, exist_ok=True)
        (kit / "models" / "0000.onnx").write_bytes(b"a model")
        (kit / "measure.py").write_text(SCRIPT)
        (kit / "job.json").write_text(json.dumps({"rounds": 3, "pause": 0.0} | settings))
        return lambda: kit

    def collect(self, host: str = "board", **options: Any) -> Collected:
        kit = options.pop("kit", None) or self.kit()
        return collect_over_ssh(
            self.job,
            SshAddress(host),
            state=self.places.state,
            results=self.places.results,
            kit=kit,
            say=self.said.append,
            progress=lambda done, total, what="": self.progress.append((done, total, what)),
            patience=options.pop("patience", QUICK),
            **options,
        )

    def in_background(self, **options: Any) -> tuple[threading.Thread, list[Collected | BaseException]]:
        outcome: list[Collected | BaseException] = []

        def collect() -> None:
            try:
                outcome.append(self.collect(**options))
            except (FednasError, KeyboardInterrupt) as err:
                outcome.append(err)

        thread = threading.Thread(target=collect)
        thread.start()
        return thread, outcome


@pytest.fixture
def bench(tmp_path: Path, job: MeasuringJob, board: Any, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("fednas.toolchain.measure.ssh.collect.read_results", read_counted)
    return Bench(tmp_path, job)


def read_counted(path: Path, *, job: MeasuringJob) -> Collected:
    """The results of the small kit: a reading for each round, taken up at ``elapsed_s``."""
    found = json.loads(path.read_text())
    machine = Machine(
        cpu_model="a board",
        architecture="x",
        operating_system="x",
        cores=1,
        affinity=(0,),
        python_version="3",
        numpy_version="2",
    )
    return Collected(
        job=job,
        readings=[Reading(0, 0, 1.0, float(found["taken_up_at"]), False)] * found["rounds"],
        runtime_version="1",
        date="",
        before=machine,
        after=machine,
        load_before=0.0,
        load_after=0.0,
    )


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(300):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not come to that in 15 s")


def readings_on(board: Any) -> int:
    partial = [path for folder in board.folders for path in folder.glob("kit/readings.partial")]
    return partial[0].read_bytes().count(b"\n") if partial else 0


def child_of_measuring(board: Any) -> int:
    return int((board.folders[0] / "child").read_text())


def test_readings_come_back_and_nothing_stays(bench: Bench, board: Any) -> None:
    collected = bench.collect(kit=bench.kit(rounds=8, pause=0.1))
    assert len(collected.readings) == 8
    assert board.folders == []
    assert not bench.places.state.exists()
    assert bench.places.results.exists()
    assert bench.said[0].startswith(f"board: measuring in {board.temporary}/fednas-")
    done, total, what = bench.progress[-1]
    assert total == 5.0
    assert 0 < done <= total
    assert what.startswith("round ")


def test_a_board_with_busybox_and_without_sftp(bench: Bench, small_board: Any) -> None:
    """Small systems: a shell that is not even dash, and the older protocol of scp."""
    collected = bench.collect(kit=bench.kit(rounds=5, pause=0.1))
    assert len(collected.readings) == 5
    assert small_board.folders == []


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("stranger", r"stranger cannot be reached: its host key is not known here .*; make `ssh stranger` work"),
        ("impostor", r"impostor cannot be reached: its host key has changed since it was last seen"),
        ("locked", r"locked cannot be reached: it does not let you in with your keys .*Permission denied"),
    ],
)
def test_who_is_not_trusted_gets_nothing(bench: Bench, board: Any, host: str, message: str) -> None:
    with pytest.raises(FednasError, match=message):
        bench.collect(host)
    assert (board.folder / "no_hosts").read_text() == ""
    assert not bench.places.state.exists()


def test_a_board_that_is_off_is_one_line(bench: Bench, board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = bench.folder / "config"
    config.write_text("Host board\n    HostName 127.0.0.1\n    Port 1\n")
    monkeypatch.setenv("FEDNAS_SSH_CONFIG", str(config))
    with pytest.raises(FednasError, match=r"board cannot be reached: .*Connection refused; check that the board is on"):
        bench.collect()
    monkeypatch.setenv("FEDNAS_SSH_CONFIG", str(bench.folder / "none"))
    with pytest.raises(FednasError, match=r"FEDNAS_SSH_CONFIG names .*none, which is no file"):
        bench.collect()


@pytest.mark.parametrize(
    ("python", "answer", "message"),
    [
        ("python-of-nobody", "", "board has no python-of-nobody; measuring needs Python 3.6 or newer"),
        ("{old}", "3.5", "is Python 3.5; measuring needs Python 3.6 or newer"),
    ],
)
def test_a_board_without_the_python_is_told_before_anything_is_sent(
    bench: Bench, board: Any, python: str, answer: str, message: str
) -> None:
    old = bench.folder / "old-python"
    old.write_text(f"#!/bin/sh\necho {answer}\n")
    old.chmod(0o755)
    with pytest.raises(FednasError, match=message):
        bench.collect(python=python.format(old=old))
    assert board.folders == []


def test_a_board_that_is_another_device_is_refused(bench: Bench, board: Any) -> None:
    with pytest.raises(FednasError, match=r"board is .*, not raspberry-pi-5"):
        bench.collect(device=find_profile("raspberry-pi-5"))
    assert board.folders == []
    bench.collect(device=find_profile("jetson"))
    assert "does not look like jetson-orin-nano" in bench.said[0]


def test_no_room_on_the_board_is_said_before_anything_is_sent(bench: Bench, board: Any) -> None:
    kit = bench.kit()
    os.truncate(kit() / "models" / "0000.onnx", 1 << 42)
    with pytest.raises(FednasError, match=r"board has no room for the .* that measuring needs \(\d+ KiB in "):
        bench.collect(kit=kit)
    assert board.folders == []


@pytest.mark.parametrize(
    ("code", "exit_code", "message"),
    [
        (1, ExitCode.USER_ERROR, "measuring on board failed with code 1: no onnxruntime here"),
        (5, ExitCode.CANNOT_TELL, "board cannot measure this: no onnxruntime here"),
    ],
)
def test_what_the_kit_complains_of_is_passed_on(
    bench: Bench, board: Any, code: int, exit_code: ExitCode, message: str
) -> None:
    with pytest.raises(FednasError, match=message) as caught:
        bench.collect(kit=bench.kit(says="no\x1bonnxruntime here", code=code))
    assert caught.value.exit_code is exit_code
    assert board.folders == []
    assert not bench.places.state.exists()


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


def no_kit() -> Path:
    raise AssertionError("the board has the kit already")


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


def test_results_that_are_not_believed_are_kept_here_only(
    bench: Bench, board: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.ssh.collect.read_results", read_results)
    with pytest.raises(FednasError, match=r"results .*results.json: missing key schema"):
        bench.collect()
    assert bench.places.results.is_file()
    assert board.folders == []
    assert not bench.places.state.exists()


def test_results_larger_than_any_are_not_taken(bench: Bench, board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.ssh.board.RESULTS_LIMIT", 10)
    with pytest.raises(FednasError, match="the board sends more than 10 bytes of results"):
        bench.collect()
    assert not bench.places.results.exists()


def test_a_board_with_an_ipv6_address(bench: Bench, board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not board.on_ipv6:
        pytest.skip("no IPv6 on the loopback interface")
    config = bench.folder / "config"
    config.write_text((board.folder / "ssh_config").read_text().replace("    HostName 127.0.0.1\n", ""))
    monkeypatch.setenv("FEDNAS_SSH_CONFIG", str(config))
    assert len(bench.collect("::1").readings) == 3
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


HOSTS = ("board", "locked", "other")


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
