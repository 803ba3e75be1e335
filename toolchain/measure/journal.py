"""The raw readings of a run, written as they come, so that a killed run goes on where it stopped."""

import json
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import msgspec

from fednas.common import FednasError, read_bytes


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
        """Raises `FednasError` if there is nothing to resume, or if it belongs to another job."""
        self.readings: list[Reading] = []
        self._stream: BinaryIO | None = None
        if path is None:
            return
        if resume:
            self.readings = _read(path, job)
        self._restart(path, job)

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

    def _restart(self, path: Path, job: str) -> None:
        # Written anew even when resuming: this drops the torn last line of a killed run.
        header = msgspec.json.encode(_Header(schema=1, job=job)) + b"\n"
        try:
            self._stream = path.open("wb", buffering=0)
            self._stream.write(header + b"".join(map(_line, self.readings)))
        except OSError as err:
            raise FednasError(
                f"partial results {path} cannot be written: {err.strerror or err}", hint="choose another --out"
            ) from err


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
