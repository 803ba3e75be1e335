"""Reading and writing files so that nothing is half written and every failure is one clear line."""

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fednas.common.errors import FednasError


def read_bytes(path: Path, what: str) -> bytes:
    """Content of ``path``; raises `FednasError` that names ``what`` when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as err:
        raise FednasError(f"{what} {path} does not exist", hint="check the path") from err
    except IsADirectoryError as err:
        raise FednasError(f"{what} {path} is a folder, not a file", hint="name a file inside it") from err
    except OSError as err:
        raise FednasError(f"{what} {path} cannot be read: {err.strerror or err}", hint="check its rights") from err


def read_text(path: Path, what: str) -> str:
    """As `read_bytes`, decoded as UTF-8."""
    try:
        return read_bytes(path, what).decode("utf-8")
    except UnicodeDecodeError as err:
        raise FednasError(f"{what} {path} is not UTF-8 text", hint="is it the right file?") from err


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file; raises `FednasError` when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as err:
        raise FednasError(f"file {path} cannot be read: {err.strerror or err}", hint="check its rights") from err


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write ``content`` so that ``path`` holds either the old content or all of the new.

    Raises `FednasError` when the folder is missing, is a file, is not writable, or the disk is full; the
    scratch file is removed in every case, Ctrl-C included.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as scratch:
        scratch.write_bytes(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A scratch path beside ``path`` that takes its place when the block ends without an exception.

    Use it where a library insists on writing the file itself. Errors are those of `write_atomic`.
    """
    if path.is_dir():
        raise FednasError(f"{path} is a folder, so no file can be written there", hint="name a file")
    with file_errors(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        scratch = Path(name)
        try:
            yield scratch
            # mkstemp makes the file private; a shipped file gets the rights that a plain open() would give.
            scratch.chmod(0o666 & ~_umask())
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)


def make_folder(path: Path, what: str) -> None:
    """Create ``path`` and its parents; raises `FednasError` if it is a file or cannot be made."""
    with file_errors(path, what):
        path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise FednasError(f"{what} {path} is not writable", hint="choose another folder or mend its rights")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def file_errors(path: Path, what: str = "file") -> Iterator[None]:
    """Turn the system's errors about ``path`` into one clear line (`FednasError`)."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as err:
        raise FednasError(f"{what} {path}: a file stands where a folder is needed", hint="choose another path") from err
    except FileNotFoundError as err:
        if path.parent.is_dir():  # as under /proc, where nothing can be made
            raise FednasError(f"{what} {path} cannot be made there", hint="choose another path") from err
        raise FednasError(f"folder {path.parent} does not exist", hint="create it or choose another path") from err
    except IsADirectoryError as err:
        raise FednasError(f"{what} {path} is a folder, not a file", hint="name a file") from err
    except PermissionError as err:
        raise FednasError(f"{what} {path} is not writable", hint="choose another path or mend its rights") from err
    except OSError as err:
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"disk full while writing {path}; nothing was left half written"
            raise FednasError(message, hint="free some space and run it again") from err
        raise FednasError(f"{path} cannot be written: {err.strerror or err}", hint="choose another path") from err
