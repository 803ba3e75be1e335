"""The shipped weights reach what their record claims, recomputed here."""

import csv

import pytest

from fednas.common import load_json, sha256_of
from fednas.toolchain.data import load_data, parse_data_spec
from fednas.toolchain.embedded import (
    embedded_cache_path,
    embedded_record_path,
    embedded_space_path,
    embedded_supernet_path,
)
from fednas.toolchain.federated import evaluate_architectures
from fednas.toolchain.space import largest_architecture, load_space, smallest_architecture
from fednas.toolchain.space.cost import cost_of
from fednas.toolchain.supernet import TrainingRecord, open_supernet, read_supernet_header

TOLERANCE = 0.005
"""Two of 450 images: another machine may round a logit to the other side."""


def record() -> TrainingRecord:
    found = read_supernet_header(embedded_supernet_path()).training
    assert found is not None
    return found


@pytest.mark.parametrize("part", ["validation", "test"])
def test_shipped_weights_reach_the_recorded_accuracies(part: str) -> None:
    loaded = open_supernet(embedded_supernet_path())
    claimed = [getattr(named, part) for named in record().accuracies]
    data = load_data(parse_data_spec("digits"))
    found = evaluate_architectures(
        loaded.supernet,
        [claim.architecture for claim in claimed],
        data,
        "validation" if part == "validation" else "test",
        recalibration_images=record().recalibration_images,
    )
    for claim, result in zip(claimed, found, strict=True):
        assert result.accuracy == pytest.approx(claim.accuracy, abs=TOLERANCE)
        assert (result.macs, result.params) == (claim.macs, claim.params)


def test_the_subnets_are_good_enough_to_ship() -> None:
    accuracies = {named.name: named.test.accuracy for named in record().accuracies}
    assert accuracies.keys() == {"smallest", "middle", "largest"}
    assert accuracies["smallest"] > 0.90
    assert min(accuracies["middle"], accuracies["largest"]) > 0.97


def test_the_record_is_of_the_shipped_files() -> None:
    header = read_supernet_header(embedded_supernet_path())
    space = load_space(embedded_space_path())
    assert header.space == space
    assert header.dataset == "digits"
    assert header.preprocessing == load_data(parse_data_spec("digits")).preprocessing
    assert record() == load_json(embedded_record_path(), TrainingRecord, "training record")
    assert record().cache_sha256 == sha256_of(embedded_cache_path())
    named = {named.name: named.test.architecture for named in record().accuracies}
    assert named["smallest"] == smallest_architecture(space)
    assert named["largest"] == largest_architecture(space)
    assert record().command.startswith("fednas-export train --space toolchain/embedded/digits-space.json")


def test_the_cache_spans_the_space() -> None:
    space = load_space(embedded_space_path())
    with embedded_cache_path().open(newline="") as stream:
        macs = [int(row["macs"]) for row in csv.DictReader(stream)]
    assert macs[0] == cost_of(space, smallest_architecture(space)).macs
    assert macs[-1] == cost_of(space, largest_architecture(space)).macs
