"""``--data``: what is understood, and what is said about the rest."""

from pathlib import Path

import pytest

from fednas.common import FednasError
from fednas.toolchain.data import DataKind, DataSpec, load_data, parse_data_spec


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("digits", DataSpec(DataKind.DIGITS)),
        ("none", DataSpec(DataKind.NONE)),
        ("cifar10:data/c", DataSpec(DataKind.CIFAR10, Path("data/c"))),
        ("npz:C:/x.npz", DataSpec(DataKind.NPZ, Path("C:/x.npz"))),
        ("folder:/a b", DataSpec(DataKind.FOLDER, Path("/a b"))),
    ],
)
def test_specs_are_read_and_shown_as_written(text: str, spec: DataSpec) -> None:
    assert parse_data_spec(text) == spec
    assert str(spec) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cifar11:x", "unknown data set 'cifar11'; did you mean cifar10"),
        ("", "unknown data set ''.*write digits, cifar10:DIR"),
        ("digits:here", "names a place, but digits has none; write digits"),
        ("cifar10", "--data cifar10 lacks a folder; write digits, cifar10:DIR"),
        ("npz:", "--data npz: lacks a file"),
    ],
)
def test_bad_specs_say_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(FednasError, match=message):
        parse_data_spec(text)


def test_none_has_no_images() -> None:
    with pytest.raises(FednasError, match="--data none gives no images"):
        load_data(parse_data_spec("none"))
