"""Collecting the readings of a job on this machine."""

from datetime import UTC, datetime
from pathlib import Path

from fednas.toolchain.measure.conditions import Watch
from fednas.toolchain.measure.environment import load_average, read_machine
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.journal import Journal
from fednas.toolchain.measure.rounds import ReportProgress, measure
from fednas.toolchain.measure.runtimes import find_runtime


def collect_here(
    job: MeasuringJob, *, partial: Path | None = None, resume: bool = False, progress: ReportProgress | None = None
) -> Collected:
    """Time every candidate of the job in interleaved rounds.

    ``partial`` keeps every reading as it comes; ``resume`` goes on from it. Raises `FednasError` where it belongs
    to another job.
    """
    runtime = find_runtime(job.runtime)
    before, load_before, version = read_machine(on_gpu=runtime.on_gpu), load_average(), runtime.version()
    with Journal(partial, job=job.digest(version, before), resume=resume) as journal:
        watch = Watch()
        measure(job, journal, progress, watch=watch)
        conditions = watch.conditions()
    return Collected(
        job=job,
        readings=journal.readings,
        runtime_version=version,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        before=before,
        after=read_machine(on_gpu=runtime.on_gpu),
        load_before=load_before,
        load_after=load_average(),
        conditions=conditions,
    )
