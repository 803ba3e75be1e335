"""What a device is: the frozen facts that export, search and latency estimates need."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fednas.common import FednasError

PRECISIONS = ("fp32", "fp16", "int8")
RUNTIMES = ("onnxruntime", "openvino", "ncnn", "tensorrt")
PROCESSORS = ("cpu", "gpu")
EVIDENCE = ("stated", "derived", "assumed", "measured")
"""``stated`` by a source, ``derived`` from stated numbers, ``assumed`` (nobody checked), ``measured``."""
OPSETS = range(7, 27)
"""The ONNX opsets that some supported runtime reads."""

_NAME = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with the kind of evidence behind it and where it was read."""

    value: float
    evidence: str
    """One of `EVIDENCE`."""
    source: str

    def __post_init__(self) -> None:
        if not 0 < self.value < math.inf:
            raise FednasError(f"value is {self.value}; it must be a number above zero")
        check_evidence(self.evidence, self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRT:
    """What a board's TensorRT is and takes."""

    version: str
    """Such as ``10.3``."""
    strong_typing: bool
    """True where precision lives in the ONNX file and ``--stronglyTyped`` exists or is implied (10.x, 11.x)."""
    compute_capability: str
    """Of the GPU, such as ``8.7``."""
    software: str
    """The software that carries it, such as ``JetPack 6.2``."""
    evidence: str = "stated"
    """One of `EVIDENCE`, for the version."""
    source: str = "not given"

    def __post_init__(self) -> None:
        check_evidence(self.evidence, self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """One deployable device."""

    name: str
    """Lower-case letters, digits, dots and dashes: it names folders too."""
    title: str
    """What a person calls it."""
    family: str
    processor: str
    """What runs the network: one of `PROCESSORS`."""
    runtime: str
    """One of `RUNTIMES`."""
    runtime_version: str
    onnx_opset: int
    """Highest ONNX opset that the runtime reads for certain; what we export."""
    precisions: tuple[str, ...]
    """The precisions the device can run, the default first."""
    memory_bytes: int | None
    """Memory the network can use; None: depends on the machine, or on no record."""
    peak_tera_macs_per_s: Mapping[str, Figure]
    """Dense peak of the whole processor for each precision at maximum clock: 10^12 multiply-accumulates a
    second. A precision without a figure runs, but nobody stated how fast."""
    dram_gb_per_s: Figure | None
    """Theoretical memory bandwidth, 10^9 bytes a second; None: not known."""
    memory_source: str = ""
    """Where ``memory_bytes`` was read."""
    tensorrt: TensorRT | None = None
    power_modes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    origin: str = "built-in"
    """``built-in`` or the path of the user's file."""

    def __post_init__(self) -> None:
        for name in (self.name, *self.aliases):
            if not _NAME.fullmatch(name):
                raise self._bad("name" if name == self.name else "aliases", name, "lower-case words joined by dashes")
        self._check_choice("processor", self.processor, PROCESSORS)
        self._check_choice("runtime", self.runtime, RUNTIMES)
        if not self.precisions or len(set(self.precisions)) != len(self.precisions):
            raise self._bad("precisions", list(self.precisions), "one or more precisions, each once")
        for precision in self.precisions:
            self._check_choice("precisions", precision, PRECISIONS)
        for precision in self.peak_tera_macs_per_s:
            self._check_choice("peak_tera_macs_per_s", precision, self.precisions)
        if self.onnx_opset not in OPSETS:
            raise self._bad("onnx_opset", self.onnx_opset, f"{OPSETS.start} to {OPSETS.stop - 1}")
        if (self.runtime == "tensorrt") != (self.tensorrt is not None):
            raise self._bad("runtime", self.runtime, "tensorrt with a tensorrt table, or another runtime without")
        if self.memory_bytes is not None and self.memory_bytes <= 0:
            raise self._bad("memory_bytes", self.memory_bytes, "above zero")

    def _check_choice(self, key: str, value: str, allowed: tuple[str, ...]) -> None:
        if value not in allowed:
            raise self._bad(key, value, f"one of {', '.join(allowed)}")

    def _bad(self, key: str, value: object, allowed: str) -> FednasError:
        return FednasError(f"key {key} is {value!r}; it must be {allowed}")


def check_evidence(evidence: str, source: str) -> None:
    """Raise `FednasError` unless ``evidence`` is one of `EVIDENCE` and ``source`` says something."""
    if evidence not in EVIDENCE:
        raise FednasError(f"evidence is {evidence!r}; it must be one of {', '.join(EVIDENCE)}")
    if not source.strip():
        raise FednasError("source is empty; it must say where the figure was read")
