"""What a Jetson's own program tegrastats says: power of the rails, temperatures, clocks and loads.

It runs beside the readings, is asked only between them, and nothing that it does or leaves undone harms them. Written
from recorded lines of JetPack 4 to 7; never run on a Jetson by its authors.
"""

import os
import re
import shutil
import subprocess
import time
from typing import Any, Dict, List, NamedTuple, Optional

from fednas.toolchain.measure.kit.board.power import Power, total_power

TEGRASTATS_KEEPER = '"$0" --interval "$1" </dev/null 2>/dev/null & exec >/dev/null; read line; kill -9 0'
"""Shell: the program, until our end of its pipe is closed, by us or by the system, in whatever way this script ends."""
TEGRASTATS_MS = 1000
FIRST_LINE_S = 2.0
STALE_INTERVALS = 3
LONGEST_LINE = 4096
PIPE_BYTES, BACKLOG_BYTES = 1 << 16, 3 << 14
"""That the system keeps, at most, of what was written and not read; and how much says that it is nearly full."""
TRIED_LINES = 3
"""Of those that came since the last look, from the newest back: the rest is dropped unread."""
USELESS_LOOKS = 20
"""In a row, with text that means nothing: then it is stopped."""
MOST_NAMES = 40
"""Rails or zones of a line."""
NO_ZONE = {"PMIC": 100.0}
"""Shown by boards that do not measure it."""

RAIL = re.compile(
    r"(?<!\S)([A-Za-z][A-Za-z0-9_]{0,39}) ([0-9]{1,7})(?:mW)?/[0-9]{1,7}(?:mW)?(?:/[0-9]{1,7}(?:mW)?)?(?!\S)"
)
"""Now, on average, and, from JetPack 7 on, at most; in milliwatts, which JetPack 4 does not say."""
ZONE = re.compile(r"(?<!\S)([A-Za-z][A-Za-z0-9_.-]{0,39})@(-?[0-9]{1,3}(?:\.[0-9]{1,6})?)C(?!\S)")
CPUS = re.compile(r"(?<!\S)CPU \[([^\]]{1,2000})\]")
CORE = re.compile(r"[0-9]{1,3}%@([0-9]{1,5})$")
GPU = re.compile(r"(?<!\S)GR3D(?:_FREQ)? (?:([0-9]{1,3})%)?(?:@\[?([0-9]{1,5}(?:,[0-9]{1,5})*)\]?)?(?!\S)")
"""Thor says no load, others no clock unless asked by root; boards with several engines list a clock for each."""
MEMORY = re.compile(r"(?<!\S)EMC(?:_FREQ)? (?:([0-9]{1,3})%)?(?:@([0-9]{1,5}))?(?!\S)")


class TegraLine(NamedTuple):
    """One line; None or nothing where it does not say."""

    rails_w: Dict[str, float]
    zones_c: Dict[str, float]
    cpu_mhz: Optional[float]
    """Mean of the cores that are on."""
    gpu_mhz: Optional[float]
    gpu_load: Optional[float]
    memory_mhz: Optional[float]
    memory_load: Optional[float]


def tegra_line(text: str) -> Optional[TegraLine]:
    """What a line says; None of a line that says nothing."""
    rails = {name: int(milliwatts) / 1e3 for name, milliwatts in RAIL.findall(text)[:MOST_NAMES] if name != "NC"}
    zones = {name: float(degrees) for name, degrees in ZONE.findall(text)[:MOST_NAMES]}
    # Parts that are switched off read absurdly low.
    zones = {name: degrees for name, degrees in zones.items() if degrees > -100.0 and NO_ZONE.get(name) != degrees}
    cpus = CPUS.search(text)
    cores = [CORE.match(core.strip()) for core in cpus.group(1).split(",")] if cpus else []
    clocks = [float(core.group(1)) for core in cores if core]
    gpu, memory = GPU.search(text), MEMORY.search(text)
    line = TegraLine(
        rails_w=rails,
        zones_c=zones,
        cpu_mhz=sum(clocks) / len(clocks) if clocks else None,
        gpu_mhz=max(map(float, gpu.group(2).split(","))) if gpu and gpu.group(2) else None,
        gpu_load=load_share(gpu.group(1)) if gpu else None,
        memory_mhz=float(memory.group(2)) if memory and memory.group(2) else None,
        memory_load=load_share(memory.group(1)) if memory else None,
    )
    return line if rails or zones or clocks else None


def load_share(percent: Optional[str]) -> Optional[float]:
    """Between 0 and 1."""
    return None if percent is None else min(1.0, int(percent) / 100.0)


class Tegrastats:
    """The program, where it is in PATH; use as a context manager, so that it ends. Without it, says nothing.

    No thread reads it: the system keeps what it writes until there is time to look, and stops it when that is much.
    """

    def __init__(self, interval_ms: int = TEGRASTATS_MS) -> None:
        self.interval_s = interval_ms / 1e3
        self.complaint = ""
        """Why it was stopped, if it was."""
        self._line: Optional[TegraLine] = None
        self._came_s = 0.0
        self._torn = b""
        self._useless = 0
        self._process = started(shutil.which("tegrastats"), interval_ms)

    def __enter__(self) -> "Tegrastats":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether it can still say something."""
        return self._process is not None

    def wait(self) -> None:
        """Until its first line, two seconds at most."""
        start = time.perf_counter()
        while self.running and not self.look() and time.perf_counter() - start < FIRST_LINE_S:
            time.sleep(0.02)

    def look(self) -> bool:
        """Take in what it has written; whether that was something new."""
        if self._process is None:
            return False
        try:
            content = os.read(self._process.stdout.fileno(), PIPE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            content = b""
        if not content:
            self.close("tegrastats ended")
            return False
        if len(content) > BACKLOG_BYTES:
            # It may have been waiting for us, and who knows how old that is.
            content = self._torn = b""
        *lines, self._torn = (self._torn + content).split(b"\n")
        self._torn = self._torn[-LONGEST_LINE:]
        return self._take_in(lines)

    def recent(self, since_s: float = 0.0) -> Optional[TegraLine]:
        """The last line; None if it is old, or came before this moment of the clock."""
        self.look()
        age_s = time.perf_counter() - self._came_s
        return self._line if age_s < STALE_INTERVALS * self.interval_s and self._came_s >= since_s else None

    def power(self, since_s: float = 0.0) -> Optional[Power]:
        """Of the whole board, from the last line."""
        line = self.recent(since_s)
        return total_power(line.rails_w, "tegrastats") if line is not None and line.rails_w else None

    def close(self, complaint: str = "") -> None:
        """End it, whatever state it is in."""
        process, self._process = self._process, None
        if process is None:
            return
        self.complaint = complaint
        process.stdin.close()
        try:
            process.wait(timeout=FIRST_LINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def _take_in(self, lines: List[bytes]) -> bool:
        for content in lines[: -1 - TRIED_LINES : -1]:
            line = tegra_line(content[:LONGEST_LINE].decode("ascii", "replace"))
            if line is not None:
                self._line, self._came_s, self._useless = line, time.perf_counter(), 0
                return True
        self._useless += 1
        if self._useless >= USELESS_LOOKS:
            self.close("tegrastats says nothing that is understood")
        return False


def started(program: Optional[str], interval_ms: int) -> Any:
    """The process; None where there is no such program or it cannot be started."""
    if program is None:
        return None
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", TEGRASTATS_KEEPER, program, str(interval_ms)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in the terminal is for the script, which ends it; and the keeper kills its group, not ours.
            start_new_session=True,
        )
    except OSError:
        return None
    os.set_blocking(process.stdout.fileno(), False)  # type: ignore[union-attr]
    return process


def tegra_row(line: TegraLine, group: int, elapsed_s: float) -> Dict[str, Any]:
    """As it stands in the results."""
    return dict(line._asdict(), source="tegrastats", group=group, elapsed_s=round(elapsed_s, 3))
