"""Readings survive a kill."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fednas.common import FednasError
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.journal import Journal, Reading
from fednas.toolchain.measure.local import collect_here
from fednas.toolchain.measure.plan import plan_for
from fednas.toolchain.measure.rounds import most_weights
from fednas.toolchain.space import SearchSpace

FIRST, SECOND = Reading(0, 3, 0.25, 1.5, False), Reading(0, 4, 1.25e-5, 1.75, True)

WORTHLESS = [
    b"[0,1,NaN,1.0,false]\n",
    b"[0,1,Infinity,1.0,false]\n",
    b"[0,1,0.0,1.0,false]\n",
    b"[0,1,-1.0,1.0,false]\n",
    b"[0,-1,1.0,1.0,false]\n",
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "cpu.json.partial"
    with Journal(path, job="a", resume=False) as journal:
        journal.add(FIRST)
        journal.add(SECOND)
    return path


def resumed(path: Path, job: str = "a") -> list[Reading]:
    with Journal(path, job=job, resume=True) as journal:
        return journal.readings


def test_what_was_written_is_read_again(path: Path) -> None:
    assert resumed(path) == [FIRST, SECOND]
    assert resumed(path) == [FIRST, SECOND]


def test_every_reading_is_on_disk_before_the_next(path: Path) -> None:
    with Journal(path, job="a", resume=False) as journal:
        journal.add(FIRST)
        assert path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("torn", range(1, 12))
def test_a_torn_last_line_costs_one_reading(path: Path, torn: int) -> None:
    path.write_bytes(path.read_bytes()[:-torn])
    assert resumed(path) == [FIRST]


def test_a_kill_at_any_byte_keeps_every_whole_line(path: Path) -> None:
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    for size in range(header, len(whole) + 1):
        path.write_bytes(whole[:size])
        kept = resumed(path)
        assert kept == [FIRST, SECOND][: whole[header:size].count(b"\n")]
        # What is whole is not even rewritten, so a kill while resuming loses nothing either.
        assert path.read_bytes() == whole[: whole.rindex(b"\n", 0, size) + 1]


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """No file may grow beyond ten bytes more than the journal has: writing stops in the middle of a line.

    Only for as long as needed: the limit holds for the whole process, and so for the report of the tests too.
    """
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_one_line_and_loses_one_reading(path: Path) -> None:
    with (
        Journal(path, job="a", resume=True) as journal,
        small_disk(path),
        pytest.raises(FednasError, match=r"cannot be written: .*; the readings so far are kept; free .*--resume"),
    ):
        journal.add(FIRST)
    assert not path.read_bytes().endswith(b"\n")
    assert resumed(path) == [FIRST, SECOND]


def test_going_on_appends(path: Path) -> None:
    with Journal(path, job="a", resume=True) as journal:
        journal.add(FIRST)
    assert resumed(path) == [FIRST, SECOND, FIRST]


def test_another_job_is_refused_and_its_readings_stay(path: Path) -> None:
    with pytest.raises(FednasError, match=r"belong to another job: .*; start again without --resume"):
        resumed(path, job="b")
    assert resumed(path) == [FIRST, SECOND]


@pytest.mark.parametrize("line", [b"[0,1,-]\n", b"[0,1]\n", b'["a",1,2.0,3.0,false]\n', b"{}\n", *WORTHLESS])
def test_damage_is_said(path: Path, line: bytes) -> None:
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(FednasError, match="are damaged"):
        resumed(path)


@pytest.mark.parametrize(("group", "candidate"), [(0, 9999), (99, 0)])
def test_readings_of_what_was_never_in_their_group_are_damage(
    group: int, candidate: int, tiny_space: SearchSpace, tmp_path: Path
) -> None:
    """Their group would wait for more readings of it for ever."""
    path, plan = tmp_path / "table.json.partial", plan_for("network", tiny_space)
    job = MeasuringJob(
        device="cpu", plan=plan, runtime="onnxruntime", precision="fp32", threads=1, batch=1, seconds=0.1, seed=0
    )
    with Journal(path, job=job.digest(most_weights()), resume=False) as journal:
        journal.add(Reading(group, candidate, 0.25, 1.5, False))
    with pytest.raises(FednasError, match=f"are damaged: candidate {candidate} is not in group {group}; start again"):
        collect_here(job, partial=path, resume=True)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(FednasError, match=r"partial results .*none do not exist"):
        resumed(tmp_path / "none")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FednasError, match=r"partial results .* cannot be written: .*choose another --out"):
        Journal(tmp_path / "no" / "such", job="a", resume=False)


def test_two_runs_cannot_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "partial"
    with Journal(path, job="a", resume=False) as first:
        first.add(FIRST)
        with pytest.raises(FednasError, match=r"another run is writing .*partial; wait for it, or choose another"):
            Journal(path, job="a", resume=True)
    assert resumed(path) == [FIRST]
