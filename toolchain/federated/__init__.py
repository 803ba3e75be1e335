"""Federated training of a supernet in one process (method sections 6 and 7)."""
# ruff: noqa: E402 - a missing torch must be said before anything imports it

from fednas.common import import_extra

import_extra("torch", "torch", "training and evaluating supernets")

from fednas.toolchain.federated.aggregate import OverlapAverage
from fednas.toolchain.federated.evaluate import evaluate_architectures, predictions
from fednas.toolchain.federated.job import (
    Curriculum,
    checkpoint_path,
    curriculum_of,
    never_trained,
    train_supernet,
)
from fednas.toolchain.federated.local import ClientImages, train_locally
from fednas.toolchain.federated.partition import Partition, dirichlet_partition, even_partition
from fednas.toolchain.federated.roles import Roles, RoleTracker
from fednas.toolchain.federated.rounds import FederatedTraining, RoundReport
from fednas.toolchain.federated.samplers import (
    ArchitectureSampler,
    ParetoPathSampler,
    RandomSandwichSampler,
)
from fednas.toolchain.federated.schedule import (
    CosineLargestWeighting,
    UniformWeighting,
    Weighting,
    weighting_of,
)
from fednas.toolchain.federated.streams import stream, torch_stream

__all__ = [
    "ArchitectureSampler",
    "ClientImages",
    "CosineLargestWeighting",
    "Curriculum",
    "FederatedTraining",
    "OverlapAverage",
    "ParetoPathSampler",
    "Partition",
    "RandomSandwichSampler",
    "RoleTracker",
    "Roles",
    "RoundReport",
    "UniformWeighting",
    "Weighting",
    "checkpoint_path",
    "curriculum_of",
    "dirichlet_partition",
    "evaluate_architectures",
    "even_partition",
    "never_trained",
    "predictions",
    "stream",
    "torch_stream",
    "train_locally",
    "train_supernet",
    "weighting_of",
]
