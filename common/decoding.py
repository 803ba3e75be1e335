"""Strict reading of JSON and TOML into typed structures; every complaint names the key that the user can edit."""

import re
from pathlib import Path
from typing import TypeVar, get_args, get_origin

import msgspec

from fednas.common.errors import FednasError
from fednas.common.files import read_bytes
from fednas.common.names import unknown_name

T = TypeVar("T")

_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `([^`]*)`(?: - at `\$?([^`]*)`)?")


def decode_json(data: bytes | str, kind: type[T], what: str) -> T:
    """``data`` as a ``kind`` (a `msgspec.Struct` with ``forbid_unknown_fields``, or a dataclass).

    Raises `FednasError` for bad JSON, unknown keys (with the nearest known ones), wrong types and values.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise _decoding_error(err, kind, what) from err


def decode_toml(data: bytes | str, kind: type[T], what: str) -> T:
    """As `decode_json`, for TOML."""
    # msgspec's TOML reader needs no further package from Python 3.11 on (it uses tomllib).
    import msgspec.toml

    text = data.decode("utf-8", errors="replace") if isinstance(data, bytes) else data
    try:
        return msgspec.toml.decode(text, type=kind)
    except msgspec.DecodeError as err:
        raise _decoding_error(err, kind, what) from err


def convert(value: object, kind: type[T], what: str) -> T:
    """A decoded value (of dicts, lists and scalars) as a ``kind``, checked as strictly as `decode_json` does."""
    try:
        return msgspec.convert(value, type=kind)
    except msgspec.ValidationError as err:
        raise _decoding_error(err, kind, what) from err


def load_json(path: Path, kind: type[T], what: str) -> T:
    """`decode_json` of a file."""
    return decode_json(read_bytes(path, what), kind, f"{what} {path}")


def load_toml(path: Path, kind: type[T], what: str) -> T:
    """`decode_toml` of a file."""
    return decode_toml(read_bytes(path, what), kind, f"{what} {path}")


def encode_json(value: object) -> str:
    """Indented JSON with a final newline, keys in the order of the structure."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def _decoding_error(err: Exception, kind: type[object], what: str) -> FednasError:
    match = _UNKNOWN_FIELD.search(str(err))
    if match is None:
        return FednasError(f"{what}: {_sentence(err)}", hint="mend the file and try again")
    path = (match[2] or "").lstrip(".")
    place = f" (at {path})" if path else ""
    known = _fields_at(kind, path)
    if known:
        return FednasError(f"{what}: {unknown_name('key', match[1], known)}{place}", hint="remove or correct the key")
    return FednasError(f"{what}: unknown key {match[1]!r}{place}", hint="remove or correct the key")


def _fields_at(kind: object, path: str) -> tuple[str, ...]:
    """The keys that the structure at ``path`` (such as ``a.b[...].c``) inside ``kind`` knows."""
    for step in re.findall(r"\w+|\[[^\]]*\]", path):
        if step.startswith("["):
            kind = next((each for each in reversed(get_args(kind)) if each is not ...), None)
        else:
            types = {field.encode_name: field.type for field in _fields(kind)}
            kind = types.get(step)
        if get_origin(kind) not in (list, tuple, dict):
            kind = next((each for each in get_args(kind) if _fields(each)), kind)  # X of `X | None`
    return tuple(field.encode_name for field in _fields(kind))


def _fields(kind: object) -> tuple[msgspec.structs.FieldInfo, ...]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return msgspec.structs.fields(kind)
    return ()


def _sentence(err: Exception) -> str:
    # msgspec says "Expected `int`, got `str` - at `$.a.b`"; the dollar means nothing to a user.
    text = re.sub(r" - at `\$\.?([^`]*)`", lambda m: f" (key {m[1]})" if m[1] else "", str(err))
    return text.replace("`", "").replace("Object missing required field", "missing key")
