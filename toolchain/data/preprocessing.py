"""The statistics by which raw pixels become the numbers that a network reads: published ones, or measured ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fednas.common import unknown_name
from fednas.export import Preprocessing

Array = NDArray[Any]

PUBLISHED_STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "cifar10": ((0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "cinic10": ((0.47889522, 0.47227842, 0.43047404), (0.24205776, 0.23828046, 0.25874835)),
}
"""Mean and standard deviation of the published pipelines (method section 7)."""


CHUNK = 1024
"""Images whose pixels are held as float64 at once."""
ONLY_CENTRED = 1.0
"""What a channel is divided by that has one value in all training images; pixels from 0 to 1 never vary so much."""


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Of images whose pixels were scaled to 0 to 1, to 6 digits; one number for each channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    """0 where every pixel has the same value."""


def channel_statistics(raw: Array, value_range_max: float) -> ChannelStatistics:
    """Of images (N, channels, height, width) with pixels up to ``value_range_max``."""
    count, channels, height, width = raw.shape
    sums, squares = np.zeros(channels), np.zeros(channels)
    for start in range(0, count, CHUNK):
        pixels = raw[start : start + CHUNK].astype(np.float64)
        sums += pixels.sum(axis=(0, 2, 3))
        squares += np.einsum("nchw,nchw->c", pixels, pixels)
    mean = sums / (count * height * width)
    variance = squares / (count * height * width) - mean**2
    # Rounding can leave a little below nothing.
    scaled_mean, scaled_std = mean / value_range_max, np.sqrt(np.maximum(variance, 0)) / value_range_max
    return ChannelStatistics(
        mean=tuple(round(float(value), 6) for value in scaled_mean),
        std=tuple(round(float(value), 6) for value in scaled_std),
    )


def measured_preprocessing(raw: Array, value_range_max: float) -> Preprocessing:
    """Mean and standard deviation of these training images (N, channels, height, width), to 6 digits."""
    found = channel_statistics(raw, value_range_max)
    return Preprocessing(
        channels=raw.shape[1],
        height=raw.shape[2],
        width=raw.shape[3],
        value_range_max=value_range_max,
        mean=found.mean,
        # A channel without any variation is only centred.
        std=tuple(value or ONLY_CENTRED for value in found.std),
    )


def published_preprocessing(name: str) -> Preprocessing:
    """How the published code normalises cifar10, cifar100 or cinic10; raises `FednasError` for other names."""
    if name not in PUBLISHED_STATISTICS:
        raise unknown_name("data set", name, PUBLISHED_STATISTICS)
    mean, std = PUBLISHED_STATISTICS[name]
    return Preprocessing(channels=3, height=32, width=32, value_range_max=255.0, mean=mean, std=std)
