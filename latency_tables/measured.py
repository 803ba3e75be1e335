"""A latency table as a latency model: calibrated block sums with the interval of its held-out networks."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from fednas.common import FednasError, read_bytes
from fednas.latency_tables.blocks import BlockKind, BlockSpec
from fednas.latency_tables.crowding import crowded_ms
from fednas.latency_tables.model import AdditiveTerms, LatencyPrediction, ModelIdentity, missing_blocks
from fednas.latency_tables.table import Calibration, LatencyTable, table_from_json

LEAST_SHARE = 0.05
"""Of its isolated latency that a block keeps in a network, however much overhead the calibration takes off."""


def border_numbers(spec: BlockSpec) -> int:
    """Numbers that enter and leave the block in the layout of the runtime.

    The network's own input and output do not count: there the layout changes in the whole network too.
    """
    entering = 0 if spec.kind is BlockKind.STEM else spec.in_channels * spec.in_hw**2
    leaving = 0 if spec.kind is BlockKind.HEAD else spec.out_channels * spec.out_hw**2
    return entering + leaving


def contribution_ms(spec: BlockSpec, median_ms: float, calibration: Calibration) -> float:
    """What a block measured alone at ``median_ms`` adds to a network; above zero."""
    in_context = (
        calibration.scale * median_ms
        - calibration.overhead_ms
        - calibration.reorder_ms_per_number * border_numbers(spec)
        + calibration.cold_ms_per_weight * spec.weights
    )
    return max(in_context, LEAST_SHARE * median_ms)


def network_ms(contributions_ms: Iterable[float], calibration: Calibration) -> float:
    """Latency of the network whose blocks contribute these."""
    return crowded_ms(calibration.intercept_ms + sum(contributions_ms), calibration.crowding_per_ms)


class MeasuredLatencyModel:
    """`LatencyModel` over a `LatencyTable`."""

    def __init__(self, table: LatencyTable, *, name: str = "", sha256: str = "") -> None:
        """``name`` and ``sha256`` identify the file that the table was read from, if any."""
        self.table = table
        self._prices = {e.spec: contribution_ms(e.spec, e.alone_ms, table.calibration) for e in table.entries}
        self._not_measured = {entry.spec for entry in table.entries if entry.origin != "measured"}
        self._identity = ModelIdentity(
            name=name or f"{table.device} of {table.date}",
            device=table.device,
            kind="measured",
            runtime=table.runtime,
            precision=table.precision,
            batch=table.batch,
            threads=table.threads,
            sha256=sha256,
        )

    @property
    def identity(self) -> ModelIdentity:
        """What this model is."""
        return self._identity

    def missing(self, specs: Sequence[BlockSpec]) -> tuple[BlockSpec, ...]:
        """The blocks that the table does not have."""
        return tuple(sorted({spec for spec in specs if spec not in self._prices}))

    def additive_terms(self, specs: Sequence[BlockSpec]) -> AdditiveTerms:
        """The calibrated price of every block; raises `FednasError` for blocks not in the table."""
        if lacking := self.missing(specs):
            raise missing_blocks(self.identity.name, lacking)
        known = self.table.calibration
        return AdditiveTerms(known.intercept_ms, tuple(self._prices[s] for s in specs), known.crowding_per_ms)

    def predict(self, specs: Sequence[BlockSpec]) -> LatencyPrediction:
        """Latency with its interval; raises `FednasError` if the table has none."""
        interval = self.table.interval
        if interval is None:
            raise FednasError(
                f"latency table {self.identity.name} holds no error of its own, so it cannot predict",
                hint="profile the device again: calibration and held-out networks are part of it",
            )
        terms = self.additive_terms(specs)
        latency_ms = terms.total_ms
        modelled_ms = sum(self._prices[spec] for spec in specs if spec in self._not_measured)
        return LatencyPrediction(
            latency_ms=latency_ms,
            low_ms=latency_ms / interval.factor,
            high_ms=latency_ms * interval.factor,
            coverage=interval.coverage,
            kind="measured",
            modelled=modelled_ms / (terms.intercept_ms + sum(terms.contributions_ms)),
        )


def load_latency_model(path: Path) -> MeasuredLatencyModel:
    """Read a table file as a model; raises `FednasError` as `load_table` does."""
    data = read_bytes(path, "latency table")
    table = table_from_json(data, f"latency table {path}")
    return MeasuredLatencyModel(table, name=path.name, sha256=hashlib.sha256(data).hexdigest())
