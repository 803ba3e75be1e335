"""Model files that read pixels: the same logits as normalising outside, at every precision."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from small_network import DIGITS, METADATA, Trained

from fednas.common import ContractError, FednasError
from fednas.export import (
    CalibrationImages,
    ModelInput,
    OrtRunner,
    fold_preprocessing,
    fp16_from_onnx,
    int8_from_onnx,
    onnx_from_module,
    read_onnx_file,
)
from fednas.export.census import census_of

PIXELS = load_digits().images[1400:, None].astype(np.uint8)


@pytest.fixture(scope="module")
def files(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("precisions")
    fp32 = onnx_from_module(trained.network, folder / "fp32.onnx", opset=17, metadata=METADATA).path
    calibration = CalibrationImages(inputs=trained.images[:64], classes=10, seed=0, real=True)
    fp16_from_onnx(fp32, folder / "fp16.onnx", calibration)
    fp16_from_onnx(fp32, folder / "fp16io.onnx", calibration, keep_io_types=False)
    int8_from_onnx(fp32, folder / "int8.onnx", calibration, runtime="onnxruntime")
    int8_from_onnx(fp32, folder / "int8trt.onnx", calibration, runtime="tensorrt")
    return {path.stem: path for path in folder.glob("*.onnx")}


@pytest.mark.parametrize("kind", ["fp32", "fp16", "fp16io", "int8", "int8trt"])
def test_pixels_give_the_logits_of_normalised_inputs(
    files: dict[str, Path], kind: str, trained: Trained, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(files[kind].read_bytes())
    with OrtRunner(path) as runner:
        outside = runner.infer_all(trained.images)
    facts = fold_preprocessing(path, DIGITS)
    assert facts.input_type == "uint8"
    assert facts.image_shape == (1, 8, 8)
    assert facts.metadata is not None
    assert facts.metadata.preprocessing == ModelInput.of(DIGITS, "uint8")
    with OrtRunner(path) as runner:
        inside = runner.infer_all(PIXELS)
    scale = np.abs(outside).max()
    if kind.startswith("int8"):  # a rounding more or less may move a number by one of 255 steps
        assert np.mean(inside.argmax(axis=1) == outside.argmax(axis=1)) > 0.99
        assert np.abs(inside - outside).max() < 0.05 * scale
    else:
        assert np.abs(inside - outside).max() < (1e-5 if kind == "fp32" else 2e-3) * scale


def test_the_normalisation_is_no_layer_of_the_census(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(files["fp16"].read_bytes())
    before = census_of(path, "fp16", (), "tensorrt")
    fold_preprocessing(path, DIGITS)
    assert census_of(path, "fp16", (), "tensorrt") == before
    assert before.reasons == ()


def test_same_inputs_give_the_same_bytes(files: dict[str, Path], tmp_path: Path) -> None:
    contents = set()
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(files["int8"].read_bytes())
        fold_preprocessing(tmp_path / name, DIGITS)
        contents.add((tmp_path / name).read_bytes())
    assert len(contents) == 1


def test_a_file_is_folded_once(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(files["fp32"].read_bytes())
    fold_preprocessing(path, DIGITS)
    with pytest.raises(ContractError, match="reads uint8 already"):
        fold_preprocessing(path, DIGITS)


def test_the_runner_takes_what_the_file_reads(files: dict[str, Path], trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(files["fp32"].read_bytes())
    fold_preprocessing(path, DIGITS)
    with OrtRunner(path) as runner, pytest.raises(FednasError, match=r"takes \(n, \(1, 8, 8\)\) uint8"):
        runner.infer(trained.images)
    with OrtRunner(files["fp32"]) as runner, pytest.raises(FednasError, match="float32"):
        runner.infer(PIXELS)


def test_pixels_that_do_not_fit_are_refused(files: dict[str, Path]) -> None:
    wide = ModelInput(channels=1, height=8, width=8, value_range_max=4095.0, mean=(0.3,), std=(0.4,))
    before = files["fp32"].read_bytes()
    with pytest.raises(FednasError, match="pixels from 0 to 4095 do not fit uint8 inputs; export with --input float32"):
        fold_preprocessing(files["fp32"], wide)
    assert files["fp32"].read_bytes() == before
    assert read_onnx_file(files["fp32"]).input_type == "float32"
