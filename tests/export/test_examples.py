"""The programs that ship: they run, they find a broken model, and the C++ one compiles where ONNX Runtime is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from small_network import METADATA


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
    np.save(tmp_path / "small.npy", np.zeros((4, 4, 1)))
    assert (
        "the image has shape (4, 4, 1); the model takes (8, 8, 1)" in run(shipped, str(tmp_path / "small.npy")).stderr
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
    short = subprocess.run([program, shipped, tmp_path / "short.raw"], capture_output=True, text=True, check=False)
    assert (short.returncode, short.stderr) == (1, "the image has 3 values, not 64\n")
