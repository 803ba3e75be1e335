"""Unknown keys are answered with the nearest known ones, at every depth."""

import enum
from typing import Literal

import msgspec
import pytest

from fednas.common import FednasError, convert


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    value: int = 0
    source: str = ""
    colour: Literal["red", "blue"] | None = None
    size: Size = Size.SMALL


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    one: Inner | None = None
    many: list[Inner] = []
    named: dict[str, Inner] = {}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param({"onee": {}}, r"file F: unknown key 'onee'; did you mean one\?", id="top"),
        pytest.param(
            {"one": {"valu": 1}},
            r"did you mean value\? \(known: colour, size, source, value\) \(at one\)",
            id="optional",
        ),
        pytest.param({"many": [{"sorce": 1}]}, r"did you mean source\? .*\(at many\[0\]\)", id="list"),
        pytest.param({"named": {"a": {"valu": 1}}}, r"did you mean value\? .*\(at named\[\.\.\.\]\)", id="dict"),
        pytest.param({"one": {"value": "x"}}, r"Expected int, got str \(key one\.value\)", id="wrong type"),
        pytest.param(
            {"one": {"colour": "pink"}}, r"key one.colour is 'pink'; it must be one of red, blue", id="literal"
        ),
        pytest.param({"many": [{"size": "m"}]}, r"key many\[0\].size is 'm'; it must be one of s, l", id="enum"),
    ],
)
def test_the_key_to_mend_is_named(raw: dict[str, object], message: str) -> None:
    with pytest.raises(FednasError, match=message):
        convert(raw, Outer, "file F")
