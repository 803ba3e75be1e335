"""Collecting the readings of a job on a board over SSH: send the kit, start it, wait, fetch, tidy up."""

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from fednas.common import ContractError, ExitCode, FednasError, Progress, replacing, silent
from fednas.profiles import DeviceProfile
from fednas.toolchain.measure.here import doubt_about_board, require_model
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.kit import read_results, write_kit
from fednas.toolchain.measure.ssh.address import SshAddress
from fednas.toolchain.measure.ssh.board import DEFAULT_PYTHON, Board, Status
from fednas.toolchain.measure.ssh.insist import Insistent, Patience
from fednas.toolchain.measure.ssh.link import Link, LinkError, refusal
from fednas.toolchain.measure.ssh.progress import KitProgress
from fednas.toolchain.measure.ssh.state import BoardState, StateFile, check_belongs, digest_of
from fednas.toolchain.measure.unfit import Remedy, UnfitMachine, remedy_for

RESTARTS = 3
"""Of a kit that was killed without a further reading."""
_MEND = "mend that on the board, or name another Python there with --board-python"
SCRIPT_SAYS = "measure.py: error: "
Say = Callable[[str], None]
Judge = Callable[[Collected], None]


def say_nothing(text: str) -> None:
    """Tell nobody."""


def believe(collected: Collected) -> None:
    """Find all readings fit for a table."""


def collect_over_ssh(
    job: MeasuringJob,
    address: SshAddress,
    *,
    state: Path,
    results: Path,
    resume: bool = False,
    device: DeviceProfile | None = None,
    python: str = DEFAULT_PYTHON,
    kit: Callable[[], Path] | None = None,
    progress: Progress = silent,
    say: Say = say_nothing,
    judge: Judge = believe,
    stop: threading.Event | None = None,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Collected:
    """Measure the job on a board and bring the readings here.

    Args:
        state: small file that names the folder on the board while there is one; ``resume`` goes on from it.
        results: where the raw results are kept.
        device: checked against the processor of the board where that is possible.
        python: program on the board that runs the kit.
        kit: gives the folder of the written kit, when it is needed; unless given, one is written and removed.
        say: is told in a sentence what happens.
        judge: is given the readings while they are on the board still, and raises `FednasError` with exit code 5
            where they are not fit: if more may help they stay there then, and ``resume`` takes more.
        stop: when set from another thread, ends this as Ctrl-C does.

    Whatever happens, the folder on the board is removed, unless it holds readings that a resumed run can use:
    ``say`` then names it. Raises `FednasError` for everything that can go wrong on the way or on the board.
    """
    stop = stop or threading.Event()
    with StateFile(state, resume=resume) as file, Link(address, stop) as link:
        board = Board(link, python)
        run = _Run(job, board, link, file, progress, say, patience)
        run.take_up(resume, device)
        try:
            if run.needs_kit:
                run.send(kit)
            run.start()
            run.wait()
            run.fetch(results)
            collected = read_results(results, job=job)
            run.believe(collected)
            judge(collected)
        except BaseException as err:
            run.note_unfit(err)
            run.tidy(keep_readings=run.wants_more(err))
            raise
        run.tidy(keep_readings=False)
    return collected


class _Run:
    """One job on one board, from the folder there to the results here."""

    def __init__(
        self,
        job: MeasuringJob,
        board: Board,
        link: Link,
        file: StateFile,
        progress: Progress,
        say: Say,
        patience: Patience,
    ) -> None:
        self._job = job
        self._board = board
        self._link = link
        self._file = file
        self._progress = progress
        self._say = say
        self._patience = patience
        self._insist = Insistent(link, patience, say)
        self._believed = self._more_may_help = False
        self._far = KitProgress()

    @property
    def _state(self) -> BoardState:
        state = self._file.state
        if state is None:
            raise ContractError("the run has no folder on the board yet")
        return state

    def take_up(self, resume: bool, device: DeviceProfile | None) -> None:
        """First contact: the board answers, is the device, and nothing of an earlier run is left on it."""
        if self._file.state is not None and resume:
            check_belongs(self._file.path, self._file.state, self._job, self._board.address)
            self._ask_for_more(self._file.state)
        try:
            model = self._board.processor()
            if device is not None:
                self._check_device(device, model)
            if self._file.state is not None and not resume:
                self._forget(self._file.state)
        except LinkError as err:
            raise refusal(self._board.address, str(err)) from err

    @property
    def needs_kit(self) -> bool:
        """Whether the board does not have all of the kit yet."""
        return self._file.state is None or self._file.state.phase == "sending"

    def send(self, kit: Callable[[], Path] | None) -> None:
        """Bring the kit to the board, into a new folder unless an earlier run made one."""
        if kit is not None:
            self._send(kit())
            return
        with tempfile.TemporaryDirectory(prefix="fednas-kit-") as scratch:
            folder = Path(scratch) / "kit"
            write_kit(self._job, folder)
            self._send(folder)

    def start(self) -> None:
        """Measure there; what is running or done already is left alone."""
        self._start()
        self._say(f"{self._board.address}: measuring in {self._state.folder}")

    def wait(self) -> None:
        """Until the kit is done there; raises `FednasError` where it fails."""
        pause, restarts, readings = self._patience.first_poll_s, 0, 0
        while True:
            status = self._insist(lambda: self._board.status(self._state.folder))
            if status.state == "running":
                self._report(status)
                self._insist.pause(pause)
                pause = min(2 * pause, self._patience.poll_s)
                continue
            if status.state == "ended" and status.code == ExitCode.OK:
                # What was running when the run was taken up may have been started for fewer seconds.
                if self._start():
                    return
                continue
            self._check_killed(status)
            restarts = 0 if status.readings_bytes > readings else restarts + 1
            readings = status.readings_bytes
            if restarts > RESTARTS:
                raise FednasError(
                    f"measuring on {self._board.address} was ended {restarts} times without a further reading"
                    f"{f'; its last line: {status.line}' if status.line else ''}",
                    hint="has the board enough memory? --resume goes on with the readings so far",
                )
            self._say(f"{self._board.address}: measuring was ended from outside; it goes on with the readings so far")
            self._start()
            pause = self._patience.first_poll_s

    def fetch(self, results: Path) -> None:
        """Bring the results here."""
        with replacing(results) as scratch:
            self._insist(lambda: self._board.fetch_results(self._state.folder, scratch))

    def believe(self, collected: Collected) -> None:
        """They are results of the job; more readings may make them fit, unless what was wrong was not in them."""
        self._believed = True
        self._more_may_help = remedy_for(collected) is Remedy.MORE

    def note_unfit(self, err: BaseException) -> None:
        """Remember readings that came home and were found unfit, where more may help."""
        if self._more_may_help and _is_unfit(err):
            self._file.keep(msgspec.structs.replace(self._state, phase="unfit"))

    def wants_more(self, err: BaseException) -> bool:
        """Whether the readings are still needed on the board.

        Results that were refused are: a copy may be damaged, and another version may take them.
        """
        return not self._believed or not isinstance(err, FednasError) or (self._more_may_help and _is_unfit(err))

    def tidy(self, *, keep_readings: bool) -> None:
        """Remove the folder on the board, or say where it stays and how to remove it; never raises `FednasError`."""
        state = self._file.state
        if state is None:
            return
        # Ctrl-C ended the run, but not the tidying.
        self._link.stop = threading.Event()
        keep = keep_readings and state.phase != "sending"
        by_hand = self._board.address.by_hand(f"rm -rf {state.folder}")
        try:
            kept = self._board.finish(state.folder, keep_readings=keep)
        except (LinkError, FednasError) as err:
            stays = "--resume goes on with it" if keep else "its folder is left there"
            self._say(f"{self._board.address} does not answer ({err}); {stays}, and `{by_hand}` removes it")
            if not keep:
                self._file.keep(None)
            return
        if kept:
            self._say(
                f"{self._board.address}: the readings so far stand in {state.folder}; --resume goes on with them, "
                f"and `{by_hand}` removes them"
            )
        else:
            self._file.keep(None)

    def _send(self, kit: Path) -> None:
        if self._file.state is None:
            size = sum(path.stat().st_size for path in kit.rglob("*") if path.is_file())
            folder = self._insist(lambda: self._board.make_folder(size))
            self._keep(folder, "sending")
        self._insist(lambda: self._board.send(kit, self._state.folder))
        self._keep(self._state.folder, "measuring")

    def _keep(self, folder: str, phase: Literal["sending", "measuring"]) -> None:
        address = self._board.address
        self._file.keep(
            BoardState(
                host=address.host,
                port=address.port,
                job=digest_of(self._job),
                folder=folder,
                phase=phase,
                seconds=self._job.seconds,
            )
        )

    def _ask_for_more(self, state: BoardState) -> None:
        """More seconds in all where more are given, as long again where the readings were unfit; else as it was."""
        again = state.seconds + self._job.seconds if state.phase == "unfit" else state.seconds
        seconds = self._job.seconds if self._job.seconds > state.seconds else again
        phase = "measuring" if state.phase == "unfit" else state.phase
        self._file.keep(msgspec.structs.replace(state, phase=phase, seconds=seconds))

    def _start(self) -> bool:
        return self._insist(lambda: self._board.start(self._state.folder, self._state.seconds))

    def _check_device(self, device: DeviceProfile, model: str) -> None:
        require_model(device, model, where=str(self._board.address))
        if doubt := doubt_about_board(device, model):
            self._say(f"{self._board.address}: {doubt}")

    def _forget(self, state: BoardState) -> None:
        """Remove what an earlier run left on this board; of another board, only say it."""
        address = SshAddress(state.host, self._board.address.user, state.port)
        if address == self._board.address:
            self._board.finish(state.folder, keep_readings=False)
        else:
            self._say(f"an earlier run left something: `{address.by_hand(f'rm -rf {state.folder}')}` removes it")
        self._file.keep(None)

    def _check_killed(self, status: Status) -> None:
        """Raise `FednasError` unless the kit was killed and may be started again."""
        address, folder = self._board.address, self._state.folder
        said = f": {status.line.removeprefix(SCRIPT_SAYS)}" if status.line else ""
        if status.state == "gone":
            self._file.keep(None)
            raise self._board.gone(folder)
        if status.disk_full:
            raise FednasError(
                f"the disk of {address} is full", hint="free some space there; --resume goes on with the readings"
            )
        if status.state == "ended" and status.code == ExitCode.CANNOT_TELL:
            raise FednasError(f"{address} cannot measure this{said}", hint=_MEND, exit_code=ExitCode.CANNOT_TELL)
        if status.state == "ended" and status.code is not None and status.code < 128:
            raise FednasError(f"measuring on {address} failed with code {status.code}{said}", hint=_MEND)

    def _report(self, status: Status) -> None:
        if self._far.take_in(status.line):
            self._progress(self._far.share * self._job.seconds, self._job.seconds, self._far.what)


def _is_unfit(err: BaseException) -> bool:
    """And more readings may help, as far as the table shows."""
    if isinstance(err, UnfitMachine):
        return err.remedy is Remedy.MORE
    return isinstance(err, FednasError) and err.exit_code is ExitCode.CANNOT_TELL
