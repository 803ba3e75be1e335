"""What every latency model promises: an additive price for each block, and a prediction that states its doubt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from fednas.common import FednasError
from fednas.latency_tables.blocks import BlockSpec
from fednas.latency_tables.crowding import crowded_ms

ModelKind = Literal["measured", "estimate"]
"""``measured`` on the device itself, or an ``estimate`` from datasheet figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which model priced a network: goes into every report and manifest."""

    name: str
    """The file the table was read from, or what the estimate was made of."""
    device: str
    kind: ModelKind
    runtime: str
    precision: str
    batch: int
    """Images a call; the latency is that of the whole call."""
    threads: int
    """Threads of the runtime; 0 where the datasheet's whole processor is meant."""
    sha256: str
    """Of the table file; empty for estimates and tables that were never saved."""


@dataclass(frozen=True, slots=True)
class AdditiveTerms:
    """``intercept_ms + sum(contributions_ms)``, crowded, is the predicted latency of the network."""

    intercept_ms: float
    contributions_ms: tuple[float, ...]
    """One for each block asked about, in that order, each above zero."""
    crowding_per_ms: float = 0.0
    """As `crowded_ms` has it."""

    @property
    def total_ms(self) -> float:
        """Latency of a network made of exactly these blocks."""
        return crowded_ms(self.intercept_ms + sum(self.contributions_ms), self.crowding_per_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyPrediction:
    """A latency with the interval that holds ``coverage`` of all networks."""

    latency_ms: float
    low_ms: float
    high_ms: float
    coverage: float
    """Between 0 and 1."""
    kind: ModelKind
    modelled: float = 0.0
    """Share of the latency that comes from entries that nobody measured: a fit filled them in."""

    @property
    def holds(self) -> str:
        """What the interval is meant to hold, in words."""
        whose = "networks" if self.kind == "measured" else "public measurements of other devices"
        return f"{self.coverage:.0%} of {whose}"

    @property
    def label(self) -> str:
        """On what grounds the latency is said, in words."""
        if self.kind == "estimate":
            return "estimate"
        modelled = f", {self.modelled:.0%} of it from modelled entries" if self.modelled else ""
        return f"predicted{modelled}"


class LatencyModel(Protocol):
    """Prices networks on one device, at one precision, batch and number of threads."""

    @property
    def identity(self) -> ModelIdentity:
        """What this model is."""

    def missing(self, specs: Sequence[BlockSpec]) -> tuple[BlockSpec, ...]:
        """The blocks that the model cannot price, sorted, without duplicates."""

    def additive_terms(self, specs: Sequence[BlockSpec]) -> AdditiveTerms:
        """The price of every block; raises `FednasError` naming the blocks it does not have."""

    def predict(self, specs: Sequence[BlockSpec]) -> LatencyPrediction:
        """Latency of the network made of ``specs``; raises `FednasError` as `additive_terms` does."""


def require_fit(model: LatencyModel, *, precision: str, batch: int, specs: Sequence[BlockSpec]) -> None:
    """Refuse a model that was made for something else than the job at hand.

    Raises `FednasError` naming the precision, the batch or the blocks that do not fit.
    """
    identity = model.identity
    if identity.precision != precision:
        raise FednasError(
            f"latency table {identity.name} is for {identity.precision}, but {precision} is asked for",
            hint=f"give a table of {precision} or ask for --precision {identity.precision}",
        )
    if identity.batch != batch:
        raise FednasError(
            f"latency table {identity.name} is for batch {identity.batch}, but batch {batch} is asked for",
            hint="profile the device at that batch",
        )
    if lacking := model.missing(specs):
        raise missing_blocks(identity.name, lacking)


def missing_blocks(name: str, lacking: Sequence[BlockSpec]) -> FednasError:
    """The error for blocks that a table does not have; an unknown block is never priced as zero."""
    shown = ", ".join(spec.key for spec in lacking[:3])
    more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    noun = "block" if len(lacking) == 1 else "blocks"
    return FednasError(
        f"latency table {name} lacks {len(lacking)} {noun} of this space: {shown}{more}",
        hint="was it profiled for another space? profile the device with --space or --supernet",
    )
