"""``profile --over ssh://...``: measure on boards that answer to SSH, a table for each."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fednas.common import ExitCode, FednasError, file_errors, make_folder
from fednas.profiles import find_profile
from fednas.toolchain.cli.output import emit, note, progress_bar, warn
from fednas.toolchain.cli.profile import told
from fednas.toolchain.cli.profile_kit import KitOptions, job_of

if TYPE_CHECKING:
    from fednas.latency_tables import LatencyTable
    from fednas.toolchain.measure.job import Collected, MeasuringJob
    from fednas.toolchain.measure.ssh import Places, SshAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class SshOptions:
    """The options of `profile` that only matter where it measures over SSH."""

    over: Sequence[str]
    python: str | None
    resume: bool
    accept_unfit: bool
    out: Path | None


def profile_boards(options: KitOptions, ssh: SshOptions, unused: Sequence[str]) -> None:
    """Measure on every board, write a table for each that brings readings home, and say what came of the others.

    ``unused``: options that were given although they have no meaning here. Raises `FednasError` if a board failed,
    after the others are done.
    """
    if unused:
        message = f"{' and '.join(unused)} cannot be given with --over ssh://"
        raise FednasError(message, hint="set the board as it will be used, before measuring")
    from fednas.toolchain.measure.alone import only_run
    from fednas.toolchain.measure.ssh.address import parse_address

    addresses = [parse_address(text) for text in ssh.over]
    job = job_of(options, "a board")
    name = f"{job.device}-{job.precision}"
    boards = [(address, _table_path(address, ssh.out, name, len(addresses))) for address in addresses]
    with ExitStack() as held:
        for table in dict.fromkeys(table for _, table in boards):
            held.enter_context(only_run(table))
        finished = _measured(job, boards, options, ssh)
    _tell(finished)


def _measured(
    job: "MeasuringJob", boards: Sequence[tuple["SshAddress", Path]], options: KitOptions, ssh: SshOptions
) -> "list[_Finished]":
    """What came of every board, in the order in which they finished."""
    from fednas.toolchain.measure.ssh import DEFAULT_PYTHON, check_python, collect_from_boards

    tables: dict[SshAddress, LatencyTable] = {}
    paths = dict(boards)

    def judge(address: "SshAddress", collected: "Collected") -> None:
        tables[address] = _written(collected, address, paths[address], ssh.accept_unfit)

    finished = []
    with progress_bar("measuring") as progress:
        outcomes = collect_from_boards(
            job,
            [(address, _places(table, ssh.resume)) for address, table in boards],
            resume=ssh.resume,
            device=find_profile(options.device, options.profiles),
            python=check_python(ssh.python or DEFAULT_PYTHON),
            progress=progress,
            say=note,
            judge=judge,
        )
        with closing(outcomes):
            for outcome in outcomes:
                failed = isinstance(outcome.result, FednasError)
                if len(boards) > 1:
                    note(f"{outcome.address}: {'failed' if failed else 'done'}")
                table = outcome.result if isinstance(outcome.result, FednasError) else tables[outcome.address]
                finished.append(_Finished(outcome.address, paths[outcome.address], table))
    return finished


@dataclass(frozen=True, slots=True)
class _Finished:
    """One board when all is done: its table and the file of it, or why there is none."""

    address: "SshAddress"
    path: Path
    table: "LatencyTable | FednasError"


def _table_path(address: "SshAddress", out: Path | None, name: str, boards: int) -> Path:
    """Where the table of this board goes: named by the host, unless one board and one file are given."""
    path = out or Path(f"{name}.latency.json")
    if path.is_dir():
        raise FednasError(f"--out {path} is a folder, not a file", hint="name the table file inside it")
    if out is None or boards > 1:
        stem, ending = path.name.removesuffix(".json").removesuffix(".latency"), ".latency.json"
        path = path.with_name(f"{stem}.{address.label}{ending if path.name.endswith(ending) else '.json'}")
    make_folder(path.parent, "folder of the table")
    return path


def _places(table: Path, resume: bool) -> "Places":
    from fednas.toolchain.measure.ssh import Places

    places = Places(state=table.with_name(f"{table.name}.board"), results=_results_path(table))
    if places.state.exists() and not resume:
        warn(f"the earlier run of {places.state} is replaced; --resume would have gone on with it")
    return places


def _results_path(table: Path) -> Path:
    return table.with_name(f"{table.name.removesuffix('.json')}.results.json")


def _written(collected: "Collected", address: "SshAddress", path: Path, accept_unfit: bool) -> "LatencyTable":
    """Write the table of a board that brought readings home; raises `FednasError`, with exit code 5 if it is unfit."""
    from fednas.latency_tables import readings_path, save_table
    from fednas.toolchain.measure.profiling import table_of
    from fednas.toolchain.measure.unfit import Remedy, UnfitMachine

    results = _results_path(path)
    try:
        table = table_of(collected, accept_unfit=accept_unfit, readings=results)
    except UnfitMachine as err:
        again = err.remedy.value
        if err.remedy is Remedy.MORE:
            longer = ", or more --seconds in all" if collected.job.plan.name == "exhaustive" else ""
            again = f"stop other work on {address}; --resume measures as long again{longer}"
        elif err.remedy is Remedy.ANEW:
            again = f"stop other work on {address}; start again without --resume: what is read stays as it is"
        hint = f"{again}; `fednas-export profile import {results} --accept-unfit` writes the table all the same"
        raise err.advised(hint) from err
    save_table(table, path)
    with file_errors(readings_path(path)):
        results.replace(readings_path(path))
    return table


def _tell(boards: Sequence[_Finished]) -> None:
    """One document for all boards; raises `FednasError` if one failed."""
    errors = [(board.address, board.table) for board in boards if isinstance(board.table, FednasError)]
    if len(boards) == 1:
        if errors:
            raise errors[0][1]
        emit(*_told(boards[0]))
        return
    documents, texts = zip(*map(_told, boards), strict=True)
    emit({"boards": documents}, "\n\n".join(texts))
    if errors:
        codes = {error.exit_code for _, error in errors}
        raise FednasError(
            f"{len(errors)} of {len(boards)} boards failed: {', '.join(str(address) for address, _ in errors)}",
            hint="the reasons stand above",
            exit_code=codes.pop() if len(codes) == 1 else ExitCode.USER_ERROR,
        )


def _told(board: _Finished) -> tuple[dict[str, object], str]:
    """What came of it, as JSON and as text."""
    address = str(board.address)
    if isinstance(board.table, FednasError):
        error = {"message": board.table.message, "hint": board.table.hint, "exit_code": int(board.table.exit_code)}
        return {"over": address, "error": error}, f"{'board':<14} {address}\n{'failed':<14} {board.table}"
    document, text = told(board.table, board.path)
    return {"over": address} | document, f"{'board':<14} {address}\n{text}"
