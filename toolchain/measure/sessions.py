"""A model ready to be timed under ONNX Runtime on the CPU of this machine."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fednas.common import ContractError, FednasError

if TYPE_CHECKING:
    import numpy as np

PROVIDER = "CPUExecutionProvider"
NANOSECONDS_PER_MS = 1e6
ONE_CALL = 10
"""A first call this many times longer than a reading: warm calls are not so much faster that one would not fill it."""


class TimedModel:
    """One loaded model with its input and output bound once, so that a call copies nothing."""

    def __init__(self, model: bytes | Path, *, input_shape: tuple[int, ...], threads: int, seed: int = 0) -> None:
        """Load the model; raises `FednasError` when the runtime cannot read it or wants another input."""
        import numpy as np
        import onnxruntime as ort

        self._session = _load(ort, model, threads)
        rng = np.random.default_rng(seed)
        feed = rng.standard_normal(input_shape, dtype=np.float32)
        (name, output) = _only_names(self._session)
        self._binding = self._session.io_binding()
        # Held here because the binding keeps only a pointer to the memory.
        self._input = ort.OrtValue.ortvalue_from_numpy(feed)
        self._binding.bind_ortvalue_input(name, self._input)
        shape = _first_output(self._session, output, name, feed).shape
        self._output = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, "cpu")
        self._binding.bind_ortvalue_output(output, self._output)

    def output(self) -> "np.ndarray[Any, Any]":
        """What the last call gave."""
        result: np.ndarray[Any, Any] = self._output.numpy()
        return result

    def call(self, times: int = 1) -> float:
        """Run ``times`` in a row; milliseconds of wall time for one of them."""
        run, binding, clock = self._session.run_with_iobinding, self._binding, time.perf_counter_ns
        start = clock()
        for _ in range(times):
            run(binding)
        return (clock() - start) / (times * NANOSECONDS_PER_MS)

    def usual_ms(self, reading_ms: float, probes: int = 8) -> float:
        """Fastest of some calls; a model far slower than ``reading_ms`` is called once only."""
        fastest_ms = self.call()
        for _ in range(probes - 1):
            if fastest_ms > ONE_CALL * reading_ms:
                break
            fastest_ms = min(fastest_ms, self.call())
        return fastest_ms

    def repetitions(self, reading_ms: float) -> int:
        """Calls that fill a reading of ``reading_ms``, so that the timer's own share stays small."""
        return max(1, round(reading_ms / self.usual_ms(reading_ms)))


def runtime_version() -> str:
    """Version of ONNX Runtime."""
    import onnxruntime as ort

    return str(ort.__version__)


def _load(ort: Any, model: bytes | Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    try:
        session = ort.InferenceSession(source, options, providers=[PROVIDER])
    except Exception as err:  # the runtime's errors share no base class of their own
        name = "a model of ours" if isinstance(model, bytes) else f"model {model}"
        reason = str(err).strip().splitlines()[-1]
        raise FednasError(f"ONNX Runtime cannot load {name}: {reason}", hint="check the file") from err
    if session.get_providers() != [PROVIDER]:
        raise ContractError(f"asked ONNX Runtime for {PROVIDER}, got {session.get_providers()}")
    return session


def _only_names(session: Any) -> tuple[str, str]:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise FednasError(
            f"the model has {len(inputs)} inputs and {len(outputs)} outputs; one of each can be timed",
            hint="time a model with one image input and one output",
        )
    return inputs[0].name, outputs[0].name


def _first_output(session: Any, output: str, name: str, feed: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    try:
        result: np.ndarray[Any, Any] = session.run([output], {name: feed})[0]
    except Exception as err:
        wanted = session.get_inputs()[0]
        raise FednasError(
            f"the model does not run on an input of shape {list(feed.shape)}; it takes {wanted.shape} of {wanted.type}",
            hint="give the shape that it was exported for",
        ) from err
    return result
