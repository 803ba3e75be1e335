"""Collecting the readings of a job on this machine."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from fednas.common import FednasError
from fednas.toolchain.measure.conditions import Conditions, Watch
from fednas.toolchain.measure.gpu import read_gpu_state
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.journal import Journal
from fednas.toolchain.measure.layers import read_layers
from fednas.toolchain.measure.rounds import ReportProgress, groups_of, measure, most_weights, passes_of
from fednas.toolchain.measure.runtimes import TimingRuntime, find_runtime
from fednas.toolchain.measure.sittings import (
    all_conditions,
    begin_sitting,
    end_sitting,
    require_one_version,
    require_same_state,
    utc_now,
)


def collect_here(
    job: MeasuringJob, *, partial: Path | None = None, resume: bool = False, progress: ReportProgress | None = None
) -> Collected:
    """Time every candidate of the job in interleaved rounds.

    ``partial`` keeps every reading as it comes; ``resume`` goes on from it. Raises `FednasError` where it belongs
    to another job, or was begun with another runtime or in another state of the machine.
    """
    runtime = find_runtime(job.runtime)
    with Journal(partial, job=job.digest(most_weights()), resume=resume) as journal:
        _require_readings_of(job, journal)
        with _sitting(runtime, journal) as watch, TemporaryDirectory(prefix="fednas-kernels-") as cache:
            measure(job, journal, progress, watch=watch, cache=Path(cache))
            watch.layers_failed = read_layers(job, journal, progress, cache=Path(cache))
        sittings = journal.sittings
    conditions = all_conditions(sittings)
    if watch.energy is not None:  # it may be all that was left to do
        conditions = replace(conditions, energy=watch.energy)
    first, last = sittings[0], sittings[-1]
    return Collected(
        job=job,
        readings=journal.readings,
        runtime_version=first.runtime_version,
        date=utc_now(),
        before=first.before,
        after=last.after or last.before,
        load_before=max(sitting.load_before for sitting in sittings),
        load_after=max(sitting.load_after or 0.0 for sitting in sittings),
        conditions=conditions,
        sittings=sittings,
        layers=journal.layers,
        layers_failed=watch.layers_failed,
    )


def _require_readings_of(job: MeasuringJob, journal: Journal) -> None:
    """Refuse readings of what is not in their group: that group would wait for more of them for ever."""
    groups = [set(group) for group in groups_of(job.plan.candidates, passes_of(job), job.seed, most_weights())]
    for reading in journal.readings:
        if reading.group >= len(groups) or reading.candidate not in groups[reading.group]:
            strange = f"candidate {reading.candidate} is not in group {reading.group}"
            raise FednasError(
                f"partial results {journal.path} are damaged: {strange}", hint="start again without --resume"
            )


@contextmanager
def _sitting(runtime: TimingRuntime, journal: Journal) -> Iterator[Watch]:
    """Record what happens around the readings meanwhile, in the journal too, whatever comes in between."""
    sitting = begin_sitting(runtime)
    require_same_state(journal.sittings, sitting, journal.path)
    sitting = msgspec.structs.replace(sitting, number=journal.next_sitting)
    journal.keep(sitting)

    def keep(conditions: Conditions) -> None:
        journal.keep(msgspec.structs.replace(sitting, conditions=conditions))

    gpu = functools.partial(read_gpu_state, name=sitting.before.gpu) if runtime.on_gpu else None
    watch = Watch(gpu=gpu, keep=keep)
    try:
        yield watch
    except BaseException:
        # What stopped it is the news; a disk that is full also takes no record.
        with suppress(FednasError):
            journal.keep(end_sitting(sitting, runtime, watch.conditions()))
        raise
    ended = end_sitting(sitting, runtime, watch.conditions())
    journal.keep(ended)
    require_one_version(ended)
