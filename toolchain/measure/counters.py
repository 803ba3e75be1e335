"""What the system counts about its processors: who used them, what the host stole, how long a quota held us back."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fednas.toolchain.measure.environment import usable_cores
from fednas.toolchain.measure.system_files import ROOT, text_of

_WORKING = ("user", "nice", "system", "irq", "softirq")
_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


@dataclass(frozen=True, slots=True)
class Counters:
    """Seconds so far; None where the system does not count."""

    wall_s: float
    own_s: float
    """Processor time of this process and of programs that it started and that have ended (trtexec)."""
    working_s: float | None
    """Of the usable cores, all programs together."""
    stolen_s: float | None
    total_s: float | None
    throttled_s: float | None
    """That a control group's quota has stopped its programs."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What happened between two readings of the counters."""

    others_cores: float | None
    """Cores that other programs kept busy, on average."""
    stolen: float | None
    """Share of all time that the host took."""
    throttled: float | None
    """Share of the time during which a quota held us back."""


def read_counters(root: Path = ROOT) -> Counters:
    """The counters as they stand."""
    ticks = _ticks(text_of(root / "proc/stat") or "", usable_cores())
    return Counters(
        wall_s=time.monotonic(),
        own_s=sum(os.times()[:4]),
        working_s=sum(ticks[name] for name in _WORKING) if ticks else None,
        stolen_s=ticks["steal"] if ticks else None,
        total_s=sum(ticks.values()) if ticks else None,
        throttled_s=_throttled_s(root),
    )


def usage_between(before: Counters, after: Counters) -> Usage:
    """What other programs and the host took from us meanwhile."""
    wall_s = after.wall_s - before.wall_s
    working, stolen = _grown(before.working_s, after.working_s), _grown(before.stolen_s, after.stolen_s)
    total, throttled = _grown(before.total_s, after.total_s), _grown(before.throttled_s, after.throttled_s)
    others = None if working is None else max(0.0, working - (after.own_s - before.own_s))
    return Usage(
        others_cores=others / wall_s if others is not None and wall_s > 0 else None,
        stolen=stolen / total if stolen is not None and total else None,
        throttled=min(1.0, throttled / wall_s) if throttled is not None and wall_s > 0 else None,
    )


def _grown(before: float | None, after: float | None) -> float | None:
    """None too where a counter went backwards: it was reset, and says nothing."""
    return None if before is None or after is None or after < before else after - before


def _ticks(stat: str, cores: Iterable[int]) -> dict[str, float]:
    """Seconds by kind over these cores, from /proc/stat; empty where it does not list them."""
    wanted = {f"cpu{core}" for core in cores}
    rows = [line.split() for line in stat.splitlines() if line.split(" ", 1)[0] in wanted]
    if not rows or any(len(row) <= len(_FIELDS) for row in rows):
        return {}
    per_second = os.sysconf("SC_CLK_TCK")
    return {name: sum(int(row[i]) for row in rows) / per_second for i, name in enumerate(_FIELDS, start=1)}


def _throttled_s(root: Path) -> float | None:
    """The longest of our control groups': any of them stops us."""
    found = [_throttled_in(text_of(folder / "cpu.stat") or "") for folder in _control_groups(root)]
    return max((seconds for seconds in found if seconds is not None), default=None)


def _control_groups(root: Path) -> Iterable[Path]:
    """Folders that may speak of us: under the one hierarchy of version 2, and under the cpu one of version 1."""
    for line in (text_of(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            base = root / "sys/fs/cgroup"
        elif "cpu" in controllers.split(","):
            base = root / "sys/fs/cgroup/cpu"
        else:
            continue
        yield base
        yield base / path.strip("/")


def _throttled_in(stat: str) -> float | None:
    pairs = dict(line.split(" ", 1) for line in stat.splitlines() if " " in line)
    for name, per_second in (("throttled_usec", 1e6), ("throttled_time", 1e9)):
        if pairs.get(name, "").isdigit():
            return int(pairs[name]) / per_second
    return None
