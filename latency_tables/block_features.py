"""The amounts of work in a block that a block model prices: kernels, multiplications, numbers moved, by shape."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fednas.latency_tables.blocks import BlockKind, BlockSpec, Shortcut
from fednas.latency_tables.measured import border_numbers

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
"""Names of the base coefficients, those of the first features; the others refine them by shape."""
_CONSTANT, _WEIGHT, _REORDER = (
    BASE.index(name) for name in ("constant_ms", "ms_per_weight_fetched", "ms_per_number_reordered")
)


def network_features(networks: Iterable[Sequence[BlockSpec]]) -> "Array":
    """What the model's coefficients multiply for whole networks, (n, p)."""
    import numpy as np

    networks = list(networks)
    blocks = inside_features(tuple(spec for specs in networks for spec in specs))
    ends = np.cumsum([len(specs) for specs in networks], dtype=int)
    features = np.zeros((len(networks), blocks.shape[1]))
    for row, (specs, end) in enumerate(zip(networks, ends, strict=True)):
        features[row] = blocks[end - len(specs) : end].sum(axis=0)
    features[:, _CONSTANT] = 1.0
    return features


@functools.lru_cache(maxsize=4)
def block_features(specs: tuple[BlockSpec, ...]) -> "Array":
    """What the model's coefficients multiply for blocks alone, (n, p). Kept, as those of `inside_features`."""
    features = inside_features(specs).copy()
    features[:, _CONSTANT], features[:, _WEIGHT] = 1.0, 0.0
    features[:, _REORDER] = [border_numbers(spec) for spec in specs]
    features.flags.writeable = False
    return features


@functools.lru_cache(maxsize=16)
def inside_features(specs: tuple[BlockSpec, ...]) -> "Array":
    """What they multiply for blocks in a network, (n, p). Kept, since fits ask for the same blocks again."""
    import numpy as np

    sizes = [(s.in_channels, s.mid_channels, s.out_channels, s.in_hw, s.out_hw, s.stride) for s in specs]
    entering, middle, leaving, side, out_side, stride = np.array(sizes, dtype=float).reshape(-1, 6).T
    residual, stem, head, projection = (
        np.array(flags, dtype=bool)
        for flags in (
            [spec.kind is BlockKind.RESIDUAL for spec in specs],
            [spec.kind is BlockKind.STEM for spec in specs],
            [spec.kind is BlockKind.HEAD for spec in specs],
            [spec.shortcut is Shortcut.PROJECTION for spec in specs],
        )
    )
    first = _Convolutions(9, ~head, entering, np.where(stem, leaving, middle), out_side, stride)
    second = _Convolutions(9, residual, middle, leaving, out_side)
    small = _Convolutions(1, head | projection, entering, leaving, out_side)
    every = (first, second, small)
    # The addition of the shortcut is a kernel that the MACs do not show; pooling reads what its convolution does not.
    pooled = head | (projection & (stride > 1))
    base = (
        np.zeros(len(specs)),
        np.array([spec.kernels for spec in specs], dtype=float),
        first.macs + second.macs,
        small.macs,
        sum(c.written for c in every) + residual * leaving * out_side**2,
        sum(c.read for c in every),
        np.array([spec.weights for spec in specs], dtype=float),
        (first.macs + second.macs) / out_side,
        residual * sum(c.padded_macs for c in every),
        pooled * entering * side**2,
        np.zeros(len(specs)),
    )
    shapes = residual * sum(c.shapes() for c in every)
    features = np.column_stack([*base, stem * first.macs, *shapes])
    features.flags.writeable = False
    return features


@dataclass(frozen=True, slots=True)
class _Convolutions:
    """One operator that multiplies, of each block, all of shape (n,); a classifier is a convolution of one pixel."""

    taps: int
    there: "Array"
    """Whether the block has it."""
    in_channels: "Array"
    out_channels: "Array"
    side: "Array"
    """Of its output, in pixels."""
    stride: "Array | int" = 1

    @property
    def read(self) -> "Array":
        read: Array = self.there * self.in_channels * (self.side * self.stride) ** 2
        return read

    @property
    def written(self) -> "Array":
        written: Array = self.there * self.out_channels * self.side**2
        return written

    @property
    def macs(self) -> "Array":
        macs: Array = self.there * self.taps * self.in_channels * self.out_channels * self.side**2
        return macs

    @property
    def padded_macs(self) -> "Array":
        """Multiplications by nothing, where the output channels do not fill the last register."""
        channels = self.out_channels.clip(1)
        padded: Array = self.macs * (-(-channels // LANES) * LANES / channels - 1)
        return padded

    def shapes(self) -> "Array":
        """What the speed of the multiplications may depend on, (10, n)."""
        import numpy as np

        macs, small = self.macs, self.taps == 1
        ragged_in, ragged_out = self.in_channels % LANES > 0, self.out_channels % LANES > 0
        per_in, per_out = macs / self.in_channels.clip(1), macs / self.out_channels.clip(1)
        return np.stack(
            [
                macs * ragged_in,
                per_in * ragged_in,
                macs * ragged_out,
                per_out * ragged_out,
                per_in,
                per_out,
                per_in * small,
                per_out * small,
                macs * (np.asarray(self.stride) > 1),
                macs / self.side**2,
            ]
        )
