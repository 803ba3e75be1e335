"""A small physical model of what blocks cost, fitted jointly on whole networks and on blocks measured alone.

A latency is a sum over operators of what a processor does for them: starting a kernel, multiplying, reading and
writing activations, fetching weights. The base coefficients cannot be negative. A second group of features, shrunk
to what the readings support (`fit_additive`), lets the speed of the multiplications depend on the shape: channels
that do not fill a vector register, strides, few pixels.

A block alone differs from the same block in a network by two things: its input and output change their layout, which
a network pays at its borders only, and its weights lie in the cache, which those of a network do not. Both are
columns of the fit, so that readings alone and in a network speak of the same prices.
"""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fednas.latency_tables.blocks import BlockKind, BlockSpec, Shortcut
from fednas.latency_tables.crowding import chosen_crowding, crowded_ms, crowdings_for, uncrowded_ms
from fednas.latency_tables.fitting import AdditiveFit, fit_additive
from fednas.latency_tables.measured import border_numbers
from fednas.latency_tables.table import Calibration, TableEntry

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

LANES = 16
"""Channels that a runtime pads to: fp32 numbers in an AVX-512 register. Where it is less, the fit finds no cost."""
BASE = (
    "constant_ms",
    "ms_per_kernel",
    "ms_per_mac_3x3",
    "ms_per_mac_1x1",
    "ms_per_number_written",
    "ms_per_number_read",
    "ms_per_weight_fetched",
    "ms_per_edge_mac",
    "ms_per_padded_mac",
    "ms_per_number_pooled",
    "ms_per_number_reordered",
)
"""Names of the base coefficients."""
_CONSTANT, _WEIGHT, _REORDER = (
    BASE.index(name) for name in ("constant_ms", "ms_per_weight_fetched", "ms_per_number_reordered")
)
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

    def price_ms(self, spec: BlockSpec) -> float:
        """What the block adds to a network; above zero."""
        return max(float(_inside(spec) @ self.fit.coefficients_ms), LEAST_PRICE_MS)

    def alone_ms(self, spec: BlockSpec) -> float:
        """What the block would read alone: `contribution_ms` turns it back into the price."""
        return self.all_alone_ms([spec])[spec]

    def all_alone_ms(self, specs: Iterable[BlockSpec]) -> dict[BlockSpec, float]:
        """The same for many blocks."""
        known = self.calibration
        return {spec: _alone_ms(spec, self.price_ms(spec), known) for spec in specs}

    def predict_ms(self, specs: Sequence[BlockSpec]) -> float:
        """Latency of the network made of these blocks."""
        return crowded_ms(self.coefficients["constant_ms"] + sum(map(self.price_ms, specs)), self.crowding_per_ms)

    def doubt(self, spec: BlockSpec) -> float:
        """Relative standard deviation of a price: what the readings leave open, and how blocks differ from it."""
        left_open_ms = float(self.fit.deviation_ms([_inside(spec)[None, :]])[0])
        return min(1.0, math.hypot(left_open_ms / self.price_ms(spec), self.block_noise))

    def entry(self, spec: BlockSpec) -> TableEntry:
        """The table entry of a block that was not measured alone."""
        alone_ms, doubt = self.alone_ms(spec), self.doubt(spec)
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
    rows = [network_features(specs) for specs, _ in networks]
    rows += [block_features(spec) for spec in blocks] + [_inside(spec) for spec, _ in inside]
    counts = {WHOLE: len(networks), ALONE: len(blocks), INSIDE: len(inside)}
    latency_ms = np.array(sums_ms + list(blocks.values()) + [ms for _, ms in inside])
    features = np.array(rows).reshape(len(rows), -1)
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


def _alone_ms(spec: BlockSpec, price_ms: float, known: Calibration) -> float:
    reordered_ms = known.reorder_ms_per_number * border_numbers(spec)
    alone_ms = price_ms + known.overhead_ms + reordered_ms - known.cold_ms_per_weight * spec.weights
    return max(alone_ms, price_ms / 2)


def network_features(specs: Sequence[BlockSpec]) -> "Array":
    """What the model's coefficients multiply for a whole network, (p,)."""
    import numpy as np

    features: Array = np.sum([_inside(spec) for spec in specs], axis=0)
    features[_CONSTANT] = 1.0
    return features


def block_features(spec: BlockSpec) -> "Array":
    """What the model's coefficients multiply for a block alone, (p,)."""
    features = _inside(spec).copy()
    features[_CONSTANT], features[_WEIGHT], features[_REORDER] = 1.0, 0.0, border_numbers(spec)
    return features


@functools.lru_cache(maxsize=20_000)
def _inside(spec: BlockSpec) -> "Array":
    """Features of a block in a network: the base ones, then those that refine them by shape. Kept, so not to change."""
    import numpy as np

    convolutions = _convolutions(spec)
    # The addition of the shortcut is a kernel that the MACs do not show; pooling reads what its convolution does not.
    added = spec.out_channels * spec.out_hw**2 if spec.kind is BlockKind.RESIDUAL else 0
    read = sum(c.in_channels * (c.side * c.stride) ** 2 for c in convolutions)
    written = sum(c.out_channels * c.side**2 for c in convolutions) + added
    residual = convolutions if spec.kind is BlockKind.RESIDUAL else []
    base = (
        0.0,
        spec.kernels,
        sum(c.macs for c in convolutions if c.taps > 1),
        sum(c.macs for c in convolutions if c.taps == 1),
        written,
        read,
        spec.weights,
        sum(c.macs / c.side for c in convolutions if c.taps > 1),
        sum(c.padded_macs for c in residual),
        _pooled(spec),
        0.0,
    )
    shapes = map(sum, zip(*(c.shape() for c in residual), strict=True)) if residual else [0.0] * SHAPES
    stem = base[2] if spec.kind is BlockKind.STEM else 0.0
    features = np.array([*base, stem, *shapes], dtype=float)
    features.flags.writeable = False
    return features


@dataclass(frozen=True, slots=True)
class _Convolution:
    """One operator that multiplies; a classifier is a convolution of one pixel."""

    taps: int
    in_channels: int
    out_channels: int
    side: int
    """Of its output, in pixels."""
    stride: int = 1

    @property
    def macs(self) -> int:
        return self.taps * self.in_channels * self.out_channels * self.side**2

    @property
    def padded_macs(self) -> float:
        """Multiplications by nothing, where the output channels do not fill the last register."""
        return self.macs * (-(-self.out_channels // LANES) * LANES / self.out_channels - 1)

    def shape(self) -> tuple[float, ...]:
        """What the speed of the multiplications may depend on."""
        macs, small = self.macs, self.taps == 1
        ragged_in, ragged_out = self.in_channels % LANES > 0, self.out_channels % LANES > 0
        return (
            macs * ragged_in,
            macs * ragged_in / self.in_channels,
            macs * ragged_out,
            macs * ragged_out / self.out_channels,
            macs / self.in_channels,
            macs / self.out_channels,
            macs * small / self.in_channels,
            macs * small / self.out_channels,
            macs * (self.stride > 1),
            macs / self.side**2,
        )


SHAPES = 10
"""Numbers that `_Convolution.shape` gives."""


def _convolutions(spec: BlockSpec) -> list[_Convolution]:
    if spec.kind is BlockKind.STEM:
        return [_Convolution(9, spec.in_channels, spec.out_channels, spec.out_hw, spec.stride)]
    if spec.kind is BlockKind.HEAD:
        return [_Convolution(1, spec.in_channels, spec.out_channels, 1)]
    found = [
        _Convolution(9, spec.in_channels, spec.mid_channels, spec.out_hw, spec.stride),
        _Convolution(9, spec.mid_channels, spec.out_channels, spec.out_hw),
    ]
    if spec.shortcut is Shortcut.PROJECTION:
        found.append(_Convolution(1, spec.in_channels, spec.out_channels, spec.out_hw))
    return found


def _pooled(spec: BlockSpec) -> int:
    """Numbers that pooling reads."""
    pools = spec.kind is BlockKind.HEAD or (spec.shortcut is Shortcut.PROJECTION and spec.stride > 1)
    return spec.in_channels * spec.in_hw**2 if pools else 0
