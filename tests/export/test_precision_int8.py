"""Explicit quantisation: the form that TensorRT accepts, the images it is calibrated on, and the numbers."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from small_network import METADATA, Trained

from fednas.common import FednasError
from fednas.export import (
    INT8_METHOD,
    CalibrationImages,
    OnnxFile,
    OrtRunner,
    choose_calibration_images,
    int8_from_onnx,
    onnx_from_module,
    take_census,
    tolerance_for,
    verify_artefact,
)


def identity(images: np.ndarray) -> np.ndarray:
    return images


@pytest.fixture(scope="module")
def images(trained: Trained) -> CalibrationImages:
    return choose_calibration_images(trained.images, trained.labels, identity, count=64)


@pytest.fixture
def fp32(trained: Trained, tmp_path: Path) -> Path:
    return onnx_from_module(trained.network, tmp_path / "model.fp32.onnx", opset=17, metadata=METADATA).path


@pytest.fixture
def int8(fp32: Path, images: CalibrationImages) -> OnnxFile:
    return int8_from_onnx(fp32, fp32.with_name("model.int8.onnx"), images)


def test_products_are_quantised_and_the_logits_agree(int8: OnnxFile, trained: Trained) -> None:
    census = take_census(onnx.load(int8.path), "int8")
    assert census.reasons == ()
    counts = {(layer.operator, layer.precision): layer.count for layer in census.layers}
    # Stem, two convolutions in each of three blocks, two projections; three additions, the pool, the classifier.
    assert counts["Conv", "int8"] == 9
    assert (counts["Add", "int8"], counts["GlobalAveragePool", "int8"], counts["Gemm", "int8"]) == (3, 1, 1)
    assert ("Conv", "fp32") not in counts
    assert int8.input_type == "float32"
    assert int8.metadata == METADATA
    with OrtRunner(int8.path) as runner:
        evidence = verify_artefact(
            runner, trained.images, trained.logits, tolerance=tolerance_for("int8"), labels=trained.labels
        )
    assert evidence.passed
    assert evidence.drop is not None
    assert evidence.drop.high < 0.05


def test_only_the_file_is_left_and_no_temporary_folder_is_needed(
    fp32: Path, images: CalibrationImages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    int8_from_onnx(fp32, fp32.with_name("model.int8.onnx"), images)
    assert {path.name for path in fp32.parent.iterdir()} == {"model.fp32.onnx", "model.int8.onnx"}
    assert caplog.records == []


def test_the_same_source_gives_the_same_bytes(int8: OnnxFile, fp32: Path, images: CalibrationImages) -> None:
    again = int8_from_onnx(fp32, fp32.with_name("again.onnx"), images)
    assert again.path.read_bytes() == int8.path.read_bytes()


@pytest.fixture
def for_processors(fp32: Path, images: CalibrationImages) -> OnnxFile:
    return int8_from_onnx(fp32, fp32.with_name("processor.onnx"), images, runtime="onnxruntime")


def test_onnx_runtime_gets_the_form_that_it_computes_in_int8(
    int8: OnnxFile, for_processors: OnnxFile, trained: Trained, tmp_path: Path
) -> None:
    model = onnx.load(for_processors.path)
    assert take_census(model, "int8", runtime="onnxruntime").reasons == ()
    assert "is not symmetric int8" in str(take_census(model, "int8", runtime="tensorrt").reasons)
    assert "computed in float" in str(take_census(onnx.load(int8.path), "int8", runtime="onnxruntime").reasons)
    assert for_processors.size_bytes < int8.size_bytes
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(str(for_processors.path), options, providers=["CPUExecutionProvider"])
    executed = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert {"QLinearConv", "QLinearAdd"} <= executed
    assert not executed & {"Conv", "FusedConv", "Add", "Relu"}
    with OrtRunner(for_processors.path) as runner:
        evidence = verify_artefact(
            runner, trained.images, trained.logits, tolerance=tolerance_for("int8"), labels=trained.labels
        )
    assert evidence.passed


def test_weights_are_quantised_to_the_nearest_of_127_steps(for_processors: OnnxFile, fp32: Path) -> None:
    original = {t.name: numpy_helper.to_array(t) for t in onnx.load(fp32).graph.initializer}
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(for_processors.path).graph.initializer}
    weight, scale = original["head.2.weight"], stored["head.2.weight_scale"]
    np.testing.assert_allclose(scale, np.abs(weight).max(axis=1) / 127, rtol=1e-5)
    assert np.abs(weight / scale[:, None] - stored["head.2.weight_quantized"]).max() <= 0.5001


def broken_scale(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "input_scale")
    tensor.CopyFrom(numpy_helper.from_array(np.zeros((), np.float32), tensor.name))


def shifted_zero(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "input_zero_point")
    tensor.CopyFrom(numpy_helper.from_array(np.full((), 3, np.int8), tensor.name))


def first(model: onnx.ModelProto, operator: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == operator)


def float_convolution(model: onnx.ModelProto) -> None:
    first(model, "Conv").input[0] = "input"


def both_branches_float(model: onnx.ModelProto) -> None:
    producer = {name: node for node in model.graph.node for name in node.output}
    add = first(model, "Add")
    for i, name in enumerate(add.input):
        if producer[name].op_type == "DequantizeLinear":
            add.input[i] = producer[producer[name].input[0]].input[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (float_convolution, r"\(Conv\) is fp32, not int8"),
        (broken_scale, "has no scale above zero"),
        (shifted_zero, "is not symmetric int8"),
        (both_branches_float, "adds 0 quantised branches, not one"),
    ],
)
def test_the_census_finds_what_was_not_asked(
    int8: OnnxFile, change: Callable[[onnx.ModelProto], None], reason: str
) -> None:
    model = onnx.load(int8.path)
    change(model)
    with pytest.raises(AssertionError, match=reason):
        assert take_census(model, "int8").reasons == ()


def test_an_unquantised_file_is_not_taken_for_int8(fp32: Path) -> None:
    assert len(take_census(onnx.load(fp32), "int8").reasons) >= 10


def test_old_opsets_and_random_images_are_refused(trained: Trained, images: CalibrationImages, tmp_path: Path) -> None:
    old = onnx_from_module(trained.network, tmp_path / "old.onnx", opset=12, metadata=METADATA).path
    with pytest.raises(FednasError, match=r"old\.onnx has opset 12; int8 needs at least 13"):
        int8_from_onnx(old, tmp_path / "out.onnx", images)
    random = CalibrationImages(inputs=images.inputs, classes=0, seed=0, real=False)
    with pytest.raises(FednasError, match="must be calibrated on training images"):
        int8_from_onnx(old, tmp_path / "out.onnx", random)
    assert {path.name for path in tmp_path.iterdir()} == {"old.onnx"}


class TestChoice:
    def test_it_is_recorded_and_repeatable(self, trained: Trained) -> None:
        one, two, other = (
            choose_calibration_images(trained.images, trained.labels, identity, count=40, seed=seed)
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(one.inputs, two.inputs)
        assert not np.array_equal(one.inputs, other.inputs)
        record = one.record(INT8_METHOD)
        assert (record.images, record.classes, record.source, record.seed) == (40, 10, "training images", 1)
        assert record.method.startswith("smallest and largest values")

    def test_only_the_chosen_ones_are_prepared(self, trained: Trained) -> None:
        seen: list[int] = []

        def prepare(images: np.ndarray) -> np.ndarray:
            seen.append(len(images))
            return images

        choose_calibration_images(trained.images, trained.labels, prepare, count=33)
        assert seen == [33]

    @pytest.mark.parametrize("count", [0, 1, 31])
    def test_too_few(self, trained: Trained, count: int) -> None:
        with pytest.raises(FednasError, match=f"needs at least 32 training images, there are {count}"):
            choose_calibration_images(trained.images[:count], trained.labels[:count], identity)

    def test_one_class_only(self, trained: Trained) -> None:
        with pytest.raises(FednasError, match="all 397 calibration images belong to one class"):
            choose_calibration_images(trained.images, np.zeros_like(trained.labels), identity)
