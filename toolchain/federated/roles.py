"""Who trains the largest and the smallest network of a round (method section 6.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from fednas.common import ContractError


@dataclass(frozen=True, slots=True)
class Roles:
    """Two different participants; everybody else trains a network in between."""

    largest: int
    smallest: int


class RoleTracker(msgspec.Struct, forbid_unknown_fields=True):
    """How often each client has trained the largest and the smallest network, so that all get their turn."""

    largest_counts: list[int]
    smallest_counts: list[int]

    @classmethod
    def for_clients(cls, clients: int) -> "RoleTracker":
        """Nobody has trained anything yet."""
        return cls([0] * clients, [0] * clients)

    def assign(self, participants: Sequence[int]) -> Roles:
        """Least often largest, then least often smallest of the rest; on ties the lowest id."""
        if len(participants) < 2:
            raise ContractError(f"roles need two participants, not {len(participants)}")
        largest = min(participants, key=lambda client: (self.largest_counts[client], client))
        rest = [client for client in participants if client != largest]
        return Roles(largest, min(rest, key=lambda client: (self.smallest_counts[client], client)))

    def record(self, client: int, *, largest: bool, smallest: bool) -> None:
        """A client was given the largest or the smallest network, by its role or by chance."""
        self.largest_counts[client] += largest
        self.smallest_counts[client] += smallest
