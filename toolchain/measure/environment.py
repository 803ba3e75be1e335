"""What machine this is and in what state: read where it can be read, None where it cannot."""

import os
import platform
from pathlib import Path

from fednas.latency_tables import Machine
from fednas.profiles import this_machine

CPU = Path("/sys/devices/system/cpu/cpu0/cpufreq")
JETSON_POWER_MODE = Path("/var/lib/nvpmodel/status")


def read_machine() -> Machine:
    """Fingerprint of this machine as it is now."""
    import numpy as np

    facts = this_machine()
    return Machine(
        cpu_model=facts.model,
        architecture=platform.machine(),
        operating_system=f"{platform.system()} {platform.release()}",
        cores=os.cpu_count() or 1,
        affinity=_affinity(),
        memory_bytes=facts.memory_bytes,
        governor=_text(CPU / "scaling_governor"),
        power_mode=_text(JETSON_POWER_MODE),
        current_mhz=_mhz(CPU / "scaling_cur_freq"),
        max_mhz=_mhz(CPU / "cpuinfo_max_freq"),
        python_version=platform.python_version(),
        numpy_version=np.__version__,
    )


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


def _affinity() -> tuple[int, ...]:
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _mhz(path: Path) -> float | None:
    text = _text(path)
    return int(text) / 1e3 if text and text.isdigit() and int(text) > 0 else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None
