"""The embedded space has no subnets whose shortcuts differ from those that the others are trained with."""

from fednas.toolchain.embedded import embedded_space_path
from fednas.toolchain.space import load_space


def test_no_first_block_can_have_an_identity_shortcut() -> None:
    space = load_space(embedded_space_path())
    entering = set(space.stem_widths)
    for stride, widths in zip(space.stage_downsample_factors, space.stage_widths, strict=True):
        assert stride != 1 or not entering & set(widths)
        entering = set(widths)
