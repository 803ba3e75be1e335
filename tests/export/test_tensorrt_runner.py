"""Engines behind the runners' interface, on six versions of TensorRT restricted to the members that they have."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_tensorrt import PLAN, VERSIONS, Recording, fake_tensorrt
from small_network import METADATA, Trained

from fednas.common import ContractError, FednasError
from fednas.export import OrtRunner, TensorRTRunner, onnx_from_module, tolerance_for, verify_artefact
from fednas.export.board.cudart import CudaRuntime
from fednas.export.board.inspector import EngineLayer, engine_faults, read_inspector
from fednas.export.board.problem import BoardProblem


def runner(monkeypatch: pytest.MonkeyPatch, folder: Path, version: str) -> tuple[TensorRTRunner, Recording]:
    module, recording = fake_tensorrt(version)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    plan = folder / "model.fp32.plan"
    plan.write_bytes(PLAN)
    return TensorRTRunner(plan, cuda=CudaRuntime(recording.cuda)), recording


def sums(images: bytes, batch: int) -> bytes:
    """Logits that tell the images apart: ten times the sum of each image."""
    total = np.frombuffer(images, np.float32).reshape(batch, -1).sum(axis=1, keepdims=True)
    return (total * np.arange(10, dtype=np.float32)).tobytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_any_number_of_images_is_run_in_batches_that_the_engine_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    engine, recording = runner(monkeypatch, tmp_path, version)
    batches: list[int] = []
    recording.compute = lambda images, batch: batches.append(batch) or sums(images, batch)
    images = np.random.default_rng(0).standard_normal((11, 1, 8, 8), dtype=np.float32)
    with engine:
        assert engine.name.startswith(f"tensorrt {version} ")
        assert (engine.input_shape, engine.classes) == ((1, 8, 8), 10)
        logits = engine.infer(images)
        assert len(recording.cuda.memory) == 2
    expected = images.reshape(11, -1).sum(axis=1, keepdims=True) * np.arange(10)
    np.testing.assert_allclose(logits, expected, rtol=1e-5)
    assert batches == [4, 4, 3]
    # Leaving gives everything back.
    assert (recording.cuda.memory, recording.cuda.events, recording.cuda.streams) == ({}, {}, set())


@pytest.mark.parametrize("version", VERSIONS)
def test_the_engine_is_proven_like_any_artefact(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trained: Trained, version: str
) -> None:
    onnx_file = onnx_from_module(trained.network, tmp_path / "model.onnx", opset=17, metadata=METADATA)
    engine, recording = runner(monkeypatch, tmp_path, version)
    with OrtRunner(onnx_file.path) as stand_in, engine:
        recording.compute = lambda images, batch: stand_in.infer(
            np.frombuffer(images, np.float32).reshape(batch, 1, 8, 8)
        ).tobytes()
        tolerance = tolerance_for("fp32")
        evidence = verify_artefact(engine, trained.images, trained.logits, tolerance=tolerance, labels=trained.labels)
        recording.compute = sums
        broken = verify_artefact(engine, trained.images, trained.logits, tolerance=tolerance)
    assert evidence.passed
    assert evidence.runtime.startswith("tensorrt ")
    assert not broken.passed


@pytest.mark.parametrize("version", VERSIONS)
def test_latency_is_read_from_device_events(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str) -> None:
    engine, _ = runner(monkeypatch, tmp_path, version)
    with engine:
        samples = engine.time_ms(batch=2, seconds=0.0)
        with pytest.raises(FednasError, match=r"model\.fp32\.plan: a batch of 9; the engine takes 1 to 4"):
            engine.time_ms(batch=9, seconds=0.0)
    assert samples == [0.5] * 100


def test_half_precision_inputs_and_a_smallest_batch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine, recording = runner(monkeypatch, tmp_path, "10.3.0")
    recording.tensors = {"input": ("INPUT", "HALF", (-1, 1, 8, 8)), "logits": ("OUTPUT", "HALF", (-1, 10))}
    recording.profile = ((3, 1, 8, 8), (4, 1, 8, 8), (4, 1, 8, 8))
    recording.compute = lambda images, batch: (
        np.frombuffer(images, np.float16).reshape(batch, 64)[:, :10] * np.float16(2)
    ).tobytes()
    images = np.arange(5 * 64, dtype=np.float32).reshape(5, 1, 8, 8)
    with engine:
        logits = engine.infer(images)
    np.testing.assert_array_equal(logits, 2 * images.reshape(5, 64)[:, :10])


def test_pixels_stay_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine, recording = runner(monkeypatch, tmp_path, "10.3.0")
    recording.tensors = {"input": ("INPUT", "UINT8", (-1, 1, 8, 8)), "logits": ("OUTPUT", "FLOAT", (-1, 10))}
    recording.compute = lambda images, batch: (
        np.frombuffer(images, np.uint8).reshape(batch, 64)[:, :10].astype(np.float32).tobytes()
    )
    images = np.arange(128, dtype=np.uint8).reshape(2, 1, 8, 8)
    with engine:
        assert engine.input_type == "uint8"
        np.testing.assert_array_equal(engine.infer(images), images.reshape(2, 64)[:, :10])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"starts": False}, "cannot start here: CUDA initialization failure"),
        ({"gives_context": False}, "gave no execution context"),
        ({"tensors": {"input": ("INPUT", "FLOAT", (-1, 1, 8, 8))}}, "1 inputs and 0 outputs, not one each"),
        (
            {"tensors": {"input": ("INPUT", "INT32", (-1, 1, 8, 8)), "logits": ("OUTPUT", "FLOAT", (-1, 10))}},
            "only float32, float16 and uint8 are known",
        ),
        (
            {"tensors": {"input": ("INPUT", "FLOAT", (-1, 64)), "logits": ("OUTPUT", "FLOAT", (-1, 10))}},
            "not images to logits",
        ),
        ({"runs": False}, "could not run the engine"),
    ],
)
def test_what_may_go_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    engine, recording = runner(monkeypatch, tmp_path, "10.3.0")
    for name, value in change.items():
        setattr(recording, name, value)
    with pytest.raises(FednasError, match=complaint), engine:
        engine.infer(np.zeros((1, 1, 8, 8), np.float32))
    assert recording.cuda.memory == {}


def test_an_engine_of_another_version_or_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine, _ = runner(monkeypatch, tmp_path, "8.6.1")
    engine.path.write_bytes(b"of another")
    with (
        pytest.raises(FednasError, match=r"does not take this engine.*version and on the kind of GPU.*build it"),
        engine,
    ):
        pass


def test_out_of_memory_in_cudas_own_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine, recording = runner(monkeypatch, tmp_path, "8.6.1")
    recording.cuda.fails["cudaMalloc"] = 2
    with pytest.raises(FednasError, match=r"CUDA says in cudaMalloc: out of memory \(error 2\)"), engine:
        pass


def test_a_runner_must_be_entered(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="must be entered"):
        TensorRTRunner(tmp_path / "model.plan").layers()


def tensor(text: str) -> dict[str, object]:
    return {"Name": "t", "Dimensions": [1, 8, 8, 8], "Format/Datatype": text}


CONV = {"LayerType": "CaskConvolution", "ParameterType": "Convolution"}
UNTIL_10 = {
    "Layers": [
        {"Name": "in", "LayerType": "Reformat", "Inputs": [tensor("Row major linear FP32")]},
        {"Name": "stem", **CONV, "Inputs": [tensor("Thirty-two wide channel vectorized row major Int8 format")]},
        {"Name": "conv", **CONV, "Weights": {"Type": "Half", "Count": 9}, "Inputs": [tensor("Row major linear FP32")]},
        {"Name": "pool", "LayerType": "kgen", "Inputs": [], "Outputs": [tensor("N/A due to dynamic shapes")]},
        {"Name": "head\x1e[ONNX Layer: Gemm]", "LayerType": "gemm", "Inputs": [tensor("Float")]},
    ],
    "Bindings": ["input", "logits"],
}
FROM_11 = {
    "Layers": [{"Name": "stem", **CONV, "Inputs": [{"Name": "t", "Datatype": "Int8", "Format": "Row major linear"}]}],
    "I/O Tensors": [{"Name": "input", "IOMode": "Input"}],
}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(UNTIL_10, ["int8", "fp16", "unknown", "fp32"], id="8.6 and 10, detailed"),
        pytest.param(FROM_11, ["int8"], id="11"),
        pytest.param({"Layers": ["stem", "head"], "Bindings": []}, ["unknown", "unknown"], id="names only"),
    ],
)
def test_the_inspectors_json(content: dict[str, object], expected: list[str]) -> None:
    assert [layer.precision for layer in read_inspector(json.dumps(content))] == expected


@pytest.mark.parametrize("text", ["", "[]", '{"Layers": 3}', '{"Layers": [7]}', "{"])
def test_what_is_not_the_inspectors(text: str) -> None:
    with pytest.raises(BoardProblem, match="the engine inspector's JSON"):
        read_inspector(text)


def test_names_with_raw_control_characters_are_read() -> None:
    assert read_inspector('{"Layers": ["a\x1eb"]}')[0].name == "a\x1eb"


def engine_layers(*words: str) -> list[EngineLayer]:
    """Layers ``l0``, ``l1`` ... from words such as ``conv:int8``."""
    return [EngineLayer(f"l{i}", *word.split(":")) for i, word in enumerate(words)]


@pytest.mark.parametrize(
    ("words", "asked", "faults"),
    [
        ("conv:fp32 gemm:fp32", "int8", ["no layer of the engine runs in int8, of 2 whose precision is known"]),
        ("conv:fp32 conv:fp16", "fp32", ["layer l1 runs in fp16, not fp32"]),
        ("conv:unknown", "fp16", []),
        # One layer as asked is not enough.
        ("CaskConvolution:int8 CaskConvolution:fp32", "int8", ["layer l1 runs in fp32, not int8"]),
        ("conv:int8 CaskGemmMatrixMultiply:fp16", "int8", ["layer l1 runs in fp16, not int8"]),
        (
            "conv:int8 conv:fp32 conv:fp32 gemm:fp32 gemm:fp32",
            "int8",
            [f"layer l{i} runs in fp32, not int8" for i in (1, 2, 3)] + ["1 more layers do not run in int8"],
        ),
        # What does not multiply is TensorRT's to choose, and regions that it compiles do not say what they hold.
        ("conv:int8 PointWiseV2:fp32 CaskPooling:fp16 Myelin:fp32 conv:unknown", "int8", []),
        ("Myelin:int8 kgen:fp32", "int8", []),
    ],
)
def test_every_layer_that_multiplies_must_run_as_asked(words: str, asked: str, faults: list[str]) -> None:
    assert engine_faults(engine_layers(*words.split()), asked, (), True) == faults


@pytest.mark.parametrize(
    ("names", "kept", "faults"),
    [
        (["/a/Conv + /a/Relu"], ["/a/Conv"], []),
        (["__myl_ConvRelu_0"], ["/a/Conv"], []),  # TensorRT's own name: told by number
        (["/a/Conv", "/b/Conv"], ["/a/Conv"], ["layer /b/Conv runs in fp32, not int8"]),
        (["/a/Conv_10"], ["/a/Conv", "/b/Conv"], []),
        (["/a/Conv", "/a/Conv_10"], ["/a/Conv"], ["layer /a/Conv_10 runs in fp32, not int8"]),
    ],
)
def test_layers_that_the_file_keeps_in_more_bits_are_as_asked(
    names: list[str], kept: list[str], faults: list[str]
) -> None:
    layers = [EngineLayer("/c/Conv", "conv", "int8"), *(EngineLayer(name, "conv", "fp32") for name in names)]
    assert engine_faults(layers, "int8", kept, True) == faults


@pytest.mark.parametrize(("words", "faults"), [("fp16 fp16 fp32", 0), ("fp16 fp32", 1), ("fp16 fp32 fp32", 2)])
def test_with_weak_types_most_layers_must_run_in_fp16(words: str, faults: int) -> None:
    layers = engine_layers(*(f"conv:{word}" for word in words.split()))
    assert len(engine_faults(layers, "fp16")) == faults
    assert engine_faults(layers, "fp16", (), True) != []
    in_int8 = [layer._replace(precision="int8" if layer.precision == "fp16" else "fp32") for layer in layers]
    assert engine_faults(in_int8, "int8") != []


@pytest.mark.parametrize("version", VERSIONS)
def test_the_inspector_is_asked_with_shapes_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    engine, recording = runner(monkeypatch, tmp_path, version)
    recording.inspected = json.dumps(FROM_11)
    with engine:
        assert engine.layers() == [EngineLayer("stem", "CaskConvolution", "int8")]
