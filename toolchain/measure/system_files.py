"""Reading the small text files in which Linux describes itself; a root other than ``/`` stands for another machine."""

import os
from pathlib import Path

ROOT = Path("/")


def text_of(path: Path) -> str | None:
    """Content without the ends that the kernel adds; None where there is none or it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def number_of(path: Path) -> int | None:
    """The integer in a file; None where there is none."""
    text = text_of(path)
    try:
        return int(text, 0) if text else None
    except ValueError:
        return None


def sum_of(paths: list[Path]) -> int | None:
    """Sum of the integers in these files; None where there is not one."""
    found = [number for path in paths if (number := number_of(path)) is not None]
    return sum(found) if found else None


def memory_bytes() -> int | None:
    """Of this machine, in all; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # no such call, or no such name
        return None
