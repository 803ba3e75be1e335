"""Unknown keys are answered with the nearest known ones, at every depth."""

import msgspec
import pytest

from fednas.common import FednasError, convert


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    value: int = 0
    source: str = ""


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    one: Inner | None = None
    many: list[Inner] = []
    named: dict[str, Inner] = {}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param({"onee": {}}, r"file F: unknown key 'onee'; did you mean one\?", id="top"),
        pytest.param({"one": {"valu": 1}}, r"did you mean value\? \(known: source, value\) \(at one\)", id="optional"),
        pytest.param({"many": [{"sorce": 1}]}, r"did you mean source\? .*\(at many\[0\]\)", id="list"),
        pytest.param({"named": {"a": {"valu": 1}}}, r"did you mean value\? .*\(at named\[\.\.\.\]\)", id="dict"),
        pytest.param({"one": {"value": "x"}}, r"Expected int, got str \(key one\.value\)", id="wrong type"),
    ],
)
def test_the_key_to_mend_is_named(raw: dict[str, object], message: str) -> None:
    with pytest.raises(FednasError, match=message):
        convert(raw, Outer, "file F")
