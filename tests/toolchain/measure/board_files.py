"""Trees of the small files in which a machine describes itself, as boards show them."""

import os
from collections.abc import Mapping
from pathlib import Path

CORES = tuple(sorted(os.sched_getaffinity(0)))
CPU = "sys/devices/system/cpu/cpu{}"

NVPMODEL_CONF = """\
# Orin Nano, JetPack 6.2
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
CPU_ONLINE CORE_0 1
< PM_CONFIG DEFAULT=1 >
"""


def write(root: Path, files: Mapping[str, object]) -> Path:
    """Make these files under ``root``."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def cpufreq(**values: object) -> dict[str, object]:
    """The same clock files for every core that this process may use."""
    return {f"{CPU.format(core)}/cpufreq/{name}": value for core in CORES for name, value in values.items()}


def orin_nano() -> dict[str, object]:
    """A Jetson Orin Nano in its 25 W mode."""
    clocks = cpufreq(
        scaling_governor="schedutil",
        scaling_cur_freq=1344000,
        scaling_min_freq=729600,
        scaling_max_freq=1344000,
        cpuinfo_max_freq=1728000,
    )
    return clocks | {
        "etc/nvpmodel.conf": NVPMODEL_CONF,
        "var/lib/nvpmodel/status": "pmode:0001",
        "sys/class/thermal/thermal_zone0/temp": 52968,
        "sys/class/thermal/thermal_zone1/temp": 54125,
        "sys/class/thermal/thermal_zone2/temp": -256000,
    }


def proc_stat(*, user: int, idle: int, steal: int = 0) -> str:
    """/proc/stat with these ticks on every usable core."""
    rows = [f"cpu{core} {user} 0 0 {idle} 0 0 0 {steal} 0 0" for core in CORES]
    return "\n".join([f"cpu  {user} 0 0 {idle} 0 0 0 {steal} 0 0", *rows, "intr 5", "ctxt 7"])
