"""What is known here of a run on a board: a small file beside the table, so that a killed run is taken up again."""

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta

from fednas.common import FednasError, decode_json, encode_json, read_bytes
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.ssh.address import SshAddress
from fednas.toolchain.measure.ssh.scripts import FOLDER

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


class BoardState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where on which board a job is being measured."""

    schema: Literal[1] = 1
    host: str
    port: int | None
    job: str
    """Digest of the job, as `digest_of` makes it."""
    folder: str
    """On the board."""
    phase: Literal["sending", "measuring", "unfit"]
    """Unfit: it is done, and no table was made of its readings; a resumed run takes more."""
    seconds: Annotated[float, Meta(gt=0, le=1e7)]
    """That the board was told to measure, all sittings together."""

    def __post_init__(self) -> None:
        if not FOLDER.fullmatch(self.folder):
            raise ValueError(f"folder is {self.folder!r}, which is none that this program makes on a board")


def digest_of(job: MeasuringJob) -> str:
    """Digest of all that is asked of the board but the seconds, of which a resumed run may ask for more.

    Where they decide what is measured, that shows in the candidates, passes and visits.
    """
    parts = [
        *("+".join(spec.key for spec in specs) for specs in job.plan.candidates),
        f"{job.device} {job.plan.name} {job.runtime} {job.precision}",
        f"{job.threads} {job.batch} {job.seed} {job.plan.passes} {job.plan.visits}",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class StateFile:
    """The state on disk, held by one process at a time.

    Use as a context manager. Leaving it removes the file unless it holds a state.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        """Raises `FednasError` if there is nothing to resume, or another process holds the file."""
        self.path = path
        self._descriptor = _open_alone(path, create=not resume)
        try:
            self.state = self._read(path)
        except BaseException:
            os.close(self._descriptor)
            raise
        if resume and self.state is None:
            self.__exit__(None, None, None)
            raise _nothing(path)

    def keep(self, state: BoardState | None) -> None:
        """Write the state, or that there is none."""
        text = b"" if state is None else encode_json(state).encode()
        try:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, text)
        except OSError as err:
            raise FednasError(
                f"{self.path} cannot be written: {err.strerror or err}", hint="choose another --out"
            ) from err
        self.state = state

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.state is None:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    @staticmethod
    def _read(path: Path) -> BoardState | None:
        data = read_bytes(path, "board file")
        return decode_json(data, BoardState, f"board file {path}") if data else None


def check_belongs(path: Path, state: BoardState, job: MeasuringJob, address: SshAddress) -> None:
    """Raise `FednasError` where the state is that of another job or board."""
    if (state.host, state.port) != (address.host, address.port):
        other = SshAddress(state.host, None, state.port)
        raise FednasError(f"{path} is of a run on {other}, not on {address}", hint="give the --out of that run")
    if state.job != digest_of(job):
        raise FednasError(
            f"{path} belongs to another job: another space, device, plan, runtime, batch or threads",
            hint="start again without --resume, or give the options of that job (sparse, network: --seconds too)",
        )


def _open_alone(path: Path, *, create: bool) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError as err:
        raise _nothing(path) from err
    except OSError as err:
        raise FednasError(f"{path} cannot be written: {err.strerror or err}", hint="choose another --out") from err
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            os.close(descriptor)
            raise FednasError(f"another run holds {path}", hint="wait for it, or choose another --out") from err
    return descriptor


def _nothing(path: Path) -> FednasError:
    return FednasError(f"there is no run to take up: {path} does not exist", hint="start without --resume")
