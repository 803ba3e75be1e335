"""What can be set about a machine's clocks: how each is read, changed and put back.

Built on the documented commands of nvpmodel, jetson_clocks, nvidia-smi and the kernel's cpufreq files, and tested
against stand-ins for them; never run on a Jetson.
"""

import os
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fednas.common import ContractError, FednasError, unknown_name
from fednas.toolchain.measure.jetson import named_modes, power_modes
from fednas.toolchain.measure.system_files import ROOT, text_of

TOOL_SECONDS = 60.0
GOVERNORS = "sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
FASTEST = "performance"


@dataclass(frozen=True, slots=True)
class System:
    """The machine whose clocks are set; another root stands for another machine in tests."""

    root: Path = ROOT
    superuser: bool = field(default_factory=lambda: hasattr(os, "geteuid") and os.geteuid() == 0)

    def has(self, tool: str) -> bool:
        """Whether this program is installed."""
        return shutil.which(tool) is not None

    def run(self, command: Sequence[str]) -> str:
        """What the program prints; raises `FednasError` if it fails. Asked for a reboot, it is told no."""
        try:
            done = subprocess.run(
                list(command), input="no\n", capture_output=True, text=True, timeout=TOOL_SECONDS, check=True
            )
        except subprocess.CalledProcessError as err:
            reason = (err.stderr or err.stdout or "").strip().splitlines() or [f"exit code {err.returncode}"]
            raise FednasError(f"{' '.join(command)} failed: {reason[-1]}", hint="run it by hand") from err
        except (OSError, subprocess.TimeoutExpired) as err:
            raise FednasError(f"{' '.join(command)} cannot be run: {err}", hint="run it by hand") from err
        return done.stdout


class Setting(ABC):
    """One thing that can be set. ``name`` finds it again in a file of the state before."""

    name: str

    def __init__(self, system: System) -> None:
        self.system = system

    @abstractmethod
    def before(self) -> Mapping[str, str]:
        """What is needed to put it back."""

    @abstractmethod
    def change(self) -> None:
        """Set it."""

    @abstractmethod
    def restore(self, before: Mapping[str, str]) -> None:
        """Put it back."""


class PowerMode(Setting):
    """A Jetson's power mode, by its name: numbers mean another mode on another module."""

    name = "power-mode"

    def __init__(self, system: System, wanted: str = "") -> None:
        super().__init__(system)
        self._wanted = wanted

    def require(self) -> None:
        """Raise `FednasError` unless the machine has a mode of the wanted name."""
        if not self.system.has("nvpmodel"):
            raise FednasError(
                "this machine has no power modes that can be set by name: nvpmodel is not installed",
                hint="leave --power-mode out, or set the mode with the machine's own tool before",
            )
        modes = self._modes()
        if self._wanted not in modes:
            raise unknown_name("power mode", self._wanted, modes)

    def before(self) -> Mapping[str, str]:
        """The mode's name."""
        return {"mode": self._current()}

    def change(self) -> None:
        """Set the wanted mode."""
        self._set(self._wanted)

    def restore(self, before: Mapping[str, str]) -> None:
        """Set the mode that was."""
        self._set(before["mode"])

    def _set(self, mode: str) -> None:
        modes = self._modes()
        if mode not in modes:
            raise unknown_name("power mode", mode, modes)
        if self._current() != mode:
            self.system.run(["nvpmodel", "-m", str(modes[mode])])
        if (now := self._current()) != mode:
            raise FednasError(
                f"nvpmodel left the power mode at {now} when asked for {mode}",
                hint="some modes need a reboot: set it by hand, reboot, and leave --power-mode out",
            )

    def _modes(self) -> dict[str, int]:
        known = power_modes(self.system.root) or named_modes(self.system.run(["nvpmodel", "-p", "--verbose"]))
        return {name: number for number, name in known.items()}

    def _current(self) -> str:
        said = self.system.run(["nvpmodel", "-q"])
        found = re.search(r"NV Power Mode:\s*(\S+)", said)
        if found is None:
            raise FednasError(f"nvpmodel -q says {said.strip()[:80]!r}, no power mode", hint="run it by hand")
        return found.group(1)


class JetsonClocks(Setting):
    """All clocks of a Jetson, locked at what its power mode allows."""

    name = "jetson-clocks"

    def __init__(self, system: System, stored: Path) -> None:
        super().__init__(system)
        self._stored = stored

    def before(self) -> Mapping[str, str]:
        """Nothing: `jetson_clocks` keeps its own file, written by `change`, in the power mode that is set by then."""
        return {}

    def change(self) -> None:
        """Store them and lock them."""
        # It would ask whether to overwrite; what an earlier run stored has been put back by now.
        self._stored.unlink(missing_ok=True)
        self.system.run(["jetson_clocks", "--store", str(self._stored)])
        self.system.run(["jetson_clocks"])

    def restore(self, before: Mapping[str, str]) -> None:
        """Put back what was stored; nothing was locked if there is no such file."""
        del before
        if self._stored.exists():
            self.system.run(["jetson_clocks", "--restore", str(self._stored)])
            self._stored.unlink()


class Governors(Setting):
    """The kernel's governor of each group of cores."""

    name = "governors"

    def before(self) -> Mapping[str, str]:
        """Governor by the file that holds it."""
        return {str(path.relative_to(self.system.root)): text_of(path) or "" for path in self._files()}

    def change(self) -> None:
        """Make them all ``performance``."""
        for path in self._files():
            self._write(path, FASTEST)

    def restore(self, before: Mapping[str, str]) -> None:
        """Put each back."""
        known = {str(path.relative_to(self.system.root)): path for path in self._files()}
        for name, governor in before.items():
            if name not in known:
                raise FednasError(f"{name} is no governor's file of this machine", hint="set the governor by hand")
            self._write(known[name], governor)

    def _files(self) -> list[Path]:
        return sorted(self.system.root.glob(GOVERNORS))

    def _write(self, path: Path, governor: str) -> None:
        try:
            path.write_text(governor)
        except OSError as err:
            message = f"governor {governor} cannot be set in {path}: {err.strerror or err}"
            raise FednasError(message, hint="leave --lock-clocks out") from err


class GpuClocks(Setting):
    """The graphics clock of NVIDIA's cards that are no Jetson; putting it back means its default."""

    name = "gpu-clocks"

    def before(self) -> Mapping[str, str]:
        """Nothing is known that could be put back but the default."""
        return {}

    def change(self) -> None:
        """Lock it at its highest."""
        said = self.system.run(
            ["nvidia-smi", "--query-gpu=clocks.max.graphics", "--format=csv,noheader,nounits", "--id=0"]
        )
        highest = said.strip()
        if not highest.isdigit():
            raise FednasError(f"nvidia-smi gives {highest[:40]!r} as the highest clock", hint="run it by hand")
        self.system.run(["nvidia-smi", "--id=0", f"--lock-gpu-clocks={highest},{highest}"])

    def restore(self, before: Mapping[str, str]) -> None:
        """Unlock it."""
        del before
        self.system.run(["nvidia-smi", "--id=0", "--reset-gpu-clocks"])


def lockable(system: System, stored: Path, *, gpu: bool) -> list[Setting]:
    """The clocks of this machine that can be locked; raises `FednasError` if there are none."""
    if system.has("jetson_clocks"):
        return [JetsonClocks(system, stored)]
    found: list[Setting] = [Governors(system)] if any(system.root.glob(GOVERNORS)) else []
    if gpu and system.has("nvidia-smi"):
        found.append(GpuClocks(system))
    if not found:
        raise FednasError(
            "this machine has no clocks that can be locked: no jetson_clocks, no cpufreq governors",
            hint="leave --lock-clocks out; a virtual machine's clocks are its host's",
        )
    return found


def setting_named(name: str, system: System, stored: Path) -> Setting:
    """The setting that a file of the state before speaks of."""
    by_name: dict[str, Setting] = {
        setting.name: setting
        for setting in (PowerMode(system), JetsonClocks(system, stored), Governors(system), GpuClocks(system))
    }
    if name not in by_name:
        raise ContractError(f"no setting is called {name}")
    return by_name[name]
