"""What this board is and how it is set, read from files and tools that need no rights; None where it does not say."""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional

BOARD_FILES = {"board": "/proc/device-tree/model", "l4t": "/etc/nv_tegra_release"}


def run_tool(command: List[str], seconds: float) -> Optional[str]:
    """What a tool prints, errors included; None if it is missing, fails or takes too long."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def machine_facts() -> Dict[str, Optional[str]]:
    """Board, L4T release, system and power mode."""
    facts = {name: _first_line(path) for name, path in BOARD_FILES.items()}
    facts["system"] = "%s %s %s" % (platform.system(), platform.release(), platform.machine())
    facts["python"] = "%d.%d.%d" % sys.version_info[:3]
    facts["power_mode"] = power_mode()
    return facts


def power_mode() -> Optional[str]:
    """Name of a Jetson's power mode."""
    found = re.search(r"NV Power Mode:\s*(\S[^\n]*)", run_tool(["nvpmodel", "-q"], 20) or "")
    return found.group(1).strip() if found else None


def hottest_celsius() -> Optional[float]:
    """Highest temperature of all thermal zones."""
    readings = []
    for path in sorted(Path("/sys/class/thermal").glob("thermal_zone*/temp")):
        try:
            celsius = int(path.read_text()) / 1000.0
        except (OSError, ValueError):
            continue
        # Zones that are switched off read as far below zero.
        readings += [celsius] if -40 < celsius < 200 else []
    return max(readings) if readings else None


def _first_line(path: str) -> Optional[str]:
    try:
        text = Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return None
    return text.replace("\0", "").strip().partition("\n")[0][:200] or None
