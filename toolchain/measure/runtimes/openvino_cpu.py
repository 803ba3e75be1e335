"""OpenVINO on the processor."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fednas.common import FednasError
from fednas.export import Precision
from fednas.export.openvino_file import EXTRA, compiled_on_cpu, import_openvino, openvino_version
from fednas.toolchain.measure.runtimes.base import (
    LayerTime,
    LoadOrder,
    TimedModel,
    TimingRuntime,
    WallClockModel,
    random_input,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class OpenVinoModel(WallClockModel):
    """A compiled network of fixed shape with its input in place."""

    def __init__(self, model: bytes | Path, input_shape: tuple[int, ...], threads: int, seed: int) -> None:
        self._compiled: Any = compiled_on_cpu(model, threads=threads, input_shape=input_shape)
        self._request: Any = self._compiled.create_infer_request()
        self._request.set_input_tensor(import_openvino().Tensor(random_input(input_shape, seed)))
        self._request.infer()
        # Without arguments the request takes the tensor that it holds; results are fetched apart.
        super().__init__(self._run_request)

    def _run_request(self) -> None:
        # start and wait, because infer() also builds a dictionary of copied results.
        self._request.start_async()
        self._request.wait()

    @property
    def threads(self) -> int:
        """As the compiled network says."""
        return int(self._compiled.get_property("INFERENCE_NUM_THREADS"))

    def _last_output(self) -> "NDArray[np.float32]":
        import numpy as np

        return np.array(self._request.get_output_tensor(0).data, dtype=np.float32)

    def _release(self) -> None:
        super()._release()
        self._request = self._compiled = None


class OpenVinoCpu(TimingRuntime):
    """OpenVINO's processor plugin: one stream, a number of threads, fp32 or int8, never bf16, no cache."""

    name: ClassVar[str] = "openvino"
    title: ClassVar[str] = "OpenVINO on the processor"
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "int8")
    gives_layers: ClassVar[bool] = True
    evidence: ClassVar[str] = "run on x86-64 by the tests"

    def require(self) -> None:
        """Look for the package."""
        if importlib.util.find_spec("openvino") is None:
            raise FednasError("openvino is not installed", hint=f"pip install 'fednas-export[{EXTRA}]'")

    def version(self) -> str:
        """Of the package."""
        return openvino_version()

    def _load(self, order: LoadOrder) -> TimedModel:
        return OpenVinoModel(order.model, order.input_shape, order.threads, order.seed)

    def _layers(self, order: LoadOrder, runs: int) -> tuple[LayerTime, ...]:
        """By its own means over all runs, the first included, in whole microseconds."""
        compiled = compiled_on_cpu(order.model, threads=order.threads, input_shape=order.input_shape, profiled=True)
        request = compiled.create_infer_request()
        request.set_input_tensor(import_openvino().Tensor(random_input(order.input_shape, order.seed)))
        for _ in range(runs):
            request.infer()
        return tuple(
            LayerTime(layer.node_name, layer.real_time.total_seconds() * 1e3)
            for layer in request.get_profiling_info()
            if layer.real_time
        )
