"""Batch-norm statistics come from the images that were asked for."""

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from fednas.common import FednasError
from fednas.toolchain.embedded import embedded_space_path
from fednas.toolchain.space import load_space, smallest_architecture
from fednas.toolchain.supernet import Recalibration, network_of, recalibrate_batch_norm


def one_layer() -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(2))


def random_images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(2.0, 3.0, (count, 2, 4, 4)).astype(np.float32)


def test_one_batch_gives_its_exact_mean_and_variance() -> None:
    module, images = one_layer(), random_images(100)
    assert recalibrate_batch_norm(module, images, 1000) == Recalibration(layers=1, samples=100)
    assert np.allclose(module[0].running_mean.numpy(), images.mean(axis=(0, 2, 3)), atol=1e-5)
    assert np.allclose(module[0].running_var.numpy(), images.var(axis=(0, 2, 3), ddof=1), rtol=1e-4)


def test_several_batches_are_weighted_by_their_size() -> None:
    module, images = one_layer(), random_images(700)  # three batches, 234 + 233 + 233
    recalibrate_batch_norm(module, images, 700)
    assert np.allclose(module[0].running_mean.numpy(), images.mean(axis=(0, 2, 3)), atol=1e-5)
    assert module[0].momentum == 0.1
    assert not module[0].training


def test_what_was_there_before_does_not_matter_and_nothing_else_moves() -> None:
    space = load_space(embedded_space_path())
    network = network_of(space, smallest_architecture(space))
    images = np.random.default_rng(1).normal(size=(40, 1, 8, 8)).astype(np.float32)
    weights = [p.detach().clone() for p in network.parameters()]
    recalibrate_batch_norm(network, images, 30, seed=4)
    first = {n: b.clone() for n, b in network.named_buffers() if "running" in n}
    recalibrate_batch_norm(network, images[::-1].copy(), 30, seed=4)
    other = {n: b.clone() for n, b in network.named_buffers() if "running" in n}
    recalibrate_batch_norm(network, images, 30, seed=4)
    again = {n: b.clone() for n, b in network.named_buffers() if "running" in n}
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert any(not torch.equal(first[n], other[n]) for n in first)
    assert all(torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True))


def test_a_network_without_batch_norm_is_left_alone() -> None:
    space = msgspec.structs.replace(load_space(embedded_space_path()), normalization="none")
    network = network_of(space, smallest_architecture(space))
    images = np.zeros((4, 1, 8, 8), dtype=np.float32)
    assert recalibrate_batch_norm(network, images, 4) == Recalibration(layers=0, samples=0)


def test_one_image_is_too_few() -> None:
    with pytest.raises(FednasError, match="cannot be recalibrated from 1 images"):
        recalibrate_batch_norm(one_layer(), random_images(10), 1)
