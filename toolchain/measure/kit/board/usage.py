"""What went on around the readings: who else used the processors, what the host stole, what the clock is worth."""

import os
import re
import time
from typing import Dict, Iterable, NamedTuple, Optional

from fednas.toolchain.measure.kit.board.power import system
from fednas.toolchain.measure.kit.board.state import affinity, text_of_all

STAT_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
STAT_WORKING = ("user", "nice", "system", "irq", "softirq")
CLOCK_STEPS = 20


class BoardCounters(NamedTuple):
    """Seconds so far; None where the system does not count."""

    wall_s: float
    own_s: float
    """Processor time of this process and of the programs that it started and that have ended."""
    working_s: Optional[float]
    """Of the usable cores, all programs together."""
    stolen_s: Optional[float]
    total_s: Optional[float]
    throttled_s: Optional[float]
    """That a control group's quota has stopped its programs."""


def count_now() -> BoardCounters:
    """The counters as they stand."""
    ticks = _seconds_by_kind()
    own = os.times()
    return BoardCounters(
        wall_s=time.perf_counter(),
        own_s=own[0] + own[1] + own[2] + own[3],
        working_s=sum(ticks[name] for name in STAT_WORKING) if ticks else None,
        stolen_s=ticks["steal"] if ticks else None,
        total_s=sum(ticks.values()) if ticks else None,
        throttled_s=_quota_s(),
    )


def used_between(before: BoardCounters, after: BoardCounters) -> Dict[str, Optional[float]]:
    """What other programs and the host took meanwhile; a counter that went backwards says nothing."""
    wall_s = max(after.wall_s - before.wall_s, 1e-9)
    working, stolen = _growth(before.working_s, after.working_s), _growth(before.stolen_s, after.stolen_s)
    total, throttled = _growth(before.total_s, after.total_s), _growth(before.throttled_s, after.throttled_s)
    others = None if working is None else max(0.0, working - (after.own_s - before.own_s))
    return {
        "others_cores": None if others is None else round(others / wall_s, 4),
        "stolen": round(min(1.0, stolen / total), 6) if stolen is not None and total else None,
        "throttled": None if throttled is None else round(min(1.0, throttled / wall_s), 6),
    }


def clock_uncertainty_ms() -> float:
    """Smallest difference that the clock shows, and what reading it once costs, together."""
    smallest, reads = 1e9, 0
    start = last = time.perf_counter()
    steps = CLOCK_STEPS
    while steps:
        now = time.perf_counter()
        reads += 1
        if now != last:
            smallest = min(smallest, now - last)
            last, steps = now, steps - 1
    return 1e3 * (smallest + (last - start) / reads)


def _growth(before: Optional[float], after: Optional[float]) -> Optional[float]:
    return None if before is None or after is None or after < before else after - before


def _seconds_by_kind() -> Dict[str, float]:
    """Over the usable cores, from /proc/stat; empty where it does not list them."""
    wanted = {"cpu%d" % core for core in affinity()}
    lines = (text_of_all(system("proc/stat")) or "").splitlines()
    rows = [line.split() for line in lines if line.split(" ", 1)[0] in wanted]
    if not rows or any(len(row) <= len(STAT_FIELDS) for row in rows):
        return {}
    per_second = os.sysconf("SC_CLK_TCK")
    return {name: sum(int(row[i]) for row in rows) / per_second for i, name in enumerate(STAT_FIELDS, start=1)}


def _quota_s() -> Optional[float]:
    """The longest of our control groups': any of them stops us."""
    found = [_throttled_s(text_of_all(os.path.join(folder, "cpu.stat")) or "") for folder in _group_folders()]
    known = [seconds for seconds in found if seconds is not None]
    return max(known) if known else None


def _group_folders() -> Iterable[str]:
    for line in (text_of_all(system("proc/self/cgroup")) or "").splitlines():
        parts = (line.split(":", 2) + ["", ""])[:3]
        base = system("sys/fs/cgroup") if not parts[1] else system("sys/fs/cgroup/cpu")
        if not parts[1] or "cpu" in parts[1].split(","):
            yield base
            yield os.path.join(base, parts[2].strip("/"))


def _throttled_s(stat: str) -> Optional[float]:
    for name, per_second in (("throttled_usec", 1e6), ("throttled_time", 1e9)):
        match = re.search(r"^%s ([0-9]+)$" % name, stat, re.M)
        if match:
            return int(match.group(1)) / per_second
    return None
