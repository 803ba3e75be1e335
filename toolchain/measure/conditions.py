"""What went on around the readings of one sitting."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fednas.latency_tables import Energy, GpuState
from fednas.toolchain.measure.counters import Counters, Usage, read_counters, usage_between
from fednas.toolchain.measure.environment import current_mhz, temperature_c, usable_cores
from fednas.toolchain.measure.gpu import ReadGpu
from fednas.toolchain.measure.system_files import ROOT

LOOK_EVERY_S = 1.0
"""Clocks and temperature are files of the kernel; looking is cheap, but not free."""
GPU_LOOK_EVERY_S = 5.0
GPU_LOOK_SHARE = 0.02
"""Of the time, at most, for looking at a GPU: nvidia-smi is a program, and nothing is read while it answers."""
KEEP_EVERY_S = 10.0
"""So much of what was seen a kill may lose."""
UNKNOWN = Usage(others_cores=None, stolen=None, throttled=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Around the readings; None where the machine does not say."""

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
    gpu_low_mhz: float | None = None
    """Of the GPU's clock between rounds; the one before and after a run is that of a GPU at rest."""
    gpu_high_mhz: float | None = None
    gpu_hottest_c: float | None = None
    gpu_slowed_by: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    """What the runtime leaves open about its models, such as the precision that they really have."""
    energy: Energy | None = None
    """Of the reference network, in a stretch after the readings."""


@dataclass(slots=True)
class Watch:
    """Looks at the machine between readings and sums up what it saw."""

    root: Path = ROOT
    gpu: ReadGpu | None = None
    """Reads the state of the GPU; None where the processor measures."""
    keep: Callable[[Conditions], None] | None = None
    """Is given what was seen so far, now and then."""
    build_s: float = 0.0
    load_s: float = 0.0
    timer_share: float | None = None
    stops: int = 0
    doubts: dict[str, None] = field(default_factory=dict)
    energy: Energy | None = None
    layers_failed: str = ""
    _clocks_mhz: list[float] = field(default_factory=list)
    _temperatures_c: list[float] = field(default_factory=list)
    _gpu_states: list[GpuState] = field(default_factory=list)
    _next_look_s: float = 0.0
    _next_gpu_look_s: float = 0.0
    _next_keep_s: float = field(default_factory=lambda: time.monotonic() + KEEP_EVERY_S)
    _cores: tuple[int, ...] = field(default_factory=usable_cores)
    _before: Counters = field(init=False)

    def __post_init__(self) -> None:
        self._before = read_counters(self.root)

    def look(self) -> None:
        """Note clocks and temperature, if the last look is a second ago; a GPU's, and keep all, more rarely."""
        now_s = time.monotonic()
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + LOOK_EVERY_S
        if (clock := current_mhz(self.root, self._cores)) is not None:
            self._clocks_mhz.append(clock)
        if (temperature := temperature_c(self.root)) is not None:
            self._temperatures_c.append(temperature)
        if self.gpu is not None and now_s >= self._next_gpu_look_s:
            self._look_at_gpu(self.gpu)
        if self.keep is not None and now_s >= self._next_keep_s:
            self._next_keep_s = now_s + KEEP_EVERY_S
            self.keep(self.conditions())

    def conditions(self) -> Conditions:
        """What was seen so far."""
        gpu_mhz = [state.current_mhz for state in self._gpu_states if state.current_mhz is not None]
        gpu_c = [state.temperature_c for state in self._gpu_states if state.temperature_c is not None]
        return Conditions(
            build_s=self.build_s,
            load_s=self.load_s,
            timer_share=self.timer_share,
            stops=self.stops,
            usage=usage_between(self._before, read_counters(self.root)),
            clock_low_mhz=min(self._clocks_mhz, default=None),
            clock_high_mhz=max(self._clocks_mhz, default=None),
            hottest_c=max(self._temperatures_c, default=None),
            gpu_low_mhz=min(gpu_mhz, default=None),
            gpu_high_mhz=max(gpu_mhz, default=None),
            gpu_hottest_c=max(gpu_c, default=None),
            gpu_slowed_by=tuple(dict.fromkeys(cause for state in self._gpu_states for cause in state.slowed_by)),
            doubts=tuple(self.doubts),
            energy=self.energy,
        )

    def _look_at_gpu(self, read: ReadGpu) -> None:
        start_s = time.monotonic()
        if (state := read()) is not None:
            self._gpu_states.append(state)
        now_s = time.monotonic()
        self._next_gpu_look_s = now_s + max(GPU_LOOK_EVERY_S, (now_s - start_s) / GPU_LOOK_SHARE)
