"""Settings and state of the NVIDIA GPU that measures: asked of nvidia-smi, on a Jetson read in the kernel's files.

The one reader, on the board and for measuring on the spot.
"""

import glob
import math
import os
import re
import shutil
import subprocess
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from fednas.toolchain.measure.kit.board.power import number_of, text_of

GPU_ANSWER_S = 10.0
GPU_FIELDS = (
    *("name", "driver_version", "persistence_mode", "power.limit", "clocks.max.sm", "clocks.sm"),
    *("temperature.gpu", "pstate"),
)
GPU_REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
"""What lowers the clock: the name since driver 535, and the one before it."""
GPU_HEAT, GPU_BRAKE = "heat", "a power brake"
SLOWED_BY = {
    0x04: "its power limit",
    0x08: "the hardware",
    0x10: "sync boost",
    0x20: "%s (software)" % GPU_HEAT,
    0x40: "%s (hardware)" % GPU_HEAT,
    0x80: GPU_BRAKE,
}
"""Bits of the reasons as nvml.h has them; 0x1 is an idle GPU, 0x2 and 0x100 are clocks that somebody set."""
SLOWED_TELLING = (SLOWED_BY[0x08], SLOWED_BY[0x20], SLOWED_BY[0x40], GPU_BRAKE)
"""Those that make the machine unfit. A card at its power limit is one at its usual speed."""
JETSON_RELEASE = "etc/nv_tegra_release"
JETSON_GPUS = ("*gpu*", "*.ga10b", "*.gv11b", "*.gp10b")
"""Names of the GPU among the kernel's scaled clocks: a plain one, or that of the chip."""
GPU_LOOK_SHARE = 0.02
"""Of the time, at most, for looking at a GPU: nvidia-smi is a program, and nothing is read while it answers."""


class GpuReading(NamedTuple):
    """The GPU at one moment; None where nothing tells."""

    name: Optional[str]
    """Of a card; a Jetson's files do not name it."""
    driver: Optional[str]
    persistence: Optional[bool]
    power_limit_w: Optional[float]
    min_mhz: Optional[float]
    max_mhz: Optional[float]
    current_mhz: Optional[float]
    temperature_c: Optional[float]
    performance_state: Optional[str]
    slowed_by: Tuple[str, ...]


def read_gpu(root: str, name: Optional[str]) -> Optional[GpuReading]:
    """The GPU as it is now; None where nothing tells it.

    Args:
        root: holds ``sys`` and ``etc``; programs are only asked about the machine itself, whose root is ``/``.
        name: of the GPU that CUDA uses. If nvidia-smi's first card is another one, nothing is said of it.
    """
    jetson = _jetson_gpu(root)
    if jetson is not None:
        return jetson
    return _card(name) if root == "/" and shutil.which("nvidia-smi") else None


class GpuWatch:
    """Looks at the GPU between rounds, seldom where the answer is slow, and remembers what lowered its clock."""

    def __init__(self, root: str, name: Optional[str]) -> None:
        self._root, self._name = root, name
        self._next_s = 0.0
        self.slowed_by: List[str] = []

    def now(self) -> Optional[GpuReading]:
        """Asked in any case."""
        return read_gpu(self._root, self._name)

    def look(self) -> Optional[GpuReading]:
        """None also where it is not yet time."""
        start = time.perf_counter()
        if start < self._next_s:
            return None
        found = self.now()
        end = time.perf_counter()
        self._next_s = end + (end - start) / GPU_LOOK_SHARE
        if found is not None:
            self.slowed_by += [cause for cause in found.slowed_by if cause not in self.slowed_by]
        return found


def gpu_record(found: Optional[GpuReading]) -> Optional[Dict[str, Any]]:
    """As it stands in the results."""
    return None if found is None else dict(found._asdict(), slowed_by=list(found.slowed_by))


def gpu_words(found: GpuReading) -> str:
    """In one line."""
    parts = [found.name, "driver %s" % found.driver if found.driver else None]
    for value, unit in ((found.current_mhz, "MHz"), (found.temperature_c, "C"), (found.power_limit_w, "W at most")):
        parts.append(None if value is None else "%g %s" % (value, unit))
    return ", ".join(part for part in parts if part) or "says nothing of itself"


def _card(name: Optional[str]) -> Optional[GpuReading]:
    for reasons in GPU_REASONS:
        # A field that a driver does not know fails the whole query.
        answer = _card_says(GPU_FIELDS + (reasons,))
        if len(answer) == len(GPU_FIELDS) + 1:
            return None if name is not None and answer[0] != name else _card_reading(answer)
    return None


def _card_says(fields: Sequence[str]) -> List[str]:
    command = ["nvidia-smi", "--query-gpu=" + ",".join(fields), "--format=csv,noheader,nounits", "--id=0"]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=GPU_ANSWER_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [_harmless(part) for part in done.stdout.decode("utf-8", "replace").strip().split(",")]


def _card_reading(answer: Sequence[str]) -> GpuReading:
    name, driver, persistence, power, highest, clock, temperature, state, reasons = answer
    return GpuReading(
        name=_said_word(name),
        driver=_said_word(driver),
        persistence={"enabled": True, "disabled": False}.get(persistence.lower()),
        power_limit_w=_above_zero(power),
        min_mhz=None,
        max_mhz=_above_zero(highest),
        current_mhz=_above_zero(clock),
        temperature_c=_said_number(temperature),
        performance_state=_said_word(state),
        slowed_by=_slowed_by(reasons),
    )


def _slowed_by(reasons: str) -> Tuple[str, ...]:
    try:
        bits = int(reasons, 16)
    except ValueError:
        return ()
    return tuple(SLOWED_BY[bit] for bit in sorted(SLOWED_BY) if bits & bit)


def _harmless(text: str) -> str:
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()[:100]


def _said_word(text: str) -> Optional[str]:
    """None for what nvidia-smi says where it does not know: ``[N/A]``, ``[Not Supported]``, ``[Unknown Error]``."""
    return None if not text or text.startswith("[") or text == "N/A" else text


def _said_number(text: str) -> Optional[float]:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _above_zero(text: str) -> Optional[float]:
    value = _said_number(text)
    return value if value is not None and value > 0 else None


def _jetson_gpu(root: str) -> Optional[GpuReading]:
    release = text_of(os.path.join(root, JETSON_RELEASE))
    places = [os.path.join(root, "sys/class/devfreq", name) for name in JETSON_GPUS]
    folders = [path for place in places for path in sorted(glob.glob(place))]
    if release is None and not folders:
        return None
    clocks = [_devfreq_mhz(folders[0], name) if folders else None for name in ("min_freq", "max_freq", "cur_freq")]
    return GpuReading(
        name=None,
        driver=None if release is None else _jetson_release(release),
        persistence=None,
        power_limit_w=None,
        min_mhz=clocks[0],
        max_mhz=clocks[1],
        current_mhz=clocks[2],
        temperature_c=max(_gpu_zones_c(root) or [0.0]) or None,
        performance_state=None,
        slowed_by=(),
    )


def _jetson_release(text: str) -> str:
    """``L4T 36.4.3`` from ``# R36 (release), REVISION: 4.3, GCID: ...``."""
    found = re.match(r"#\s*R(\d+)\b.*?REVISION:\s*([\d.]+)", text)
    return "L4T %s.%s" % found.groups() if found else _harmless(text.splitlines()[0])


def _devfreq_mhz(folder: str, name: str) -> Optional[float]:
    hertz = number_of(os.path.join(folder, name))
    return hertz / 1e6 if hertz and hertz > 0 else None


def _gpu_zones_c(root: str) -> List[float]:
    """Temperatures of the zones that are a GPU's."""
    degrees = []
    for path in sorted(glob.glob(os.path.join(root, "sys/class/thermal/thermal_zone*/type"))):
        value = number_of(path[: -len("type")] + "temp") if "gpu" in (text_of(path) or "").lower() else None
        if value is not None and value > 0:
            degrees.append(value / 1e3)
    return degrees
