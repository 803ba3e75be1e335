"""Search space files: read as published, refused where the published code would silently go wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from fednas.common import FednasError
from fednas.toolchain.space import distinct_blocks, load_space

GOOD: dict[str, Any] = {
    "num_stages": 2,
    "max_extra_blocks_per_stage": 1,
    "original_stem_out_channels": 16,
    "original_stage_base_channels": [32, 64],
    "initial_input_hw": 9,
    "initial_input_channels": 3,
    "stem_stride": 2,
    "stage_downsample_factors": [1, 2],
    "channel_divisible_by": 8,
    "n_classes": 10,
    "width_multiplier_choices": [0.5, 1.0],
    "expansion_ratio_choices": [0.25, 0.5],
}


def write(folder: Path, **changes: Any) -> Path:
    content = {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}
    path = folder / "space.json"
    path.write_text(json.dumps(content))
    return path


def test_a_space_survives_a_round_trip(tmp_path: Path) -> None:
    space = load_space(write(tmp_path, alpha_weights=[1, 2], normalization="none"))
    again = tmp_path / "again.json"
    again.write_text(space.to_json())
    assert load_space(again) == space


def test_sides_are_rounded_up_as_the_network_does_and_down_as_published(tmp_path: Path) -> None:
    space = load_space(write(tmp_path))
    assert space.sides("network") == (5, 5, 3)  # 9 / 2 -> 5, 5 / 1, 5 / 2 -> 3
    assert space.sides("published") == (4, 4, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width_multiplier_choices": [1.0, 0.5]}, r"width_multiplier_choices .* strictly increasing.*Q2"),
        ({"expansion_ratio_choices": [0.25, 0.25]}, r"expansion_ratio_choices .* strictly increasing"),
        ({"channel_divisible_by": 4}, r"channel_divisible_by is 4; it must be 8.*Q3"),
        ({"expansion_ratio_choices": []}, r"expansion_ratio_choices is \[\]; it must be at least one value"),
        ({"stage_downsample_factors": [1]}, r"stage_downsample_factors has 1 values; it needs 2"),
        ({"alpha_weights": [1, 1, 1]}, r"alpha_weights has 3 values; it needs 2"),
        ({"num_stages": 0}, r"num_stages is 0; it must be a whole number of at least 1"),
        ({"num_stages": "two"}, r"Expected int, got str \(key num_stages\)"),
        ({"n_classes": ...}, r"missing key n_classes"),
        ({"stem_strides": 1}, r"unknown key 'stem_strides'; did you mean stem_stride"),
        ({"normalization": "layer"}, r"key normalization is 'layer'; it must be one of batch, none"),
    ],
)
def test_bad_spaces_are_refused_with_the_key_to_mend(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FednasError, match=message):
        load_space(write(tmp_path, **changes))


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FednasError, match=r"search space .*nowhere\.json does not exist; check the path"):
        load_space(tmp_path / "nowhere.json")


def test_the_distinct_blocks_are_exactly_those_of_some_architecture(tmp_path: Path) -> None:
    from fednas.toolchain.space import architecture_from_genes, blocks_of

    space = load_space(write(tmp_path))
    seen = set()
    from itertools import product

    for d in product(range(2), repeat=2):
        for e in product(space.expansion_ratio_choices, repeat=4):
            for w in product(range(2), repeat=3):
                seen |= set(blocks_of(space, architecture_from_genes(space, d, e, w)))
    assert set(distinct_blocks(space)) == seen
