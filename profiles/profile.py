"""What a device is: the frozen facts that export, search and latency estimates need."""

from collections.abc import Mapping
from dataclasses import dataclass

from fednas.common import FednasError

PRECISIONS = ("fp32", "fp16", "int8")
RUNTIMES = ("onnxruntime", "tensorrt")
EVIDENCE = ("stated", "derived", "assumed", "measured")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with the kind of evidence behind it and where it was read."""

    value: float
    evidence: str
    """``stated`` by a source, ``derived`` from stated numbers, ``assumed`` (nobody checked), ``measured``."""
    source: str

    def __post_init__(self) -> None:
        if not self.value > 0:
            raise FednasError(f"a device figure is {self.value}, but it must be above zero")
        if self.evidence not in EVIDENCE:
            raise FednasError(f"evidence {self.evidence!r} is none of {', '.join(EVIDENCE)}")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """One deployable device."""

    name: str
    title: str
    """What a person calls it."""
    family: str
    processor: str
    """What runs the network: ``cpu`` or ``gpu``."""
    runtime: str
    """One of `RUNTIMES`."""
    runtime_version: str
    onnx_opset: int
    """Highest ONNX opset that the runtime reads for certain; what we export."""
    precisions: tuple[str, ...]
    """The precisions the device can run, the default first."""
    memory_bytes: int | None
    """None: depends on the machine (the server GPU's and the local CPU's)."""
    peak_tera_macs_per_s: Mapping[str, Figure]
    """Dense peak for each precision at maximum clock: 10^12 multiply-accumulates a second."""
    dram_gb_per_s: Figure | None
    tensorrt: TensorRT | None = None
    power_modes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    origin: str = "built-in"
    """``built-in`` or the path of the user's file."""
