"""What machine this is and in what state: read where it can be read, None where it cannot."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from fednas.export.board.cudart import gpu_name
from fednas.latency_tables import Machine
from fednas.profiles import this_machine
from fednas.toolchain.measure.gpu import read_gpu_state
from fednas.toolchain.measure.jetson import power_mode
from fednas.toolchain.measure.system_files import ROOT, number_of, sum_of, text_of


def read_machine(root: Path = ROOT, *, on_gpu: bool = False) -> Machine:
    """Fingerprint and state of this machine as it is now; ``root`` holds its ``sys``, ``proc`` and ``etc``.

    ``on_gpu``: the GPU and its state belong to it.
    """
    import numpy as np

    gpu = gpu_name() if on_gpu else None
    facts = this_machine()
    affinity = usable_cores()
    first = _cpu(root, affinity[0]) / "cpufreq"
    return Machine(
        cpu_model=facts.model,
        architecture=platform.machine(),
        operating_system=f"{platform.system()} {platform.release()}",
        cores=os.cpu_count() or 1,
        affinity=affinity,
        memory_bytes=facts.memory_bytes,
        governor=text_of(first / "scaling_governor"),
        power_mode=power_mode(root),
        current_mhz=current_mhz(root, affinity),
        min_mhz=_mhz(first / "scaling_min_freq"),
        max_mhz=_mhz(first / "cpuinfo_max_freq"),
        limit_mhz=_mhz(first / "scaling_max_freq"),
        locked=_locked(first),
        temperature_c=temperature_c(root),
        throttle_events=_throttle_events(root),
        capacities=_capacities(root, affinity),
        gpu=gpu,
        gpu_state=read_gpu_state(root, name=gpu) if on_gpu else None,
        python_version=platform.python_version(),
        numpy_version=np.__version__,
    )


def usable_cores() -> tuple[int, ...]:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def current_mhz(root: Path, cores: Sequence[int]) -> float | None:
    """Highest clock among the cores now: that of the core that works."""
    clocks = (_mhz(_cpu(root, core) / "cpufreq" / "scaling_cur_freq") for core in cores)
    return max((clock for clock in clocks if clock is not None), default=None)


def temperature_c(root: Path) -> float | None:
    """Of the hottest thermal zone; zones that read zero or below are switched off."""
    zones = (number_of(path) for path in root.glob("sys/class/thermal/thermal_zone*/temp"))
    return max((zone / 1e3 for zone in zones if zone is not None and zone > 0), default=None)


def load_average() -> float:
    """Running processes, averaged over the last minute; 0 where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return 0.0


def interruptions() -> int:
    """How often the system has taken the core from this process to run another; 0 where it does not say."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _cpu(root: Path, core: int) -> Path:
    return root / "sys/devices/system/cpu" / f"cpu{core}"


def _mhz(path: Path) -> float | None:
    khz = number_of(path)
    return khz / 1e3 if khz and khz > 0 else None


def _locked(cpufreq: Path) -> bool | None:
    governor = text_of(cpufreq / "scaling_governor")
    lowest, highest = (number_of(cpufreq / name) for name in ("scaling_min_freq", "scaling_max_freq"))
    if governor is None and lowest is None:
        return None
    return governor == "performance" or (lowest is not None and lowest == highest)


def _throttle_events(root: Path) -> int | None:
    """Intel counts events for each core; a Raspberry Pi keeps one bit for each thing that has happened."""
    counts = sum_of(list(root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")))
    if counts is not None:
        return counts
    flags = text_of(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    try:
        return int(flags, 16).bit_count() if flags else None
    except ValueError:
        return None


def _capacities(root: Path, cores: Sequence[int]) -> tuple[int, ...]:
    """The kernel gives its fastest kind of core 1024."""
    found = {number_of(_cpu(root, core) / "cpu_capacity") for core in cores} - {None}
    kinds = sorted(capacity for capacity in found if capacity is not None)
    return tuple(kinds) if len(kinds) > 1 else ()
