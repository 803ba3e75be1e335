"""What went on around the readings of one sitting."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from fednas.latency_tables import Energy
from fednas.toolchain.measure.counters import Counters, Usage, read_counters, usage_between
from fednas.toolchain.measure.environment import current_mhz, temperature_c, usable_cores
from fednas.toolchain.measure.system_files import ROOT

LOOK_EVERY_S = 1.0
"""Clocks and temperature are files of the kernel; looking is cheap, but not free."""
UNKNOWN = Usage(others_cores=None, stolen=None, throttled=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Around the readings; None where the machine does not say. A resumed run knows only its last sitting's."""

    build_s: float | None = None
    """Making the models."""
    load_s: float | None = None
    """Loading them in the runtime, first run included."""
    timer_share: float | None = None
    """Of the shortest reading, what the clock itself makes uncertain."""
    stops: int = 0
    """Readings during which the machine stood still or its clock jumped."""
    usage: Usage = UNKNOWN
    clock_low_mhz: float | None = None
    clock_high_mhz: float | None = None
    hottest_c: float | None = None
    energy: Energy | None = None
    """Of the reference network, in a stretch after the readings."""


@dataclass(slots=True)
class Watch:
    """Looks at the machine between readings and sums up what it saw."""

    root: Path = ROOT
    build_s: float = 0.0
    load_s: float = 0.0
    timer_share: float | None = None
    stops: int = 0
    energy: Energy | None = None
    _clocks_mhz: list[float] = field(default_factory=list)
    _temperatures_c: list[float] = field(default_factory=list)
    _looked_s: float | None = None
    _cores: tuple[int, ...] = field(default_factory=usable_cores)
    _before: Counters = field(init=False)

    def __post_init__(self) -> None:
        self._before = read_counters(self.root)

    def look(self) -> None:
        """Note clocks and temperature, if the last look is a second ago."""
        now_s = time.monotonic()
        if self._looked_s is not None and now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        if (clock := current_mhz(self.root, self._cores)) is not None:
            self._clocks_mhz.append(clock)
        if (temperature := temperature_c(self.root)) is not None:
            self._temperatures_c.append(temperature)

    def conditions(self) -> Conditions:
        """What was seen so far."""
        return Conditions(
            build_s=self.build_s,
            load_s=self.load_s,
            timer_share=self.timer_share,
            stops=self.stops,
            usage=usage_between(self._before, read_counters(self.root)),
            clock_low_mhz=min(self._clocks_mhz, default=None),
            clock_high_mhz=max(self._clocks_mhz, default=None),
            hottest_c=max(self._temperatures_c, default=None),
            energy=self.energy,
        )
