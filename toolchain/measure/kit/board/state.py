"""What board this is and in what state: read where it can be read, None where it cannot. Nothing is changed."""

import os
import platform
import re
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional

from fednas.toolchain.measure.kit.board.gpu import GpuWatch, gpu_record
from fednas.toolchain.measure.kit.board.power import Power, PowerMeter, found, number_of, system, text_of
from fednas.toolchain.measure.kit.board.tegrastats import NO_ZONE, Tegrastats

LONGEST_TEXT = 200
CLOCK_BOOTTIME = 7
"""Of Linux; Python gives it a name only from 3.7 on."""
THROTTLE_COUNTERS = (
    "sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count",
    "sys/class/hwmon/hwmon*/oc*_event_cnt",
)
PI_FLAGS = "sys/devices/platform/soc/soc:firmware/get_throttled"
JETSON_MODE, JETSON_MODES = "var/lib/nvpmodel/status", "etc/nvpmodel.conf"
"""The mode's number, and the names of all modes."""


class BoardReader:
    """Reads the board: everything before and after, and cheaply in between.

    ``tegrastats`` is asked for what the system's files do not say, ``gpu`` where it measures.
    """

    def __init__(self, tegrastats: Optional[Tegrastats] = None, gpu: Optional[GpuWatch] = None) -> None:
        self._tegrastats = tegrastats
        self._gpu = gpu
        self._meter = PowerMeter()
        self._meter.read()

    def state(self, numpy_version: Optional[str]) -> Dict[str, Any]:
        """Everything; takes a few milliseconds, on a Jetson a program's start."""
        cpu = "sys/devices/system/cpu/cpu0/cpufreq/"
        power = self._power()
        zones = self._zones_c()
        return {
            "cpu_model": plain(cpu_model()),
            "architecture": plain(platform.machine()),
            "operating_system": plain("%s %s" % (platform.system(), platform.release())),
            "cores": os.cpu_count() or 1,
            "affinity": affinity(),
            "memory_bytes": memory_bytes(),
            "governor": plain_or_none(text_of(system(cpu + "scaling_governor"))),
            "power_mode": plain_or_none(power_mode()),
            "current_mhz": mean_mhz(),
            "max_mhz": positive(number_of(system(cpu + "cpuinfo_max_freq")), 1e3),
            "min_mhz": positive(number_of(system(cpu + "scaling_min_freq")), 1e3),
            "limit_mhz": positive(number_of(system(cpu + "scaling_max_freq")), 1e3),
            "gpu": None if self._gpu is None else gpu_record(self._gpu.now()),
            "board": plain_or_none(text_of(system("proc/device-tree/model"))),
            "software": plain_or_none((text_of(system("etc/nv_tegra_release")) or "").split("GCID")[0]),
            "temperature_c": max(zones.values()) if zones else None,
            "zones_c": zones,
            "throttled": throttled(),
            "power_w": None if power is None else power.watts,
            "power_source": None if power is None else plain(power.source),
            "load": load(),
            "python_version": platform.python_version(),
            "numpy_version": numpy_version,
        }

    def moment(self, group: int, elapsed_s: float) -> Dict[str, Any]:
        """What can be read between two rounds without disturbing them."""
        power = self._power()
        zones = self._zones_c()
        gpu = None if self._gpu is None else self._gpu.look()
        return {
            "group": group,
            "elapsed_s": round(elapsed_s, 3),
            "temperature_c": max(zones.values()) if zones else None,
            "current_mhz": mean_mhz(),
            "gpu_mhz": None if gpu is None else gpu.current_mhz,
            "gpu_c": None if gpu is None else gpu.temperature_c,
            "throttled": throttled(),
            "power_w": None if power is None else power.watts,
        }

    def gpu_slowed_by(self) -> List[str]:
        """What was seen to lower the GPU's clock between rounds."""
        return [] if self._gpu is None else list(self._gpu.slowed_by)

    def _power(self) -> Optional[Power]:
        """A battery that is being charged reads below zero, which is no power drawn."""
        power = self._meter.read()
        if power is None and self._tegrastats is not None:
            power = self._tegrastats.power()
        return None if power is None or power.watts < 0 else power

    def _zones_c(self) -> Dict[str, float]:
        zones = zones_c()
        line = None if zones or self._tegrastats is None else self._tegrastats.recent()
        return zones if line is None else line.zones_c


def plain(text: str) -> str:
    """Without control characters, and not too long."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()[:LONGEST_TEXT]


def plain_or_none(text: Optional[str]) -> Optional[str]:
    """The same, None for nothing."""
    return (plain(text) or None) if text else None


def positive(value: Optional[float], divided_by: float) -> Optional[float]:
    """``value`` in another unit; None for zero, which means not known."""
    return value / divided_by if value and value > 0 else None


def cpu_model() -> str:
    """As the kernel calls the processor, or else the board."""
    fields: Dict[str, str] = {}
    for line in (text_of_all(system("proc/cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    for name in (fields.get("model name"), fields.get("model"), text_of(system("proc/device-tree/model"))):
        if name and not name.isdigit():
            return name
    return platform.processor() or platform.machine() or "unknown"


def text_of_all(path: str) -> Optional[str]:
    """The whole of a file of the system."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return None


def affinity() -> List[int]:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def memory_bytes() -> Optional[int]:
    """Of the board, in all."""
    match = re.search(r"^MemTotal:\s*([0-9]+) kB", text_of_all(system("proc/meminfo")) or "", re.M)
    return int(match.group(1)) * 1024 if match else None


def mean_mhz() -> Optional[float]:
    """Of the cores that this process may use."""
    files = ["sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq" % core for core in affinity()]
    clocks = [clock for clock in (number_of(system(path)) for path in files) if clock]
    return sum(clocks) / len(clocks) / 1e3 if clocks else None


def zones_c() -> Dict[str, float]:
    """Temperature of every thermal zone that can be read, in degrees Celsius."""
    zones: Dict[str, float] = {}
    for path in found("sys/class/thermal/thermal_zone*/temp"):
        value = number_of(path)
        # Zones of parts that are switched off read absurdly low.
        if value is not None and -100e3 < value < 300e3:
            name = plain(text_of(path[: -len("temp")] + "type") or os.path.basename(os.path.dirname(path)))
            if NO_ZONE.get(name.split("-")[0]) == value / 1e3:
                continue
            zones[name if name not in zones else "%s %d" % (name, len(zones))] = value / 1e3
    return zones


def throttled() -> Optional[int]:
    """How often heat or current slowed the board down; of a Raspberry Pi, how many of its flags are up."""
    counts = [number_of(path) for pattern in THROTTLE_COUNTERS for path in found(pattern)]
    known = [count for count in counts if count is not None and count >= 0]
    if known:
        return int(sum(known))
    flags = text_of(system(PI_FLAGS))
    return bin(int(flags, 16)).count("1") if flags and re.match(r"(0x)?[0-9a-fA-F]{1,8}$", flags) else None


def power_mode() -> Optional[str]:
    """Name of a Jetson's power mode: numbers mean another mode on another module."""
    status = re.search(r"pmode:0*([0-9]+)", text_of(system(JETSON_MODE)) or "")
    if status:
        names = re.findall(r"\bPOWER_MODEL:?\s+ID=([0-9]+)\s+NAME=(\S+)", text_of_all(system(JETSON_MODES)) or "")
        name: Optional[str] = dict(names).get(status.group(1))
        if name:
            return name
    said = re.search(r"NV Power Mode:\s*(\S+)", output_of(["nvpmodel", "-q"]) or "")
    if said:
        return said.group(1)
    return "mode %s" % status.group(1) if status else None


def output_of(command: List[str]) -> Optional[str]:
    """What a program says; None if it is not there, fails, or takes longer than ten seconds."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10.0)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def load() -> float:
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


def slept_s() -> float:
    """Seconds that the machine has been suspended since it started, up to a constant; 0 where it does not say."""
    if not sys.platform.startswith("linux"):
        return 0.0
    try:
        return time.clock_gettime(CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    except OSError:
        return 0.0
