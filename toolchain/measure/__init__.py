"""Measuring on this machine: blocks and whole networks under ONNX Runtime, and what the readings are worth."""

from fednas.toolchain.measure.here import require_this_machine
from fednas.toolchain.measure.model_file import MeasuredLatency, measure_onnx_file
from fednas.toolchain.measure.profiling import profile_space

__all__ = ["MeasuredLatency", "measure_onnx_file", "profile_space", "require_this_machine"]
