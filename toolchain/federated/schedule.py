"""How much each client's update weighs (method section 6.5)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fednas.common import ContractError
from fednas.toolchain.federated.roles import Roles
from fednas.toolchain.supernet import TrainingSettings


class Weighting(Protocol):
    """A rule for aggregation weights."""

    def weights(self, round_index: int, participants: Sequence[int], roles: Roles) -> tuple[float, ...]:
        """One weight for each participant, in order; they sum to 1."""
        ...


@dataclass(frozen=True, slots=True)
class UniformWeighting:
    """Everybody weighs the same."""

    def weights(self, round_index: int, participants: Sequence[int], roles: Roles) -> tuple[float, ...]:  # noqa: ARG002
        """1 / K each."""
        return checked(tuple(1.0 / len(participants) for _ in participants))


@dataclass(frozen=True, slots=True)
class CosineLargestWeighting:
    """The client of the largest network weighs ``initial`` at first and ``final`` from round ``until`` on."""

    initial: float
    final: float
    until: int
    """Round from which the weight stays at ``final``."""

    def weights(self, round_index: int, participants: Sequence[int], roles: Roles) -> tuple[float, ...]:
        """The largest network's weight by a cosine; the rest in equal parts."""
        turn = math.pi * min(round_index, self.until) / self.until
        largest = self.final + (self.initial - self.final) * (1 + math.cos(turn)) / 2
        other = (1 - largest) / (len(participants) - 1)
        return checked(tuple(largest if client == roles.largest else other for client in participants))


def weighting_of(settings: TrainingSettings) -> Weighting:
    """The rule that the settings name; the cosine reaches its end after 80 % of the rounds, as published."""
    if settings.weighting == "uniform":
        return UniformWeighting()
    final = settings.largest_weight_final
    return CosineLargestWeighting(
        initial=settings.largest_weight,
        final=1.0 / settings.per_round if final is None else final,
        until=max(1, round(0.8 * settings.rounds)),
    )


def checked(weights: tuple[float, ...]) -> tuple[float, ...]:
    """The weights, if none is negative and they sum to 1."""
    if min(weights) < 0 or not math.isclose(sum(weights), 1.0, abs_tol=1e-9):
        raise ContractError(f"aggregation weights {weights} do not sum to 1")
    return weights
