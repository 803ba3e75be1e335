"""The power modes of a Jetson: their names, and which one is set. Built on recorded files; never run on a Jetson."""

import re
import shutil
import subprocess
from pathlib import Path

from fednas.toolchain.measure.system_files import ROOT, text_of

ANSWER_S = 10.0
CONFIGURATION = "etc/nvpmodel.conf"
STATUS = "var/lib/nvpmodel/status"
_MODEL = re.compile(r"\bPOWER_MODEL:?\s+ID=(\d+)\s+NAME=(\S+)")


def power_modes(root: Path) -> dict[int, str]:
    """Name of each mode by its number, as the module's nvpmodel.conf has them; empty where there is none."""
    return named_modes(text_of(root / CONFIGURATION) or "")


def named_modes(text: str) -> dict[int, str]:
    """Name of each mode by its number, from nvpmodel.conf or from what ``nvpmodel -p --verbose`` prints."""
    return {int(number): name for number, name in _MODEL.findall(text)}


def power_mode(root: Path) -> str | None:
    """Name of the mode that is set; the platform profile of a PC; None where there is neither.

    A Jetson's numbers mean other modes on other modules (field survey, section B, rule 8): a number without a
    name stays a number.
    """
    status = text_of(root / STATUS)
    if status is None:
        return _asked(root) or text_of(root / "sys/firmware/acpi/platform_profile")
    found = re.search(r"pmode:(\d+)", status)
    if found is None:
        return status
    number = int(found.group(1))
    return power_modes(root).get(number, f"mode {number}")


def _asked(root: Path) -> str | None:
    """What ``nvpmodel -q`` calls the mode, where the file of the status is not readable."""
    if root != ROOT or shutil.which("nvpmodel") is None:
        return None
    command = ["nvpmodel", "-q"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"NV Power Mode:\s*(\S+)", said)
    return found[1] if found else None
