"""What one client does in one round: plain SGD on its own images (method section 6.4)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fednas.common import FednasError
from fednas.toolchain.supernet import TrainingSettings


@dataclass(frozen=True, slots=True, eq=False)
class ClientImages:
    """A client's preprocessed images, and the value that an empty pixel has after preprocessing."""

    images: Tensor
    """(N, channels, height, width), float32."""
    labels: Tensor
    """(N,), int64."""
    empty: Tensor
    """(1, channels, 1, 1)."""


def train_locally(
    module: nn.Module, client: ClientImages, settings: TrainingSettings, lr: float, generator: torch.Generator
) -> float:
    """Train ``module`` in place for the local epochs; returns the mean loss of all steps.

    A new SGD optimiser each time, cross-entropy, global gradient norm clipped, last partial batch kept. All
    randomness comes from ``generator``. Raises `FednasError` when the loss is no longer a number.
    """
    module.train()
    optimizer = torch.optim.SGD(
        module.parameters(), lr=lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    losses = []
    for _ in range(settings.local_epochs):
        order = torch.randperm(len(client.labels), generator=generator)
        for batch in torch.split(order, settings.batch_size):
            images = augmented(client.images[batch], client.empty, settings, generator)
            loss = F.cross_entropy(module(images), client.labels[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), settings.max_norm)
            optimizer.step()
            losses.append(loss.detach())
    mean = float(torch.stack(losses).mean())
    if not math.isfinite(mean):
        raise FednasError("the training diverged: a client's loss is no longer a number", hint="lower --lr")
    return mean


def augmented(images: Tensor, empty: Tensor, settings: TrainingSettings, generator: torch.Generator) -> Tensor:
    """Each image shifted by up to ``max_shift`` pixels (empty pixels move in) and perhaps mirrored."""
    count, channels, height, width = images.shape
    if settings.max_shift:
        pad = settings.max_shift
        padded = F.pad(images - empty, (pad,) * 4) + empty
        offsets = torch.randint(2 * pad + 1, (2, count, 1), generator=generator)
        rows = (offsets[0] + torch.arange(height))[:, None, :, None]
        columns = (offsets[1] + torch.arange(width))[:, None, None, :]
        which = torch.arange(count)[:, None, None, None]
        images = padded[which, torch.arange(channels)[None, :, None, None], rows, columns]
    if settings.flip:
        mirrored = torch.rand(count, generator=generator) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images
