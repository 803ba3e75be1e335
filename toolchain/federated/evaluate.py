"""Accuracy of subnets, each with batch norms recalibrated on training images (method Q21, Q28)."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fednas.toolchain.data import ImageData, LabelledImages, Preprocessing
from fednas.toolchain.space import Architecture, SearchSpace
from fednas.toolchain.space.cost import cost_of
from fednas.toolchain.supernet import ElasticSupernet, SubnetAccuracy, extract_subnet, recalibrate_batch_norm
from fednas.toolchain.supernet.recalibration import sample_of

RECALIBRATION_IMAGES = 1000
"""Training images that each evaluated subnet is recalibrated on, unless said otherwise."""
_BATCH = 512

Part = Literal["validation", "test"]


def evaluate_architectures(
    supernet: ElasticSupernet,
    architectures: Sequence[Architecture],
    data: ImageData,
    part: Part,
    *,
    recalibration_images: int = RECALIBRATION_IMAGES,
    on_done: Callable[[int], None] = lambda _count: None,
) -> tuple[SubnetAccuracy, ...]:
    """Accuracy of each architecture on one part of the data; the supernet is not touched.

    ``on_done`` is told after each one how many are finished.
    """
    images = data.validation if part == "validation" else data.test
    sample = data.train.take(sample_of(len(data.train), recalibration_images))
    training = data.preprocessing.apply(sample.images)
    results: list[SubnetAccuracy] = []
    for arch in architectures:
        subnet = extract_subnet(supernet, arch)
        recalibrate_batch_norm(subnet, training, len(training))
        correct = int((predictions(subnet, images, data.preprocessing) == images.labels).sum())
        results.append(_accuracy(supernet.space, arch, correct, len(images)))
        on_done(len(results))
    return tuple(results)


def predictions(module: nn.Module, images: LabelledImages, preprocessing: Preprocessing) -> NDArray[np.int64]:
    """The class that a network names for each image."""
    module.eval()
    found = []
    with torch.no_grad():
        for start in range(0, len(images), _BATCH):
            batch = preprocessing.apply(images.images[start : start + _BATCH])
            found.append(module(torch.from_numpy(batch)).argmax(dim=1).numpy())
    return np.concatenate(found)


def _accuracy(space: SearchSpace, arch: Architecture, correct: int, count: int) -> SubnetAccuracy:
    from scipy.stats import binomtest

    interval = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    cost = cost_of(space, arch)
    return SubnetAccuracy(
        architecture=arch,
        accuracy=correct / count,
        low=float(interval.low),
        high=float(interval.high),
        macs=cost.macs,
        params=cost.params,
    )
