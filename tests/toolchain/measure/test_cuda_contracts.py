"""The runtimes of a GPU on a machine without one: their libraries' calls are real, or go to stand-ins that take notes.

What a GPU would compute is computed by the processor. Nothing here says that a GPU does the same; where one is at
hand, `test_timing_runtimes.py` runs them for real, and so does `python benchmarks/runtimes.py`.
"""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from fednas.common import ContractError, FednasError
from fednas.toolchain.measure.graphs import input_shape, network_onnx
from fednas.toolchain.measure.runtimes import cuda as cuda_module
from fednas.toolchain.measure.runtimes import find_runtime, onnxruntime_session, torch_runtimes
from fednas.toolchain.measure.runtimes.base import random_input
from fednas.toolchain.measure.runtimes.cuda import CudaClock
from fednas.toolchain.measure.runtimes.onnxruntime_session import OnnxRuntimeCuda, OnnxRuntimeCudaModel
from fednas.toolchain.measure.runtimes.torch_runtimes import TorchCudaModel
from fednas.toolchain.space import SearchSpace, blocks_of, largest_architecture

SESSION = onnxruntime.InferenceSession


def network(space: SearchSpace) -> tuple[bytes, tuple[int, ...], np.ndarray]:
    specs = list(blocks_of(space, largest_architecture(space)))
    content, shape = network_onnx(specs), input_shape(specs, 1)
    expected = SESSION(content).run(None, {"input": random_input(shape, 2)})[0]
    return content, shape, expected


class TestTorch:
    @pytest.fixture
    def notes(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What was asked of the GPU, in order."""
        notes: list[str] = []

        class Event:
            def __init__(self, *, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None:
                notes.append("record")

            def synchronize(self) -> None:
                notes.append("wait")

            def elapsed_time(self, _end: object) -> float:
                return 8.0

        class Graph:
            def replay(self) -> None:
                notes.append("replay")

        @contextlib.contextmanager
        def within(what: str) -> Iterator[None]:
            notes.append(f"enter {what}")
            yield
            notes.append(f"leave {what}")

        stream = SimpleNamespace(wait_stream=lambda _other: notes.append("order"))
        fakes: dict[str, Any] = {
            "Event": Event,
            "CUDAGraph": Graph,
            "Stream": lambda: stream,
            "current_stream": lambda: stream,
            "stream": lambda _stream: within("side stream"),
            "graph": lambda _graph: within("capture"),
            "synchronize": lambda: notes.append("synchronize"),
            "empty_cache": lambda: notes.append("empty cache"),
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)
        monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
        monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
        return notes

    def test_a_graph_is_captured_once_and_replayed(self, notes: list[str], tiny_space: SearchSpace) -> None:
        content, shape, expected = network(tiny_space)
        model = TorchCudaModel(content, shape, 2, graph=True)
        assert notes == [
            *("order", "enter side stream", "leave side stream", "order"),
            *("enter capture", "leave capture"),
        ]
        notes.clear()
        reading = model.read(4)
        assert (reading.gpu_ms, reading.enqueue_ms > 0) == (2.0, True)
        assert notes == ["synchronize", "record", *["replay"] * 4, "record", "wait"]
        np.testing.assert_allclose(model.output(), expected, atol=1e-4)
        model.close()
        with pytest.raises(ContractError, match="used after it was closed"):
            model.read()

    def test_eager_calls_the_module(self, notes: list[str], tiny_space: SearchSpace) -> None:
        content, shape, expected = network(tiny_space)
        with TorchCudaModel(content, shape, 2, graph=False) as model:
            assert model.call(2) == 4.0
            assert notes == ["synchronize", "record", "record", "wait"]
            np.testing.assert_allclose(model.output(), expected, atol=1e-4)

    @pytest.mark.usefixtures("notes")
    def test_tf32_is_off_while_it_runs_and_as_before_afterwards(
        self, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[bool, bool]] = []
        backends = torch.backends
        before = (backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32)
        monkeypatch.setattr(
            torch.cuda,
            "synchronize",
            lambda: seen.append((backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32)),
        )
        content, shape, _ = network(tiny_space)
        with TorchCudaModel(content, shape, 2, graph=False) as model:
            model.call()
        assert seen == [(False, False)]
        assert (backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32) == before

    def test_a_torch_without_cuda_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch_runtimes, "require_gpu", lambda: None)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(FednasError, match="PyTorch finds no CUDA here"):
            find_runtime("torch-cuda-graph").load(b"", input_shape=(1, 1, 8, 8))


class FakeClock:
    """Takes notes instead of time."""

    stream = 4096

    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self) -> None:
        self.notes.append("start")

    def stop_ms(self) -> float:
        self.notes.append("stop")
        return 6.0

    def close(self) -> None:
        self.notes.append("close")


class TestOnnxRuntime:
    @pytest.fixture
    def providers(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """What the session was asked to run on; the processor does it."""
        asked: list[Any] = []
        from_numpy = onnxruntime.OrtValue.ortvalue_from_numpy
        empty = onnxruntime.OrtValue.ortvalue_from_shape_and_type

        def on_processor(content: bytes, options: Any, providers: list[Any]) -> Any:
            asked.extend(providers)
            assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
            loaded = SESSION(content, providers=["CPUExecutionProvider"])
            monkeypatch.setattr(loaded, "get_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
            return loaded

        def place(device: str, number: int) -> str:
            assert (device, number) == ("cuda", 0)
            return "cpu"

        monkeypatch.setattr(onnxruntime, "InferenceSession", on_processor)
        monkeypatch.setattr(
            onnxruntime.OrtValue,
            "ortvalue_from_numpy",
            lambda array, device, number: from_numpy(array, place(device, number), 0),
        )
        monkeypatch.setattr(
            onnxruntime.OrtValue,
            "ortvalue_from_shape_and_type",
            lambda shape, kind, device, number: empty(shape, kind, place(device, number), 0),
        )
        monkeypatch.setattr(onnxruntime_session, "CudaClock", FakeClock)
        return asked

    def test_runs_on_a_stream_of_ours_between_two_events(self, providers: list[Any], tiny_space: SearchSpace) -> None:
        content, shape, expected = network(tiny_space)
        model = OnnxRuntimeCudaModel(content, shape, 2)
        ((name, settings),) = providers
        assert (name, settings["user_compute_stream"], settings["use_tf32"]) == ("CUDAExecutionProvider", "4096", "0")
        assert model.read(3).gpu_ms == 2.0
        np.testing.assert_allclose(model.output(), expected, atol=1e-5)
        clock = model._clock
        model.close()
        assert clock.notes == ["start", "stop", "close"]

    @pytest.mark.usefixtures("providers")
    def test_a_session_that_fell_back_is_an_error(
        self, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content, shape, _ = network(tiny_space)
        fallen = onnxruntime.InferenceSession
        monkeypatch.setattr(
            onnxruntime, "InferenceSession", lambda *arguments, **named: _without_cuda(fallen, *arguments, **named)
        )
        with pytest.raises(ContractError, match="asked ONNX Runtime for CUDAExecutionProvider, got"):
            OnnxRuntimeCudaModel(content, shape, 2)

    def test_without_the_provider_the_package_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(onnxruntime_session, "require_gpu", lambda: None)
        with pytest.raises(FednasError, match=r"no CUDAExecutionProvider here \(it has: .*pip install onnxruntime-gpu"):
            OnnxRuntimeCuda().require()


def _without_cuda(session: Any, *arguments: Any, **named: Any) -> Any:
    loaded = session(*arguments, **named)
    loaded.get_providers = lambda: ["CPUExecutionProvider"]
    return loaded


def test_a_clock_without_cuda_says_what_cuda_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise cuda_module.BoardProblem("CUDA says in cudaGetDeviceCount: no driver (error 35)", "is there a GPU?")

    monkeypatch.setattr(cuda_module, "CudaRuntime", refuse)
    with pytest.raises(FednasError, match=r"no driver \(error 35\); is there a GPU\?"):
        CudaClock()
