"""ONNX Runtime on the processor, and on an NVIDIA GPU where its CUDA provider is there."""

import functools
import importlib.util
import json
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fednas.common import ContractError, FednasError, import_extra
from fednas.export import Precision
from fednas.toolchain.measure.runtimes.base import (
    NANOSECONDS_PER_MS,
    DeviceReading,
    DeviceTimedModel,
    LayerTime,
    LoadOrder,
    TimedModel,
    TimingRuntime,
    WallClockModel,
    model_name,
    random_input,
)
from fednas.toolchain.measure.runtimes.cuda import CudaClock, require_gpu

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROVIDER = "CPUExecutionProvider"
COLD_RUNS = 5
"""Of a profile, left out: the first ones bring weights and code into the caches."""
KERNEL = "_kernel_time"
"""What ONNX Runtime appends to the name of a node in its profile."""
CUDA_PROVIDER = "CUDAExecutionProvider"


class OnnxRuntimeModel(WallClockModel):
    """A session on the processor with its input and output bound once."""

    def __init__(self, model: bytes | Path, *, input_shape: tuple[int, ...], threads: int, seed: int = 0) -> None:
        """Load the model; raises `FednasError` when the runtime cannot read it or wants another input."""
        import numpy as np
        import onnxruntime as ort

        self._session = _session(model, _options(threads), [PROVIDER])
        entering, leaving = _only_names(self._session)
        feed = _feed(self._session, input_shape, seed)
        binding = self._session.io_binding()
        # Held here because the binding keeps only a pointer to the memory.
        self._input = ort.OrtValue.ortvalue_from_numpy(feed)
        binding.bind_ortvalue_input(entering, self._input)
        shape = _first_output(self._session, entering, feed).shape
        self._output = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, "cpu")
        binding.bind_ortvalue_output(leaving, self._output)
        super().__init__(functools.partial(self._session.run_with_iobinding, binding))

    @property
    def threads(self) -> int:
        """As the session says."""
        return int(self._session.get_session_options().intra_op_num_threads)

    def _last_output(self) -> "NDArray[np.float32]":
        result: NDArray[np.float32] = self._output.numpy()
        return result

    def _release(self) -> None:
        super()._release()
        self._session = self._input = self._output = None


class OnnxRuntimeCpu(TimingRuntime):
    """ONNX Runtime's own processor kernels; sequential, a number of threads, no other provider."""

    name: ClassVar[str] = "onnxruntime"
    title: ClassVar[str] = "ONNX Runtime on the processor"
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "int8")
    gives_layers: ClassVar[bool] = True
    evidence: ClassVar[str] = "run on x86-64 by the tests"

    def require(self) -> None:
        """Look for the package."""
        if importlib.util.find_spec("onnxruntime") is None:
            raise FednasError("onnxruntime is not installed", hint="pip install onnxruntime")

    def version(self) -> str:
        """Of the package."""
        self.require()
        import onnxruntime

        return str(onnxruntime.__version__)

    def _load(self, order: LoadOrder) -> TimedModel:
        return OnnxRuntimeModel(order.model, input_shape=order.input_shape, threads=order.threads, seed=order.seed)

    def _layers(self, order: LoadOrder, runs: int) -> tuple[LayerTime, ...]:
        with tempfile.TemporaryDirectory(prefix="fednas-onnxruntime-") as folder:
            options = _options(order.threads)
            options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "layers")
            session = _session(order.model, options, [PROVIDER])
            entering, _ = _only_names(session)
            feed = _feed(session, order.input_shape, order.seed)
            for _ in range(COLD_RUNS + runs):
                _first_output(session, entering, feed)
            return _layers_of(Path(session.end_profiling()), COLD_RUNS + runs)


class OnnxRuntimeCudaModel(DeviceTimedModel):
    """A session whose input and output stay on the GPU, run on a stream of ours and timed by events on it."""

    def __init__(self, model: bytes | Path, input_shape: tuple[int, ...], seed: int) -> None:
        import numpy as np
        import onnxruntime as ort

        super().__init__()
        self._clock = CudaClock()
        settings = {
            "device_id": "0",
            "user_compute_stream": str(self._clock.stream),
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            "use_tf32": "0",
        }
        try:
            self._session = _session(model, _options(1, fallback=False), [(CUDA_PROVIDER, settings)])
            entering, leaving = _only_names(self._session)
            feed = random_input(input_shape, seed)
            self._input = ort.OrtValue.ortvalue_from_numpy(feed, "cuda", 0)
            shape = _first_output(self._session, entering, feed).shape
            self._output = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, "cuda", 0)
            self._binding = self._session.io_binding()
            self._binding.bind_ortvalue_input(entering, self._input)
            self._binding.bind_ortvalue_output(leaving, self._output)
        except BaseException:
            self._clock.close()
            raise
        self._run_options = ort.RunOptions()
        # Else each call waits for the GPU, and the time between two events holds that waiting.
        self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def _read(self, times: int) -> DeviceReading:
        run, binding, options = self._session.run_with_iobinding, self._binding, self._run_options
        self._clock.start()
        start = time.perf_counter_ns()
        for _ in range(times):
            run(binding, options)
        enqueue_ms = (time.perf_counter_ns() - start) / (times * NANOSECONDS_PER_MS)
        return DeviceReading(gpu_ms=self._clock.stop_ms() / times, enqueue_ms=enqueue_ms)

    def _last_output(self) -> "NDArray[np.float32]":
        result: NDArray[np.float32] = self._output.numpy()
        return result

    def _release(self) -> None:
        self._session = self._binding = self._input = self._output = None
        self._clock.close()


class OnnxRuntimeCuda(TimingRuntime):
    """ONNX Runtime's CUDA provider, every operator on the GPU, without TF32."""

    name: ClassVar[str] = "onnxruntime-cuda"
    title: ClassVar[str] = "ONNX Runtime on an NVIDIA GPU"
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32",)
    on_gpu: ClassVar[bool] = True
    evidence: ClassVar[str] = "never run: needs an NVIDIA GPU"

    def require(self) -> None:
        """Look for a GPU, then for the provider."""
        require_gpu()
        ort = import_extra("onnxruntime", "onnxruntime", "ONNX Runtime on a GPU")
        available = ort.get_available_providers()
        if CUDA_PROVIDER not in available:
            raise FednasError(
                f"onnxruntime has no {CUDA_PROVIDER} here (it has: {', '.join(available)})",
                hint="pip install onnxruntime-gpu into an environment without the package onnxruntime",
            )

    def version(self) -> str:
        """Of the package."""
        return str(import_extra("onnxruntime", "onnxruntime", "ONNX Runtime on a GPU").__version__)

    def _load(self, order: LoadOrder) -> TimedModel:
        return OnnxRuntimeCudaModel(order.model, order.input_shape, order.seed)


def _options(threads: int, *, fallback: bool = True) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    if not fallback:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


def _session(model: bytes | Path, options: Any, providers: list[Any]) -> Any:
    import onnxruntime as ort

    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    source = model if isinstance(model, bytes) else str(model)
    try:
        session = ort.InferenceSession(source, options, providers=providers)
    except Exception as err:  # the runtime's errors share no base class of their own
        reason = str(err).strip().splitlines()[-1]
        raise FednasError(f"ONNX Runtime cannot load {model_name(model)}: {reason}", hint="check the file") from err
    if session.get_providers()[0] != wanted:
        raise ContractError(f"asked ONNX Runtime for {wanted}, got {session.get_providers()}")
    return session


def _only_names(session: Any) -> tuple[str, str]:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise FednasError(
            f"the model has {len(inputs)} inputs and {len(outputs)} outputs; one of each can be timed",
            hint="time a model with one image input and one output",
        )
    return inputs[0].name, outputs[0].name


def _feed(session: Any, input_shape: tuple[int, ...], seed: int) -> "NDArray[Any]":
    """Random numbers, or random pixels where the model reads uint8."""
    import numpy as np

    if session.get_inputs()[0].type == "tensor(uint8)":
        return np.random.default_rng(seed).integers(0, 256, input_shape, dtype=np.uint8)
    return random_input(input_shape, seed)


def _first_output(session: Any, name: str, feed: "NDArray[Any]") -> "NDArray[np.float32]":
    try:
        result: NDArray[np.float32] = session.run(None, {name: feed})[0]
    except Exception as err:
        wanted = session.get_inputs()[0]
        raise FednasError(
            f"the model does not run on an input of shape {list(feed.shape)}; it takes {wanted.shape} of {wanted.type}",
            hint="give the shape that it was exported for",
        ) from err
    return result


def _layers_of(profile: Path, runs: int) -> tuple[LayerTime, ...]:
    """The nodes of a profile, in their order, each by the middle half of its runs; nodes of one name are one layer."""
    taken: dict[str, list[float]] = defaultdict(list)
    for event in json.loads(profile.read_text("utf-8")):
        name = event.get("name", "")
        if event.get("cat") == "Node" and name.endswith(KERNEL):
            taken[name.removesuffix(KERNEL)].append(event["dur"] / 1e3)
    layers = []
    for name, times in taken.items():
        nodes = len(times) // runs
        layers.append(LayerTime(name, nodes * _middle(times[nodes * COLD_RUNS :])))
    return tuple(layers)


def _middle(times_ms: list[float]) -> float:
    """Mean of the middle half: the profile's clock counts whole microseconds, so that medians would too."""
    ordered, quarter = sorted(times_ms), len(times_ms) // 4
    return statistics.fmean(ordered[quarter : len(ordered) - quarter])
