"""The supernet: one set of weights, every architecture of the space runs on a prefix of it (method section 5.2)."""

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from fednas.common import ContractError
from fednas.latency_tables import BlockSpec, Shortcut
from fednas.toolchain.space import Architecture, SearchSpace, blocks_of, largest_architecture
from fednas.toolchain.supernet.network import (
    ConvUnit,
    Network,
    ResidualBlock,
    Stages,
    stages_of,
    zero_last_gammas,
)


class ElasticSupernet(Network):
    """Runs any architecture of its space in place; computes exactly what the extracted subnet computes.

    Prefix slicing everywhere: a convolution uses its first output and input channels, a batch norm its first
    entries, a stage its first blocks. A first block owns a projection if any choice of widths needs one; other
    blocks have none (method Q20).
    """

    def __init__(self, space: SearchSpace) -> None:
        largest = largest_architecture(space)
        stem, *_, head = blocks_of(space, largest)
        super().__init__(stem, _widest_stages(space), head, space.normalization == "batch")
        if space.bn_gamma_zero_init:
            zero_last_gammas(self)
        self.space = space
        self.set_active(largest)

    def set_active(self, arch: Architecture) -> None:
        """Choose the architecture that ``forward`` runs; the largest one at first."""
        self._stem_channels = self.space.stem_widths[arch.w_indices[0]]
        self._active = stages_of(self.space, arch)
        self.active = arch

    def forward(self, x: Tensor) -> Tensor:
        """(N, input channels, side, side) -> logits (N, classes) of the active architecture."""
        x = F.relu(_prefix(self.stem, x, self._stem_channels))
        for j, stage in enumerate(self._active):
            for k, spec in enumerate(stage):
                x = _run_block(self.block(j, k), spec, x)
        pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return F.linear(pooled, self.head.weight[:, : pooled.shape[1]], self.head.bias)

    def block(self, stage: int, index: int) -> ResidualBlock:
        """Block ``index`` of ``stage``, both from 0."""
        found = self.stages.get_submodule(f"{stage}.{index}")
        if not isinstance(found, ResidualBlock):
            raise ContractError(f"stages.{stage}.{index} is no residual block")
        return found


def _run_block(block: ResidualBlock, spec: BlockSpec, x: Tensor) -> Tensor:
    main = F.relu(_prefix(block.conv1, x, spec.mid_channels))
    main = F.relu(_prefix(block.conv2, main, spec.out_channels))
    if spec.shortcut is Shortcut.IDENTITY:
        return F.relu(main + x)
    if block.projection is None:
        raise ContractError(f"no projection for {spec.key}")
    return F.relu(main + _prefix(block.projection, block.pool(x), spec.out_channels))


def _prefix(unit: ConvUnit, x: Tensor, channels_out: int) -> Tensor:
    """The unit with its first ``channels_out`` output channels and as many input channels as ``x`` has."""
    weight = unit.conv.weight[:channels_out, : x.shape[1]]
    y = F.conv2d(x, weight, None, unit.conv.stride, unit.conv.padding)
    bn = unit.bn
    if bn is None:
        return y
    if bn.running_mean is None or bn.running_var is None or bn.num_batches_tracked is None:
        raise ContractError("the batch norms of a supernet track running statistics")
    if bn.training:
        bn.num_batches_tracked.add_(1)
    return F.batch_norm(
        y,
        bn.running_mean[:channels_out],
        bn.running_var[:channels_out],
        bn.weight[:channels_out],
        bn.bias[:channels_out],
        bn.training,
        bn.momentum or 0.0,
        bn.eps,
    )


def _widest_stages(space: SearchSpace) -> Stages:
    """Blocks at full width, with a projection in each first block that some architecture projects in."""
    stages = []
    entering: tuple[int, ...] = space.stem_widths
    for j, blocks in enumerate(stages_of(space, largest_architecture(space))):
        leaving = space.stage_widths[j]
        projects = blocks[0].stride > 1 or any(a != b for a in entering for b in leaving)
        shortcut = Shortcut.PROJECTION if projects else Shortcut.IDENTITY
        stages.append((replace(blocks[0], shortcut=shortcut), *blocks[1:]))
        entering = leaving
    return tuple(stages)
