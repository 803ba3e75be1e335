"""Whether programs that we started have ended."""

import time
from collections.abc import Iterable
from pathlib import Path


def all_ended(processes: Iterable[int], wait_s: float = 10.0) -> bool:
    """Whether none of them runs any more, now or soon."""
    left, give_up = set(processes), time.monotonic() + wait_s
    while left := {process for process in left if runs(process)}:
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True


def runs(process: int) -> bool:
    """More than waiting for its parent, or for the system, to take note of its end."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
