"""What TensorRT can and cannot do on this machine, and why."""

import ctypes
import importlib
from dataclasses import dataclass

TESTED = "Tested against the recorded interfaces of TensorRT 8.6 to 11.4; never run on TensorRT itself."


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRTStatus:
    """Whether an engine can be built here."""

    version: str | None
    """Of the ``tensorrt`` Python module; None if it cannot be imported."""
    gpus: int
    reasons: tuple[str, ...]
    """What is missing, in sentences; empty if nothing is."""

    @property
    def can_build(self) -> bool:
        """Whether both the module and a GPU are here."""
        return not self.reasons

    @property
    def sentences(self) -> tuple[str, ...]:
        """What to tell the user."""
        if self.can_build:
            return (f"TensorRT {self.version} and {self.gpus} GPU(s): engines can be built here.", TESTED)
        return (
            *self.reasons,
            "Engines cannot be built here; the folder of a TensorRT device holds board_check.py for the board.",
            TESTED,
        )


def tensorrt_status() -> TensorRTStatus:
    """Look for the Python module and for a GPU; never raises."""
    reasons = []
    version = None
    try:
        version = str(importlib.import_module("tensorrt").__version__)
    except (ImportError, AttributeError, OSError) as err:  # a folder of that name has no version
        reasons.append(f"The Python module tensorrt cannot be imported: {err}.")
    gpus, why = _count_gpus()
    if not gpus:
        reasons.append(f"No NVIDIA GPU can be used: {why}.")
    return TensorRTStatus(version=version, gpus=gpus, reasons=tuple(reasons))


def _count_gpus() -> tuple[int, str]:
    # The driver's own library: present on desktops and on Jetson, and needs no CUDA toolkit.
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0, "the driver library libcuda.so.1 is not here"
    error = driver.cuInit(0)
    count = ctypes.c_int()
    error = error or driver.cuDeviceGetCount(ctypes.byref(count))
    return (0, f"the driver reports error {error}") if error else (count.value, "the driver finds none")
