"""Clocks and power modes, changed only when asked and put back whatever happens.

Before anything is changed, a file beside the table says what was. It is deleted when all is put back: after success,
an error, Ctrl-C, SIGTERM or SIGHUP. A kill leaves it, and the next run in that folder puts back what it says.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from fednas.common import FednasError, decode_json, encode_json, ending_signals_raise, file_errors
from fednas.toolchain.measure.settings import PowerMode, Setting, System, lockable, setting_named

try:
    import fcntl
except ImportError:  # Windows has no such locks, and no clocks that we set
    fcntl = None  # type: ignore[assignment]

STATE = ".fednas-clocks.json"
STORED = ".fednas-jetson-clocks"


class _Before(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One setting as it was."""

    setting: Literal["power-mode", "jetson-clocks", "governors", "gpu-clocks"]
    values: dict[str, str]


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: settings in the order in which they are changed."""

    before: tuple[_Before, ...]
    schema: Literal[1] = 1


@contextlib.contextmanager
def clocks_as_asked(
    folder: Path, *, power_mode: str | None = None, lock: bool = False, gpu: bool = False, system: System | None = None
) -> Iterator[None]:
    """Set power mode and clocks for the duration of the block, and put them back after it.

    Args:
        folder: holds the file of what was; what a killed run left there is put back first, asked or not.
        gpu: lock the clock of an NVIDIA card too.

    Raises `FednasError` if the machine has no such mode or clocks, without root's rights, while another run has
    changed the clocks, and where something cannot be put back.
    """
    system = system or System()
    restore_left_over(folder, system)
    settings = _asked(folder, power_mode, lock, gpu, system)
    if not settings:
        yield
        return
    with _state_file(folder) as stream:
        state = _State(tuple(_Before(setting.name, dict(setting.before())) for setting in settings))  # type: ignore[arg-type]
        _keep(stream, state, folder / STATE)
        with ending_signals_raise("SIGTERM", "SIGHUP"):
            try:
                for setting in settings:
                    setting.change()
                yield
            finally:
                _restore(folder, state, system)


def restore_left_over(folder: Path, system: System) -> bool:
    """Put back what a killed run left changed; whether there was anything."""
    path = folder / STATE
    if not path.exists():
        return False
    with path.open("rb") as stream:
        if not _locked(stream):
            return False
        content = stream.read()
        if not content:  # killed before anything was changed
            path.unlink()
            return False
        state = decode_json(content, _State, f"clocks before an earlier run, {path},")
        _require_root(system, f"an earlier run left the clocks changed, see {path}")
        _restore(folder, state, system)
    return True


def _asked(folder: Path, power_mode: str | None, lock: bool, gpu: bool, system: System) -> list[Setting]:
    """What is to be changed, in order: the mode first, since clocks are locked within it."""
    settings: list[Setting] = []
    if power_mode is not None:
        mode = PowerMode(system, power_mode)
        mode.require()
        settings.append(mode)
    if lock:
        settings.extend(lockable(system, folder / STORED, gpu=gpu))
    if settings:
        _require_root(system, "changing clocks and power modes")
    return settings


def _require_root(system: System, what: str) -> None:
    if not system.superuser:
        raise FednasError(f"{what} needs root's rights", hint="run it with sudo")


@contextlib.contextmanager
def _state_file(folder: Path) -> Iterator[BinaryIO]:
    """The file of what was, locked as long as this run lives."""
    path = folder / STATE
    try:
        stream = path.open("xb")
    except FileExistsError as err:
        raise FednasError(f"another run has changed the clocks, see {path}", hint="wait for it to end") from err
    except OSError as err:
        raise FednasError(f"{path} cannot be written: {err.strerror or err}", hint="choose another --out") from err
    with stream:
        _locked(stream)
        yield stream


def _keep(stream: BinaryIO, state: _State, path: Path) -> None:
    with file_errors(path):
        stream.write(encode_json(state).encode())
        stream.flush()
        os.fsync(stream.fileno())


def _restore(folder: Path, state: _State, system: System) -> None:
    """Put all back in reverse order, the rest even if one fails; the file goes only when all is as it was."""
    failed = []
    for before in reversed(state.before):
        try:
            setting_named(before.setting, system, folder / STORED).restore(before.values)
        except FednasError as err:
            failed.append(f"{before.setting}: {err.message}")
    if failed:
        raise FednasError(
            f"clocks could not be put back: {'; '.join(failed)}",
            hint=f"{folder / STATE} says what they were; the next run there tries again",
        )
    (folder / STATE).unlink(missing_ok=True)


def _locked(stream: BinaryIO) -> bool:
    """Take the lock that ends with the process that holds it; False if another lives."""
    if fcntl is not None:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True
