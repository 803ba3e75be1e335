"""JSON files with a ``schema``: what is wrong with the file as a whole is said before its keys are complained about."""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from fednas.common.decoding import decode_json
from fednas.common.errors import FednasError

T = TypeVar("T")
UtcTime = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\+00:00|Z)\Z",
        description="a date and time in UTC",
        examples=["2026-01-02T03:04:05+00:00"],
    ),
]
"""As this program writes it into files."""
PlainText = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]*\Z", description="text without control characters, in one line")
]
"""Can be printed on a terminal without doing anything there."""


def decode_versioned(data: bytes | str, kind: type[T], what: str, schema: int, *, again: str) -> T:
    """``data`` as a ``kind`` of this schema.

    Args:
        again: how to get the file once more, for the hint of one that is empty, cut off or of an older schema.

    Raises `FednasError` for files that are empty, cut off or of another schema, and as `decode_json` does.
    """
    require_schema(data, what, schema, again=again)
    try:
        return decode_json(data, kind, what)
    except RecursionError as err:
        raise _too_deep(what) from err


def require_schema(data: bytes | str, what: str, schema: int, *, again: str) -> None:
    """The part of `decode_versioned` that needs no knowledge of the keys."""
    content = data.encode("utf-8", errors="replace") if isinstance(data, str) else data
    if not content.strip():
        raise FednasError(f"{what} is empty", hint=again)
    try:
        found = decode_json(content, _Version, what)
    except FednasError as err:
        if "trailing characters" in err.message:
            raise FednasError(f"{what} goes on behind its end", hint=again) from err
        # A file that ends inside a number or a word is malformed rather than truncated in the parser's words.
        if "truncated" in err.message or (content.lstrip()[:1] == b"{" and not content.rstrip().endswith(b"}")):
            raise FednasError(f"{what} is cut off", hint=again) from err
        raise
    except RecursionError as err:
        raise _too_deep(what) from err
    if found.schema > schema:
        named = isinstance(found.tool_version, str) and found.tool_version.isprintable()
        writer = f" ({found.tool_version})" if named else ""
        raise FednasError(
            f"{what} has schema {found.schema}, newer than the {schema} that this version reads",
            hint=f"install the version of fednas-export that wrote it{writer}, or a later one",
        )
    if found.schema != schema:
        raise FednasError(f"{what} has schema {found.schema}, this version reads {schema}", hint=again)


class _Version(msgspec.Struct):
    """The two keys of any of our files, however new."""

    schema: int
    tool_version: object = None


def _too_deep(what: str) -> FednasError:
    return FednasError(f"{what} is nested too deep; it is not one of ours")
