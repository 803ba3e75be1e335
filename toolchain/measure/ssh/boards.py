"""Several boards at one time: each with its own link, its own files and its own failure."""

import tempfile
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from fednas.common import FednasError, Progress, silent
from fednas.profiles import DeviceProfile
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.kit import write_kit
from fednas.toolchain.measure.ssh.address import SshAddress
from fednas.toolchain.measure.ssh.board import DEFAULT_PYTHON
from fednas.toolchain.measure.ssh.collect import Say, collect_over_ssh, say_nothing
from fednas.toolchain.measure.ssh.insist import Patience


@dataclass(frozen=True, slots=True)
class Places:
    """Files of one board's run: while it goes on, and of its raw results."""

    state: Path
    results: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one board: readings, or the reason why not."""

    address: SshAddress
    result: Collected | FednasError


def believe_all(address: SshAddress, collected: Collected) -> None:
    """Find the readings of every board fit for a table."""


def collect_from_boards(
    job: MeasuringJob,
    boards: Sequence[tuple[SshAddress, Places]],
    *,
    resume: bool = False,
    device: DeviceProfile | None = None,
    python: str = DEFAULT_PYTHON,
    progress: Progress = silent,
    say: Say = say_nothing,
    judge: Callable[[SshAddress, Collected], None] = believe_all,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Generator[Outcome, None, None]:
    """`collect_over_ssh` on all boards at once; outcomes come as the boards finish.

    ``judge`` is called from a thread of each board. Closing the iterator, or Ctrl-C, stops the boards that are still
    measuring and tidies them up. Raises `FednasError` at the start if a board is named twice: two runs on one board
    would disturb each other.
    """
    addresses = [address for address, _ in boards]
    for place, address in enumerate(addresses):
        if any((address.host, address.port) == (other.host, other.port) for other in addresses[:place]):
            raise FednasError(f"--over names {address} twice", hint="name every board once")
    stop = threading.Event()
    shared = _SharedProgress(progress, len(boards))
    with _KitOnce(job) as kit, ThreadPoolExecutor(max_workers=len(boards), thread_name_prefix="board") as pool:

        def collect(address: SshAddress, places: Places) -> Outcome:
            try:
                return Outcome(
                    address,
                    collect_over_ssh(
                        job,
                        address,
                        state=places.state,
                        results=places.results,
                        resume=resume,
                        device=device,
                        python=python,
                        kit=kit.folder,
                        progress=shared.of(address),
                        say=say,
                        judge=lambda collected: judge(address, collected),
                        stop=stop,
                        patience=patience,
                    ),
                )
            except FednasError as err:
                return Outcome(address, err)

        futures = [pool.submit(collect, address, places) for address, places in boards]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            stop.set()


class _KitOnce:
    """The kit of a job, written when the first board asks for it, for all boards."""

    def __init__(self, job: MeasuringJob) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._scratch = tempfile.TemporaryDirectory(prefix="fednas-kit-")
        self._folder: Path | None = None

    def folder(self) -> Path:
        with self._lock:
            if self._folder is None:
                folder = Path(self._scratch.name) / "kit"
                write_kit(self._job, folder)
                self._folder = folder
            return self._folder

    def __enter__(self) -> "_KitOnce":
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()


class _SharedProgress:
    """One bar for all boards: seconds of all together."""

    def __init__(self, progress: Progress, boards: int) -> None:
        self._progress = progress
        self._boards = boards
        self._lock = threading.Lock()
        self._done: dict[SshAddress, float] = {}

    def of(self, address: SshAddress) -> Callable[..., None]:
        def report(done: float, total: float, what: str = "") -> None:
            with self._lock:
                self._done[address] = done
                named = f"{address.host} {what}" if self._boards > 1 else what
                self._progress(sum(self._done.values()), total * self._boards, named)

        return report
