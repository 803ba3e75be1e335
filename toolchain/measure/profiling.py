"""Profiling a search space on this machine: measure, take the drift out, calibrate, check, and fill the table."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fednas.common import ExitCode, FednasError
from fednas.latency_tables import BlockSpec, LatencyTable, Machine, Session, TableEntry
from fednas.profiles import DeviceProfile
from fednas.toolchain.measure.calibration import (
    MeasuredNetwork,
    fit_calibration,
    interval_of,
    report_of,
    unseen_errors,
)
from fednas.toolchain.measure.drift import REFERENCE, Corrected, take_drift_out
from fednas.toolchain.measure.environment import load_average, read_machine
from fednas.toolchain.measure.here import require_this_machine
from fednas.toolchain.measure.journal import Journal, Reading
from fednas.toolchain.measure.plan import Plan, Specs, exhaustive_plan
from fednas.toolchain.measure.rounds import LEAST_ROUNDS, ReportProgress, Sitting, measure
from fednas.toolchain.measure.sessions import runtime_version
from fednas.toolchain.space import SearchSpace

if TYPE_CHECKING:
    import numpy as np

PLANS = ("exhaustive",)
RUNTIME, PRECISION = "onnxruntime", "fp32"
UNFIT_REPEATABILITY = 0.05
"""Two halves of one session that differ by more than this say that the machine cannot be trusted to 5 %."""
UNFIT_DRIFT = 2.0
"""Ratio of the slowest to the fastest moments (95th to 5th percentile) that correction is not trusted with."""

UNFIT_INTERRUPTED = 0.25
"""Share of readings during which the system ran another program on our core."""


@dataclass(frozen=True, slots=True)
class _Levels:
    """What the corrected readings say about one candidate."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    samples: int
    spread: float
    even_over_odd: float
    """Median of its even readings over that of its odd ones."""


def profile_space(
    space: SearchSpace,
    device: DeviceProfile,
    *,
    plan: str = "exhaustive",
    threads: int = 1,
    batch: int = 1,
    seconds: float = 10.0,
    partial: Path | None = None,
    resume: bool = False,
    accept_unfit: bool = False,
    seed: int = 0,
    progress: ReportProgress | None = None,
) -> LatencyTable:
    """Measure every block of ``space`` on this machine and return its calibrated, self-checked table.

    Args:
        seconds: device time for the readings; loading the models comes on top. More seconds, smaller spread.
        partial: file that keeps the raw readings, for the caller to delete once the table is safe; ``resume``
            goes on from it.
        accept_unfit: return the table of a machine that is not fit to measure, with what was wrong in its remarks.

    Raises `FednasError` for a device that is not this machine, a plan that does not exist, partial results of
    another job, and, with exit code 5, a machine that is not fit to measure.
    """
    if plan not in PLANS:
        raise FednasError(f"plan {plan!r} is not built yet", hint=f"use one of {', '.join(PLANS)}")
    require_this_machine(device)
    before, load_before = read_machine(), load_average()
    todo = exhaustive_plan(space, seed=seed)
    sitting = Sitting(threads=threads, batch=batch, seconds=seconds, seed=seed)
    with Journal(partial, job=_job(todo, sitting, before), resume=resume) as journal:
        measure(todo.candidates, sitting, journal, progress)
    result = _Result(todo, journal)
    after = read_machine()
    remarks = [*_changes(before, after), *result.remarks()]
    if remarks and not accept_unfit:
        raise FednasError(
            f"this machine is not fit to measure now: {'; '.join(remarks)}",
            hint="stop other work, or give more --seconds with --resume; --accept-unfit writes the table all the same",
            exit_code=ExitCode.CANNOT_TELL,
        )
    return result.table(device, sitting, before, (load_before, load_average()), tuple(remarks))


class _Result:
    """Corrected readings, and everything that is read off them."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        import numpy as np

        self.plan = plan
        self.readings = len(journal.readings)
        self.seconds = _seconds(journal.readings)
        self.interrupted = sum(r.interrupted for r in journal.readings) / self.readings
        used = _usable(journal.readings, len(plan.candidates))
        candidate = np.array([r.candidate for r in used])
        latency_ms = np.array([r.latency_ms for r in used])
        self.corrected = take_drift_out(np.array([r.group for r in used]), candidate, latency_ms)
        self.raw_reference_ms = np.array([r.latency_ms for r in journal.readings if r.candidate == REFERENCE])
        self.levels = [_levels(self.corrected, index) for index in range(len(plan.candidates))]
        blocks = self.levels[1 : 1 + len(plan.blocks)]
        self.blocks = dict(zip(plan.blocks, blocks, strict=True))

    @property
    def _networks(self) -> dict[Specs, _Levels]:
        # The reference is both candidate 0 and a calibration network; either reading will do.
        first = 1 + len(self.plan.blocks)
        return dict(zip(self.plan.candidates[first:], self.levels[first:], strict=True))

    def measured(self, networks: Sequence[Specs]) -> list[MeasuredNetwork]:
        """These networks with their medians."""
        levels = self._networks
        return [MeasuredNetwork(specs, levels[specs].median_ms) for specs in networks]

    @property
    def repeatability(self) -> float:
        """Mean difference between even and odd readings of the held-out networks."""
        levels = self._networks
        return sum(abs(levels[specs].even_over_odd - 1) for specs in self.plan.held_out) / len(self.plan.held_out)

    @property
    def drift(self) -> tuple[float, float]:
        """5th and 95th percentile of the machine's slowness."""
        import numpy as np

        low, high = np.quantile(self.corrected.slowness, (0.05, 0.95))
        return float(low), float(high)

    def remarks(self) -> list[str]:
        """What speaks against trusting these readings."""
        low, high = self.drift
        found = []
        if self.repeatability > UNFIT_REPEATABILITY:
            found.append(
                f"the same networks repeat only to {self.repeatability:.1%} within the session "
                f"(limit {UNFIT_REPEATABILITY:.0%})"
            )
        if self.interrupted > UNFIT_INTERRUPTED:
            found.append(f"other programs took the core during {self.interrupted:.0%} of the readings")
        if high / low > UNFIT_DRIFT:
            found.append(f"its speed varies by a factor of {high / low:.1f} (limit {UNFIT_DRIFT:.0f})")
        return found

    def table(
        self,
        device: DeviceProfile,
        sitting: Sitting,
        machine: Machine,
        loads: tuple[float, float],
        remarks: tuple[str, ...],
    ) -> LatencyTable:
        """The finished table."""
        medians = {spec: level.median_ms for spec, level in self.blocks.items()}
        fitted_on, held_out = self.measured(self.plan.calibration), self.measured(self.plan.held_out)
        calibration = fit_calibration(medians, fitted_on)
        errors = unseen_errors(medians, fitted_on, held_out)
        return LatencyTable(
            device=device.name,
            runtime=RUNTIME,
            runtime_version=runtime_version(),
            precision=PRECISION,
            batch=sitting.batch,
            threads=sitting.threads,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            tool_version=version("fednas-export"),
            machine=machine,
            session=self._session(loads, remarks),
            calibration=calibration,
            interval=interval_of(*errors, self.corrected.wander()),
            report=report_of(medians, calibration, held_out, errors=errors, repeatability=self.repeatability),
            entries=tuple(_entry(spec, level) for spec, level in self.blocks.items()),
        )

    def _session(self, loads: tuple[float, float], remarks: tuple[str, ...]) -> Session:
        import numpy as np

        reference = self.raw_reference_ms
        first, second = np.array_split(reference, 2)
        low, high = self.drift
        p10, median, p90 = (float(value) for value in np.quantile(reference, (0.1, 0.5, 0.9)))
        return Session(
            plan="exhaustive",
            seconds=round(self.seconds, 2),
            readings=self.readings,
            interrupted=round(self.interrupted, 4),
            reference_ms=median,
            reference_p10_ms=p10,
            reference_p90_ms=p90,
            drift_low=low,
            drift_high=high,
            halves_ratio=float(np.median(second) / np.median(first)),
            load_before=round(loads[0], 2),
            load_after=round(loads[1], 2),
            remarks=remarks,
        )


def _seconds(readings: Sequence[Reading]) -> float:
    """Device time of all groups together."""
    last: dict[int, float] = {}
    for reading in readings:
        last[reading.group] = max(last.get(reading.group, 0.0), reading.elapsed_s)
    return sum(last.values())


def _usable(readings: Sequence[Reading], candidates: int) -> Sequence[Reading]:
    """The readings that no other program interrupted, if every candidate has enough of them; else all.

    An interrupted reading holds the other program's time. It is known by its cause, not by its value: no
    reading is dropped for being slow.
    """
    clean = [reading for reading in readings if not reading.interrupted]
    counts = Counter(reading.candidate for reading in clean)
    return clean if all(counts[index] >= LEAST_ROUNDS for index in range(candidates)) else readings


def _levels(corrected: Corrected, candidate: int) -> _Levels:
    import numpy as np

    readings = corrected.of(candidate)
    p10, median, p90 = (float(value) for value in np.quantile(readings, (0.1, 0.5, 0.9)))
    return _Levels(
        median_ms=median,
        p10_ms=p10,
        p90_ms=p90,
        samples=len(readings),
        spread=_standard_error(readings) / median,
        even_over_odd=float(np.median(readings[::2]) / np.median(readings[1::2])),
    )


def _standard_error(readings: "np.ndarray[Any, Any]") -> float:
    """Of the median, from the median absolute deviation (exact for normal readings)."""
    import numpy as np

    deviation = 1.4826 * np.median(np.abs(readings - np.median(readings)))
    return float(1.2533 * deviation / np.sqrt(len(readings)))


def _entry(spec: BlockSpec, level: _Levels) -> TableEntry:
    return TableEntry(
        kind=spec.kind,
        in_channels=spec.in_channels,
        mid_channels=spec.mid_channels,
        out_channels=spec.out_channels,
        in_hw=spec.in_hw,
        stride=spec.stride,
        shortcut=spec.shortcut,
        median_ms=level.median_ms,
        p10_ms=level.p10_ms,
        p90_ms=level.p90_ms,
        samples=level.samples,
        spread=level.spread,
        origin="measured",
    )


def _job(plan: Plan, sitting: Sitting, machine: Machine) -> str:
    """Digest of what must be equal for old readings to count."""
    parts = [
        *("+".join(spec.key for spec in specs) for specs in plan.candidates),
        f"{sitting.threads} {sitting.batch} {sitting.seed}",
        f"{runtime_version()} {machine.cpu_model} {machine.architecture} {machine.affinity}",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _changes(before: Machine, after: Machine) -> list[str]:
    """What about the machine changed during the session and makes its readings a mixture."""
    names = ("affinity", "governor", "power_mode", "max_mhz")
    return [
        f"{name} changed from {getattr(before, name)} to {getattr(after, name)} meanwhile"
        for name in names
        if getattr(before, name) != getattr(after, name)
    ]
