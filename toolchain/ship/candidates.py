"""Several networks near the latency budget, timed against each other; the fittest that keeps to it is shipped."""

import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fednas.common import FednasError, Progress
from fednas.export import (
    CalibrationImages,
    Candidate,
    ModelInput,
    ModelMetadata,
    OnnxFile,
    model_file_name,
    onnx_from_module,
)
from fednas.export.manifest import verdict_of
from fednas.profiles import DeviceProfile
from fednas.toolchain.search.limits import latency_quantity
from fednas.toolchain.search.request import SearchAnswer, describe, limits_of
from fednas.toolchain.ship.near_budget import Aim, nearest_points
from fednas.toolchain.ship.precisions import all_artefacts, stored_precision
from fednas.toolchain.ship.readings import Reading, measure_all_here
from fednas.toolchain.ship.source import Source
from fednas.toolchain.ship.speed import Speed

if TYPE_CHECKING:
    from fednas.toolchain.ship.job import ShipJob

COMPARED = "exact, then compared by measurement"
"""The method of a network that was kept for its reading."""
SCRATCH = ".candidates"
SECONDS_EACH = 2.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The network to ship, and what it was chosen among."""

    answer: SearchAnswer
    candidates: tuple[Candidate, ...] = ()
    reading: Reading | None = None
    """Of the kept network's file, from the comparison; None: none was measured."""
    remarks: tuple[str, ...] = ()


def choose(
    job: "ShipJob",
    source: Source,
    profile: DeviceProfile,
    speed: Speed,
    best: SearchAnswer,
    folder: Path,
    calibration: CalibrationImages | None,
    progress: Progress,
) -> Choice:
    """The fittest of ``job.candidates`` networks, or twice as many, that meets the latency budget by measurement.

    First come the networks predicted nearest to the budget. Where all of them measure within it or none does, the
    prediction is off by more than they lie apart: so many more follow, nearest to the budget once predictions are
    corrected by what the first ones measured.

    Where none can be measured (this machine is not the device, or not fit), the fittest by prediction is kept, and a
    remark says why. ``folder`` holds the candidates' files while they are measured.
    """
    if job.candidates == 1 or job.architecture is not None:
        return Choice(best)
    answers = _nearest(job, source, profile, speed, best)
    readings = _measured(job, source, profile, answers, folder, calibration, _part(progress, 0))
    records = _records(job, answers, readings)
    if aim := _second_aim(records, job.budgets.latency_ms or 0.0):
        more = _nearest(job, source, profile, speed, best, aim)
        readings += _measured(job, source, profile, more, folder, calibration, _part(progress, 1))
        answers += more
        records += _records(job, more, readings[len(records) :], corrected=True)
    return _choice(job, best, answers, records, readings)


def _choice(
    job: "ShipJob",
    best: SearchAnswer,
    answers: Sequence[SearchAnswer],
    records: Sequence[Candidate],
    readings: Sequence[Reading],
) -> Choice:
    """Which of the networks to keep; the others are recorded in the order of their predictions."""
    failed = [reading.why_not for reading in readings if reading.why_not]
    remarks = [f"Candidates: {len(failed)} of {len(answers)} were not measured: {why}." for why in failed[:1]]
    if len(answers) < job.candidates:
        remarks.append(f"Candidates: the frontier has only {len(answers)} near the budget, not {job.candidates}.")
    kept = predicted = answers.index(best)
    if len(failed) < len(answers):
        kept = _fittest_that_meets(records)
        if records[kept].verdict == "missed" and records[predicted].measured is None:
            # A network that misses by measurement is worse than one that meets by prediction.
            kept = predicted
    marked = [msgspec.structs.replace(each, kept=i == kept) for i, each in enumerate(records)]
    marked.sort(key=lambda record: record.predicted_ms)
    reading = readings[kept] if readings[kept].measured is not None else None
    return Choice(answers[kept], tuple(marked), reading, tuple(remarks))


def _nearest(
    job: "ShipJob",
    source: Source,
    profile: DeviceProfile,
    speed: Speed,
    best: SearchAnswer,
    aim: Aim | None = None,
) -> list[SearchAnswer]:
    """The networks of the frontier predicted nearest to ``aim``; else to the budget, the predicted best among them."""
    limit = job.budgets.latency_ms
    if limit is None:
        raise FednasError("--candidates compares networks near a latency budget", hint="add --max-latency")
    space, stored = source.space, stored_precision(job.judged_precision, profile)
    axis = latency_quantity(space, speed.model)
    limits = limits_of(space, job.budgets, [speed.model], stored, "network")
    others = [each for each in limits if each.quantity.name != axis.name]
    predicted_ms = best.predictions[0].latency_ms
    points = nearest_points(space, axis, others, aim or Aim(limit), predicted_ms, job.candidates)
    found = [best] if aim is None else []
    neighbours = [point for point in points if point.architecture != best.architecture]
    found += [
        describe(space, point.architecture, [speed.model], "network", best.status, None, None, 0.0, ())
        for point in neighbours[: job.candidates - len(found)]
    ]
    return sorted(found, key=lambda answer: answer.predictions[0].latency_ms)


def _second_aim(records: Sequence[Candidate], limit_ms: float) -> Aim | None:
    """Where to look on, by predictions that are corrected by readings: for fitter networks if all meet the budget, for
    faster ones if none does.

    None where some do and others do not, so that it lies between them, or none was measured.
    """
    read = [record for record in records if record.measured is not None]
    met = [record.verdict == "met" for record in read]
    if not read or any(met) != all(met):
        return None
    target = limit_ms / statistics.median(each.measured.high_ms / each.predicted_ms for each in read if each.measured)
    predicted = [record.predicted_ms for record in records]
    # Sums in another order differ in their last bits.
    if all(met):
        return Aim(target, above=max(predicted) * (1 + 1e-9))
    return Aim(target, below=min(predicted) * (1 - 1e-9))


def _part(progress: Progress, number: int) -> Progress:
    """The first or the second half of the work."""
    return lambda done, total, what="": progress(number + done / total, 2, what)


def _measured(
    job: "ShipJob",
    source: Source,
    profile: DeviceProfile,
    answers: Sequence[SearchAnswer],
    folder: Path,
    calibration: CalibrationImages | None,
    progress: Progress,
) -> list[Reading]:
    from fednas.toolchain.measure import is_this_machine

    if not answers:
        return []
    if not is_this_machine(profile):
        return [Reading(None, f"this machine is not {profile.title}")] * len(answers)
    scratch = folder / SCRATCH
    try:
        files = []
        for number, answer in enumerate(answers):
            progress(number / 2, len(answers), f"exporting candidate {number + 1} of {len(answers)}")
            files.append(_file(job, source, profile, answer, scratch / str(number), calibration))

        def timing(done: float, total: float, what: str = "") -> None:
            progress((1 + done / total) / 2, 1, f"timing {len(files)} candidates {what}")

        return measure_all_here(files, profile, source.space, seconds=SECONDS_EACH, progress=timing)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _file(
    job: "ShipJob",
    source: Source,
    profile: DeviceProfile,
    answer: SearchAnswer,
    folder: Path,
    calibration: CalibrationImages | None,
) -> OnnxFile:
    """The file that will be timed. Its batch norms are not recalibrated: latency does not depend on them."""
    from fednas.toolchain.supernet import extract_subnet

    folder.mkdir(parents=True)
    module = extract_subnet(source.loaded.supernet, answer.architecture).eval()
    metadata = ModelMetadata(
        preprocessing=ModelInput.of(source.preprocessing),
        class_names=source.header.class_names,
        architecture=dict(answer.architecture.as_dict()),
        tool_version="candidate",
    )
    fp32 = onnx_from_module(module, folder / model_file_name("fp32"), opset=profile.onnx_opset, metadata=metadata)
    artefacts = all_artefacts(fp32, job, profile, calibration)
    return next(each.onnx_file for each in artefacts if each.precision == job.judged_precision)


def _records(
    job: "ShipJob", answers: Sequence[SearchAnswer], readings: Sequence[Reading], *, corrected: bool = False
) -> list[Candidate]:
    return [_record(job, *each, corrected=corrected) for each in zip(answers, readings, strict=True)]


def _record(job: "ShipJob", answer: SearchAnswer, reading: Reading, *, corrected: bool) -> Candidate:
    forecast, measured, limit = answer.predictions[0], reading.measured, job.budgets.latency_ms or 0.0
    low, high = (forecast.low_ms, forecast.high_ms) if measured is None else (measured.low_ms, measured.high_ms)
    return Candidate(
        architecture=dict(answer.architecture.as_dict()),
        fitness=answer.fitness,
        macs=answer.macs,
        params=answer.params,
        predicted_ms=forecast.latency_ms,
        predicted_low_ms=forecast.low_ms,
        predicted_high_ms=forecast.high_ms,
        measured=measured,
        verdict=verdict_of(low, high, limit),
        kept=False,
        not_measured_because=reading.why_not,
        corrected=corrected,
    )


def _fittest_that_meets(candidates: Sequence[Candidate]) -> int:
    """Of those measured: whose whole interval keeps to the budget; else whose straddles it; else the fastest."""
    medians = {i: each.measured.median_ms for i, each in enumerate(candidates) if each.measured is not None}
    for verdict in ("met", "cannot tell"):
        meeting = [i for i in medians if candidates[i].verdict == verdict]
        if meeting:
            return max(meeting, key=lambda i: candidates[i].fitness)
    return min(medians, key=lambda i: medians[i])
