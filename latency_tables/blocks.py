"""The unit that a latency table prices: one block of a network, with every shape that decides its cost."""

import enum
from dataclasses import dataclass

from fednas.common import ContractError


class BlockKind(enum.StrEnum):
    """The three kinds of block of a DeepFedNAS network."""

    STEM = "stem"
    """3x3 convolution and ReLU."""
    RESIDUAL = "residual"
    """Two 3x3 convolutions, each with ReLU, plus the shortcut, and a last ReLU."""
    HEAD = "head"
    """Global average pool and the linear classifier."""
    __hash__ = str.__hash__
    """That of the string it is: enum's own runs in Python, and blocks are keys of many a mapping."""


class Shortcut(enum.StrEnum):
    """What a residual block adds to its main path."""

    NONE = "none"
    """Stem and head have none."""
    IDENTITY = "identity"
    PROJECTION = "projection"
    """Average pool by the stride, then a 1x1 convolution."""
    __hash__ = str.__hash__


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class BlockSpec:
    """One priced unit of a network, as it runs after batch-norm folding, for one image.

    Convolutions are padded by 1 and the stride sits on the first one, so the output side is the input side
    divided by the stride, rounded up. Raises `ContractError` for shapes that no space produces.
    """

    kind: BlockKind
    in_channels: int
    mid_channels: int
    """Channels between the two convolutions; 0 for stem and head."""
    out_channels: int
    """For the head, the number of classes."""
    in_hw: int
    """Side of the square input, in pixels."""
    stride: int = 1
    shortcut: Shortcut = Shortcut.NONE

    def __post_init__(self) -> None:
        if min(self.in_channels, self.out_channels, self.in_hw, self.stride) < 1:
            raise ContractError(f"impossible block {self}")
        residual = self.kind is BlockKind.RESIDUAL
        if residual != (self.mid_channels > 0) or residual != (self.shortcut is not Shortcut.NONE):
            raise ContractError(f"a {self.kind.value} block cannot have these fields: {self}")

    @property
    def out_hw(self) -> int:
        """Side of the square output, in pixels; 1 for the head."""
        return 1 if self.kind is BlockKind.HEAD else -(-self.in_hw // self.stride)

    @property
    def key(self) -> str:
        """Readable identity, such as ``residual-in64-mid16-out128-hw32-s2-projection``."""
        if self.kind is BlockKind.RESIDUAL:
            return (
                f"residual-in{self.in_channels}-mid{self.mid_channels}-out{self.out_channels}"
                f"-hw{self.in_hw}-s{self.stride}-{self.shortcut.value}"
            )
        return f"{self.kind.value}-in{self.in_channels}-out{self.out_channels}-hw{self.in_hw}-s{self.stride}"

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the convolutions and the classifier; all else is free by definition."""
        area = self.out_hw**2
        if self.kind is BlockKind.HEAD:
            return self.in_channels * self.out_channels
        if self.kind is BlockKind.STEM:
            return 9 * self.in_channels * self.out_channels * area
        main_path = 9 * self.mid_channels * (self.in_channels + self.out_channels)
        projection = self.in_channels * self.out_channels if self.shortcut is Shortcut.PROJECTION else 0
        return (main_path + projection) * area

    @property
    def weights(self) -> int:
        """Numbers stored for the folded block: convolution weights and one bias a channel."""
        if self.kind is BlockKind.HEAD:
            return self.in_channels * self.out_channels + self.out_channels
        if self.kind is BlockKind.STEM:
            return 9 * self.in_channels * self.out_channels + self.out_channels
        main_path = 9 * self.mid_channels * (self.in_channels + self.out_channels)
        biases = self.mid_channels + self.out_channels
        if self.shortcut is not Shortcut.PROJECTION:
            return main_path + biases
        return main_path + biases + self.in_channels * self.out_channels + self.out_channels

    @property
    def activations(self) -> int:
        """Numbers read and written between operators: inputs and outputs of every convolution or pool."""
        read, written = self.in_channels * self.in_hw**2, self.out_channels * self.out_hw**2
        if self.kind is not BlockKind.RESIDUAL:
            return read + written
        middle = self.mid_channels * self.out_hw**2
        shortcut = read + written if self.shortcut is Shortcut.PROJECTION else read
        return read + 2 * middle + written + shortcut + written

    @property
    def kernels(self) -> int:
        """Operators that a runtime launches once activations are fused: what a launch-bound device pays for."""
        if self.kind is BlockKind.STEM:
            return 1
        if self.kind is BlockKind.HEAD:
            return 2
        projection = 0 if self.shortcut is Shortcut.IDENTITY else (1 if self.stride == 1 else 2)
        return 3 + projection
