"""The raw readings of a run, written as they come, so that a killed run goes on where it stopped."""

import json
import math
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

import msgspec

from fednas.common import FednasError, read_bytes

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


class Reading(NamedTuple):
    """One timed reading."""

    group: int
    candidate: int
    latency_ms: float
    elapsed_s: float
    """Device time of the group when the reading was finished, over all its sittings."""
    interrupted: bool
    """The system gave the core to another program meanwhile: the reading holds that program's time too."""


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    job: str
    """Digest of everything that makes readings comparable: candidates, runtime, threads, batch, machine."""


class Journal:
    """A file with one line for each reading, unbuffered: a kill or a full disk loses at most one reading.

    Use as a context manager. Without a path the readings are only kept in memory.
    """

    def __init__(self, path: Path | None, *, job: str, resume: bool) -> None:
        """Raises `FednasError` if there is nothing to resume, it belongs to another job, or another run writes it."""
        self.readings: list[Reading] = []
        self._stream: FileIO | None = None
        if path is None:
            return
        self._path = path
        stream = _open_alone(path, "r+b" if resume else "ab")
        try:
            if resume:
                self.readings, whole = _read(path, job)
                # A killed run may have left half a line at the end; what is whole stays untouched.
                stream.truncate(whole)
                stream.seek(whole)
            else:
                stream.truncate(0)
                _write(stream, msgspec.json.encode(_Header(schema=1, job=job)) + b"\n", path)
        except OSError as err:
            stream.close()
            raise _not_writable(path, err) from err
        except BaseException:
            stream.close()
            raise
        self._stream = stream

    def add(self, reading: Reading) -> None:
        """Keep a reading; raises `FednasError` when the disk is full, with all earlier ones kept."""
        if self._stream is not None:
            _write(self._stream, _line(reading), self._path)
        self.readings.append(reading)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()


def _open_alone(path: Path, mode: Literal["r+b", "ab"]) -> FileIO:
    """Open for writing, unbuffered, and hold a lock that ends with the process; an existing file stays as it is."""
    try:
        stream = path.open(mode, buffering=0)
    except OSError as err:
        if mode == "r+b" and isinstance(err, FileNotFoundError):
            raise FednasError(f"partial results {path} do not exist", hint="start without --resume") from err
        raise _not_writable(path, err) from err
    if fcntl is not None:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            stream.close()
            raise FednasError(f"another run is writing {path}", hint="wait for it, or choose another --out") from err
    return stream


def _write(stream: FileIO, line: bytes, path: Path) -> None:
    """Write all of it: a disk that fills up takes a part first and fails at the next attempt."""
    done = 0
    try:
        while done < len(line):
            done += stream.write(line[done:]) or 0
    except OSError as err:
        message = f"partial results {path} cannot be written: {err.strerror or err}; the readings so far are kept"
        raise FednasError(message, hint="free some space, then go on with --resume") from err


def _not_writable(path: Path, err: OSError) -> FednasError:
    reason = err.strerror or err
    return FednasError(f"partial results {path} cannot be written: {reason}", hint="choose another --out")


def _line(reading: Reading) -> bytes:
    numbers = f"{reading.latency_ms:.9g},{reading.elapsed_s:.4f},{'true' if reading.interrupted else 'false'}"
    return f"[{reading.group},{reading.candidate},{numbers}]\n".encode()


def _read(path: Path, job: str) -> tuple[list[Reading], int]:
    """The readings, and how many bytes of the file are whole lines."""
    data = read_bytes(path, "partial results")
    # The last line may be torn: only what ends in a line break was fully written.
    first, *lines = data[: data.rfind(b"\n") + 1].split(b"\n")
    try:
        header = msgspec.json.decode(first, type=_Header)
        readings = [_checked(msgspec.convert(json.loads(line), Reading)) for line in lines[:-1]]
    except (msgspec.MsgspecError, ValueError) as err:
        raise FednasError(f"partial results {path} are damaged: {err}", hint="start again without --resume") from err
    if header.job != job:
        raise FednasError(
            f"partial results {path} belong to another job: another space, machine, power mode, runtime or setting",
            hint="start again without --resume, or give that job's --out (and --seconds: sparse, network)",
        )
    return readings, data.rfind(b"\n") + 1


def _checked(reading: Reading) -> Reading:
    numbers = (reading.latency_ms, reading.elapsed_s)
    if min(reading.group, reading.candidate, *numbers) < 0 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{list(reading)} is not a reading")
    if reading.latency_ms == 0:
        raise ValueError("a reading of 0 ms")
    return reading
