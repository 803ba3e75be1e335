"""A user's own devices, and what is said about files that do not hold."""

from pathlib import Path

import pytest

from fednas.common import FednasError
from fednas.profiles import USER_FOLDER_VARIABLE, find_profile, load_profiles

GOOD = """
schema = 1
family = "mine"

[[device]]
name = "my-board"
title = "My board"
processor = "cpu"
runtime = "onnxruntime"
runtime_version = "1.32"
onnx_opset = 17
precisions = ["fp32"]
aliases = ["mb"]
memory = { gib = 2, evidence = "stated", source = "the box" }
peak_tera_macs_per_s.fp32 = { value = 0.01, evidence = "assumed", source = "a guess" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(GOOD)
    return tmp_path


def test_a_users_device_is_found_by_name_and_alias(folder: Path) -> None:
    profile = find_profile("mb", folder)
    assert profile.name == "my-board"
    assert profile.memory_bytes == 2 * 2**30
    assert profile.origin == str(folder / "mine.toml")
    assert list(load_profiles(folder))[-1] == "my-board"


def test_the_environment_names_the_folder_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USER_FOLDER_VARIABLE, str(folder))
    assert find_profile("my-board").title == "My board"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("title =", "titel =", r"'my-board'.*unknown key 'titel'; did you mean title", id="typo"),
        pytest.param("onnx_opset = 17", 'onnx_opset = "17"', r"Expected int, got str \(key onnx_opset\)", id="type"),
        pytest.param('title = "My board"\n', "", r"'my-board': missing key title", id="missing"),
        pytest.param('name = "my-board"\n', "", r"'number 1': missing key name", id="nameless"),
        pytest.param(
            '"assumed"', '"guessed"', r"key peak_tera_macs_per_s\.fp32: evidence is 'guessed'; .*derived", id="evidence"
        ),
        pytest.param('"a guess"', '" "', r"peak_tera_macs_per_s\.fp32: source is empty", id="no source"),
        pytest.param('"the box"', '""', r"key memory: source is empty", id="no memory source"),
        pytest.param("gib = 2", "gib = -2", r"key memory: value is -2", id="negative memory"),
        pytest.param("0.01", "inf", r"value is inf; it must be a number above zero", id="infinite"),
        pytest.param("{ value", "{ valu", r"unknown key 'valu'; did you mean value\?", id="typo in a figure"),
        pytest.param('precisions = ["fp32"]', "precisions = []", r"key precisions is \[\]", id="no precision"),
        pytest.param('["fp32"]', '["fp8"]', r"key precisions is 'fp8'; it must be one of fp32", id="precision"),
        pytest.param("s.fp32", "s.int8", r"key peak_tera_macs_per_s is 'int8'; it must be one of fp32", id="peak"),
        pytest.param('"onnxruntime"', '"tensorrt"', r"key runtime is 'tensorrt'; .*tensorrt table", id="no table"),
        pytest.param('"cpu"', '"npu"', r"key processor is 'npu'; it must be one of cpu, gpu", id="processor"),
        pytest.param("= 17", "= 99", r"key onnx_opset is 99; it must be 7 to 26", id="opset"),
        pytest.param("my-board", "../evil", r"key name is '../evil'; it must be lower-case", id="unsafe name"),
        pytest.param('"mb"', '"jetson"', r"'jetson' is the name of a built-in device", id="taken alias"),
        pytest.param("my-board", "cpu", r"'cpu' is the name of a built-in device; choose another", id="taken name"),
        pytest.param("schema = 1", "schema = 2", r"key schema is 2; it must be one of 1", id="schema"),
        pytest.param("schema = 1", "schema = ", r"(?i)invalid value", id="not TOML"),
    ],
)
def test_a_bad_file_is_one_clear_line(folder: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    path = folder / "mine.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(FednasError, match=message) as caught:
        load_profiles(folder)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_without_devices_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.toml").write_text('schema = 1\nfamily = "none"\ndevice = []\n')
    with pytest.raises(FednasError, match=r"none\.toml: key device is empty"):
        load_profiles(tmp_path)


def test_two_files_with_one_device_name_both_are_named(folder: Path) -> None:
    (folder / "other.toml").write_text(GOOD)
    with pytest.raises(FednasError, match=r"other\.toml.*'mb' is the name of the device of .*mine\.toml"):
        load_profiles(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FednasError, match=r"profile folder .*absent is not a folder; .*--profiles.*FEDNAS_PROFILES"):
        load_profiles(tmp_path / "absent")


def test_the_examples_of_the_documentation_are_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()
    example, tensorrt = (part.split("```")[0] for part in page.split("```toml\n")[1:])
    (tmp_path / "a.toml").write_text(example)
    assert find_profile("camera", tmp_path).onnx_opset == 17
    (tmp_path / "a.toml").write_text(example.replace('"onnxruntime"', '"tensorrt"') + tensorrt)
    assert find_profile("camera", tmp_path).tensorrt is not None
