"""TensorRT's Python module as a timing runtime, against the recorded interfaces of six versions; never run for real."""

import ctypes
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from fake_tensorrt import VERSIONS, Recording, fake_tensorrt

from fednas.common import ContractError, FednasError
from fednas.export.board import cudart
from fednas.toolchain.measure.graphs import input_shape, network_onnx
from fednas.toolchain.measure.runtimes import DeviceTimedModel, find_runtime
from fednas.toolchain.measure.runtimes.base import LayerTime, LoadOrder, random_input
from fednas.toolchain.space import SearchSpace, blocks_of, largest_architecture


def driver_with_one_gpu(_name: str) -> SimpleNamespace:
    return SimpleNamespace(
        cuInit=lambda _flags: 0,
        cuDeviceGetCount=lambda pointer: setattr(pointer._obj, "value", 1) or 0,
        cuDeviceGetName=lambda *_: 1,  # it has none
    )


def network(space: SearchSpace, batch: int) -> tuple[bytes, tuple[int, ...]]:
    specs = list(blocks_of(space, largest_architecture(space)))
    return network_onnx(specs, batch=batch), input_shape(specs, batch)


@pytest.fixture(params=VERSIONS)
def recording(request: pytest.FixtureRequest, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """A version of TensorRT whose engine computes what ONNX Runtime does, for batches of two."""
    module, recording = fake_tensorrt(request.param)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(ctypes, "CDLL", driver_with_one_gpu)
    monkeypatch.setattr(cudart, "_open_cudart", lambda: recording.cuda)
    session = onnxruntime.InferenceSession(network(tiny_space, 2)[0])

    def compute(images: bytes, batch: int) -> bytes:
        feed = np.frombuffer(images, np.float32).reshape(batch, 1, 8, 8)
        return session.run(None, {"input": feed})[0].tobytes()

    recording.tensors = {"input": ("INPUT", "FLOAT", (2, 1, 8, 8)), "output": ("OUTPUT", "FLOAT", (2, 4))}
    recording.profile = ((2, 1, 8, 8),) * 3
    recording.compute = compute
    return recording


@pytest.fixture
def model(recording: Recording, tiny_space: SearchSpace) -> Iterator[DeviceTimedModel]:
    content, shape = network(tiny_space, 2)
    with find_runtime("tensorrt").load(content, input_shape=shape, seed=4) as loaded:
        assert isinstance(loaded, DeviceTimedModel)
        yield loaded


def test_an_engine_is_built_and_timed_by_the_gpus_clock(model: DeviceTimedModel) -> None:
    # The stand-in's clock goes on by half a millisecond with each run.
    assert model.call(7) == pytest.approx(0.5)
    reading = model.read(3)
    assert reading.gpu_ms == pytest.approx(0.5)
    assert reading.enqueue_ms > 0


def test_its_output_is_the_networks(model: DeviceTimedModel, tiny_space: SearchSpace) -> None:
    content, shape = network(tiny_space, 2)
    expected = onnxruntime.InferenceSession(content).run(None, {"input": random_input(shape, 4)})[0]
    np.testing.assert_allclose(model.output(), expected, atol=1e-5)


def test_leaving_frees_what_the_device_gave(model: DeviceTimedModel, recording: Recording) -> None:
    assert recording.cuda.memory
    model.close()
    cuda = recording.cuda
    assert (cuda.memory, cuda.streams, cuda.events, cuda.graphs) == ({}, set(), {}, set())
    with pytest.raises(ContractError, match="used after it was closed"):
        model.call()


def test_an_engine_that_stops_running_says_so(model: DeviceTimedModel, recording: Recording) -> None:
    recording.cuda.fails["cudaGraphLaunch"] = 2
    with pytest.raises(FednasError, match="cudaGraphLaunch: out of memory"):
        model.call()


@pytest.mark.parametrize("function", ["cudaStreamBeginCapture", "cudaGraphInstantiate"])
def test_an_engine_without_a_graph_is_refused(function: str, recording: Recording, tiny_space: SearchSpace) -> None:
    recording.cuda.fails[function] = 2
    content, shape = network(tiny_space, 2)
    with pytest.raises(FednasError, match=function):
        find_runtime("tensorrt").load(content, input_shape=shape)
    assert recording.cuda.memory == {}


def test_an_engine_that_does_not_run_is_refused(recording: Recording, tiny_space: SearchSpace) -> None:
    recording.runs = False
    content, shape = network(tiny_space, 2)
    with pytest.raises(FednasError, match="TensorRT could not run the engine"):
        find_runtime("tensorrt").load(content, input_shape=shape)
    assert recording.cuda.memory == {}


def test_a_single_block_is_no_network(recording: Recording, tiny_space: SearchSpace) -> None:
    recording.tensors["output"] = ("OUTPUT", "FLOAT", (2, 16, 8, 8))
    content, shape = network(tiny_space, 2)
    with pytest.raises(FednasError, match="not images to logits"):
        find_runtime("tensorrt").load(content, input_shape=shape)
    assert recording.cuda.memory == {}


def test_without_a_gpu_the_reason_is_named(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = SimpleNamespace(cuInit=lambda _flags: 100, cuDeviceGetCount=lambda _pointer: 0)
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: driver)
    for name in ("tensorrt", "onnxruntime-cuda", "torch-cuda-graph"):
        with pytest.raises(FednasError, match="No NVIDIA GPU can be used: the driver reports error 100"):
            find_runtime(name).require()


def inspected(words: str) -> str:
    """What the inspector of 10 says of an engine with one layer of this type."""
    output = {"Name": "t", "Format/Datatype": f"Row major linear {words}"}
    return json.dumps({"Layers": [{"Name": "conv", "LayerType": "CaskConvolution", "Outputs": [output]}]})


def load(space: SearchSpace, precision: str) -> DeviceTimedModel:
    content, shape = network(space, 2)
    found = find_runtime("tensorrt").load(content, input_shape=shape, precision=precision)
    assert isinstance(found, DeviceTimedModel)
    return found


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_engine_that_was_silently_built_in_fp32_is_refused(
    precision: str, recording: Recording, tiny_space: SearchSpace
) -> None:
    recording.inspected = inspected("FP32")
    with pytest.raises(FednasError, match=f"the engine is not {precision} as asked: no layer of the engine runs in"):
        load(tiny_space, precision)
    assert recording.cuda.memory == {}


def test_the_precision_is_the_inspectors_word_and_its_silence_a_doubt(
    recording: Recording, tiny_space: SearchSpace
) -> None:
    recording.inspected = inspected("FP16")
    with load(tiny_space, "fp16") as model:
        assert model.doubts == ()
    recording.inspected = '{"Layers": ["conv"]}'
    with load(tiny_space, "fp16") as model:
        assert model.doubts == ("an engine does not say whether its layers run in fp16",)


def test_layers_are_timed_by_an_engine_of_their_own(recording: Recording, tiny_space: SearchSpace) -> None:
    content, shape = network(tiny_space, 2)
    found = find_runtime("tensorrt").layers(LoadOrder(model=content, input_shape=shape), 40)
    assert found == (LayerTime("conv + relu", 0.25), LayerTime("head", 0.125))
    assert recording.settings["max_aux_streams"] == 0
    assert (recording.cuda.memory, recording.cuda.streams, recording.cuda.graphs) == ({}, set(), set())


def test_an_engine_that_is_timed_may_take_what_streams_it_likes(recording: Recording, tiny_space: SearchSpace) -> None:
    with load(tiny_space, "fp32"):
        assert "max_aux_streams" not in recording.settings


def test_engines_of_one_run_share_their_kernels(recording: Recording, tiny_space: SearchSpace, tmp_path: Path) -> None:
    content, shape = network(tiny_space, 2)
    with find_runtime("tensorrt").load(content, input_shape=shape, cache=tmp_path):
        assert recording.given_cache == b""
    find_runtime("tensorrt").layers(LoadOrder(model=content, input_shape=shape, cache=tmp_path), 40)
    assert recording.given_cache == b"new timings"
