"""The bench on which jobs over SSH are tried: a small kit that counts rounds, files, and what was said.

The real kit has tests of its own, and one at the end.
"""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fednas.common import FednasError
from fednas.latency_tables import Machine
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.journal import Reading
from fednas.toolchain.measure.ssh import Patience, Places, SshAddress, collect_over_ssh

QUICK = Patience(first_poll_s=0.1, poll_s=0.2, first_retry_s=0.1, retry_s=0.2, give_up_s=20.0)
SCRIPT = """\
import json, os, sys, time
job = json.load(open("job.json"))
if "says" in job:
    print("looking around")
    print(job["says"])
    sys.exit(job["code"])
rounds = round(job["rounds"] * float(sys.argv[2]) / 5)
done = len(open("readings.partial").readlines()) if os.path.exists("readings.partial") else 0
with open("readings.partial", "a", buffering=1) as stream:
    for number in range(done, rounds):
        stream.write("%d\\n" % number)
        print("round %d of about %d, %d s" % (number + 1, rounds, number), flush=True)
        time.sleep(job["pause"])
with open("results.scratch", "w") as stream:
    json.dump({"rounds": rounds, "taken_up_at": done}, stream)
os.replace("results.scratch", "results.json")
"""


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


def no_kit() -> Path:
    raise AssertionError("the board has the kit already")
