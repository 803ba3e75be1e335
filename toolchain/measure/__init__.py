"""Measuring on this machine: blocks and whole networks under ONNX Runtime, and what the readings are worth."""

from fednas.toolchain.measure.changed_clocks import clocks_as_asked
from fednas.toolchain.measure.environment import read_machine
from fednas.toolchain.measure.here import is_this_machine, require_this_machine
from fednas.toolchain.measure.model_file import MeasuredLatency, measure_onnx_file, measure_onnx_files, neighbours_in
from fednas.toolchain.measure.profiling import profile_space

__all__ = [
    "MeasuredLatency",
    "clocks_as_asked",
    "is_this_machine",
    "measure_onnx_file",
    "measure_onnx_files",
    "neighbours_in",
    "profile_space",
    "read_machine",
    "require_this_machine",
]
