"""How a supernet was trained, and how good its subnets are: what `train` writes into the file's header."""

from typing import Literal

import msgspec

from fednas.common import FednasError
from fednas.toolchain.space import Architecture

SamplerName = Literal["optimal-path", "random-sandwich"]
LrSchedule = Literal["constant", "cosine"]
WeightingName = Literal["cosine-largest", "uniform"]


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides the outcome of a federated training, besides space, cache and data.

    Defaults are those of the published experiments where they exist (method sections 6 and 7).
    """

    rounds: int
    clients: int
    per_round: int
    """Participants of a round, 2 .. clients."""
    alpha: float | None = 1.0
    """Concentration of the Dirichlet partition; None deals the images out evenly."""
    sampler: SamplerName = "optimal-path"
    local_epochs: int = 5
    batch_size: int = 64
    lr: float = 0.1
    lr_schedule: LrSchedule = "constant"
    """``cosine`` lowers the rate from round to round towards 0; the published one is constant."""
    momentum: float = 0.0
    weight_decay: float = 5e-4
    max_norm: float = 10.0
    """Global L2 norm that gradients are clipped to."""
    max_shift: int = 0
    """Training images are shifted by up to this many pixels."""
    flip: bool = False
    """Half of the training images are mirrored."""
    weighting: WeightingName = "cosine-largest"
    largest_weight: float = 0.9
    """Aggregation weight of the largest network's client in round 0."""
    largest_weight_final: float | None = None
    """Its weight in the end; None means 1 / per_round, the weight of the others."""
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("rounds", "local_epochs", "batch_size"):
            if getattr(self, key) < 1:
                raise _bad(key, getattr(self, key), "at least 1")
        for key in ("seed", "max_shift"):
            if getattr(self, key) < 0:
                raise _bad(key, getattr(self, key), "0 or more")
        if not 2 <= self.per_round <= self.clients:
            raise _bad(
                "per_round",
                self.per_round,
                f"2 to the number of clients ({self.clients}): one trains the largest network, one the smallest",
            )
        self._check_numbers()

    def _check_numbers(self) -> None:
        for key in ("lr", "max_norm", "alpha"):
            value = getattr(self, key)
            if value is not None and not 0 < value < float("inf"):
                raise _bad(key, value, "a number above 0")
        if not 0 <= self.weight_decay < 1 or not 0 <= self.momentum < 1:
            raise _bad("weight_decay and momentum", (self.weight_decay, self.momentum), "0 to below 1")
        for key in ("largest_weight", "largest_weight_final"):
            value = getattr(self, key)
            if value is not None and not 0 < value < 1:
                raise _bad(key, value, "between 0 and 1")


class SubnetAccuracy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accuracy of one subnet with its 95 % interval (Wilson score)."""

    architecture: Architecture
    accuracy: float
    """Share of right answers, 0 .. 1."""
    low: float
    high: float
    macs: int
    params: int


class NamedAccuracy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the subnets that a training record reports."""

    name: str
    """smallest, middle or largest."""
    validation: SubnetAccuracy
    test: SubnetAccuracy


class TrainingRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a supernet comes from and what it reaches."""

    command: str
    """The command line that made the file."""
    settings: TrainingSettings
    tool_version: str
    machine: str
    seconds: float
    """Wall-clock time of the training, without loading and evaluation."""
    cache_architectures: int
    cache_sha256: str
    train_images: int
    validation_images: int
    test_images: int
    recalibration_images: int
    """Training images that the batch norms of each evaluated subnet were recalibrated on; 0 without batch norm."""
    accuracies: tuple[NamedAccuracy, ...]


def _bad(key: str, value: object, allowed: str) -> FednasError:
    return FednasError(f"training setting {key} is {value}; it must be {allowed}", hint="correct the option")
