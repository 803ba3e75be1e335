"""Architectures: canonical form, and the refusal of genes outside the space."""

from pathlib import Path

import pytest

from fednas.common import FednasError
from fednas.toolchain.embedded import embedded_space_path
from fednas.toolchain.space import (
    SearchSpace,
    architecture_from_cells,
    architecture_from_genes,
    architecture_from_json,
    largest_architecture,
    load_space,
    read_architectures,
    smallest_architecture,
)
from fednas.toolchain.space.population import Population


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load_space(embedded_space_path())


def test_genes_of_missing_blocks_are_not_part_of_an_architecture(space: SearchSpace) -> None:
    first = architecture_from_genes(space, [0, 0, 0, 0], [0.25, 0.5, 0.5] * 4, [0] * 5)
    second = architecture_from_genes(space, [0, 0, 0, 0], [0.25, 0.375, 0.25] * 4, [0] * 5)
    assert first == second == smallest_architecture(space)
    assert hash(first) == hash(second)


def test_json_round_trip(space: SearchSpace) -> None:
    import msgspec

    arch = largest_architecture(space)
    assert architecture_from_json(space, msgspec.json.encode(arch.as_dict()), "it") == arch


def test_a_population_holds_the_same_architectures(space: SearchSpace) -> None:
    population = Population.random(space, 50, seed=3)
    archs = population.architectures(space)
    assert Population.from_architectures(space, archs).architectures(space) == archs


@pytest.mark.parametrize(
    ("d", "e", "w", "message"),
    [
        ([0, 0, 0], [0.25] * 12, [0] * 5, "3 values in d; this search space needs 4"),
        ([0, 0, 0, 3], [0.25] * 12, [0] * 5, "has 3 in d; this search space allows 0 to 2"),
        ([0] * 4, [0.25] * 11, [0] * 5, "11 values in e; this search space needs 12"),
        ([0] * 4, [0.3] * 12, [0] * 5, r"has 0\.3 in e; this search space allows 0\.25, 0\.375, 0\.5"),
        ([0] * 4, [0.25] * 12, [0, 0, 0, 0, -1], "has -1 in w_indices; this search space allows 0 to 3"),
    ],
)
def test_genes_outside_the_space_are_refused(
    space: SearchSpace, d: list[int], e: list[float], w: list[int], message: str
) -> None:
    with pytest.raises(FednasError, match=message):
        architecture_from_genes(space, d, e, w)


def test_a_cell_that_is_no_list_is_refused(space: SearchSpace) -> None:
    cells = {"d": "[0, 0, 0, 0]", "e": "[np.float64(0.25)]", "w_indices": "[0, 0, 0, 0, 0]"}
    with pytest.raises(FednasError, match=r"column e holds '\[np\.float64\(0\.25\)\]'; it must hold a list"):
        architecture_from_cells(space, cells)


def test_a_bad_row_is_named_by_its_line(space: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "archs.csv"
    path.write_text('d,e,w_indices\n"[0,0,0,0]","[0.25]","[0,0,0,0,0]"\n')
    with pytest.raises(FednasError, match=r"archs\.csv, line 2: architecture has 1 values in e"):
        read_architectures(path, space)
