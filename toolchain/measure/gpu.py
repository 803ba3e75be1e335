"""Settings and state of the NVIDIA GPU that measures: asked of nvidia-smi, on a Jetson read in the kernel's files.

Built on documented queries and recorded files, and tested against stand-ins for them; no NVIDIA GPU was at hand.
"""

import math
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fednas.latency_tables import GpuState
from fednas.toolchain.measure.system_files import ROOT, number_of, text_of

ReadGpu = Callable[[], GpuState | None]
ANSWER_S = 10.0
QUERY = (
    *("name", "driver_version", "persistence_mode", "power.limit", "clocks.max.sm", "clocks.sm"),
    *("temperature.gpu", "pstate"),
)
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
"""What lowers the clock: the name since driver 535, and the one before it."""
HEAT, BRAKE = "heat", "a power brake"
SLOWED_BY = {
    0x04: "its power limit",
    0x08: "the hardware",
    0x10: "sync boost",
    0x20: f"{HEAT} (software)",
    0x40: f"{HEAT} (hardware)",
    0x80: BRAKE,
}
"""Bits of the reasons as nvml.h has them; 0x1 is an idle GPU, 0x2 and 0x100 are clocks that somebody set."""
TELLING = (SLOWED_BY[0x08], SLOWED_BY[0x20], SLOWED_BY[0x40], BRAKE)
"""Those that make the machine unfit. A card at its power limit is one at its usual speed."""
RELEASE = "etc/nv_tegra_release"
JETSON_GPUS = ("*gpu*", "*.ga10b", "*.gv11b", "*.gp10b")
"""Names of the GPU among the kernel's scaled clocks: a plain one, or that of the chip."""


def read_gpu_state(root: Path = ROOT, *, name: str | None = None) -> GpuState | None:
    """The state as it is now; None where nothing tells it.

    Args:
        root: holds ``sys`` and ``etc``; programs are only asked about the machine itself.
        name: of the GPU that CUDA uses. If nvidia-smi's first card is another one, nothing is said of it.
    """
    if (jetson := _jetson(root)) is not None:
        return jetson
    return _card(name) if root == ROOT and shutil.which("nvidia-smi") else None


def _card(name: str | None) -> GpuState | None:
    for reasons in REASONS:
        # A field that a driver does not know fails the whole query.
        answer = _asked((*QUERY, reasons))
        if len(answer) == len(QUERY) + 1:
            return None if name is not None and answer[0] != name else _card_state(answer)
    return None


def _asked(fields: Sequence[str]) -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [part.strip() for part in done.stdout.strip().split(",")]


def _card_state(answer: Sequence[str]) -> GpuState:
    _, driver, persistence, power, highest, clock, temperature, state, reasons = answer
    return GpuState(
        driver=_word(driver),
        persistence={"enabled": True, "disabled": False}.get(persistence.lower()),
        power_limit_w=_above_zero(power),
        max_mhz=_above_zero(highest),
        current_mhz=_above_zero(clock),
        temperature_c=_number(temperature),
        performance_state=_word(state),
        slowed_by=_slowed_by(reasons),
    )


def _slowed_by(reasons: str) -> tuple[str, ...]:
    try:
        bits = int(reasons, 16)
    except ValueError:
        return ()
    return tuple(words for bit, words in SLOWED_BY.items() if bits & bit)


def _word(text: str) -> str | None:
    """None for what nvidia-smi says where it does not know: ``[N/A]``, ``[Not Supported]``, ``[Unknown Error]``."""
    return None if not text or text.startswith("[") or text == "N/A" else text


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _above_zero(text: str) -> float | None:
    value = _number(text)
    return value if value is not None and value > 0 else None


def _jetson(root: Path) -> GpuState | None:
    release = text_of(root / RELEASE)
    clocks = next(
        (path for pattern in JETSON_GPUS for path in sorted((root / "sys/class/devfreq").glob(pattern))), None
    )
    if release is None and clocks is None:
        return None
    return GpuState(
        driver=None if release is None else _release(release),
        min_mhz=_mhz(clocks, "min_freq"),
        max_mhz=_mhz(clocks, "max_freq"),
        current_mhz=_mhz(clocks, "cur_freq"),
        temperature_c=max(_gpu_zones_c(root), default=None),
    )


def _release(text: str) -> str:
    """``L4T 36.4.3`` from ``# R36 (release), REVISION: 4.3, GCID: ...``."""
    found = re.match(r"#\s*R(\d+)\b.*?REVISION:\s*([\d.]+)", text)
    return f"L4T {found[1]}.{found[2]}" if found else text.splitlines()[0][:100]


def _mhz(folder: Path | None, name: str) -> float | None:
    hertz = None if folder is None else number_of(folder / name)
    return hertz / 1e6 if hertz and hertz > 0 else None


def _gpu_zones_c(root: Path) -> Iterator[float]:
    for path in root.glob("sys/class/thermal/thermal_zone*/type"):
        value = number_of(path.with_name("temp")) if "gpu" in (text_of(path) or "").lower() else None
        if value is not None and value > 0:
            yield value / 1e3
