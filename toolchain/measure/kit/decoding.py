"""Reading JSON that may have been made to hurt: size, depth, numbers and unknown keys are checked before use."""

import gzip
import io
import json
import stat
import zlib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fednas.common import ContractError, FednasError, decode_json, file_errors, format_bytes

T = TypeVar("T")
GZIP_MAGIC = b"\x1f\x8b"


def read_limited(path: Path, what: str, limit: int) -> bytes:
    """Content of a regular file of at most ``limit`` bytes, unpacked if it is gzip; raises `FednasError`."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as err:
        raise FednasError(f"{what} {path} does not exist", hint="check the path") from err
    except OSError as err:
        raise FednasError(f"{what} {path} cannot be read: {err.strerror or err}", hint="check its rights") from err
    if not stat.S_ISREG(mode):
        raise FednasError(f"{what} {path} is not a regular file", hint=f"name the file with the {what}")
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


def decode_hostile(content: bytes, kind: type[T], what: str, schema: int) -> tuple[T, dict[str, Any]]:
    """The content as a ``kind``, and as plain JSON values; raises `FednasError` for everything that is not right."""
    _require_schema(content, what, schema)
    try:
        return decode_json(content, kind, what), _plain(content, what)
    except RecursionError as err:
        raise FednasError(f"{what} is nested too deep; it is not one of ours") from err
    except ContractError as err:
        raise FednasError(f"{what}: {err}", hint="it was edited or damaged; copy it again") from err


def _plain(content: bytes, what: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as err:  # such as a number of five thousand digits, which msgspec rounds
        raise FednasError(f"{what}: {err}", hint="it was edited or damaged; copy it again") from err


class _SchemaOnly(msgspec.Struct):
    schema: int


def _require_schema(content: bytes, what: str, schema: int) -> None:
    if not content.strip():
        raise FednasError(f"{what} is empty", hint="copy it again, completely")
    try:
        found = decode_json(content, _SchemaOnly, what).schema
    except FednasError as err:
        # A file that ends inside a number or a word is malformed rather than truncated in the parser's words.
        if "truncated" in err.message or not content.rstrip().endswith(b"}"):
            raise FednasError(f"{what} is cut off", hint="copy it again, completely") from err
        raise
    except RecursionError as err:
        raise FednasError(f"{what} is nested too deep; it is not one of ours") from err
    if found > schema:
        hint = "install the version of fednas-export that wrote it, or a later one"
        raise FednasError(f"{what} has schema {found}, newer than the {schema} that this version reads", hint=hint)
    if found != schema:
        raise FednasError(f"{what} has schema {found}, this version reads {schema}", hint="make it anew")
