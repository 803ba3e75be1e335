"""The machine at hand: what its operating system says about processor and memory.

Nothing is measured here. The peak is arithmetic on what the system reports; how many multiply-accumulates a
core starts in a clock is assumed from its instruction set, and the figure says so.
"""

import dataclasses
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from fednas.profiles.profile import DeviceProfile, Figure

_CPUINFO = Path("/proc/cpuinfo")
_HIGHEST_CLOCK_KHZ = Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
_DOT_PRODUCT = {"avx512_vnni", "avx_vnni", "asimddp"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LocalMachine:
    """What the operating system reports; None and empty where it does not."""

    model: str
    threads: int
    """Hardware threads that this process may use."""
    threads_per_core: int
    clock_ghz: float | None
    clock_source: str
    features: frozenset[str]
    """Instruction-set flags, as Linux names them."""
    vendor: str
    memory_bytes: int | None

    @property
    def cores(self) -> int:
        """Cores behind the usable threads."""
        return -(-self.threads // self.threads_per_core)


def this_machine() -> LocalMachine:
    """Read it; never raises: what cannot be read is left out."""
    fields = _cpuinfo()
    clock_ghz, clock_source = _clock(fields)
    return LocalMachine(
        model=_model(fields),
        threads=usable_threads(),
        threads_per_core=_threads_per_core(fields),
        clock_ghz=clock_ghz,
        clock_source=clock_source,
        features=frozenset((fields.get("flags") or fields.get("features") or "").split()),
        vendor=fields.get("vendor_id", ""),
        memory_bytes=_memory_bytes(),
    )


def with_local_facts(profile: DeviceProfile, machine: LocalMachine | None = None) -> DeviceProfile:
    """``profile`` with the facts of ``machine`` (this one, unless given)."""
    machine = machine or this_machine()
    peaks = peaks_of(machine)
    notes = list(profile.notes)
    if not peaks:
        notes.append("The system does not say what the processor is, so no peak is known.")
    cores = f"{machine.cores} core{'s' * (machine.cores != 1)}"
    return dataclasses.replace(
        profile,
        title=f"this machine: {machine.model}, {cores}",
        runtime_version=installed_version("onnxruntime") or "not installed",
        memory_bytes=machine.memory_bytes,
        memory_source="stated: the operating system" if machine.memory_bytes else "",
        peak_tera_macs_per_s=peaks,
        notes=tuple(notes),
    )


def peaks_of(machine: LocalMachine) -> Mapping[str, Figure]:
    """Dense peak of all usable cores, in tera-MACs a second; empty where clock or instructions are unknown."""
    known = _macs_per_clock(machine)
    if known is None or machine.clock_ghz is None:
        return {}
    macs, instructions = known
    tera_macs = machine.cores * machine.clock_ghz * macs / 1e3
    how = f"{machine.cores} cores x {machine.clock_ghz:.2f} GHz ({machine.clock_source})"
    source = f"{how} x {macs} MACs/clock ({instructions}, assumed)"
    peaks = {"fp32": Figure(value=tera_macs, evidence="assumed", source=source)}
    if dot := sorted(_DOT_PRODUCT & machine.features):
        int8_source = f"four times fp32, for {dot[0]}"
        peaks["int8"] = Figure(value=4 * tera_macs, evidence="assumed", source=int8_source)
    return peaks


def usable_threads() -> int:
    """Hardware threads that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def installed_version(package: str) -> str | None:
    """Version of an installed package, without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _macs_per_clock(machine: LocalMachine) -> tuple[int, str] | None:
    """fp32 multiply-accumulates that one core starts in a clock: vector lanes times two units."""
    features = machine.features
    if "avx512f" in features and machine.vendor != "AuthenticAMD":
        return 32, "AVX-512, two units"
    if "avx512f" in features or {"avx2", "fma"} <= features:
        # AMD's first AVX-512 cores (Zen 4) run it at the rate of AVX2; taking that never flatters.
        return 16, "AVX2 and FMA, two units"
    if "asimddp" in features:
        return 8, "NEON, two units"
    if "asimd" in features:
        return 4, "NEON, one unit"
    return (4, "SSE, one unit") if "sse2" in features else None


def _cpuinfo() -> dict[str, str]:
    """The first processor's fields of /proc/cpuinfo, keys in lower case."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.split("\n\n", 1)[0].splitlines() if ":" in line)
    return {key.strip().lower(): value.strip() for key, value in pairs}


def _model(fields: Mapping[str, str]) -> str:
    try:
        board = Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        board = ""
    return board or fields.get("model name") or platform.processor() or platform.machine() or "unknown processor"


def _threads_per_core(fields: Mapping[str, str]) -> int:
    try:
        return max(1, int(fields["siblings"]) // int(fields["cpu cores"]))
    except (KeyError, ValueError, ZeroDivisionError):
        return 1


def _clock(fields: Mapping[str, str]) -> tuple[float | None, str]:
    try:
        return int(_HIGHEST_CLOCK_KHZ.read_text()) / 1e6, "highest clock that the kernel reports"
    except (OSError, ValueError):
        pass
    try:
        return float(fields["cpu mhz"]) / 1e3, "clock that /proc/cpuinfo shows now"
    except (KeyError, ValueError):
        return None, ""


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
