"""Reading JSON that may have been made to hurt: size, depth, numbers and unknown keys are checked before use."""

import gzip
import io
import json
import stat
import zlib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fednas.common import ContractError, FednasError, decode_versioned, file_errors, format_bytes
from fednas.toolchain.measure.kit.document import MEASURE_ANEW, digest_of

T = TypeVar("T")
GZIP_MAGIC = b"\x1f\x8b"
OTHER_KEYS = ("missing key", "unknown key")
"""What is said of a file whose keys are not those of this version."""
_NOT_OURS = "it is another file, or was edited or damaged; copy it again"


def read_limited(path: Path, what: str, limit: int) -> bytes:
    """Content of a regular file of at most ``limit`` bytes, unpacked if it is gzip; raises `FednasError`."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as err:
        raise FednasError(f"{what} {path} does not exist", hint="check the path") from err
    except OSError as err:
        raise FednasError(f"{what} {path} cannot be read: {err.strerror or err}", hint="check its rights") from err
    if not stat.S_ISREG(mode):
        raise FednasError(f"{what} {path} is not a regular file", hint="name the file itself")
    with file_errors(path, what), path.open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise FednasError(f"{what} {path} is larger than {format_bytes(limit)}; it is not one of ours")
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            content = packed.read(limit + 1)
    except (OSError, EOFError, zlib.error) as err:
        raise FednasError(f"{what} {path} is damaged: {err}", hint="copy it from the board again") from err
    if len(content) > limit:
        raise FednasError(f"{what} {path} unpacks to more than {format_bytes(limit)}; it is not one of ours")
    return content


def decode_hostile(content: bytes, kind: type[T], what: str, schema: int, *, digest: str) -> tuple[T, dict[str, Any]]:
    """The content as a ``kind``, and as plain JSON values; raises `FednasError` for everything that is not right.

    Args:
        digest: the key that holds the digest of all others.
    """
    try:
        decoded = decode_versioned(content, kind, what, schema, again="copy it again, completely")
        return decoded, _plain(content, what)
    except ContractError as err:
        raise FednasError(f"{what}: {err}", hint=_NOT_OURS) from err
    except FednasError as err:
        problem = err.message.removeprefix(f"{what}: ")
        if problem.startswith(OTHER_KEYS) and _is_whole(content, digest):
            raise FednasError(f"{what} is of another version of this program: {problem}", hint=MEASURE_ANEW) from err
        raise


def _is_whole(content: bytes, digest: str) -> bool:
    """Whether it has the digest that it claims: then its keys are those that it was written with."""
    try:
        raw = json.loads(content)
        return isinstance(raw, dict) and digest_of(raw, without=digest) == raw.get(digest)
    except (ValueError, RecursionError):
        return False


def _plain(content: bytes, what: str) -> Any:
    try:
        return msgspec.json.decode(content)
    except ValueError as err:  # such as a number of five thousand digits, which only a known type of float rounds
        raise FednasError(f"{what}: {err}", hint=_NOT_OURS) from err
