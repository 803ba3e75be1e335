"""The raw readings of a run, written as they come, so that a killed run goes on where it stopped."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, NamedTuple

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
    """A file with one line for each reading, unbuffered: a kill loses at most the reading in progress.

    Use as a context manager. Without a path the readings are only kept in memory.
    """

    def __init__(self, path: Path | None, *, job: str, resume: bool) -> None:
        """Raises `FednasError` if there is nothing to resume, it belongs to another job, or another run writes it."""
        self.readings: list[Reading] = []
        self._stream: BinaryIO | None = None
        if path is None:
            return
        stream = _open_alone(path, "r+b" if resume else "ab")
        try:
            if resume:
                self.readings = _read(path, job)
            _restart(stream, path, job, self.readings)
        except BaseException:
            stream.close()
            raise
        self._stream = stream

    def add(self, reading: Reading) -> None:
        """Keep a reading."""
        self.readings.append(reading)
        if self._stream is not None:
            self._stream.write(_line(reading))

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()


def _open_alone(path: Path, mode: Literal["r+b", "ab"]) -> BinaryIO:
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


def _restart(stream: BinaryIO, path: Path, job: str, readings: Sequence[Reading]) -> None:
    # Written anew even when resuming: this drops the torn last line of a killed run.
    header = msgspec.json.encode(_Header(schema=1, job=job)) + b"\n"
    try:
        stream.seek(0)
        stream.truncate()
        stream.write(header + b"".join(map(_line, readings)))
    except OSError as err:
        raise _not_writable(path, err) from err


def _not_writable(path: Path, err: OSError) -> FednasError:
    reason = err.strerror or err
    return FednasError(f"partial results {path} cannot be written: {reason}", hint="choose another --out")


def _line(reading: Reading) -> bytes:
    numbers = f"{reading.latency_ms:.9g},{reading.elapsed_s:.4f},{'true' if reading.interrupted else 'false'}"
    return f"[{reading.group},{reading.candidate},{numbers}]\n".encode()


def _read(path: Path, job: str) -> list[Reading]:
    first, _, rest = read_bytes(path, "partial results").partition(b"\n")
    try:
        header = msgspec.json.decode(first, type=_Header)
        # The last line may be torn: only what ends in a line break was fully written.
        readings = [msgspec.convert(json.loads(line), Reading) for line in rest.split(b"\n")[:-1]]
    except (msgspec.MsgspecError, ValueError) as err:
        raise FednasError(f"partial results {path} are damaged: {err}", hint="start again without --resume") from err
    if header.job != job:
        raise FednasError(
            f"partial results {path} belong to another job: another space, machine, runtime, batch or threads",
            hint="start again without --resume, or give the --out of that job",
        )
    return readings
