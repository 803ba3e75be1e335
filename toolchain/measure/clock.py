"""What the clock is worth: how finely it ticks, and whether the machine stood still."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from fednas.common import ExitCode, FednasError

LEAST_TICKS = 100
"""Ticks of the clock in a reading: its step is then at most 1 % of it."""
STILL_S = 1.0
STILL_FACTOR = 20.0
"""A reading this many times the usual, and a second longer, is a machine that stood still, not a slow model."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock as it was found to be."""

    step_ms: float
    """Smallest difference between two readings of it: its tick, or, if that is finer, what reading it costs."""

    def reading_ms(self, wanted_ms: float) -> float:
        """``wanted_ms``, or longer if the clock is too coarse for that (some boards count whole milliseconds)."""
        return max(wanted_ms, LEAST_TICKS * self.step_ms)

    def share(self, reading_ms: float) -> float:
        """Of a reading, what the clock makes uncertain."""
        return min(1.0, self.step_ms / reading_ms)


def examine_clock(read_ns: Callable[[], int] = time.perf_counter_ns, steps: int = 20) -> Clock:
    """Watch the clock until it has moved ``steps`` times."""
    smallest = math.inf
    last = read_ns()
    while steps:
        now = read_ns()
        if now != last:
            smallest = min(smallest, abs(now - last))
            last, steps = now, steps - 1
    return Clock(step_ms=smallest / 1e6)


def checked_reading(latency_ms: float) -> float:
    """The reading; raises `FednasError` with exit code 5 for one that no clock that runs forward gives."""
    if math.isfinite(latency_ms) and latency_ms > 0:
        return latency_ms
    raise FednasError(
        f"the machine is not fit to measure: its clock gave a reading of {latency_ms:g} ms, so it jumps",
        hint="mend the clock, then go on with --resume",
        exit_code=ExitCode.CANNOT_TELL,
    )


class Standstill:
    """Notices when the machine was suspended, or its clock jumped, since it was last asked."""

    def __init__(self, asleep_s: Callable[[], float] | None = None) -> None:
        self._asleep_s = asleep_s or _asleep_s
        self._last_s = self._asleep_s()
        self.count = 0

    def happened(self, latency_ms: float, usual_ms: float) -> bool:
        """Whether the reading of ``latency_ms`` holds a stop; ``usual_ms`` is what the model took when probed."""
        now_s = self._asleep_s()
        slept = abs(now_s - self._last_s) > STILL_S
        self._last_s = now_s
        stood = slept or latency_ms > max(STILL_FACTOR * usual_ms, usual_ms + 1e3 * STILL_S)
        self.count += stood
        return stood


def _asleep_s() -> float:
    """Time that the machine has been suspended; Linux has a clock that counts it and one that does not."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
