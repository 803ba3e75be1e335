"""The power modes of a Jetson: their names, and which one is set. Built on recorded files; never run on a Jetson."""

import re
from pathlib import Path

from fednas.toolchain.measure.system_files import text_of

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
        return text_of(root / "sys/firmware/acpi/platform_profile")
    found = re.search(r"pmode:(\d+)", status)
    if found is None:
        return status
    number = int(found.group(1))
    return power_modes(root).get(number, f"mode {number}")
