"""Commands run as a user runs them, and a space of few blocks."""

from typer.testing import CliRunner

from fednas.toolchain.cli import app

SPACE = {
    "num_stages": 2,
    "max_extra_blocks_per_stage": 1,
    "original_stem_out_channels": 8,
    "original_stage_base_channels": [8, 16],
    "initial_input_hw": 8,
    "initial_input_channels": 1,
    "stem_stride": 1,
    "stage_downsample_factors": [1, 2],
    "channel_divisible_by": 8,
    "n_classes": 4,
    "width_multiplier_choices": [1.0, 2.0],
    "expansion_ratio_choices": [1.0, 2.0],
}


def run(*words: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr
