"""PyTorch: eager on the processor, eager and as a CUDA graph on an NVIDIA GPU."""

import importlib.util
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fednas.common import FednasError, import_extra
from fednas.export import Precision
from fednas.toolchain.measure.runtimes.base import (
    NANOSECONDS_PER_MS,
    DeviceReading,
    DeviceTimedModel,
    LoadOrder,
    TimedModel,
    TimingRuntime,
    WallClockModel,
    random_input,
)
from fednas.toolchain.measure.runtimes.cuda import require_gpu
from fednas.toolchain.measure.runtimes.onnx_input import onnx_model_for
from fednas.toolchain.measure.runtimes.torch_module import module_from_onnx

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

GRAPH_WARM_UPS = 3
"""Calls on a side stream before a graph is captured, as PyTorch asks for."""


class TorchEagerModel(WallClockModel):
    """A module that is called operator by operator on the processor."""

    def __init__(self, model: bytes | Path, input_shape: tuple[int, ...], threads: int, seed: int) -> None:
        import torch

        self.threads = threads
        self._module: Any = module_from_onnx(onnx_model_for(model, input_shape))
        self._images: Any = torch.from_numpy(random_input(input_shape, seed))
        self._result: Any = None
        super().__init__(self._run_module)
        with _threads(threads), torch.inference_mode():
            self._result = _first_call(self._module, self._images)

    def _run_module(self) -> None:
        self._result = self._module(self._images)

    def _milliseconds(self, times: int) -> float:
        import torch

        # torch has one number of threads for the whole process, so each reading brings its own.
        with _threads(self.threads), torch.inference_mode():
            return super()._milliseconds(times)

    def _last_output(self) -> "NDArray[np.float32]":
        result: NDArray[np.float32] = self._result.numpy()
        return result

    def _release(self) -> None:
        super()._release()
        _drop_weights(self._module)
        self._module = self._images = self._result = None


class TorchCudaModel(DeviceTimedModel):
    """A module on the GPU, called operator by operator, or replayed as one CUDA graph."""

    def __init__(self, model: bytes | Path, input_shape: tuple[int, ...], seed: int, *, graph: bool) -> None:
        import torch

        super().__init__()
        module = module_from_onnx(onnx_model_for(model, input_shape)).cuda()
        self._images: Any = torch.from_numpy(random_input(input_shape, seed)).cuda()
        cuda: Any = torch.cuda  # its events and streams have no types
        self._events = [cuda.Event(enable_timing=True) for _ in range(2)]
        with _plain_fp32(), torch.inference_mode():
            self._result: Any = _first_call(module, self._images)
            self._module: Any = module
            self._graph: Any = self._captured(module) if graph else None

    def _captured(self, module: Any) -> Any:
        import torch

        cuda: Any = torch.cuda
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            for _ in range(GRAPH_WARM_UPS):
                module(self._images)
        cuda.current_stream().wait_stream(side)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            self._result = module(self._images)
        return graph

    def _read(self, times: int) -> DeviceReading:
        import torch

        start, end = self._events
        with _plain_fp32(), torch.inference_mode():
            torch.cuda.synchronize()
            start.record()
            began = time.perf_counter_ns()
            if self._graph is not None:
                for _ in range(times):
                    self._graph.replay()
            else:
                for _ in range(times):
                    self._result = self._module(self._images)
            enqueue_ms = (time.perf_counter_ns() - began) / (times * NANOSECONDS_PER_MS)
            end.record()
            end.synchronize()
        return DeviceReading(gpu_ms=start.elapsed_time(end) / times, enqueue_ms=enqueue_ms)

    def _last_output(self) -> "NDArray[np.float32]":
        result: NDArray[np.float32] = self._result.cpu().numpy()
        return result

    def _release(self) -> None:
        import torch

        _drop_weights(self._module)
        self._graph = self._module = self._images = self._result = None
        torch.cuda.empty_cache()


class TorchEager(TimingRuntime):
    """What a PyTorch user gets on the processor without exporting anything."""

    name: ClassVar[str] = "torch-eager"
    title: ClassVar[str] = "PyTorch, eager, on the processor"
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32",)
    evidence: ClassVar[str] = "run on x86-64 by the tests"

    def require(self) -> None:
        """Look for the package."""
        _require_torch()

    def version(self) -> str:
        """Of the package."""
        return str(import_extra("torch", "torch", "timing PyTorch").__version__)

    def _load(self, order: LoadOrder) -> TimedModel:
        return TorchEagerModel(order.model, order.input_shape, order.threads, order.seed)


class TorchEagerCuda(TimingRuntime):
    """What a PyTorch user gets on the GPU; small networks are bound by enqueueing."""

    name: ClassVar[str] = "torch-eager-cuda"
    title: ClassVar[str] = "PyTorch, eager, on an NVIDIA GPU"
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32",)
    on_gpu: ClassVar[bool] = True
    evidence: ClassVar[str] = "never run: needs an NVIDIA GPU"
    _graph: ClassVar[bool] = False

    def require(self) -> None:
        """Look for the package and for a GPU."""
        _require_torch()
        require_gpu()

    def version(self) -> str:
        """Of PyTorch and of the CUDA that it was built with."""
        torch = import_extra("torch", "torch", "timing PyTorch")
        return f"{torch.__version__} (CUDA {torch.version.cuda})"

    def _load(self, order: LoadOrder) -> TimedModel:
        import torch

        if not torch.cuda.is_available():
            raise FednasError("PyTorch finds no CUDA here", hint="install the PyTorch that fits the GPU's driver")
        return TorchCudaModel(order.model, order.input_shape, order.seed, graph=self._graph)


class TorchCudaGraph(TorchEagerCuda):
    """The whole network as one CUDA graph: the GPU's time without the processor's."""

    name: ClassVar[str] = "torch-cuda-graph"
    title: ClassVar[str] = "PyTorch, CUDA graph, on an NVIDIA GPU"
    _graph: ClassVar[bool] = True


class _threads(AbstractContextManager[None]):  # noqa: N801 - reads as what it does
    """The process's number of threads, put back afterwards."""

    def __init__(self, threads: int) -> None:
        self._wanted = threads

    def __enter__(self) -> None:
        import torch

        self._before = torch.get_num_threads()
        if self._before != self._wanted:
            torch.set_num_threads(self._wanted)

    def __exit__(self, *_: object) -> None:
        import torch

        if self._before != self._wanted:
            torch.set_num_threads(self._before)


class _plain_fp32(AbstractContextManager[None]):  # noqa: N801 - reads as what it does
    """No TF32, which convolutions take by default, and the fastest algorithm for each shape; put back afterwards."""

    def __enter__(self) -> None:
        import torch

        backends = torch.backends
        self._before = (backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32, backends.cudnn.benchmark)
        self._set(False, False, True)

    def __exit__(self, *_: object) -> None:
        self._set(*self._before)

    def _set(self, convolutions: bool, products: bool, benchmark: bool) -> None:
        import torch

        torch.backends.cudnn.allow_tf32 = convolutions
        torch.backends.cuda.matmul.allow_tf32 = products
        torch.backends.cudnn.benchmark = benchmark


def _drop_weights(module: Any) -> None:
    """Free them now: the module is part of a cycle (`torch.fx`), which waits for the garbage collector."""
    import torch

    for weight in module.parameters():
        weight.data = torch.empty(0)


def _require_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise FednasError("torch is not installed", hint="pip install 'fednas-export[torch]'")


def _first_call(module: Any, images: "torch.Tensor") -> "torch.Tensor":
    try:
        result: torch.Tensor = module(images)
    except RuntimeError as err:  # what torch raises for shapes that do not fit
        reason = str(err).strip().splitlines()[0]
        raise FednasError(
            f"the model does not run on an input of shape {list(images.shape)}: {reason}",
            hint="give the shape that it was exported for",
        ) from err
    return result
