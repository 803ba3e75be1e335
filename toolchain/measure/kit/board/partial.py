"""Every reading as it comes, in a file that a second run goes on from, and the results when all are there."""

import errno
import json
import os
import time
from typing import IO, Any, Dict, List, NamedTuple, Optional, Tuple

from fednas.export.board.problem import BoardProblem
from fednas.toolchain.measure.kit.board.folder import PARTIAL_NAME, RESULTS_NAME, board_digest
from fednas.toolchain.measure.kit.board.same import state_differences

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

PARTIAL_SCHEMA = 1
SYNC_EVERY_S = 10.0
"""Power may fail too: the disk itself is told so often, between two rounds."""


class BoardReading(NamedTuple):
    """One timed reading."""

    group: int
    candidate: int
    latency_ms: float
    elapsed_s: float
    interrupted: bool
    samples: Tuple[float, ...] = ()
    """Single runs in milliseconds, where the runtime tells them."""


class Partial:
    """``readings.partial``: a header, then one line for each reading, moment and event. Use as a context manager.

    Args:
        folder: of the kit.
        identity: what must be equal for readings to count together.
        before: the board as it is now. Readings that are there must have been taken in the same state.

    Raises:
        BoardProblem: another run has it open, it is of another kit, or the disk is full.
    """

    def __init__(self, folder: str, identity: Dict[str, str], before: Dict[str, Any]) -> None:
        self.path = os.path.join(folder, PARTIAL_NAME)
        self.readings: List[BoardReading] = []
        self.moments: List[Dict[str, Any]] = []
        self.events: List[Dict[str, Any]] = []
        self.power: List[Dict[str, Any]] = []
        self.sittings: List[Dict[str, Any]] = []
        self._sitting_from: List[int] = []
        """How many readings there were when each sitting began."""
        self._synced = time.perf_counter()
        self._stream = _open_alone(self.path)
        try:
            self.header = self._resume(identity, before) or self._start(identity, before)
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> "Partial":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, reading: BoardReading) -> None:
        """Keep a reading."""
        line = [reading.group, reading.candidate, reading.latency_ms, reading.elapsed_s, reading.interrupted]
        self._append(line + [list(reading.samples)] if reading.samples else line)
        self.readings.append(reading)

    def add_moment(self, moment: Dict[str, Any]) -> None:
        """Keep what was read of the board between two rounds, and let the disk have it now and then."""
        self._append({"moment": moment})
        self.moments.append(moment)
        if time.perf_counter() - self._synced > SYNC_EVERY_S:
            os.fsync(self._stream.fileno())
            self._synced = time.perf_counter()

    def add_power(self, row: Dict[str, Any]) -> None:
        """Keep what a program that watches the board said."""
        self._append({"power": row})
        self.power.append(row)

    def add_sitting(self, number: int, known: Dict[str, Any]) -> None:
        """Keep what is now known of a sitting, on top of what was known of it."""
        self._append({"sitting": [number, known]})
        self._put_sitting(number, known)

    def add_event(self, what: str, seconds: float) -> None:
        """Keep something that happened to the run."""
        event = {"what": what, "seconds": round(seconds, 3)}
        self._append({"event": event})
        self.events.append(event)

    def _append(self, content: Any) -> None:
        line = json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
        end = self._stream.tell()
        try:
            written = self._stream.write(line)
            while written < len(line):
                written += self._stream.write(line[written:])
        except OSError as err:
            # What stands there stays whole, so that the next run can go on.
            self._stream.truncate(end)
            raise _not_written(self.path, err) from err

    def _start(self, identity: Dict[str, str], before: Dict[str, Any]) -> Dict[str, Any]:
        header = {"schema": PARTIAL_SCHEMA, "identity": identity, "before": before, "started": utc_now()}
        self._stream.seek(0)
        self._stream.truncate()
        self._append(header)
        return header

    def _resume(self, identity: Dict[str, str], before: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """Take in what stands there; None if no reading does."""
        content = self._stream.read() or b""
        # The last line may be torn: only what ends in a line break was fully written.
        whole = content[: content.rfind(b"\n") + 1]
        if not whole:
            return None
        try:
            lines = [json.loads(line.decode("ascii")) for line in whole.splitlines()]
            header = lines[0]
            _require_version(header)
            for line in lines[1:]:
                self._take_in(line)
            wrong = _differences(header, identity, before)
        except (ValueError, KeyError, TypeError, IndexError) as err:
            raise BoardProblem("%s is damaged: %s" % (PARTIAL_NAME, err), "delete it to start again") from err
        if wrong and self.readings:
            hint = "delete it to start again, or put things back as they were"
            raise BoardProblem("%s belongs to other measurements: %s" % (PARTIAL_NAME, "; ".join(wrong)), hint)
        if not self.readings:
            self.moments, self.events, self.power, self.sittings, self._sitting_from = [], [], [], [], []
            return None
        # A sitting that took no reading is none; the next one takes its number, and its lines overrule.
        if self._sitting_from and self._sitting_from[-1] == len(self.readings):
            del self.sittings[-1], self._sitting_from[-1]
        self._stream.truncate(len(whole))
        self._stream.seek(len(whole))
        return header  # type: ignore[no-any-return]

    def _take_in(self, line: Any) -> None:
        if isinstance(line, list):
            samples = tuple(float(sample) for sample in line[5]) if len(line) > 5 else ()
            group, candidate, latency_ms, elapsed_s = int(line[0]), int(line[1]), float(line[2]), float(line[3])
            self.readings.append(BoardReading(group, candidate, latency_ms, elapsed_s, bool(line[4]), samples))
        elif "moment" in line:
            self.moments.append(line["moment"])
        elif "power" in line:
            self.power.append(line["power"])
        elif "sitting" in line:
            self._put_sitting(*line["sitting"])
        else:
            self.events.append(line["event"])

    def _put_sitting(self, number: int, known: Dict[str, Any]) -> None:
        if number == len(self.sittings):
            self.sittings.append({})
            self._sitting_from.append(len(self.readings))
        elif "began" in known:
            # The one before it was killed ahead of its first reading.
            self._sitting_from[number] = len(self.readings)
        self.sittings[number].update(known)


def write_results(folder: str, document: Dict[str, Any]) -> str:
    """Write ``results.json``: it holds either the old content or all of the new. Returns its path."""
    path = os.path.join(folder, RESULTS_NAME)
    scratch = path + ".tmp"
    document = dict(document, sha256=board_digest(document, "sha256"))
    try:
        with open(scratch, "w", encoding="ascii") as stream:
            json.dump(document, stream, separators=(",", ":"), allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(scratch, path)
    except OSError as err:
        raise _not_written(path, err) from err
    finally:
        if os.path.exists(scratch):
            os.unlink(scratch)
    return path


def utc_now() -> str:
    """ISO 8601 to the second. The only thing that the wall clock is asked for."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())


def _open_alone(path: str) -> "IO[bytes]":
    """Open for reading and writing, unbuffered, and hold a lock that ends with the process."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except OSError as err:
        raise _not_written(path, err) from err
    stream = os.fdopen(descriptor, "r+b", buffering=0)
    if fcntl is not None:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            stream.close()
            raise BoardProblem("another run is measuring in this folder", "wait for it, or stop it") from err
    return stream


def _require_version(header: Dict[str, Any]) -> None:
    if header["schema"] != PARTIAL_SCHEMA:
        raise BoardProblem("%s is of another version of this script" % PARTIAL_NAME, "delete it to start again")


def _differences(header: Dict[str, Any], identity: Dict[str, str], before: Dict[str, Any]) -> List[str]:
    """Why readings to come do not count together with those that are there: home would refuse the results."""
    found = header["identity"]
    wrong = [(name, found.get(name), identity[name]) for name in sorted(identity) if found.get(name) != identity[name]]
    wrong += state_differences(header["before"], before)
    return ["%s was %s, now %s" % each for each in wrong]


def _not_written(path: str, err: OSError) -> BoardProblem:
    name = os.path.basename(path)
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return BoardProblem("the disk is full: %s cannot be written" % name, "free some space and run it again")
    return BoardProblem("%s cannot be written: %s" % (name, err.strerror or err), "mend it and run it again")
