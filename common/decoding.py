"""Strict reading of JSON and TOML into typed structures; every complaint names the key that the user can edit."""

import re
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import TypeVar, Union, get_args, get_origin

import msgspec

from fednas.common.errors import ContractError, FednasError
from fednas.common.files import read_bytes
from fednas.common.names import unknown_name

T = TypeVar("T")

_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `([^`]*)`(?: - at `\$?([^`]*)`)?")
_NO_CHOICE = re.compile(r"Invalid enum value (.+?) - at `\$\.([^`]+)`")
_NO_MATCH = re.compile(r"Expected `str` matching regex .* - at `\$\.([^`]+)`", re.DOTALL)
_MALFORMED = re.compile(r"JSON is malformed: .*\(byte (\d+)\)")
_NO_NUMBER = re.compile(rb"-?(NaN|Infinity)")


def decode_json(data: bytes | str, kind: type[T], what: str, *, hint: str = "") -> T:
    """``data`` as a ``kind`` (a `msgspec.Struct` with ``forbid_unknown_fields``, or a dataclass).

    ``hint``: what to do about a file that nobody should mend by hand, because a program of ours wrote it.

    Raises `FednasError` for bad JSON, unknown keys (with the nearest known ones), wrong types and values.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except UnicodeDecodeError as err:
        raise FednasError(f"{what} is not UTF-8 text", hint=hint or "save it in UTF-8 and try again") from err
    except msgspec.DecodeError as err:
        found = _no_number(err, data, what) or _decoding_error(err, kind, what)
        raise FednasError(found.message, hint=hint or found.hint) from err
    except ContractError as err:  # what a file says is its author's doing, whatever type it would become
        raise FednasError(f"{what}: {err}", hint=hint or "mend the file and try again") from err


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


def load_json(path: Path, kind: type[T], what: str, *, hint: str = "") -> T:
    """`decode_json` of a file."""
    return decode_json(read_bytes(path, what), kind, f"{what} {path}", hint=hint)


def load_toml(path: Path, kind: type[T], what: str) -> T:
    """`decode_toml` of a file."""
    return decode_toml(read_bytes(path, what), kind, f"{what} {path}")


def encode_json(value: object) -> str:
    """Indented JSON with a final newline, keys in the order of the structure."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def _no_number(err: Exception, data: bytes | str, what: str) -> FednasError | None:
    """The error for NaN and infinities, which some programs write into JSON; None if it is something else."""
    match = _MALFORMED.search(str(err))
    if match is None:
        return None
    content = data.encode() if isinstance(data, str) else data
    # The parser stops at the sign or at the letter after it.
    place = int(match[1]) - (content[int(match[1]) - 1 : int(match[1])] == b"-")
    if (found := _NO_NUMBER.match(content, place)) is None:
        return None
    line = content.count(b"\n", 0, place) + 1
    keys = re.findall(rb'"([^"\\]*)"\s*:', content[max(0, place - 1000) : place])
    key = f" of key {keys[-1].decode(errors='replace')}" if keys else ""
    return FednasError(f"{what}: the value{key} in line {line} is {found[0].decode()}, no number", hint="mend the file")


def _decoding_error(err: Exception, kind: type[object], what: str) -> FednasError:
    if match := _UNKNOWN_FIELD.search(str(err)):
        path = (match[2] or "").lstrip(".")
        known = [field.encode_name for field in _fields(_type_at(kind, path))]
        unknown = unknown_name("key", match[1], known) if known else f"unknown key {match[1]!r}"
        return FednasError(f"{what}: {unknown}{f' (at {path})' * bool(path)}", hint="remove or correct the key")
    match = _NO_CHOICE.search(str(err))
    if match and (choices := _choices(_type_at(kind, match[2]))):
        allowed = ", ".join(map(str, choices))
        return FednasError(f"{what}: key {match[2]} is {match[1]}; it must be one of {allowed}", hint="mend the file")
    if (match := _NO_MATCH.search(str(err))) and (words := _pattern_in_words(_type_at(kind, match[1]))):
        return FednasError(f"{what}: key {match[1]} must be {words}", hint="mend the file and try again")
    return FednasError(f"{what}: {_sentence(err)}", hint="mend the file and try again")


def _type_at(kind: object, path: str) -> object:
    """The type at ``path`` (such as ``a.b[...].c``) inside ``kind``; None where it cannot be followed."""
    for step in re.findall(r"\w+|\[[^\]]*\]", path):
        if step.startswith("["):
            kind = next((each for each in reversed(get_args(kind)) if each is not ...), None)
        else:
            kind = {field.encode_name: field.type for field in _fields(kind)}.get(step)
        if get_origin(kind) in (Union, UnionType):
            kind = next((each for each in get_args(kind) if each is not NoneType), None)
    return kind


def _fields(kind: object) -> tuple[msgspec.structs.FieldInfo, ...]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return msgspec.structs.fields(kind)
    return ()


def _choices(kind: object) -> list[object]:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [member.value for member in kind]
    return list(get_args(kind))


def _pattern_in_words(kind: object) -> str:
    """What a text has to look like, as its `msgspec.Meta` describes it; empty where it does not."""
    for meta in getattr(kind, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.description:
            examples = ", ".join(map(str, meta.examples or ()))
            return meta.description + (f", such as {examples}" if examples else "")
    return ""


def _sentence(err: Exception) -> str:
    # msgspec says "Expected `int`, got `str` - at `$.a.b`"; the dollar means nothing to a user.
    text = re.sub(r" - at `\$\.?([^`]*)`", lambda m: f" (key {m[1]})" if m[1] else "", str(err))
    return text.replace("`", "").replace("Object missing required field", "missing key")
