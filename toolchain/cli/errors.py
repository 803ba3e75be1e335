"""From exceptions to one line and an exit code; the only place that knows both."""

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fednas.common import AskedToEnd, ExitCode, FednasError
from fednas.toolchain.cli.output import emit, settings

INTERRUPTED = 130
"""What shells report for a program that Ctrl-C ended."""


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn what the user can mend into one line on stderr and `SystemExit` with its code.

    With ``--json`` the error is also the one JSON document on stdout.
    """
    try:
        yield
    except FednasError as err:
        _leave(err, err.message, err.hint, err.exit_code)
    except KeyboardInterrupt as err:
        _leave(err, "interrupted; nothing was left half written", "", INTERRUPTED)
    except AskedToEnd as err:
        _leave(err, f"ended by {err.signal_name}; nothing was left half written", "", err.status)
    except MemoryError as err:
        _leave(err, "out of memory", "close other programs or use a smaller batch", ExitCode.USER_ERROR)
    except BrokenPipeError:
        # The reader of a pipe went away (`| head`): no error, but nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(int(ExitCode.OK)) from None


@contextmanager
def our_bugs() -> Iterator[None]:
    """Turn any other exception into one line that names a traceback file, and exit code 70."""
    try:
        yield
    except Exception as err:  # noqa: BLE001 - the last net: whatever arrives here is a bug of ours
        hint = f"please report it with the file {_traceback_file()}"
        _leave(err, f"a bug in fednas-export ({type(err).__name__}: {err})", hint, ExitCode.OUR_BUG)


def _leave(err: BaseException, message: str, hint: str, code: int) -> None:
    line = " ".join(f"{message}; {hint}".split()) if hint else " ".join(message.split())
    sys.stderr.write(f"fednas-export: {line}\n")
    # A command that already printed its one document (an infeasible search) must not print a second.
    if settings.json and not settings.document_printed:
        kind = type(err).__name__
        # Where stdout itself is what failed, the line on stderr has to do.
        with suppress(FednasError, BrokenPipeError):
            emit({"error": {"kind": kind, "message": message, "hint": hint, "exit_code": int(code)}}, "")
    raise SystemExit(int(code)) from err


def _traceback_file() -> Path:
    handle, name = tempfile.mkstemp(prefix="fednas-export-", suffix=".traceback.txt")
    with os.fdopen(handle, "w") as stream:
        traceback.print_exc(file=stream)
    return Path(name)
