"""Running, timing and inspecting an engine with the Python module ``tensorrt``, 8.5 to 11.4."""

import time
from typing import Any, Callable, List, Optional, Tuple

from fednas.export.board.cudart import CudaRuntime, GpuFacts
from fednas.export.board.problem import BoardProblem
from fednas.export.board.trt_build import error_log, import_tensorrt, said

TYPE_BYTES = {"float32": 4, "float16": 2, "uint8": 1}
FEWEST_RUNS = 100
"""A measurement has at least as many, however short its time."""


class EngineSession:
    """One engine on the GPU with its buffers, ready for any batch that it was built for.

    Use as a context manager: leaving frees the device memory. Arrays are raw bytes in the engine's own types, rows
    first, so that neither numpy nor torch is needed.

    Args:
        plan: the serialised engine, of this TensorRT version and this kind of GPU.
        cuda: the CUDA runtime; the system's own unless given.

    Raises:
        BoardProblem: TensorRT, CUDA or the GPU is missing, or does not take this engine.
    """

    def __init__(self, plan: bytes, cuda: Optional[CudaRuntime] = None) -> None:
        self._trt = import_tensorrt()
        self._cuda = cuda if cuda is not None else CudaRuntime()
        self._log = error_log(self._trt)
        self._buffers: List[int] = []
        self._stream = 0
        self._events: List[int] = []
        self._context: Any = None
        self._engine = self._loaded(plan)
        self.tensorrt_version = str(self._trt.__version__)
        self._read_tensors()
        try:
            self._allocate()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "EngineSession":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free everything; may be called twice."""
        for address in self._buffers:
            self._cuda.free(address)
        if self._stream:
            self._cuda.destroy(self._stream, self._events)
        self._buffers, self._events, self._stream = [], [], 0
        # The context must go before its engine.
        self._context = None
        self._engine = None

    def gpu(self) -> GpuFacts:
        """What runs it."""
        return self._cuda.facts()

    def infer(self, images: bytes, batch: int) -> bytes:
        """Logits of ``batch`` images, both in the engine's types; raises `BoardProblem` for a wrong size or batch."""
        self._set_batch(batch)
        wanted = batch * self._input_size
        if len(images) != wanted:
            raise BoardProblem("%d bytes came for %d images, not %d" % (len(images), batch, wanted))
        self._cuda.copy_to_device(self._buffers[0], images)
        self._enqueue()
        self._cuda.synchronize(self._stream)
        return self._cuda.copy_to_host(self._buffers[1], batch * self._output_size)

    def time(self, batch: int, seconds: float, warm_up_seconds: float = 0.5) -> List[float]:
        """Milliseconds of each run by the GPU's own clock, without copies; the input is all zeros.

        Each run is enqueued alone between two events, without a CUDA graph: what the GPU spends, and the gaps
        between its kernels where the processor cannot enqueue them fast enough.
        """
        self._set_batch(batch)
        self._cuda.copy_to_device(self._buffers[0], bytes(batch * self._input_size))
        self._repeat(warm_up_seconds, 1, lambda: 0.0)
        return self._repeat(seconds, FEWEST_RUNS, lambda: self._cuda.elapsed_ms(self._events[0], self._events[1]))

    def layers_json(self) -> str:
        """What the engine inspector says, as JSON; with details only if the engine was built with them."""
        inspector = self._engine.create_engine_inspector()
        # With a context the formats are known where shapes are dynamic.
        inspector.execution_context = self._context
        return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def _loaded(self, plan: bytes) -> Any:
        try:
            runtime = self._trt.Runtime(self._log)
        except TypeError as err:
            message = "TensorRT %s cannot start here: %s" % (self._trt.__version__, said(self._log.errors))
            raise BoardProblem(message, "it needs an NVIDIA GPU and a driver that fits") from err
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise BoardProblem(
                "TensorRT %s does not take this engine: %s" % (self._trt.__version__, said(self._log.errors)),
                "an engine runs only with the TensorRT version and on the kind of GPU that built it; build it again",
            )
        self._runtime = runtime
        return engine

    def _read_tensors(self) -> None:
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT]
        outputs = [name for name in names if name not in inputs]
        if len(inputs) != 1 or len(outputs) != 1:
            raise BoardProblem("the engine has %d inputs and %d outputs, not one each" % (len(inputs), len(outputs)))
        self.input_name, self.output_name = inputs[0], outputs[0]
        self.input_type, self.output_type = self._type(inputs[0]), self._type(outputs[0])
        shape = tuple(engine.get_tensor_shape(inputs[0]))
        logits = tuple(engine.get_tensor_shape(outputs[0]))
        if len(shape) != 4 or len(logits) != 2 or min(shape[1:] + logits[1:]) < 1:
            raise BoardProblem("the engine maps %s to %s, not images to logits" % (shape, logits))
        self.input_shape = (int(shape[1]), int(shape[2]), int(shape[3]))
        self.classes = int(logits[1])
        self.smallest_batch, self.largest_batch = self._batches(int(shape[0]))
        self._input_size = shape[1] * shape[2] * shape[3] * TYPE_BYTES[self.input_type]
        self._output_size = self.classes * TYPE_BYTES[self.output_type]

    def _type(self, name: str) -> str:
        found = self._engine.get_tensor_dtype(name)
        for member, text in (("FLOAT", "float32"), ("HALF", "float16"), ("UINT8", "uint8")):
            if found == getattr(self._trt.DataType, member):
                return text
        raise BoardProblem("tensor %s of the engine is %s; only float32, float16 and uint8 are known" % (name, found))

    def _batches(self, batch: int) -> Tuple[int, int]:
        if batch > 0:
            return batch, batch
        shapes = self._engine.get_tensor_profile_shape(self.input_name, 0)
        return int(next(iter(shapes[0]))), int(next(iter(shapes[2])))

    def _allocate(self) -> None:
        context = self._engine.create_execution_context()
        if context is None:
            raise BoardProblem("TensorRT gave no execution context: %s" % said(self._log.errors), "is memory free?")
        self._context = context
        for name, size in ((self.input_name, self._input_size), (self.output_name, self._output_size)):
            self._buffers.append(self._cuda.allocate(size * self.largest_batch))
            context.set_tensor_address(name, self._buffers[-1])
        self._stream = self._cuda.new_stream()
        self._events = [self._cuda.new_event(), self._cuda.new_event()]
        self._set_batch(self.smallest_batch)

    def _set_batch(self, batch: int) -> None:
        if self._context is None:
            raise BoardProblem("the engine was closed already")
        if not self.smallest_batch <= batch <= self.largest_batch:
            came = "a batch of %d" % batch
            raise BoardProblem("%s; the engine takes %d to %d" % (came, self.smallest_batch, self.largest_batch))
        if not self._context.set_input_shape(self.input_name, (batch, *self.input_shape)):
            raise BoardProblem("TensorRT refuses a batch of %d: %s" % (batch, said(self._log.errors)))

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise BoardProblem("TensorRT could not run the engine: %s" % said(self._log.errors))

    def _repeat(self, seconds: float, fewest: int, read: Callable[[], float]) -> List[float]:
        samples: List[float] = []
        end = time.perf_counter() + seconds
        while len(samples) < fewest or time.perf_counter() < end:
            self._cuda.record(self._events[0], self._stream)
            self._enqueue()
            self._cuda.record(self._events[1], self._stream)
            self._cuda.synchronize(self._stream)
            samples.append(read())
        return samples
