"""What is known about one TensorRT engine, built here or on a board, in the words of the manifest."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Self

import msgspec

from fednas.common import ContractError
from fednas.export.board.inspector import EngineLayer, engine_faults, multiplies
from fednas.export.evidence import ArtefactEvidence, Precision
from fednas.export.records import Record

CONFIDENCE = 0.95


class EngineLayers(Record, frozen=True, kw_only=True):
    """Layers of an engine by the precision in which they run; one may hold several of the network, fused."""

    int8: int
    fp16: int
    fp32: int
    unknown: int
    """The inspector does not say."""
    multiplying: dict[str, int] = msgspec.field(default_factory=dict)
    """Of these, the ones that hold a convolution or a matrix product, counted by the same words."""

    @classmethod
    def of(cls, layers: Iterable[EngineLayer]) -> Self:
        """Their counts."""
        found = tuple(layers)
        counts = Counter(layer.precision for layer in found)
        heavy = Counter(layer.precision for layer in found if multiplies(layer))
        return cls(
            int8=counts["int8"],
            fp16=counts["fp16"],
            fp32=counts["fp32"],
            unknown=counts["unknown"],
            multiplying=dict(sorted(heavy.items())),
        )

    @property
    def known(self) -> int:
        """Layers whose precision the inspector says."""
        return self.int8 + self.fp16 + self.fp32

    def __str__(self) -> str:
        shown = (("int8", self.int8), ("fp16", self.fp16), ("fp32", self.fp32), ("unknown", self.unknown))
        text = ", ".join(f"{count} {name}" for name, count in shown if count) or "none"
        heavy = ", ".join(f"{count} {name}" for name, count in self.multiplying.items())
        return f"{text} (of these multiply: {heavy})" if heavy else text


class EngineLatency(Record, frozen=True, kw_only=True):
    """Latency of one batch by the device's own clock, without copies."""

    batch: int
    median_ms: float
    low_ms: float
    high_ms: float
    """``low_ms`` to ``high_ms`` holds the median with 95 % confidence, if the runs are independent."""
    p10_ms: float
    p90_ms: float
    p99_ms: float
    runs: int
    clock: str
    """What was read, and how runs were enqueued."""

    @classmethod
    def of(cls, samples_ms: Sequence[float], *, batch: int, clock: str) -> Self:
        """Of at least one run; the interval is that of order statistics, which assumes no distribution."""
        import numpy as np
        from scipy.stats import binom

        if not samples_ms:
            raise ContractError("a latency needs samples")
        ordered = np.sort(np.asarray(samples_ms, np.float64))
        below = max(int(binom.ppf((1 - CONFIDENCE) / 2, len(ordered), 0.5)) - 1, 0)
        p10, median, p90, p99 = (float(value) for value in np.percentile(ordered, (10, 50, 90, 99)))
        return cls(
            batch=batch,
            median_ms=median,
            low_ms=float(ordered[below]),
            high_ms=float(ordered[len(ordered) - 1 - below]),
            p10_ms=p10,
            p90_ms=p90,
            p99_ms=p99,
            runs=len(ordered),
            clock=clock,
        )


class EngineRecord(Record, frozen=True, kw_only=True):
    """One engine and the evidence for it."""

    model: str
    """The ONNX file that it was built from."""
    precision: Precision
    """What the file holds and so what was asked."""
    tensorrt_version: str
    strongly_typed: bool
    sha256: str
    size_bytes: int
    build_seconds: float
    evidence: ArtefactEvidence
    latency: EngineLatency | None
    """Null: measuring was not wanted."""
    layers: EngineLayers
    faults: tuple[str, ...]
    """Why its layers are not in the precision asked for; empty if they are, or if nobody can tell."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it may not be shipped as verified; empty if it may."""
        return (*self.evidence.reasons, *self.faults)


def layer_faults(
    layers: Sequence[EngineLayer], asked: Precision, kept: Collection[str] = (), *, strongly_typed: bool = False
) -> tuple[str, ...]:
    """As `engine_faults`."""
    return tuple(engine_faults(list(layers), asked, sorted(kept), strongly_typed))
