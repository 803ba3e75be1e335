"""Models as TensorRT engines, built and run through the Python module ``tensorrt`` (8.5 to 11) and libcudart.

Written against the documented interface; never run on a GPU by its authors.
"""

import os
from typing import Any, List, Optional, Tuple

from fednas.export.board.cudart import CudaGraphs
from fednas.export.board.inspector import engine_faults, read_inspector
from fednas.export.board.problem import BoardProblem
from fednas.export.board.trt_build import BuildOrder, build_engine, error_log, import_tensorrt, said
from fednas.toolchain.measure.kit.board.folder import ENGINES_NAME, BoardJob, BoardModel
from fednas.toolchain.measure.kit.board.on_onnxruntime import BOARD_RUNTIMES, random_floats

WORKSPACE_BYTES = 1 << 30
ENGINE_LEVEL = 3
"""Of optimisation: TensorRT's own default."""
FLOAT_SIZE = 4
UNNAMED_GPU = "unknown"
PRECISION_UNSAID = "an engine does not say the precision of its layers"
ENGINE_PARTS = "abcdefghijklmnopqrstuvwxyz0123456789.-"


class TensorRTBoard:
    """TensorRT as the board has it; raises `BoardProblem` if it is not usable."""

    name = "tensorrt"
    reading_ms = 1.0
    """The GPU's events resolve half a microsecond."""
    warming_calls = 2
    fewest_rounds = 0
    on_gpu = True

    def __init__(self, job: BoardJob) -> None:
        self._job = job
        self.trt = import_tensorrt()
        self.doubt = ""
        self.cuda = CudaGraphs()
        self.version = str(self.trt.__version__)
        self.numpy_version: Optional[str] = None
        facts = self.cuda.facts()
        self.gpu_name: Optional[str] = facts.name
        self._chip = "%s-sm%s" % (self.version, facts.compute_capability)
        self.settings = {
            "gpu": facts.name or UNNAMED_GPU,
            "compute capability": str(facts.compute_capability),
            "cuda": str(facts.cuda),
            "driver": str(facts.driver),
            "timed by": "events of the GPU around runs in a row, without copies",
            "tf32": "on, TensorRT's default",
            "optimisation level": str(ENGINE_LEVEL),
            "cuda graph": "on",
        }

    def engine_of(self, model: BoardModel) -> str:
        """File of the model's engine."""
        return engine_path(self._job, self._chip, model)

    def load(self, model: BoardModel) -> "TensorRTModel":
        """The engine of a model, built now unless it lies in the kit's folder already."""
        plan = self.engine_of(model)
        if not os.path.exists(plan):
            self._build(model, plan)
        with open(plan, "rb") as stream:
            loaded = TensorRTModel(self, stream.read(), model, self._job)
        self.doubt = self.doubt or loaded.doubt
        if not loaded.graphed:
            self.settings["cuda graph"] = "off for some: it could not be captured"
        return loaded

    def _build(self, model: BoardModel, plan: str) -> None:
        with open(model.path, "rb") as stream:
            onnx = stream.read()
        order = BuildOrder(
            onnx=onnx,
            name=os.path.basename(model.path),
            input_name="input",
            shapes=None,
            precision=self._job.precision,
            workspace_bytes=WORKSPACE_BYTES,
            level=ENGINE_LEVEL,
        )
        cache = engine_path(self._job, self._chip, None)
        built = build_engine(order, timing_cache=lambda _: content_or_nothing(cache))
        self.settings["flags"] = " ".join(built.flags) or "none"
        if built.timing_cache is not None:
            put_file(cache, built.timing_cache)
        put_file(plan, built.plan)


class TensorRTModel:
    """One engine with its buffers on the GPU."""

    def __init__(self, board: TensorRTBoard, plan: bytes, model: BoardModel, job: BoardJob) -> None:
        self._cuda, trt = board.cuda, board.trt
        log = error_log(trt)
        self._runtime = trt.Runtime(log)
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            hint = "delete the folder %s and run it again" % ENGINES_NAME
            raise BoardProblem("TensorRT does not take an engine of its own: %s" % said(log.errors), hint)
        self._engine, self._context = engine, engine.create_execution_context()
        if self._context is None:
            raise BoardProblem("TensorRT gave no execution context: %s" % said(log.errors), "is memory free?")
        self.doubt = precision_doubt(trt, engine, self._context, job.precision, model)
        self._buffers: List[int] = []
        self._stream = self._cuda.new_stream()
        self._events = [self._cuda.new_event(), self._cuda.new_event()]
        self._graph = 0
        self.samples: Tuple[float, ...] = ()
        self._bind(trt, job.seed)
        self._capture()

    @property
    def graphed(self) -> bool:
        """Whether a run is one CUDA graph."""
        return self._graph != 0

    def call(self, times: int) -> float:
        """Run ``times`` in a row; milliseconds of the GPU's own time for one of them."""
        self._cuda.record(self._events[0], self._stream)
        for _ in range(times):
            self._run()
        self._cuda.record(self._events[1], self._stream)
        return self._cuda.elapsed_ms(self._events[0], self._events[1]) / times

    def close(self) -> None:
        """Free the GPU's memory."""
        if self._graph:
            self._cuda.destroy_graph(self._graph)
        for address in self._buffers:
            self._cuda.free(address)
        self._cuda.destroy(self._stream, self._events)
        self._buffers = []
        # The context must go before its engine.
        self._context = None
        self._engine = None

    def _bind(self, trt: Any, seed: int) -> None:
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            numbers = 1
            for side in tuple(self._engine.get_tensor_shape(name)):
                numbers *= int(side)
            address = self._cuda.allocate(numbers * FLOAT_SIZE)
            self._buffers.append(address)
            if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                self._cuda.copy_to_device(address, random_floats(numbers, seed))
            self._context.set_tensor_address(name, address)

    def _capture(self) -> None:
        # The first run does what cannot be captured, such as allocating.
        self._enqueue()
        self._cuda.synchronize(self._stream)
        try:
            self._cuda.begin_capture(self._stream)
            try:
                self._enqueue()
            finally:
                # Also when enqueueing failed: the stream would go on noting things down.
                self._graph = self._cuda.end_capture(self._stream)
        except BoardProblem:
            self._graph = 0

    def _run(self) -> None:
        if self._graph:
            self._cuda.launch(self._graph, self._stream)
        else:
            self._enqueue()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise BoardProblem("TensorRT could not enqueue a run")


def precision_doubt(trt: Any, engine: Any, context: Any, precision: str, model: BoardModel) -> str:
    """Raise `BoardProblem` if the engine's layers are not what was asked: flags are not trusted.

    Returns the doubt that is left where none of them says what it computes in; nobody doubts that fp32 is fp32.
    """
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    return layers_doubt(str(inspector.get_engine_information(trt.LayerInformationFormat.JSON)), precision, model)


def layers_doubt(text: str, precision: str, model: BoardModel) -> str:
    """The same for the inspector's text."""
    layers = read_inspector(text)
    faults = engine_faults(layers, precision)
    if faults:
        name = os.path.basename(model.path)
        raise BoardProblem("the engine of %s is not %s: %s" % (name, precision, "; ".join(faults)))
    return "" if any(layer.precision != "unknown" for layer in layers) else unsaid(precision)


def unsaid(precision: str) -> str:
    """The doubt about an engine that does not say what its layers compute in: that it is fp32 after all."""
    return "" if precision == "fp32" else PRECISION_UNSAID


def engine_path(job: BoardJob, chip: str, model: Optional[BoardModel]) -> str:
    """Where the engine of a model is kept for this TensorRT and chip, or, for None, the timing cache of all."""
    tail = "".join(letter for letter in chip.lower() if letter in ENGINE_PARTS)
    name = "timing-%s.cache" % tail if model is None else "%s-%s.plan" % (model.sha256[:16], tail)
    return os.path.join(job.folder, ENGINES_NAME, name)


def put_file(path: str, content: bytes) -> None:
    """Write it so that a kill leaves nothing half written."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".tmp", "wb") as stream:
            stream.write(content)
        os.replace(path + ".tmp", path)
    except OSError as err:
        raise BoardProblem("%s cannot be written: %s" % (path, err.strerror), "free some space, run it again") from err


def content_or_nothing(path: str) -> bytes:
    """Content of a file, nothing if it is not there."""
    if not os.path.exists(path):
        return b""
    with open(path, "rb") as stream:
        return stream.read()


BOARD_RUNTIMES["tensorrt"] = TensorRTBoard
