"""Batch-norm statistics for one subnet, from training images."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fednas.common import FednasError
from fednas.toolchain.supernet.network import batch_norms, device_of

BATCH_SIZE = 256


@dataclass(frozen=True, slots=True)
class Recalibration:
    """What `recalibrate_batch_norm` did."""

    layers: int
    """Batch norms whose statistics were set; 0 if the network has none, and then nothing was done."""
    samples: int
    """Images that the statistics come from."""


def recalibrate_batch_norm(
    module: nn.Module, images: NDArray[np.float32], sample_count: int, *, seed: int = 0
) -> Recalibration:
    """Set the running mean and variance of every batch norm from ``sample_count`` preprocessed images.

    Subnets of one supernet share its running statistics, which therefore fit none of them (method Q21). The
    statistics are averages over batches, each weighted by its size, as in once-for-all (Cai et al. 2020). The
    module is changed in place and left in evaluation mode.

    Args:
        module: a network with batch norms; one without is returned as it is.
        images: training images, preprocessed, (N, channels, height, width).
        sample_count: how many of them to use; all if there are fewer.
        seed: chooses which.
    """
    module.eval()
    layers = batch_norms(module)
    if not layers:
        return Recalibration(0, 0)
    if sample_count < 2 or len(images) < 2:
        raise FednasError(
            f"batch norms cannot be recalibrated from {min(sample_count, len(images))} images",
            hint="give at least 2, better some hundreds",
        )
    chosen = sample_of(len(images), sample_count, seed)
    _average_over_batches(module, layers, images, chosen)
    return Recalibration(len(layers), len(chosen))


def sample_of(image_count: int, sample_count: int, seed: int = 0) -> NDArray[np.int64]:
    """Which images are recalibrated on; in their own order, so that taking all does not depend on the seed."""
    return np.sort(np.random.default_rng(seed).permutation(image_count)[:sample_count])


def _average_over_batches(
    module: nn.Module, layers: list[nn.BatchNorm2d], images: NDArray[np.float32], chosen: NDArray[np.int64]
) -> None:
    momenta = [layer.momentum for layer in layers]
    device = device_of(module)
    # Parts of nearly equal size: a last batch of one image would have no variance.
    parts = np.array_split(chosen, -(-len(chosen) // BATCH_SIZE))
    for layer in layers:
        layer.reset_running_stats()
        layer.train()
    seen = 0
    with torch.no_grad():
        for part in parts:
            seen += len(part)
            for layer in layers:
                layer.momentum = len(part) / seen
            module(torch.from_numpy(images[part]).to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
