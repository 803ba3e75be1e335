"""The raw readings of a run, written as they come, so that a killed run goes on where it stopped."""

import itertools
import json
import math
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

import msgspec

from fednas.common import FednasError, read_bytes
from fednas.toolchain.measure.runtimes.base import LayerTime
from fednas.toolchain.measure.sittings import Sitting

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


class LayerReading(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="record", tag="layers"
):
    """The layers of one candidate, as the runtime's own profile has them."""

    candidate: int
    layers: tuple[LayerTime, ...]

    def __post_init__(self) -> None:
        times = [layer.milliseconds for layer in self.layers]
        if self.candidate < 0 or not all(math.isfinite(ms) and ms >= 0 for ms in times):
            raise ValueError(f"layers of candidate {self.candidate} are not times")


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    job: str
    """Digest of everything that makes readings comparable: candidates, runtime, threads, batch."""


SCHEMA = 2
Record = Sitting | LayerReading


class Journal:
    """A file with one line for each reading, unbuffered: a kill or a full disk loses at most one reading.

    Between the readings stand records of the sittings and of layers.

    Use as a context manager. Without a path the readings are only kept in memory.
    """

    def __init__(self, path: Path | None, *, job: str, resume: bool) -> None:
        """Raises `FednasError` if there is nothing to resume, it belongs to another job, or another run writes it."""
        self.readings: list[Reading] = []
        self.layers: list[LayerReading] = []
        self._sittings: dict[int, Sitting] = {}
        self._first: dict[int, int] = {}
        """By number of the sitting: how many readings there were when it began."""
        self.path = path
        self._stream: FileIO | None = None
        if path is None:
            return
        stream = _open_alone(path, "r+b" if resume else "ab")
        try:
            if resume:
                whole = self._read(path, job)
                # A killed run may have left half a line at the end; what is whole stays untouched.
                stream.truncate(whole)
                stream.seek(whole)
            else:
                stream.truncate(0)
                _write(stream, msgspec.json.encode(_Header(schema=SCHEMA, job=job)) + b"\n", path)
        except OSError as err:
            stream.close()
            raise _not_writable(path, err) from err
        except BaseException:
            stream.close()
            raise
        self._stream = stream

    def add(self, reading: Reading) -> None:
        """Keep a reading; raises `FednasError` when the disk is full, with all earlier ones kept."""
        self._put(_line(reading))
        self.readings.append(reading)

    def keep(self, record: Record) -> None:
        """Keep what is no reading; raises `FednasError` as `add` does."""
        self._put(msgspec.json.encode(record) + b"\n")
        self._take(record)

    @property
    def sittings(self) -> tuple[Sitting, ...]:
        """Those that took readings, as they were last recorded."""
        begun = [*self._first.values(), len(self.readings)]
        read = [after > before for before, after in itertools.pairwise(begun)]
        return tuple(itertools.compress(self._sittings.values(), read))

    @property
    def next_sitting(self) -> int:
        """Number of the sitting that begins now."""
        return len(self._sittings) + 1

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def _take(self, record: Record) -> None:
        if isinstance(record, LayerReading):
            self.layers.append(record)
            return
        if record.number not in self._sittings:
            if record.number != self.next_sitting:
                raise ValueError(f"sitting {record.number} comes after {len(self._sittings)}")
            self._first[record.number] = len(self.readings)
        self._sittings[record.number] = record

    def _put(self, line: bytes) -> None:
        if self._stream is not None and self.path is not None:
            _write(self._stream, line, self.path)

    def _read(self, path: Path, job: str) -> int:
        """Take up what stands in the file; how many bytes of it are whole lines."""
        data = read_bytes(path, "partial results")
        # The last line may be torn: only what ends in a line break was fully written.
        whole = data.rfind(b"\n") + 1
        first, *lines = data[:whole].split(b"\n")
        try:
            header = msgspec.json.decode(first, type=_Header)
            if header.schema != SCHEMA:
                raise ValueError(f"they have schema {header.schema}, this version reads {SCHEMA}")
            for line in lines[:-1]:
                if line.startswith(b"{"):
                    self._take(msgspec.json.decode(line, type=Record))
                else:
                    self.readings.append(_checked(msgspec.convert(json.loads(line), Reading)))
        except (msgspec.MsgspecError, ValueError) as err:
            raise FednasError(
                f"partial results {path} are damaged: {err}", hint="start again without --resume"
            ) from err
        if header.job != job:
            raise FednasError(
                f"partial results {path} belong to another job: another space, plan, runtime, precision or setting",
                hint="start again without --resume, or give that job's --out (and --seconds: sparse, network)",
            )
        return whole


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


def _checked(reading: Reading) -> Reading:
    numbers = (reading.latency_ms, reading.elapsed_s)
    if min(reading.group, reading.candidate, *numbers) < 0 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{list(reading)} is not a reading")
    if reading.latency_ms == 0:
        raise ValueError("a reading of 0 ms")
    return reading
