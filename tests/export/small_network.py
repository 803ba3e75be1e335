"""A small network of the project's block form and what a caller says about it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fednas.export import (
    Build,
    Dataset,
    Device,
    Latency,
    ModelInput,
    ModelMetadata,
    PredictedLatency,
    Recalibration,
    Search,
    Shipment,
    Supernet,
    Table,
)

DIGITS = ModelInput(channels=1, height=8, width=8, value_range_max=16.0, mean=(0.3053,), std=(0.3760,))
METADATA = ModelMetadata(
    preprocessing=DIGITS,
    class_names=tuple(str(digit) for digit in range(10)),
    architecture={"d": [0], "e": [0.5], "w_indices": [0, 1]},
    tool_version="0.1.0",
)
BUILD = Build(created="2026-01-02T03:04:05+00:00", tool_version="0.1.0", versions={"python": "3.11"})


Ship = Callable[..., Path]
"""The fixture ``ship``: writes a shipped folder to the path it is given."""


class Block(nn.Module):
    """Two convolutions, each with ReLU, and a shortcut; the form that the search space prescribes."""

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(inputs, middle, 3, stride, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU()
        )
        self.second = nn.Sequential(nn.Conv2d(middle, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            pool = nn.AvgPool2d(stride, stride, ceil_mode=True)
            self.shortcut = nn.Sequential(pool, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


class SmallNetwork(nn.Module):
    """Stem, a block of each kind of shortcut, head."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.blocks = nn.Sequential(Block(8, 4, 16, 1), Block(16, 8, 16, 1), Block(16, 8, 24, 2))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)))


@dataclass(frozen=True)
class Trained:
    """The network with its held-out images."""

    network: SmallNetwork
    images: np.ndarray
    """(n, 1, 8, 8), preprocessed."""
    labels: np.ndarray
    logits: np.ndarray
    """Of the network, by torch."""


def make_shipment(runtime: str = "onnxruntime", *, real: bool = True, opset: int = 17) -> Shipment:
    return Shipment(
        device=Device(name="board", title="A board", runtime=runtime, runtime_version="10.3", onnx_opset=opset),
        architecture=METADATA.architecture,
        fitness=1.5,
        macs=123456,
        params=7890,
        supernet=Supernet(name="embedded", sha256="ab" * 32),
        search=Search(method="exact", status="optimal", upper_bound=1.5, gap=0.0),
        budgets=(),
        latency=Latency(
            table=Table(name="estimate of board", sha256=None, kind="estimate"),
            predicted=PredictedLatency(latency_ms=2.0, low_ms=1.0, high_ms=4.0, coverage=0.9),
            measured=None,
            not_measured_because="the board is not this machine",
        ),
        dataset=Dataset(name="digits", test_images=397) if real else None,
        recalibration=Recalibration(images=512),
    )
