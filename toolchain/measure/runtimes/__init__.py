"""Every runtime that can be timed, behind one interface."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fednas.common import FednasError, unknown_name
from fednas.toolchain.measure.runtimes.base import DeviceReading, DeviceTimedModel, TimedModel, TimingRuntime
from fednas.toolchain.measure.runtimes.ncnn_cpu import NcnnCpu
from fednas.toolchain.measure.runtimes.onnxruntime_session import OnnxRuntimeCpu, OnnxRuntimeCuda
from fednas.toolchain.measure.runtimes.openvino_cpu import OpenVinoCpu
from fednas.toolchain.measure.runtimes.tensorrt_api import TensorRTApi
from fednas.toolchain.measure.runtimes.torch_runtimes import TorchCudaGraph, TorchEager, TorchEagerCuda
from fednas.toolchain.measure.runtimes.trtexec import Trtexec

__all__ = [
    "DEFAULT_RUNTIME",
    "DeviceReading",
    "DeviceTimedModel",
    "RuntimeStatus",
    "TimedModel",
    "TimingRuntime",
    "find_runtime",
    "runtime_names",
    "runtime_status",
]

DEFAULT_RUNTIME = "onnxruntime"
_RUNTIMES: Mapping[str, TimingRuntime] = MappingProxyType(
    {
        runtime.name: runtime
        for runtime in (
            OnnxRuntimeCpu(),
            OnnxRuntimeCuda(),
            OpenVinoCpu(),
            NcnnCpu(),
            TensorRTApi(),
            Trtexec(),
            TorchEager(),
            TorchEagerCuda(),
            TorchCudaGraph(),
        )
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeStatus:
    """Whether a runtime can time models on this machine."""

    name: str
    title: str
    precisions: tuple[str, ...]
    why_not: str
    """Empty if it can run."""
    evidence: str
    """What of our code for it was run for real."""

    @property
    def can_run(self) -> bool:
        """Whether nothing is missing."""
        return not self.why_not


def runtime_names() -> tuple[str, ...]:
    """What ``--runtime`` takes."""
    return tuple(_RUNTIMES)


def find_runtime(name: str) -> TimingRuntime:
    """The runtime of that name, whether it can run here or not; raises `FednasError` with the nearest right ones."""
    if name not in _RUNTIMES:
        raise unknown_name("runtime", name, _RUNTIMES)
    return _RUNTIMES[name]


def runtime_status() -> tuple[RuntimeStatus, ...]:
    """Every runtime and why it cannot run here, if so; cheap."""
    return tuple(_status(runtime) for runtime in _RUNTIMES.values())


def _status(runtime: TimingRuntime) -> RuntimeStatus:
    why_not = ""
    try:
        runtime.require()
    except FednasError as err:
        why_not = str(err)
    return RuntimeStatus(
        name=runtime.name,
        title=runtime.title,
        precisions=runtime.precisions,
        why_not=why_not,
        evidence=runtime.evidence,
    )
