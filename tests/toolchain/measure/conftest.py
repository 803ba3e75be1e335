"""A space small enough to be measured in a test."""

import pytest

from fednas.toolchain.space import SearchSpace


@pytest.fixture(scope="session")
def tiny_space() -> SearchSpace:
    """Two stages on 8x8 images; 26 blocks, 512 networks."""
    return SearchSpace(
        num_stages=2,
        max_extra_blocks_per_stage=1,
        original_stem_out_channels=16,
        original_stage_base_channels=(16, 32),
        initial_input_hw=8,
        initial_input_channels=1,
        stem_stride=1,
        stage_downsample_factors=(1, 2),
        channel_divisible_by=8,
        n_classes=4,
        width_multiplier_choices=(0.5, 1.0),
        expansion_ratio_choices=(0.5, 1.0),
    )
