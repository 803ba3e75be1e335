"""The blocks of an architecture: what is built, priced and exported, always the network's own rule."""

from fednas.latency_tables import BlockKind, BlockSpec, Shortcut
from fednas.toolchain.space.architecture import Architecture
from fednas.toolchain.space.search_space import SearchSpace


def blocks_of(space: SearchSpace, arch: Architecture) -> tuple[BlockSpec, ...]:
    """Stem, residual blocks in order, head."""
    sides = space.sides()
    channels = space.stem_widths[arch.w_indices[0]]
    blocks = [stem_block(space, channels)]
    for stage in range(space.num_stages):
        width_index = arch.w_indices[stage + 1]
        width = space.stage_widths[stage][width_index]
        middles = space.middle_widths(stage)[width_index]
        for block in range(arch.d[stage] + 1):
            ratio = arch.e[stage * space.blocks_per_stage + block]
            middle = middles[space.expansion_ratio_choices.index(ratio)]
            first = block == 0
            side = sides[stage] if first else sides[stage + 1]
            stride = space.stage_downsample_factors[stage] if first else 1
            blocks.append(residual_block(channels, middle, width, side, stride))
            channels = width
    blocks.append(head_block(space, channels))
    return tuple(blocks)


def stem_block(space: SearchSpace, out_channels: int) -> BlockSpec:
    """The stem with this many output channels."""
    return BlockSpec(
        kind=BlockKind.STEM,
        in_channels=space.initial_input_channels,
        mid_channels=0,
        out_channels=out_channels,
        in_hw=space.initial_input_hw,
        stride=space.stem_stride,
    )


def residual_block(in_channels: int, middle: int, out_channels: int, in_hw: int, stride: int) -> BlockSpec:
    """A residual block; its shortcut is the identity exactly when stride is 1 and widths are equal (Q20)."""
    identity = stride == 1 and in_channels == out_channels
    return BlockSpec(
        kind=BlockKind.RESIDUAL,
        in_channels=in_channels,
        mid_channels=middle,
        out_channels=out_channels,
        in_hw=in_hw,
        stride=stride,
        shortcut=Shortcut.IDENTITY if identity else Shortcut.PROJECTION,
    )


def head_block(space: SearchSpace, in_channels: int) -> BlockSpec:
    """Average pool and classifier after the last stage."""
    return BlockSpec(
        kind=BlockKind.HEAD,
        in_channels=in_channels,
        mid_channels=0,
        out_channels=space.n_classes,
        in_hw=space.sides()[-1],
    )


def distinct_blocks(space: SearchSpace) -> tuple[BlockSpec, ...]:
    """Every block that some architecture of the space contains, sorted, without duplicates."""
    sides = space.sides()
    found = {stem_block(space, width) for width in space.stem_widths}
    entering: set[int] = set(space.stem_widths)
    for stage in range(space.num_stages):
        stride = space.stage_downsample_factors[stage]
        middles = space.middle_widths(stage)
        for width, middle_choices in zip(space.stage_widths[stage], middles, strict=True):
            for middle in set(middle_choices):
                found |= {residual_block(c, middle, width, sides[stage], stride) for c in entering}
                if space.max_extra_blocks_per_stage:
                    found.add(residual_block(width, middle, width, sides[stage + 1], 1))
        entering = set(space.stage_widths[stage])
    found |= {head_block(space, width) for width in entering}
    return tuple(sorted(found))
