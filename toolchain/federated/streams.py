"""Random numbers that depend on what they are for, and on nothing that happened before."""

import hashlib

import numpy as np
import torch

_SERVER = -1


def stream(seed: int, purpose: str, *, round_index: int = -1, client: int = _SERVER) -> np.random.Generator:
    """The random stream of one (seed, round, client, purpose).

    So clients can run in any order or place, and a resumed run is the same run (method Q22, Q29).
    """
    name = f"{seed}/{round_index}/{client}/{purpose}".encode()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name).digest()[:16], "little"))


def torch_stream(seed: int, purpose: str, *, round_index: int = -1, client: int = _SERVER) -> torch.Generator:
    """As `stream`, for torch."""
    source = stream(seed, purpose, round_index=round_index, client=client)
    return torch.Generator().manual_seed(int(source.integers(2**63 - 1)))
