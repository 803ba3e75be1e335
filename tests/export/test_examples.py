"""The programs that ship: they run, they find a broken model, and the C++ one compiles where ONNX Runtime is."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from small_network import METADATA

from fednas.export import InputType, ModelInput, Preprocessing, read_manifest
from fednas.export.examples import example_files


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(folder / "example.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, check=False)


def test_python_runs_the_test_inputs(shipped: Path) -> None:
    result = run(shipped)
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert set(first.split()) <= set(METADATA.class_names)
    assert second.startswith("16 test inputs; largest difference of a logit")


def test_python_classifies_a_raw_image(shipped: Path, tmp_path: Path) -> None:
    digits = load_digits()
    np.save(tmp_path / "image.npy", digits.images[1400][..., None])
    assert run(shipped, str(tmp_path / "image.npy")).stdout.startswith(f"{digits.target[1400]} (")


def bad_image(path: Path, content: object) -> str:
    """A file with an array, or with bytes that are none."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, np.asarray(content), allow_pickle=True)
    return str(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read .*image.npy: No such file or directory"),
        (b"\x89PNG\r\n\x1a\n", "is no .npy file of numbers, as numpy.save writes it"),
        (b"", "is no .npy file of numbers"),
        (b"PK\x03\x04 and no archive", "is no .npy file of numbers"),
        (b"\x93NUMPY\x01\x00\x08\x00{'descr'", "is no .npy file of numbers"),
        (np.array([{"a": 1}]), "is no .npy file of numbers"),
        (np.full((8, 8, 1), "x"), "is no .npy file of one array of numbers"),
        (np.zeros((4, 4, 1)), r"has shape \(4, 4, 1\); the model takes \(8, 8, 1\): resize it first"),
        (np.full((8, 8, 1), 17.0), "has values from 17 to 17; pixels run from 0 to 16"),
        (np.full((8, 8, 1), np.nan), "has values from nan to nan"),
        (np.full((8, 8, 1), 0.5), "has fractions up to 0.5; pixels run from 0 to 16: scale it first"),
    ],
)
def test_python_refuses_what_is_no_image_for_it_in_one_line(
    shipped: Path, tmp_path: Path, content: object, complaint: str
) -> None:
    result = run(shipped, bad_image(tmp_path / "image.npy", content))
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert re.match(f"example.py: .*{complaint}", result.stderr)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "test_vectors.npz", "preprocessing.json", "labels.txt"])
@pytest.mark.parametrize("content", [None, b"\xffno file of ours", b"no file of ours\n"])
def test_python_names_a_damaged_file_in_one_line(shipped: Path, name: str, content: bytes | None) -> None:
    (shipped / name).unlink()
    if content is not None:
        (shipped / name).write_bytes(content)
    result = run(shipped)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("example.py: ")


def test_python_names_preprocessing_that_is_none_in_one_line(shipped: Path) -> None:
    steps = json.loads((shipped / "preprocessing.json").read_text())
    for content in ([], {}, steps | {"height": "8"}, steps | {"mean": 0.5}, steps | {"std": [1, 1]}):
        (shipped / "preprocessing.json").write_text(json.dumps(content))
        result = run(shipped)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith("example.py: preprocessing.json does not hold ")


def test_python_names_vectors_of_other_shapes_in_one_line(shipped: Path) -> None:
    path = shipped / "test_vectors.npz"
    vectors = dict(np.load(path))
    inputs, logits = vectors["inputs"], vectors["logits"]
    for wrong in ({"logits": logits[:1]}, {"logits": logits[:, :3]}, {"inputs": inputs[:0], "logits": logits[:0]}):
        np.savez(path, **(vectors | wrong))
        result = run(shipped)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith("example.py: test_vectors.npz has logits of shape ")
    with path.open("wb") as file:
        np.save(file, logits)
    result = run(shipped)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "test_vectors.npz does not hold arrays inputs and logits" in result.stderr


def test_python_takes_an_image_of_two_values(shipped: Path, tmp_path: Path) -> None:
    image = (load_digits().images[1400] > 8).astype(np.float32)[..., None]
    result = run(shipped, bad_image(tmp_path / "image.npy", image))
    assert (result.returncode, result.stderr) == (0, "")


def test_python_takes_no_fractions_where_the_model_reads_whole_pixels(shipped: Path, tmp_path: Path) -> None:
    # What load_image does follows from preprocessing.json alone.
    steps = json.loads((shipped / "preprocessing.json").read_text())
    (shipped / "preprocessing.json").write_text(json.dumps(steps | {"input_type": "uint8"}))
    result = run(shipped, bad_image(tmp_path / "image.npy", np.full((8, 8, 1), 7.0)))
    assert (result.returncode, result.stderr) == (
        2,
        "example.py: the image is float64; the model takes whole pixels from 0 to 16, such as uint8\n",
    )


def test_python_fails_on_other_logits(shipped: Path) -> None:
    vectors = dict(np.load(shipped / "test_vectors.npz"))
    vectors["logits"] = vectors["logits"] + 1
    np.savez(shipped / "test_vectors.npz", **vectors)
    assert run(shipped).returncode == 1


def test_cpp_states_the_steps_of_preprocessing_json(shipped: Path) -> None:
    text = (shipped / "example.cpp").read_text()
    assert "kLargest = 16.0F;" in text
    assert "kMean[] = {0.3053F}, kStd[] = {0.376F};" in text
    assert 'kModel = "model.fp32.onnx"' in text
    assert "@@" not in text + (shipped / "CMakeLists.txt").read_text() + (shipped / "example.py").read_text()


STAND_IN = Path(__file__).parent / "cpp_stand_in"
STRICT = ("-std=c++17", "-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not here")


@pytest.fixture(scope="module")
def cpp_program(shipped_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, compiled against a stand-in for ONNX Runtime that gives the logits of the folder."""
    program = tmp_path_factory.mktemp("cpp") / "example"
    source = str(shipped_once / "example.cpp")
    subprocess.run(["g++", *STRICT, "-I", str(STAND_IN), source, "-o", str(program)], check=True)
    return program


def run_cpp(program: Path, *arguments: object, wrong_by: float = 0.0) -> subprocess.CompletedProcess[str]:
    command = [str(program), *map(str, arguments)]
    environment = {"FEDNAS_WRONG_BY": str(wrong_by)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@needs_compiler
def test_cpp_handles_its_files_as_python_does(cpp_program: Path, shipped: Path) -> None:
    done = run_cpp(cpp_program, shipped)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].split() == run(shipped).stdout.splitlines()[0].split()
    assert run_cpp(cpp_program, shipped, wrong_by=0.5).returncode == 1
    assert run_cpp(cpp_program, shipped, wrong_by=float("nan")).stderr == "example: a logit is not finite\n"
    assert run_cpp(cpp_program).stderr.startswith("usage: ")


@needs_compiler
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, r"cannot read .*image\.raw"),
        (b"", r"image\.raw has 0 bytes, not 64"),
        (bytes(63), r"image\.raw has 63 bytes, not 64"),
        (bytes(128), r"image\.raw has 128 bytes, not 64"),
        (bytes([17] * 64), r"the image has a value of 17\.0+; pixels run from 0 to 16"),
    ],
)
def test_cpp_refuses_what_is_no_image_for_it_in_one_line(
    cpp_program: Path, shipped: Path, tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / "image.raw").write_bytes(content)
    done = run_cpp(cpp_program, shipped, tmp_path / "image.raw")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert re.match(f"example: .*{complaint}", done.stderr)


@needs_compiler
@pytest.mark.parametrize("name", ["model.fp32.onnx", "test_inputs.bin", "test_logits.bin", "labels.txt"])
def test_cpp_names_a_missing_or_damaged_file_in_one_line(cpp_program: Path, shipped: Path, name: str) -> None:
    (shipped / name).unlink()
    done = run_cpp(cpp_program, shipped)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    if name != "model.fp32.onnx":
        (shipped / name).write_bytes(b"no file of ours")
        done = run_cpp(cpp_program, shipped)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@needs_compiler
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("input_type", "largest"), [("float32", 1.0), ("float32", 255.0), ("uint8", 255.0)])
def test_cpp_compiles_whatever_the_model_reads(
    shipped: Path, tmp_path: Path, channels: int, input_type: InputType, largest: float
) -> None:
    plain = Preprocessing(
        channels=channels,
        height=8,
        width=8,
        value_range_max=largest,
        mean=(0.0, 0.5, 0.25)[:channels],
        std=(1.0, 1 / 3, 1e-3)[:channels],
    )
    model = read_manifest(shipped).models[0]
    text = example_files(model, ModelInput.of(plain, input_type), 10)["example.cpp"]
    (tmp_path / "example.cpp").write_text(text)
    command = ["g++", *STRICT, "-fsyntax-only", "-I", str(STAND_IN), str(tmp_path / "example.cpp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif("ONNXRUNTIME_ROOT" not in os.environ, reason="ONNXRUNTIME_ROOT names no unpacked ONNX Runtime")
@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not here")
def test_cpp_compiles_and_agrees(shipped: Path, tmp_path: Path) -> None:
    strict = "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wconversion -Wpedantic -Werror"
    subprocess.run(["cmake", "-S", shipped, "-B", tmp_path / "build", strict], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", tmp_path / "build"], check=True, capture_output=True)
    program = str(tmp_path / "build" / "example")
    inputs = subprocess.run([program, shipped], capture_output=True, text=True, check=False)
    assert inputs.returncode == 0, inputs.stderr
    assert inputs.stdout.splitlines()[0].split() == run(shipped).stdout.splitlines()[0].split()
    digits = load_digits()
    (tmp_path / "image.raw").write_bytes(digits.images[1400].astype(np.uint8).tobytes())
    named = subprocess.run([program, shipped, tmp_path / "image.raw"], capture_output=True, text=True, check=True)
    assert named.stdout.startswith(f"{digits.target[1400]} (")
    (tmp_path / "short.raw").write_bytes(b"123")
    (tmp_path / "bright.raw").write_bytes(b"\x11" * 64)
    (tmp_path / "floats.raw").write_bytes(digits.images[1400].astype(np.float32).tobytes())
    for arguments, complaint in (
        ((shipped, tmp_path / "nowhere.raw"), f"cannot read {tmp_path}/nowhere.raw"),
        ((shipped, tmp_path / "short.raw"), f"{tmp_path}/short.raw has 3 bytes, not 64"),
        ((shipped, tmp_path / "floats.raw"), f"{tmp_path}/floats.raw has 256 bytes, not 64"),
        ((shipped, tmp_path / "bright.raw"), "the image has a value of 17.000000; pixels run from 0 to 16"),
    ):
        refused = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", f"example: {complaint}\n")
    (shipped / "model.fp32.onnx").write_bytes(b"no model")
    damaged = subprocess.run([program, shipped], capture_output=True, text=True, check=False)
    assert (damaged.returncode, damaged.stdout, damaged.stderr.count("\n")) == (2, "", 1)
