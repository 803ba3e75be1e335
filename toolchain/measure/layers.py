"""Times of single layers, asked of the runtime for the calibration networks, in passes of their own."""

from pathlib import Path

from fednas.common import FednasError
from fednas.toolchain.measure.candidate_file import candidate_onnx
from fednas.toolchain.measure.graphs import input_shape
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.journal import Journal, LayerReading
from fednas.toolchain.measure.rounds import ReportProgress
from fednas.toolchain.measure.runtimes import find_runtime
from fednas.toolchain.measure.runtimes.base import LoadOrder

PLAN = "network"
"""The plan that has no blocks measured alone, so that nothing else tells what is inside a network."""
RUNS = 40
"""Calls of each network that are profiled."""


def read_layers(
    job: MeasuringJob, journal: Journal, progress: ReportProgress | None = None, *, cache: Path | None = None
) -> str:
    """Add the layers of every calibration network that the journal does not hold yet; why that failed, if it did.

    A profile that fails costs nothing but itself: the readings are there, and the fit can do without.

    Only for the plan ``network``, and of a runtime that gives them. Held-out networks are never looked into.
    ``cache`` is that of `LoadOrder`, so that an engine built for its layers is of the kernels that were timed.
    """
    runtime = find_runtime(job.runtime)
    if job.plan.name != PLAN or not runtime.gives_layers:
        return ""
    known = {reading.candidate for reading in journal.layers}
    missing = [index for index in calibration_candidates(job) if index not in known]
    for done, index in enumerate(missing, start=1):
        if progress is not None:
            progress(job.seconds, job.seconds, f"layers of network {done} of {len(missing)}")
        specs = job.plan.candidates[index]
        order = LoadOrder(
            model=candidate_onnx(specs, job),
            input_shape=input_shape(specs, job.batch),
            threads=job.threads,
            seed=job.seed,
            precision=runtime.require_precision(job.precision),
            cache=cache,
        )
        try:
            layers = runtime.layers(order, RUNS)
        except FednasError as err:
            return "".join(letter for letter in str(err) if letter.isprintable())
        journal.keep(LayerReading(candidate=index, layers=layers))
    return ""


def calibration_candidates(job: MeasuringJob) -> range:
    """Where the calibration networks stand among the candidates."""
    first = 1 + len(job.plan.blocks)
    return range(first, first + len(job.plan.calibration))
