"""Which kinds of block carry a table's error: each network's error beside what its kinds of block cost."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from fednas.latency_tables import BlockKind, BlockSpec, LatencyTable, NetworkReading, contribution_ms, uncrowded_ms

KINDS = ("stem", "identity block", "projection block", "head")
"""Residual blocks are told apart by their shortcut: a projection is another convolution, and often a stride."""
LEAST_NETWORKS = 4
LEAST_SPREAD = 1e-4
"""Of the shares of a kind, below which nothing can be laid at its door."""


@dataclass(frozen=True, slots=True)
class NetworkError:
    """A whole network: how wrong the table is about it, and where its time goes."""

    network: NetworkReading
    error: float
    """Predicted over measured, less one."""
    shares: tuple[float, ...]
    """Of the predicted latency, one for each of `KINDS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindError:
    """How the error moves with one kind of block."""

    kind: str
    entries: int
    share: float
    """Of the networks' predicted latency, on average."""
    slope: float
    """Error over share of the latency in this kind; least squares."""
    rise: float
    """By how much the error rises along that line from the network with the least of the kind to that with the most."""
    explained: float
    """Share of the errors' variance that goes with it (r squared); 0 where the share hardly varies."""


def kind_of(spec: BlockSpec) -> str:
    """One of `KINDS`."""
    if spec.kind is BlockKind.RESIDUAL:
        return f"{spec.shortcut.value} block"
    return spec.kind.value


def network_errors(table: LatencyTable) -> tuple[NetworkError, ...]:
    """Of every network that the table keeps."""
    prices = [contribution_ms(entry.spec, entry.alone_ms, table.calibration) for entry in table.entries]
    kinds = [KINDS.index(kind_of(entry.spec)) for entry in table.entries]
    return tuple(_error(network, prices, kinds, table.calibration.crowding_per_ms) for network in table.networks)


def _error(
    network: NetworkReading, prices: Sequence[float], kinds: Sequence[int], crowding_per_ms: float
) -> NetworkError:
    sums = [0.0] * len(KINDS)
    sum_ms = uncrowded_ms(network.predicted_ms, crowding_per_ms)
    for place in network.blocks:
        sums[kinds[place]] += prices[place]
    shares = tuple(part / sum_ms for part in sums)
    return NetworkError(network, network.predicted_ms / network.median_ms - 1, shares)


def kind_errors(table: LatencyTable, errors: Sequence[NetworkError]) -> tuple[KindError, ...]:
    """One a kind that the table prices, what explains most first; none from fewer than four networks."""
    if len(errors) < LEAST_NETWORKS:
        return ()
    counts = {kind: sum(kind_of(entry.spec) == kind for entry in table.entries) for kind in KINDS}
    found = [_kind_error(kind, counts[kind], errors) for kind in KINDS if counts[kind]]
    return tuple(sorted(found, key=lambda each: -each.explained))


def _kind_error(kind: str, entries: int, errors: Sequence[NetworkError]) -> KindError:
    shares = [each.shares[KINDS.index(kind)] for each in errors]
    values = [each.error for each in errors]
    slope = explained = 0.0
    if statistics.pstdev(shares) > LEAST_SPREAD and statistics.pstdev(values) > 0:
        slope = statistics.linear_regression(shares, values).slope
        explained = statistics.correlation(shares, values) ** 2
    return KindError(
        kind=kind,
        entries=entries,
        share=statistics.fmean(shares),
        slope=slope,
        rise=slope * (max(shares) - min(shares)),
        explained=explained,
    )
