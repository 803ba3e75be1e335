"""Models under ONNX Runtime on the processor."""

import random
import time
from typing import Any, Callable, Dict, Optional, Tuple

from fednas.export.board.problem import BoardProblem
from fednas.toolchain.measure.kit.board.folder import BoardJob, BoardModel
from fednas.toolchain.measure.kit.board.state import affinity

CPU_PROVIDER = "CPUExecutionProvider"


class OnnxRuntimeBoard:
    """ONNX Runtime as the board has it; raises `BoardProblem` if it is not usable."""

    name = "onnxruntime"
    reading_ms = 0.1
    """A reading repeats its call until it takes about this long."""
    warming_calls = 2
    """Before a reading of several calls, so that the weights lie in the cache."""
    fewest_rounds = 0
    """0: as many as the job wants."""
    on_gpu = False
    gpu_name: Optional[str] = None
    """As CUDA calls the GPU that it runs on; None where nothing says."""
    doubt = ""
    """What makes it doubtful that the models were run as asked, where it comes out at loading."""

    def __init__(self, job: BoardJob) -> None:
        self._job = job
        try:
            import numpy
            import onnxruntime
        except ImportError as err:
            raise BoardProblem("cannot be imported (%s)" % err, "pip install onnxruntime numpy") from err
        if job.threads > len(affinity()):
            message = "cannot run the %d threads of this kit on %d usable cores" % (job.threads, len(affinity()))
            raise BoardProblem(message, "write a kit for fewer --threads")
        self._ort, self._numpy = onnxruntime, numpy
        self.version = str(onnxruntime.__version__)
        self.numpy_version = str(numpy.__version__)
        self.settings = {"provider": CPU_PROVIDER, "threads": str(job.threads), "optimisation": "all"}

    def engine_of(self, model: BoardModel) -> None:  # noqa: ARG002 - as others have it
        """Nothing: models are loaded as they are."""
        return

    def load(self, model: BoardModel) -> "OnnxRuntimeModel":
        """A model, ready to be called."""
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._job.threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        try:
            session = self._ort.InferenceSession(model.path, options, providers=[CPU_PROVIDER])
        except Exception as err:  # the runtime has no base class of errors
            said = (str(err).strip().splitlines() or ["no reason given"])[-1]
            raise BoardProblem("ONNX Runtime %s cannot load %s: %s" % (self.version, model.path, said)) from err
        if session.get_providers() != [CPU_PROVIDER]:
            raise BoardProblem("ONNX Runtime runs on %s, not on the processor" % ", ".join(session.get_providers()))
        return OnnxRuntimeModel(self._ort, self._numpy, session, model.shape, self._job.seed)


class OnnxRuntimeModel:
    """One loaded model with its input and output bound once, so that a call copies nothing."""

    def __init__(self, ort: Any, numpy: Any, session: Any, shape: Tuple[int, ...], seed: int) -> None:
        feed = numpy.random.RandomState(seed).standard_normal(shape).astype(numpy.float32)
        entering, leaving = session.get_inputs()[0].name, session.get_outputs()[0].name
        result = session.run([leaving], {entering: feed})[0]
        if not numpy.isfinite(result).all():
            raise BoardProblem("a model gives numbers that are not finite: this ONNX Runtime computes wrongly")
        self._session, self._binding = session, session.io_binding()
        # Held here because the binding keeps only a pointer to the memory.
        self._input = ort.OrtValue.ortvalue_from_numpy(feed)
        self._output = ort.OrtValue.ortvalue_from_shape_and_type(result.shape, numpy.float32, "cpu")
        self._binding.bind_ortvalue_input(entering, self._input)
        self._binding.bind_ortvalue_output(leaving, self._output)
        self.samples: Tuple[float, ...] = ()

    def call(self, times: int) -> float:
        """Run ``times`` in a row; milliseconds of wall time for one of them."""
        run, binding, clock = self._session.run_with_iobinding, self._binding, time.perf_counter
        start = clock()
        for _ in range(times):
            run(binding)
        return (clock() - start) * 1e3 / times

    def close(self) -> None:
        """Nothing is held but memory."""


def random_floats(count: int, seed: int) -> "bytes":
    """Input for runtimes that come without numpy: float32 numbers between -1 and 1 in the machine's own order.

    Random rather than zero: runtimes and processors are faster on zeros.
    """
    import array

    rng = random.Random(seed)  # noqa: S311 - an input, not a secret
    return array.array("f", (rng.uniform(-1.0, 1.0) for _ in range(count))).tobytes()


BOARD_RUNTIMES: Dict[str, Callable[[BoardJob], Any]] = {"onnxruntime": OnnxRuntimeBoard}
