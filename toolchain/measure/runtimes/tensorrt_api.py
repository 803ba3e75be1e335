"""TensorRT through its Python module: the engine is built here and timed by CUDA events around CUDA graphs.

Contract-tested against the recorded interfaces of TensorRT 8.6 to 11.4; never run on TensorRT itself.
"""

import importlib
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from fednas.common import FednasError, write_atomic
from fednas.export import BatchRange, EngineOptions, Precision, engine_from_onnx, tensorrt_status
from fednas.export.board.cudart import CudaGraphs
from fednas.export.board.trt_session import EngineSession
from fednas.export.tensorrt_engine import board_problems
from fednas.toolchain.measure.runtimes.base import (
    NANOSECONDS_PER_MS,
    DeviceReading,
    DeviceTimedModel,
    LayerTime,
    LoadOrder,
    TimedModel,
    TimingRuntime,
    random_input,
)
from fednas.toolchain.measure.runtimes.engine_precision import precision_doubts
from fednas.toolchain.measure.runtimes.onnx_input import onnx_model_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLD_RUNS = 5
"""Before a profile."""
WORKSPACE_BYTES = 2**30
"""As in kits and with trtexec: with another, TensorRT may take other kernels."""


class _TimedSession(EngineSession):
    """An engine whose input is put in place once, and whose run is one CUDA graph."""

    _graph = 0

    def __init__(self, plan: bytes, cuda: CudaGraphs | None = None) -> None:
        self._graphs = cuda if cuda is not None else CudaGraphs()
        super().__init__(plan, self._graphs)

    def close(self) -> None:
        """Free the graph too."""
        if self._graph:
            self._graphs.destroy_graph(self._graph)
            self._graph = 0
        super().close()

    def put(self, images: bytes, batch: int) -> None:
        """Copy the input to the device, and note a run of this batch down."""
        self._set_batch(batch)
        self._cuda.copy_to_device(self._buffers[0], images)
        # The first run does what cannot be captured, such as allocating.
        self._enqueue()
        self._cuda.synchronize(self._stream)
        self._graphs.begin_capture(self._stream)
        try:
            self._enqueue()
        finally:
            # Also when enqueueing failed: the stream would go on noting things down.
            self._graph = self._graphs.end_capture(self._stream)

    def fetch(self, batch: int) -> bytes:
        """Copy the last output from the device."""
        return self._cuda.copy_to_host(self._buffers[1], batch * self._output_size)

    def read(self, times: int) -> DeviceReading:
        """Launch ``times`` runs between two events."""
        start_event, end_event = self._events
        self._cuda.synchronize(self._stream)
        self._cuda.record(start_event, self._stream)
        start = time.perf_counter_ns()
        for _ in range(times):
            self._graphs.launch(self._graph, self._stream)
        enqueue_ms = (time.perf_counter_ns() - start) / (times * NANOSECONDS_PER_MS)
        self._cuda.record(end_event, self._stream)
        return DeviceReading(gpu_ms=self._cuda.elapsed_ms(start_event, end_event) / times, enqueue_ms=enqueue_ms)


class _ProfiledSession(EngineSession):
    """An engine that reports the time of every layer of every run; there is no CUDA graph of such runs."""

    def layer_times(self, images: bytes, batch: int, runs: int) -> tuple[LayerTime, ...]:
        """Means over ``runs``, in the order in which the layers run."""
        trt, sums = self._trt, dict[str, float]()

        class Profiler(trt.IProfiler):  # type: ignore[misc, name-defined]
            """Adds up what is reported."""

            def __init__(self) -> None:
                trt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                sums[layer_name] = sums.get(layer_name, 0.0) + ms

        self._set_batch(batch)
        self._cuda.copy_to_device(self._buffers[0], images)
        for _ in range(COLD_RUNS):
            self._enqueue()
        self._cuda.synchronize(self._stream)
        # Kept as long as the context, which does not own it.
        self._profiler = Profiler()
        self._context.profiler = self._profiler
        for _ in range(runs):
            self._enqueue()
            self._cuda.synchronize(self._stream)
        return tuple(LayerTime(name, ms / runs) for name, ms in sums.items())


class TensorRTModel(DeviceTimedModel):
    """An engine with its input on the GPU; a run is one CUDA graph, as in kits and in trtexec."""

    def __init__(
        self,
        plan: bytes,
        input_shape: tuple[int, ...],
        seed: int,
        *,
        precision: Precision = "fp32",
        cuda: CudaGraphs | None = None,
    ) -> None:
        super().__init__()
        self._batch = input_shape[0]
        with board_problems():
            self._session = _TimedSession(plan, cuda)
        try:
            self.doubts = precision_doubts(self._session.layers_json(), precision)
            images = random_input(input_shape, seed).astype(self._session.input_type)
            with board_problems():
                self._session.put(images.tobytes(), self._batch)
                self._session.read(1)
        except BaseException:
            self._session.close()
            raise

    def _read(self, times: int) -> DeviceReading:
        with board_problems():
            return self._session.read(times)

    def _last_output(self) -> "NDArray[np.float32]":
        import numpy as np

        with board_problems():
            raw = self._session.fetch(self._batch)
        logits = np.frombuffer(raw, self._session.output_type)
        return logits.reshape(self._batch, self._session.classes).astype(np.float32)

    def _release(self) -> None:
        self._session.close()


class TensorRTApi(TimingRuntime):
    """The Python module of TensorRT 8.6 to 11; one CUDA graph a run, TF32 on as it is by default."""

    name: ClassVar[str] = "tensorrt"
    title: ClassVar[str] = "TensorRT, Python module"
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16", "int8")
    on_gpu: ClassVar[bool] = True
    networks_only: ClassVar[bool] = True
    gives_layers: ClassVar[bool] = True
    evidence: ClassVar[str] = "contract-tested against the interfaces of TensorRT 8.6 to 11.4; never run on TensorRT"

    def require(self) -> None:
        """Look for the module and for a GPU."""
        status = tensorrt_status()
        if not status.can_build:
            raise FednasError(
                " ".join(status.reasons).rstrip("."),
                hint="pip install 'fednas-export[tensorrt]' on a machine with an NVIDIA GPU",
            )

    def version(self) -> str:
        """Of the module."""
        self.require()
        return str(importlib.import_module("tensorrt").__version__)

    def _load(self, order: LoadOrder) -> TimedModel:
        return TensorRTModel(_plan(order), order.input_shape, order.seed, precision=order.precision)

    def _layers(self, order: LoadOrder, runs: int) -> tuple[LayerTime, ...]:
        plan = _plan(order, one_stream=True)
        with board_problems(), closing(_ProfiledSession(plan)) as session:
            images = random_input(order.input_shape, order.seed).astype(session.input_type)
            return session.layer_times(images.tobytes(), order.input_shape[0], runs)


def _plan(order: LoadOrder, *, one_stream: bool = False) -> bytes:
    """The engine of the model, built here."""
    proto = onnx_model_for(order.model, order.input_shape)
    batch = order.input_shape[0]
    options = EngineOptions(
        precision=order.precision,
        batches=BatchRange(smallest=batch, tuned=batch, largest=batch),
        workspace_bytes=WORKSPACE_BYTES,
        optimization_level=3,
        one_stream=one_stream,
        timing_caches=order.cache,
    )
    with tempfile.TemporaryDirectory(prefix="fednas-tensorrt-") as name:
        onnx_path, plan_path = Path(name) / "model.onnx", Path(name) / "model.plan"
        write_atomic(onnx_path, proto.SerializeToString())
        engine_from_onnx(onnx_path, plan_path, options)
        return plan_path.read_bytes()
