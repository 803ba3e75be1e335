"""Overlap-weighted averaging of subnets into the supernet (method section 6.5)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fednas.common import ContractError
from fednas.toolchain.supernet import overlaps


class OverlapAverage:
    """Collects client updates one by one; keeps sums, not the updates.

    For every number p of the supernet: new p = sum of a_k p_k over the clients k that hold p, divided by the
    sum of their a_k. What no client holds stays as it is, bit for bit. Running statistics of batch norms are
    averaged like weights; their counters are left alone.
    """

    def __init__(self, supernet: Mapping[str, Tensor]) -> None:
        self._old = supernet
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}

    def add(self, weight: float, subnet: Mapping[str, Tensor]) -> None:
        """Add one trained subnet with its aggregation weight, which must be 0 or more."""
        if weight < 0:
            raise ContractError(f"aggregation weight {weight} is negative")
        for overlap in overlaps(self._old, subnet):
            name = overlap.name
            if name not in self._sums:
                self._sums[name] = torch.zeros_like(self._old[name], dtype=torch.float64)
                self._weights[name] = torch.zeros_like(self._old[name], dtype=torch.float64)
            self._sums[name][overlap.prefix] += weight * subnet[name].detach().to(torch.float64)
            self._weights[name][overlap.prefix] += weight

    def result(self) -> dict[str, Tensor]:
        """The new state of the supernet, with every entry of the old one."""
        return {name: self._averaged(name, old) for name, old in self._old.items()}

    def _averaged(self, name: str, old: Tensor) -> Tensor:
        if name not in self._sums:
            return old.clone()
        covered = self._weights[name] > 0
        mean = self._sums[name] / self._weights[name].clamp_min(torch.finfo(torch.float64).tiny)
        return torch.where(covered, mean.to(old.dtype), old)
