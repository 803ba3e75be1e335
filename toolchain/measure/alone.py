"""One run at a time for each table, from its first file to its last."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fednas.common import FednasError

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

LOCK_ENDING = ".lock"


@contextmanager
def only_run(table: Path) -> Iterator[None]:
    """Hold everything that belongs to the file ``table`` until leaving: readings, table and what is renamed between.

    The lock is a file beside the table, removed on leaving; that of a killed run stays and holds nobody up. Raises
    `FednasError` where another process holds it, or the folder cannot be written to.
    """
    path = table.with_name(table.name + LOCK_ENDING)
    descriptor = _locked(path, table)
    try:
        yield
    finally:
        # Removed while it is held: whoever opened it meanwhile sees in `_locked` that it is gone.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path, table: Path) -> int:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        except OSError as err:
            raise FednasError(f"{path} cannot be written: {err.strerror or err}", hint="choose another --out") from err
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as err:
                os.close(descriptor)
                message = f"another run is writing {table}"
                raise FednasError(message, hint="wait for it, or choose another --out") from err
        if _names(path, descriptor):
            return descriptor
        os.close(descriptor)


def _names(path: Path, descriptor: int) -> bool:
    """Whether the path is still that of the open file: the run before may have removed it while leaving."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)
