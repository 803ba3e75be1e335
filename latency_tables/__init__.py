"""What a block costs on a device."""

from fednas.latency_tables.blocks import BlockKind, BlockSpec, Shortcut

__all__ = ["BlockKind", "BlockSpec", "Shortcut"]
