"""What is known about speed and budgets, in the words of the manifest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from fednas.common import Progress, format_latency_ms
from fednas.export import (
    Budget,
    EngineLatency,
    Latency,
    MeasuredLatency,
    NextBetter,
    OnnxFile,
    Precision,
    PredictedLatency,
    Table,
    tolerance_for,
)
from fednas.export.manifest import verdict_of
from fednas.latency_tables import LatencyModel, Machine, MeasuredLatencyModel
from fednas.profiles import DeviceProfile
from fednas.toolchain.search.request import Budgets, LimitUse, SearchAnswer, format_beyond, option_of
from fednas.toolchain.space import SearchSpace

if TYPE_CHECKING:
    from fednas.toolchain.measure import MeasuredLatency as Timed


@dataclass(frozen=True, slots=True)
class Reading:
    """A latency measured on this machine, or the reason why there is none."""

    measured: MeasuredLatency | None
    why_not: str


def measure_here(onnx_file: OnnxFile, profile: DeviceProfile, space: SearchSpace) -> Reading:
    """Time the file under ONNX Runtime if this machine is the device, one image and one thread.

    It is read in turn with networks of ``space``, as a latency table of that space reads its own, and alone.
    """
    return measure_all_here([onnx_file], profile, space)[0]


def measure_all_here(
    files: Sequence[OnnxFile],
    profile: DeviceProfile,
    space: SearchSpace,
    *,
    seconds: float = 2.0,
    progress: Progress | None = None,
) -> list[Reading]:
    """As `measure_here`, several files in turn with each other too; ``seconds`` for each of them."""
    from fednas.toolchain.measure import (
        is_this_machine,
        measure_onnx_files,
        neighbours_in,
        read_machine,
    )
    from fednas.toolchain.measure.runtimes import DEFAULT_RUNTIME, find_runtime

    if not is_this_machine(profile):
        return [Reading(None, f"this machine is not {profile.title}")] * len(files)
    strange = next((file.input_type for file in files if file.input_type not in ("float32", "uint8")), None)
    if strange is not None:
        return [Reading(None, f"files with {strange} inputs are not measured")] * len(files)
    found = measure_onnx_files(
        [file.path for file in files],
        input_shape=(1, *files[0].image_shape),
        neighbours=neighbours_in(space),
        seconds=seconds,
        progress=progress,
    )
    machine, runtime = read_machine(), f"ONNX Runtime {find_runtime(DEFAULT_RUNTIME).version()}"
    return [_reading(each, machine, runtime) for each in found]


def _reading(found: "Timed", machine: Machine, runtime: str) -> Reading:
    if not found.fit:
        return Reading(None, f"this machine was not fit to measure: {found.reason}")
    record = MeasuredLatency(
        state=found.state,
        alone_ms=found.alone_ms,
        median_ms=found.median_ms,
        low_ms=found.low_ms,
        high_ms=found.high_ms,
        p10_ms=found.p10_ms,
        p90_ms=found.p90_ms,
        runs=found.samples * found.calls_per_reading,
        threads=found.threads,
        runtime=runtime,
        machine=f"{machine.cpu_model}, {machine.cores} cores, {machine.operating_system}",
        power_mode=machine.power_mode,
    )
    return Reading(record, "")


def latency_record(answer: SearchAnswer, model: LatencyModel, reading: Reading) -> Latency:
    """Prediction with its table, and the reading."""
    identity, forecast = model.identity, answer.predictions[0]
    session = model.table if isinstance(model, MeasuredLatencyModel) else None
    table = Table(
        name=identity.name,
        sha256=identity.sha256 or None,
        kind=identity.kind,
        device=identity.device,
        runtime=identity.runtime,
        date=session.date if session else "",
        power_mode=session.machine.power_mode if session else None,
    )
    predicted = PredictedLatency(
        latency_ms=forecast.latency_ms,
        low_ms=forecast.low_ms,
        high_ms=forecast.high_ms,
        coverage=forecast.coverage,
        precision=_known_precision(model),
        modelled=forecast.modelled,
    )
    return Latency(table=table, predicted=predicted, measured=reading.measured, not_measured_because=reading.why_not)


def outside_of_prediction(latency: Latency) -> tuple[str, ...]:
    """A remark where the file measures outside the interval that its prediction stated."""
    predicted, measured = latency.predicted, latency.measured
    if predicted is None or measured is None or latency.kind != "measured":
        return ()
    if predicted.low_ms <= measured.high_ms and measured.low_ms <= predicted.high_ms:
        return ()
    return (
        f"Latency: the file measured {format_latency_ms(measured.median_ms)}, outside the predicted interval. "
        "Both were read in turn with other networks, so the caches do not explain it: the machine ran at another speed "
        "when the table was measured, or the table is wrong. `fednas-export table validate` tells which.",
    )


def budget_records(
    budgets: Budgets,
    answer: SearchAnswer,
    model: LatencyModel,
    reading: Reading,
    file_bytes: int,
    precision: Precision,
    *,
    engine: EngineLatency | None = None,
) -> tuple[Budget, ...]:
    """One record a budget, with the verdict that its interval allows; all of them of one precision's file.

    ``engine``: latency of the engine built of that file, which is then what the device runs.
    """
    steps = {option_of(use.quantity): _next_better(use) for use in answer.limits}
    records = []
    if budgets.latency_ms is not None:
        read = engine or reading.measured
        record = _latency_budget(budgets.latency_ms, answer, model, read, precision)
        records.append(msgspec.structs.replace(record, next_better=steps.get("--max-latency")))
    for quantity, unit, limit, value in (
        ("macs", "", budgets.macs, answer.macs),
        ("params", "", budgets.params, answer.params),
        ("size", "bytes", budgets.file_bytes, file_bytes),
    ):
        if limit is not None:
            verdict = verdict_of(value, value, limit)
            records.append(
                Budget(
                    quantity=quantity,
                    unit=unit,
                    limit=limit,
                    value=value,
                    basis="exact",
                    verdict=verdict,
                    next_better=steps.get(f"--max-{quantity}"),
                )
            )
    return tuple(records)


def _next_better(use: LimitUse) -> NextBetter | None:
    step = use.next_better
    if step is None:
        return None
    text = format_beyond(use.quantity, step.value, use.limit)
    return NextBetter(needs=step.value, needs_text=text, fitness=step.fitness)


def _latency_budget(
    limit_ms: float,
    answer: SearchAnswer,
    model: LatencyModel,
    read: EngineLatency | MeasuredLatency | None,
    precision: Precision,
) -> Budget:
    if read is not None:
        value, low, high, basis = read.median_ms, read.low_ms, read.high_ms, "measured"
    else:
        forecast = answer.predictions[0]
        value, low, high = forecast.latency_ms, forecast.low_ms, forecast.high_ms
        basis = "predicted" if model.identity.kind == "measured" else "estimated"
    # A prediction for another precision speaks neither for nor against this one.
    tells = read is not None or model.identity.precision == precision
    return Budget(
        quantity="latency",
        unit="ms",
        limit=limit_ms,
        value=value,
        low=low,
        high=high,
        basis=basis,
        verdict=verdict_of(low, high, limit_ms) if tells else "cannot tell",
    )


def _known_precision(model: LatencyModel) -> Precision:
    return tolerance_for(model.identity.precision).precision
