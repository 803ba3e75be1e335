"""What a shipped folder says about speed, and on what grounds."""

from typing import Literal

from fednas.common import ContractError
from fednas.export.evidence import Precision
from fednas.export.records import Record


class Table(Record, frozen=True, kw_only=True):
    """The latency table that a prediction rests on."""

    name: str
    sha256: str | None
    """Null for an estimate, which has no file."""
    kind: Literal["measured", "estimate"]
    device: str = ""
    """Whose latencies it states; empty in folders of versions that did not say."""
    runtime: str = ""
    date: str = ""
    """When it was measured; empty for an estimate."""
    power_mode: str | None = None
    """In which it was measured; null: not readable there, or an estimate, which assumes the highest clocks."""


class PredictedLatency(Record, frozen=True, kw_only=True):
    """Latency of one image as the table predicts it."""

    latency_ms: float
    low_ms: float
    high_ms: float
    coverage: float
    """Share of networks whose true latency the interval is meant to hold; of public measurements for an estimate."""
    precision: Precision = "fp32"
    """What it was predicted for."""
    modelled: float = 0.0
    """Share of the latency from entries of the table that nobody measured: a fit filled them in."""


class MeasuredLatency(Record, frozen=True, kw_only=True):
    """Latency of one image of the exported file, measured on the machine that exported it."""

    state: Literal["in turn", "alone"] = "alone"
    """``in turn`` with calls of other networks, as latency tables are read, or ``alone``, call after call."""
    alone_ms: float | None = None
    """Median of calls one after another, where the state is another: the caches then hold the weights."""
    median_ms: float
    low_ms: float
    high_ms: float
    """``low_ms`` to ``high_ms`` holds the median with 95 % confidence."""
    p10_ms: float
    """10 % of the runs were faster."""
    p90_ms: float
    runs: int
    threads: int
    runtime: str
    machine: str
    """Fingerprint of the machine."""
    power_mode: str | None = None
    """Null: the machine does not say."""


class Latency(Record, frozen=True, kw_only=True):
    """What is known about speed, and on what grounds."""

    table: Table | None
    predicted: PredictedLatency | None
    measured: MeasuredLatency | None
    not_measured_because: str
    """Empty if it was measured."""

    def __post_init__(self) -> None:
        if (self.measured is None) != bool(self.not_measured_because):
            raise ContractError("a latency is either measured or says why not")
        if (self.predicted is None) != (self.table is None):
            raise ContractError("a predicted latency and its table come together")

    @property
    def kind(self) -> Literal["measured", "estimate", "none"]:
        """On what the prediction rests."""
        return self.table.kind if self.table else "none"
