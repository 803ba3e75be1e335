"""What is installed, and what each device path can and cannot do on this machine.

Packages are looked up, not imported; only TensorRT is loaded, to learn whether it can be.
"""

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fednas.export import tensorrt_status
from fednas.profiles import LOCAL, DeviceProfile, installed_version, load_profiles
from fednas.toolchain.embedded import embedded_supernet_path
from fednas.toolchain.measure.environment import read_machine
from fednas.toolchain.measure.runtimes import RuntimeStatus, runtime_status

PROJECT = "fednas-export"
_REQUIREMENT = re.compile(r"""([A-Za-z0-9._-]+)\s*([^;]*?)\s*(?:;.*extra\s*==\s*['"]([^'"]+)['"].*)?""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One dependency of the project."""

    name: str
    wanted: str
    """Version specifier, such as ``>=2.0``; empty: any."""
    extra: str
    """The extra that brings it; empty for what is always needed."""
    version: str | None
    """None: not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """What can be told about an NVIDIA GPU without CUDA."""

    name: str | None
    """None: there is none, or its driver does not answer."""
    compute_capability: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """This machine as a place to measure on."""

    processor: str
    threads: int
    """Hardware threads that this process may use."""
    threads_in_all: int
    cpu_quota: float | None
    """Processors that a container grants; None: no limit, or not readable."""
    governor: str | None
    max_mhz: float | None
    load: float | None
    """Running processes, averaged over the last minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePath:
    """What this machine can do for one device."""

    device: str
    export: bool
    """Write and prove the ONNX file."""
    engine: bool | None
    """Build the engine here; None: the device needs none."""
    measure: bool
    """Measure latency here, because this machine is the device."""
    why: str
    """Why not, and what to do instead; empty when nothing is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The answer of ``doctor``."""

    python: str
    platform: str
    version: str
    packages: tuple[Package, ...]
    machine: MachineState
    gpu: Gpu
    tensorrt: tuple[str, ...]
    """What TensorRT can and cannot do here, in sentences."""
    runtimes: tuple[RuntimeStatus, ...]
    """What could time models here."""
    embedded_supernet: str | None
    """Name of the file; None: this installation has none."""
    ssh: bool
    """Whether ssh and scp are here, which measuring on a board over SSH needs."""
    devices: tuple[DevicePath, ...]


def diagnose(user_folder: Path | None = None) -> Diagnosis:
    """Look at everything; raises `FednasError` only for a user's profile that does not hold."""
    profiles = load_profiles(user_folder).values()
    gpu, tensorrt = nvidia_gpu(), tensorrt_status()
    return Diagnosis(
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        version=installed_version(PROJECT) or "not installed",
        packages=tuple(packages_of_project()),
        machine=machine_state(),
        gpu=gpu,
        tensorrt=tensorrt.sentences,
        runtimes=runtime_status(),
        embedded_supernet=embedded_supernet(),
        ssh=all(shutil.which(program) for program in ("ssh", "scp")),
        devices=tuple(device_path(profile, gpu, tensorrt.can_build) for profile in profiles),
    )


def packages_of_project() -> Iterable[Package]:
    """Every requirement of the project with the version installed, the core first, then extra by extra."""
    for requirement, extra in _requirements():
        match = _REQUIREMENT.fullmatch(requirement.strip())
        if match is not None:
            yield Package(
                name=match[1], wanted=match[2], extra=extra or match[3] or "", version=installed_version(match[1])
            )


def _requirements() -> list[tuple[str, str]]:
    """Each with its extra. Of a checkout they stand in its pyproject.toml: what pip wrote down may be older."""
    project = _checkout() / "pyproject.toml"
    if not project.is_file():
        return [(requirement, "") for requirement in importlib.metadata.requires(PROJECT) or ()]
    content = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    always = [(requirement, "") for requirement in content["dependencies"]]
    return always + [(each, extra) for extra, names in content["optional-dependencies"].items() for each in names]


def _checkout() -> Path:
    """Where this file's rooms lie: the root of a checkout, or a folder of installed packages."""
    return Path(__file__).resolve().parent.parent


def machine_state() -> MachineState:
    """Processor, cores and clock as far as the operating system shows them."""
    machine = read_machine()
    return MachineState(
        processor=machine.cpu_model,
        threads=len(machine.affinity),
        threads_in_all=machine.cores,
        cpu_quota=_cpu_quota(Path("/sys/fs/cgroup/cpu.max")),
        governor=machine.governor,
        max_mhz=machine.max_mhz,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def nvidia_gpu() -> Gpu:
    """Ask the driver's own tool; no CUDA library is loaded."""
    nothing = Gpu(name=None, compute_capability=None)
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return nothing
    command = [tool, "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return nothing
    name, comma, capability = (done.stdout.splitlines() or [""])[0].partition(",")
    return Gpu(name=name.strip(), compute_capability=capability.strip()) if comma and done.returncode == 0 else nothing


def embedded_supernet() -> str | None:
    """Name of the supernet file that ships inside the package."""
    path = embedded_supernet_path()
    return path.name if path.is_file() else None


def device_path(profile: DeviceProfile, gpu: Gpu, can_build_engines: bool) -> DevicePath:
    """What can be done here for one device, and why not more."""
    missing = [name for name in ("torch", "onnxruntime") if importlib.util.find_spec(name) is None]
    reasons = ["export needs " + " and ".join(missing) + ": pip install 'fednas-export[torch]'"] if missing else []
    engine = None
    if profile.tensorrt is not None:
        why_not = _why_no_engine(profile.tensorrt.compute_capability, gpu, can_build_engines)
        engine = not why_not
        reasons += [f"built on the device: {why_not}"] if why_not else []
    elif profile.name != LOCAL:
        reasons.append("latency must be measured on the device")
    return DevicePath(
        device=profile.name,
        export=not missing,
        engine=engine,
        measure=profile.name == LOCAL and "onnxruntime" not in missing,
        why="; ".join(reasons),
    )


def _why_no_engine(wanted_capability: str, gpu: Gpu, can_build_engines: bool) -> str:
    if not can_build_engines:
        return "no TensorRT runs here"
    if gpu.compute_capability not in (None, wanted_capability):
        return f"an engine fits one GPU, and the one here has capability {gpu.compute_capability}"
    return ""


def _cpu_quota(path: Path) -> float | None:
    """Processors granted by a cgroup (version 2): the file holds ``max 100000`` or ``150000 100000``."""
    try:
        quota, period = path.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
