"""Cutting labelled images into parts with the same share of each class."""

import numpy as np
from numpy.typing import NDArray

from fednas.common import ContractError

SPLIT_SEED = 20240
"""Fixed, so that the parts are the same images for everybody and for ever."""


def stratified_split(labels: NDArray[np.int64], shares: tuple[float, ...]) -> tuple[NDArray[np.int64], ...]:
    """Indices of the parts, one for each share and the last one for the rest; each sorted.

    Every class is shuffled by a fixed seed and cut at the same shares, rounded to whole images.
    """
    if not (shares and min(shares) >= 0 and sum(shares) < 1):
        raise ContractError(f"shares {shares} leave nothing for the last part")
    generator = np.random.default_rng(SPLIT_SEED)
    cuts = np.cumsum(shares)
    parts: list[list[NDArray[np.int64]]] = [[] for _ in range(len(shares) + 1)]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        pieces = np.split(members, np.rint(cuts * len(members)).astype(int))
        for part, piece in zip(parts, pieces, strict=True):
            part.append(piece)
    return tuple(np.sort(np.concatenate(part)).astype(np.int64) for part in parts)
