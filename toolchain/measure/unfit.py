"""What speaks against trusting the readings of a session. An unfit machine is said, not averaged away."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from fednas.common import ExitCode, FednasError
from fednas.latency_tables import LatencyTable, Machine, launch_dominated
from fednas.latency_tables.unfit_limits import (
    CROWDED,
    UNFIT_DRIFT,
    UNFIT_HALVES,
    UNFIT_INTERRUPTED,
    UNFIT_STOLEN,
    UNFIT_STOPS,
    UNFIT_THROTTLED,
    UNFIT_TIMER,
)
from fednas.toolchain.measure.conditions import Conditions
from fednas.toolchain.measure.job import Collected
from fednas.toolchain.measure.journal import Reading
from fednas.toolchain.measure.kit.board.gpu import SLOWED_TELLING
from fednas.toolchain.measure.sittings import Sitting

UNFIT_REPEATABILITY, UNFIT_LOADED_AGAIN = 0.05, 0.08
"""Of networks that were loaded once, and loaded again: those differ by up to 4 % on a quiet machine."""


class Remedy(StrEnum):
    """What may make a fit run of an unfit one."""

    MORE = "more readings, at a quieter time"
    ANEW = "a run from the start: what was wrong around its readings stays wrong with them"
    OTHER_ENGINES = (
        "more readings do not help: another version of TensorRT, or the other of its module and trtexec (--runtime), "
        "may say it"
    )
    OTHER_WORK = "more readings do not help: a larger --batch, or --plan network, gives the device more to do at once"


class UnfitMachine(FednasError):  # noqa: N818 - the machine is what is wrong
    """Of whose readings no table is made unless that is asked for."""

    def __init__(self, remarks: Sequence[str], remedy: Remedy, hint: str) -> None:
        super().__init__(
            f"the machine is not fit to measure: {'; '.join(remarks)}", hint=hint, exit_code=ExitCode.CANNOT_TELL
        )
        self.remedy = remedy
        self._remarks = remarks

    def advised(self, hint: str) -> "UnfitMachine":
        """The same with another hint, of whoever knows how the readings came here."""
        return UnfitMachine(self._remarks, self.remedy, hint)


def remedy_for(collected: Collected, table: LatencyTable | None = None) -> Remedy:
    """The first thing to mend of an unfit run; of what a table of it shows only if that is given."""
    if collected.conditions.doubts:
        return Remedy.OTHER_ENGINES
    if table is not None and launch_bound(table):
        return Remedy.OTHER_WORK
    return Remedy.ANEW if any(sitting_remarks(collected)) else Remedy.MORE


def remarks_on(
    collected: Collected, *, repeatability: float, drift: tuple[float, float], halves: float
) -> tuple[str, ...]:
    """All that was wrong; empty if the machine was fit to measure.

    Args:
        repeatability: mean difference between two measurements of the same networks.
        drift: 5th and 95th percentile of the machine's slowness.
        halves: how slow the machine was in the second half of the session, over the first.
    """
    return (
        *_of_the_readings(collected.readings, repeatability, drift, halves),
        *sitting_remarks(collected),
        *_stops(collected.conditions, len(collected.readings)),
        *collected.conditions.doubts,
    )


def launch_bound(table: LatencyTable) -> tuple[str, ...]:
    """Whether its entries carry no signal, since starting a kernel takes longer than what it does."""
    return tuple(finding.message for finding in launch_dominated(table))


def interrupted_share(readings: Sequence[Reading]) -> float:
    """Of the readings, those during which the system ran another program on our core."""
    return sum(reading.interrupted for reading in readings) / len(readings)


def sitting_remarks(collected: Collected) -> Iterator[str]:
    """What was wrong around the readings of any sitting: a quiet one that follows does not make good for it."""
    sittings = collected.each_sitting
    for sitting in sittings:
        where = f"in sitting {sitting.number}, " if len(sittings) > 1 else ""
        remarks = (
            *_changes(sitting.before, sitting.after or sitting.before),
            *_crowd(sitting, collected.job.threads),
            *_held_back(sitting.conditions),
            *_hot_gpu(sitting.conditions),
            *_clock(sitting.conditions),
        )
        yield from (where + remark for remark in remarks)


def _changes(before: Machine, after: Machine) -> Iterator[str]:
    """What about the machine changed during a sitting and makes its readings a mixture."""
    for name in ("affinity", "governor", "power_mode", "min_mhz", "max_mhz", "limit_mhz"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield f"{name} changed from {old} to {new} meanwhile"
    for name in ("driver", "power_limit_w", "min_mhz", "max_mhz"):
        old, new = getattr(before.gpu_state, name, None), getattr(after.gpu_state, name, None)
        if old != new:
            yield f"the GPU's {name} changed from {old} to {new} meanwhile"
    events = (after.throttle_events or 0) - (before.throttle_events or 0)
    if before.throttle_events is not None and events > 0:
        yield f"heat or low voltage slowed the processor {events} time{'s' * (events != 1)} meanwhile"


def _loaded_again(readings: Sequence[Reading]) -> bool:
    """Whether the last candidate, which is a held-out network, was read in more than one group."""
    last = max(reading.candidate for reading in readings)
    return len({reading.group for reading in readings if reading.candidate == last}) > 1


def _of_the_readings(
    readings: Sequence[Reading], repeatability: float, drift: tuple[float, float], halves: float
) -> Iterator[str]:
    limit = UNFIT_LOADED_AGAIN if _loaded_again(readings) else UNFIT_REPEATABILITY
    if repeatability > limit:
        yield f"the same networks repeat only to {repeatability:.1%} within the session (limit {limit:.0%})"
    if (share := interrupted_share(readings)) > UNFIT_INTERRUPTED:
        yield f"other programs took the core during {share:.0%} of the readings"
    low, high = drift
    if high / low > UNFIT_DRIFT:
        yield f"its speed varies by a factor of {high / low:.1f} (limit {UNFIT_DRIFT:.0f})"
    if max(halves, 1 / halves) > UNFIT_HALVES:
        cause = "heat, or other work" if halves > 1 else "other work, or clocks that rose"
        yield f"the second half of the session took {halves:.2f} times as long as the first: {cause}"


def _crowd(sitting: Sitting, threads: int) -> Iterator[str]:
    """Other programs on our cores; without counts of the processor's time, what the load average says."""
    cores, others = len(sitting.before.affinity), sitting.conditions.usage.others_cores
    if others is None:
        if sitting.load_before > cores:
            yield f"{sitting.load_before:.1f} processes ran before the start, on {cores} cores"
    elif others + threads > cores + CROWDED:
        yield f"other programs kept {others:.1f} of its {cores} cores busy, and measuring takes {threads}"


def _held_back(conditions: Conditions) -> Iterator[str]:
    usage = conditions.usage
    if usage.stolen is not None and usage.stolen > UNFIT_STOLEN:
        yield f"the host of this virtual machine took {usage.stolen:.0%} of its processors' time"
    if usage.throttled is not None and usage.throttled > UNFIT_THROTTLED:
        yield f"the container's processor quota stopped it for {usage.throttled:.0%} of the time"


def _hot_gpu(conditions: Conditions) -> Iterator[str]:
    if telling := [cause for cause in conditions.gpu_slowed_by if cause in SLOWED_TELLING]:
        yield f"the clock of the GPU was lowered by {' and '.join(telling)}"


def _clock(conditions: Conditions) -> Iterator[str]:
    if conditions.timer_share is not None and conditions.timer_share > UNFIT_TIMER:
        yield f"its clock is too coarse: {conditions.timer_share:.0%} of the shortest reading is the clock's own"


def _stops(conditions: Conditions, readings: int) -> Iterator[str]:
    if conditions.stops > UNFIT_STOPS * readings:
        yield f"it stood still, or its clock jumped, during {conditions.stops} of {readings} readings"
