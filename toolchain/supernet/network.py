"""The network itself: stem, residual blocks, head, in ordinary torch layers (method section 5.1)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fednas.latency_tables import BlockSpec, Shortcut
from fednas.toolchain.space import Architecture, SearchSpace, blocks_of

Stages = tuple[tuple[BlockSpec, ...], ...]


class ConvUnit(nn.Module):
    """Convolution without bias, then batch norm unless the space has none; no activation."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels_out) if batch_norm else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, h, w) -> (N, channels_out, ceil(h / stride), ceil(w / stride))."""
        y: Tensor = self.conv(x)
        return y if self.bn is None else self.bn(y)


class ResidualBlock(nn.Module):
    """y = ReLU(ReLU(conv2(ReLU(conv1(x)))) + shortcut(x)), stride on conv1.

    Unlike an ordinary ResNet block there is a ReLU before the addition as well. The projection is an average
    pool by the stride and a 1x1 convolution without activation.
    """

    def __init__(self, spec: BlockSpec, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = ConvUnit(spec.in_channels, spec.mid_channels, 3, spec.stride, batch_norm)
        self.conv2 = ConvUnit(spec.mid_channels, spec.out_channels, 3, 1, batch_norm)
        self.pool = _average_pool(spec)
        self.projection: ConvUnit | None = None
        if spec.shortcut is Shortcut.PROJECTION:
            self.projection = ConvUnit(spec.in_channels, spec.out_channels, 1, 1, batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, h, w) -> (N, out, ceil(h / stride), ceil(w / stride))."""
        main = F.relu(self.conv2(F.relu(self.conv1(x))))
        shortcut = x if self.projection is None else self.projection(self.pool(x))
        return F.relu(main + shortcut)


class Network(nn.Module):
    """A subnet as an ordinary module; logits from preprocessed images.

    Tensor names do not depend on the architecture: ``stages.J.K.conv1.conv.weight`` is the same layer in
    every subnet and in the supernet.
    """

    def __init__(self, stem: BlockSpec, stages: Stages, head: BlockSpec, batch_norm: bool) -> None:
        super().__init__()
        self.stem = ConvUnit(stem.in_channels, stem.out_channels, 3, stem.stride, batch_norm)
        self.stages = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(spec, batch_norm) for spec in stage)) for stage in stages
        )
        self.head = nn.Linear(head.in_channels, head.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, input channels, side, side) -> logits (N, classes)."""
        x = F.relu(self.stem(x))
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def network_of(space: SearchSpace, arch: Architecture) -> Network:
    """A new, untrained network of this architecture; initialised from torch's generator."""
    stem, *_, head = blocks_of(space, arch)
    return Network(stem, stages_of(space, arch), head, space.normalization == "batch")


def stages_of(space: SearchSpace, arch: Architecture) -> Stages:
    """The residual blocks of an architecture, stage by stage."""
    residual = iter(blocks_of(space, arch)[1:-1])
    return tuple(tuple(next(residual) for _ in range(extra + 1)) for extra in arch.d)


def batch_norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    """Every batch norm of a module, in order."""
    return [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]


def zero_last_gammas(module: Network) -> None:
    """Start every residual branch at zero: the gain of the second batch norm of each block (Goyal et al. 2017)."""
    for block in residual_blocks(module):
        if block.conv2.bn is not None:
            nn.init.zeros_(block.conv2.bn.weight)


def residual_blocks(module: Network) -> Sequence[ResidualBlock]:
    """All residual blocks in order."""
    return [layer for layer in module.modules() if isinstance(layer, ResidualBlock)]


def device_of(module: nn.Module) -> torch.device:
    """Where the parameters of a module lie."""
    return next(module.parameters()).device


def _average_pool(spec: BlockSpec) -> nn.Module:
    if spec.shortcut is not Shortcut.PROJECTION or spec.stride == 1:
        return nn.Identity()
    # Rounding up changes nothing where the stride divides the side, and old runtimes do without it better.
    return nn.AvgPool2d(spec.stride, ceil_mode=spec.in_hw % spec.stride != 0)
