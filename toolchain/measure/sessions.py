"""The former home of ONNX Runtime's timed model, which is one runtime of several now."""

from fednas.toolchain.measure.runtimes.onnxruntime_session import OnnxRuntimeCpu
from fednas.toolchain.measure.runtimes.onnxruntime_session import OnnxRuntimeModel as TimedModel

__all__ = ["TimedModel", "runtime_version"]


def runtime_version() -> str:
    """Version of ONNX Runtime."""
    return OnnxRuntimeCpu().version()
