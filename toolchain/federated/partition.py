"""Which client holds which training images (method section 6.2)."""

import numpy as np
from numpy.typing import NDArray

from fednas.common import FednasError

LEAST_IMAGES = 10
"""Every client holds at least this many."""
_ATTEMPTS = 2_000

Partition = tuple[NDArray[np.int64], ...]


def even_partition(image_count: int, clients: int, generator: np.random.Generator) -> Partition:
    """All images in random order, dealt out in nearly equal parts."""
    if clients > image_count:
        raise FednasError(f"{image_count} training images are too few for {clients} clients", hint="lower --clients")
    return tuple(np.array_split(generator.permutation(image_count), clients))


def dirichlet_partition(
    labels: NDArray[np.int64], clients: int, alpha: float, generator: np.random.Generator
) -> Partition:
    """Images by class in Dirichlet(alpha) shares; small alpha makes clients see few classes.

    Class by class, clients that already hold their even share get no more; the whole draw is repeated until
    every client has at least 10 images.

    Raises:
        FednasError: no such partition was found.
    """
    for _ in range(_ATTEMPTS if clients * LEAST_IMAGES <= len(labels) else 0):
        parts = _draw(labels, clients, alpha, generator)
        if min(map(len, parts)) >= LEAST_IMAGES:
            return tuple(generator.permutation(part) for part in parts)
    raise FednasError(
        f"found no Dirichlet({alpha:g}) partition of {len(labels)} training images "
        f"that gives each of {clients} clients {LEAST_IMAGES}",
        hint="use fewer --clients or a larger --alpha",
    )


def _draw(
    labels: NDArray[np.int64], clients: int, alpha: float, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    parts: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * clients
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        shares = generator.dirichlet([alpha] * clients)
        open_to = np.array([len(part) < len(labels) / clients for part in parts])
        shares = np.where(open_to, shares, 0.0)
        if shares.sum() <= 0:  # with a tiny alpha all weight can fall on clients that are full
            shares = open_to.astype(float)
        cuts = (np.cumsum(shares / shares.sum())[:-1] * len(members)).astype(int)
        pieces = np.split(members, cuts)
        parts = [np.concatenate(pair) for pair in zip(parts, pieces, strict=True)]
    return parts
