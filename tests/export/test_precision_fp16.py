"""Half precision: what is converted, what stays in float32, and that the numbers survive."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_network import METADATA, Trained

from fednas.common import FednasError
from fednas.export import (
    CalibrationImages,
    OrtRunner,
    fp16_from_onnx,
    onnx_from_module,
    take_census,
    tolerance_for,
    verify_artefact,
)


def calibration(inputs: np.ndarray, real: bool = True) -> CalibrationImages:
    return CalibrationImages(inputs=inputs, classes=10, seed=0, real=real)


@pytest.fixture
def fp32(trained: Trained, tmp_path: Path) -> Path:
    return onnx_from_module(trained.network, tmp_path / "model.fp32.onnx", opset=17, metadata=METADATA).path


def test_every_layer_is_half_and_the_logits_agree(fp32: Path, trained: Trained, tmp_path: Path) -> None:
    found, kept = fp16_from_onnx(fp32, tmp_path / "model.fp16.onnx", calibration(trained.images[:64]))
    assert kept == ()
    assert found.input_type == "float32"
    assert found.metadata == METADATA
    assert found.op_counts["Cast"] == 2
    assert found.size_bytes < 0.7 * fp32.stat().st_size
    census = take_census(onnx.load(found.path), "fp16")
    assert census.reasons == ()
    assert {layer.precision for layer in census.layers} == {"fp16"}
    with OrtRunner(found.path) as runner:
        evidence = verify_artefact(
            runner, trained.images, trained.logits, tolerance=tolerance_for("fp16"), labels=trained.labels
        )
    assert evidence.passed
    assert (evidence.parity.max_relative_error or 0) > 1e-6  # it really is another precision
    assert {path.name for path in tmp_path.iterdir()} == {"model.fp32.onnx", "model.fp16.onnx"}


def test_input_and_output_may_be_half_too(fp32: Path, trained: Trained, tmp_path: Path) -> None:
    images = calibration(trained.images[:64])
    found, _ = fp16_from_onnx(fp32, tmp_path / "model.fp16.onnx", images, keep_io_types=False)
    assert found.input_type == "float16"
    assert "Cast" not in found.op_counts
    with OrtRunner(found.path) as runner:
        logits = runner.infer_all(trained.images)
    assert logits.dtype == np.float32
    assert np.abs(logits - trained.logits).max() < 0.005 * np.abs(trained.logits).max()


def test_the_same_source_gives_the_same_bytes(fp32: Path, trained: Trained, tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        fp16_from_onnx(fp32, tmp_path / name, calibration(trained.images[:64]))
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def residual(path: Path, factor: float = 3.0) -> Path:
    """x * factor, ReLU, two convolutions that bring it back down, their sum: one large tensor with two readers."""
    nodes = [
        helper.make_node("Conv", ["input", "up"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "down"], ["c"], name="second"),
        helper.make_node("Conv", ["b", "down"], ["d"], name="third"),
        helper.make_node("Add", ["c", "d"], ["e"], name="sum"),
        helper.make_node("Flatten", ["e"], ["logits"], name="flatten"),
    ]
    weights = [("up", factor), ("down", 1e-5)]
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 1, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(np.full((1, 1, 1, 1), value, np.float32), name) for name, value in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(("value", "kept"), [(2000.0, 0), (40000.0, 4)])
def test_what_could_overflow_stays_in_float32(tmp_path: Path, value: float, kept: int) -> None:
    """3 * 40000 exceeds 65504, so all that touches it stays; 3 * 2000 is far enough below."""
    images = np.full((4, 1, 1, 1), value, np.float32)
    found, layers = fp16_from_onnx(residual(tmp_path / "in.onnx"), tmp_path / "out.onnx", calibration(images))
    assert [layer.name for layer in layers] == ["first", "relu", "second", "third"][:kept]
    assert all(layer.largest_value == 3 * value for layer in layers)
    census = take_census(onnx.load(found.path), "fp16", {layer.name for layer in layers})
    assert census.reasons == ()
    with OrtRunner(found.path) as runner:
        np.testing.assert_allclose(runner.infer(images), 6e-5 * value, rtol=3e-3)


def test_a_large_weight_stays_in_float32_with_its_layer(tmp_path: Path) -> None:
    images = np.full((4, 1, 1, 1), 1e-3, np.float32)
    source = residual(tmp_path / "in.onnx", factor=1e6)
    _, layers = fp16_from_onnx(source, tmp_path / "out.onnx", calibration(images))
    assert [(layer.name, layer.largest_value) for layer in layers] == [("first", 1e6)]


def test_the_census_counts_what_is_there(fp32: Path, trained: Trained, tmp_path: Path) -> None:
    found, _ = fp16_from_onnx(fp32, tmp_path / "out.onnx", calibration(trained.images[:64]))
    census = take_census(onnx.load(found.path), "fp32")
    assert len(census.reasons) == sum(layer.count for layer in census.layers)
    assert "is fp16, not fp32" in census.reasons[0]


def test_broken_networks_and_images_are_refused(tmp_path: Path) -> None:
    images = np.full((4, 1, 1, 1), 3e38, np.float32)
    with pytest.raises(FednasError, match="tensor 'a' is NaN or infinite on the calibration images"):
        fp16_from_onnx(residual(tmp_path / "in.onnx"), tmp_path / "out.onnx", calibration(images))
    with pytest.raises(FednasError, match="calibration images hold NaN"):
        calibration(images * np.float32(np.nan))
    assert not (tmp_path / "out.onnx").exists()


def test_unknown_operators_are_refused(tmp_path: Path) -> None:
    model = onnx.load(residual(tmp_path / "in.onnx"))
    model.graph.node[1].op_type = "Sigmoid"
    (tmp_path / "in.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FednasError, match=r"in\.onnx holds Sigmoid, which cannot be converted to fp16"):
        fp16_from_onnx(tmp_path / "in.onnx", tmp_path / "out.onnx", calibration(np.ones((4, 1, 1, 1), np.float32)))
