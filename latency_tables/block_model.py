"""A small physical model of what blocks cost, fitted jointly on whole networks and on blocks measured alone.

A latency is a sum over operators of what a processor does for them: starting a kernel, multiplying, reading and
writing activations, fetching weights. The base coefficients cannot be negative. A second group of features, shrunk
to what the readings support (`fit_additive`), lets the speed of the multiplications depend on the shape: channels
that do not fill a vector register, strides, few pixels.

A block alone differs from the same block in a network by two things: its input and output change their layout, which
a network pays at its borders only, and its weights lie in the cache, which those of a network do not. Both are
columns of the fit, so that readings alone and in a network speak of the same prices.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fednas.latency_tables.block_features import BASE, block_features, inside_features, network_features
from fednas.latency_tables.blocks import BlockSpec
from fednas.latency_tables.crowding import chosen_crowding, crowded_ms, crowdings_for, uncrowded_ms
from fednas.latency_tables.fitting import AdditiveFit, fit_additive
from fednas.latency_tables.measured import border_numbers
from fednas.latency_tables.table import Calibration, TableEntry

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

LEAST_PRICE_MS = 1e-6
FOLDS = 10
"""Parts that are left out in turn."""
WHOLE, ALONE, INSIDE = 0, 1, 2
"""Kinds of rows: a whole network, a block alone, a block as the runtime's own profile of a network has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockModel:
    """Prices of blocks; made by `fit_block_model`."""

    fit: AdditiveFit
    networks: int
    """Whole networks that it was fitted on."""
    network_errors: tuple[float, ...]
    """Log of predicted over measured latency of those networks, each by a fit that did not see it."""
    knows_blocks_alone: bool
    """Were blocks alone among the readings? If not, a block alone counts as one in a network."""
    block_noise: float
    """Relative deviation of single blocks from the model; that of networks where no block was read."""
    crowding_per_ms: float = 0.0
    """What networks cost beyond their sum (`crowded_ms`)."""

    @property
    def coefficients(self) -> Mapping[str, float]:
        """The base coefficients by name."""
        return dict(zip(BASE, self.fit.coefficients_ms.tolist(), strict=False))

    @property
    def calibration(self) -> Calibration:
        """From a block alone to the same block in a network."""
        found, alone = self.coefficients, float(self.knows_blocks_alone)
        return Calibration(
            intercept_ms=found["constant_ms"],
            overhead_ms=alone * found["constant_ms"],
            reorder_ms_per_number=alone * found["ms_per_number_reordered"],
            cold_ms_per_weight=alone * found["ms_per_weight_fetched"],
            crowding_per_ms=self.crowding_per_ms,
            networks=self.networks,
        )

    def prices_ms(self, specs: Sequence[BlockSpec]) -> "Array":
        """What the blocks add to a network, (n,); above zero."""
        import numpy as np

        prices: Array = np.maximum(inside_features(tuple(specs)) @ self.fit.coefficients_ms, LEAST_PRICE_MS)
        return prices

    def alone_ms(self, specs: Sequence[BlockSpec]) -> "Array":
        """What the blocks would read alone, (n,): `contribution_ms` turns it back into the price."""
        import numpy as np

        known, prices_ms = self.calibration, self.prices_ms(specs)
        reordered_ms = known.reorder_ms_per_number * np.array([border_numbers(spec) for spec in specs])
        cold_ms = known.cold_ms_per_weight * np.array([spec.weights for spec in specs])
        alone_ms: Array = np.maximum(prices_ms + known.overhead_ms + reordered_ms - cold_ms, prices_ms / 2)
        return alone_ms

    def predict_ms(self, specs: Sequence[BlockSpec]) -> float:
        """Latency of the network made of these blocks."""
        return crowded_ms(self.coefficients["constant_ms"] + float(self.prices_ms(specs).sum()), self.crowding_per_ms)

    def doubts(self, specs: Sequence[BlockSpec]) -> "Array":
        """Relative standard deviation of each price: what the readings leave open, and how blocks differ from it."""
        import numpy as np

        left_open_ms = self.fit.deviation_ms([inside_features(tuple(specs))])
        doubts: Array = np.hypot(left_open_ms / self.prices_ms(specs), self.block_noise).clip(max=1.0)
        return doubts

    def entries(self, specs: Sequence[BlockSpec]) -> tuple[TableEntry, ...]:
        """The table entries of blocks that were not measured alone."""
        found = zip(specs, self.alone_ms(specs).tolist(), self.doubts(specs).tolist(), strict=True)
        return tuple(_entry(*each) for each in found)


def _entry(spec: BlockSpec, alone_ms: float, doubt: float) -> TableEntry:
    return TableEntry(
        kind=spec.kind,
        in_channels=spec.in_channels,
        mid_channels=spec.mid_channels,
        out_channels=spec.out_channels,
        in_hw=spec.in_hw,
        stride=spec.stride,
        shortcut=spec.shortcut,
        median_ms=alone_ms,
        samples=0,
        spread=doubt,
        origin="modelled",
    )


def fit_block_model(
    blocks: Mapping[BlockSpec, float],
    networks: Sequence[tuple[Sequence[BlockSpec], float]],
    *,
    inside: Sequence[tuple[BlockSpec, float]] = (),
    crowding_per_ms: float | None = None,
    seed: int = 0,
    judged: bool = True,
) -> BlockModel:
    """Fit prices to latencies in ms.

    Args:
        blocks: measured alone, the weights warm; may be empty.
        networks: measured whole; without them nothing ties blocks alone to what they cost in a network.
        inside: blocks as a runtime's per-layer profile of a whole network has them.
        crowding_per_ms: of networks (`crowded_ms`); None: what predicts networks that are left out best, and none
            where ``inside`` holds blocks that are crowded already.
        seed: of the parts that are left out in turn.
        judged: leave parts out in turn for the errors on unseen networks, which takes ten times as long; without,
            ``crowding_per_ms`` must be given.

    Raises `FednasError` for fewer than four readings and for latencies that are no numbers above zero.
    """
    if crowding_per_ms is not None:
        return _fit(blocks, networks, inside, crowding_per_ms, seed, judged=judged)
    latencies_ms = [ms for _, ms in networks]
    straight = bool(inside) or not networks or not all(0 < ms < math.inf for ms in latencies_ms)
    tried = [0.0] if straight else crowdings_for(latencies_ms)
    found = {each: _fit(blocks, networks, inside, each, seed) for each in tried}
    errors = {each: sum(map(abs, model.network_errors)) for each, model in found.items()}
    return found[chosen_crowding(errors)]


def _fit(
    blocks: Mapping[BlockSpec, float],
    networks: Sequence[tuple[Sequence[BlockSpec], float]],
    inside: Sequence[tuple[BlockSpec, float]],
    crowding_per_ms: float,
    seed: int,
    *,
    judged: bool = True,
) -> BlockModel:
    import numpy as np

    sums_ms = [uncrowded_ms(ms, crowding_per_ms) for _, ms in networks]
    rows = (
        network_features(specs for specs, _ in networks),
        block_features(tuple(blocks)),
        inside_features(tuple(spec for spec, _ in inside)),
    )
    counts = {WHOLE: len(networks), ALONE: len(blocks), INSIDE: len(inside)}
    latency_ms = np.array(sums_ms + list(blocks.values()) + [ms for _, ms in inside])
    features = np.concatenate(rows)
    fit = fit_additive(
        (features[:, : len(BASE)], features[:, len(BASE) :]),
        latency_ms,
        nonnegative=(True, False),
        kinds=np.repeat(list(counts), list(counts.values())),
        folds=FOLDS if judged else 0,
        seed=seed,
    )
    single = ALONE if blocks else INSIDE if inside else WHOLE
    return BlockModel(
        fit=fit,
        networks=len(networks),
        network_errors=tuple(
            math.log(crowded_ms(sum_ms * math.exp(error), crowding_per_ms) / crowded_ms(sum_ms, crowding_per_ms))
            for sum_ms, error in zip(sums_ms, fit.left_out, strict=False)
        ),
        crowding_per_ms=crowding_per_ms,
        knows_blocks_alone=bool(blocks),
        block_noise=fit.noise[single],
    )
