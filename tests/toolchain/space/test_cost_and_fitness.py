"""Conformance (b), (c) and (e): published numbers to the last digit, network numbers by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from fednas.common import FednasError
from fednas.toolchain.embedded import embedded_space_path
from fednas.toolchain.space import (
    Architecture,
    SearchSpace,
    architecture_from_genes,
    blocks_of,
    largest_architecture,
    load_space,
    read_architectures,
    smallest_architecture,
)
from fednas.toolchain.space.cost import cost_of, population_cost
from fednas.toolchain.space.fitness import FitnessSettings, fitness_of, population_fitness
from fednas.toolchain.space.population import Population


@pytest.fixture(scope="module")
def paper(shared_data: Path) -> SearchSpace:
    return load_space(shared_data / "reference" / "space-paper-4-stage.json")


def arch(space: SearchSpace, d: list[int], ratio: float, w: list[int]) -> Architecture:
    return architecture_from_genes(space, d, [ratio] * space.expansion_slots, w)


SMALLEST_NORMS = 2 * (8 + (8 + 24 + 24) + (8 + 32 + 32) + (16 + 48 + 48) + (16 + 48 + 48))
"""Affine pairs of the smallest embedded network: stem, then middle, output and projection of each block."""

# (d, e, w, MACs, params, F, H, rho), from method.md sections 1.5 and 3.6.
ANCHORS = [
    ([0] * 4, 0.1, [0] * 5, 7545888, 128706, 630.394915777, 496.303461212, 0.144091454565),
    ([0] * 4, 0.1, [9] * 5, 458969088, 10396746, 921.135923607, 910.274649170, 0.020861274437),
    ([2] * 4, 0.25, [9] * 5, 3403370496, 71726538, 2430.433953957, 2424.024931002, 0.016409022955),
    ([1, 0, 2, 1], 0.18, [9, 7, 3, 5, 1], 561857520, 5356698, 1229.841604292, 1426.215349810, 0.028113467189),
    ([2] * 4, 0.14, [4] * 5, 542222336, 10496314, 2036.023924236, 2006.987348172, 0.039036576064),
    ([2, 0, 0, 0], 0.1, [0] * 5, 14623776, 135746, 844.894673761, 691.456622471, 0.174608051456),
]


@pytest.mark.parametrize("anchor", ANCHORS, ids=lambda anchor: f"{anchor[3]} MACs")
def test_published_anchors(
    paper: SearchSpace, anchor: tuple[list[int], float, list[int], int, int, float, float, float]
) -> None:
    d, ratio, w, macs, params, fitness, entropy, rho = anchor
    found = arch(paper, d, ratio, w)
    population = Population.from_architectures(paper, [found])
    terms = population_fitness(paper, population, None, "published")
    assert cost_of(paper, found, "published").macs == macs
    assert cost_of(paper, found, "published").params == params
    assert terms.fitness[0] == pytest.approx(fitness, abs=1e-9)
    assert terms.entropy[0] == pytest.approx(entropy, abs=1e-9)
    assert terms.effectiveness[0] == pytest.approx(rho, abs=1e-12)


def test_the_channel_penalty_of_an_anchor_is_208(paper: SearchSpace) -> None:
    population = Population.from_architectures(paper, [arch(paper, [1, 0, 2, 1], 0.18, [9, 7, 3, 5, 1])])
    # Stage widths 208, 208, 616, 408: only the last step loses channels.
    assert population_fitness(paper, population).channel_penalty[0] == 208


@pytest.mark.parametrize("name", ["paper-4-stage", "deep-8-stage"])
def test_published_scores_are_met_exactly(shared_data: Path, name: str) -> None:
    space = load_space(shared_data / "reference" / f"space-{name}.json")
    path = shared_data / "reference" / f"scores-{name}.csv"
    check_against_published(space, path)


def test_the_published_cache_is_met_exactly(shared_data: Path, paper: SearchSpace) -> None:
    # Every third row, 0 to 57: the hand-edited row 59 is not among them.
    check_against_published(paper, shared_data / "reference" / "cache-paper-20-of-60.csv")


def check_against_published(space: SearchSpace, path: Path) -> None:
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    population = Population.from_architectures(space, read_architectures(path, space))
    macs, params = population_cost(space, population, "published")
    terms = population_fitness(space, population, None, "published")
    assert macs.tolist() == [int(row["macs"]) for row in rows]
    assert params.tolist() == [int(row["params"]) for row in rows]
    assert terms.entropy.tolist() == [float(row["entropy"]) for row in rows]
    assert terms.effectiveness.tolist() == pytest.approx([float(row["effectiveness"]) for row in rows], rel=1e-15)
    assert terms.fitness.tolist() == pytest.approx([float(row["fitness_score"]) for row in rows], rel=1e-15)


def test_row_59_of_the_published_cache_is_another_network_than_it_says(paper: SearchSpace) -> None:
    says_full = largest_architecture(paper)
    edited = architecture_from_genes(paper, [2] * 4, [0.25] * 11 + [0.22], [9] * 5)
    assert cost_of(paper, says_full, "published").macs - cost_of(paper, edited, "published").macs == 37748736
    assert cost_of(paper, edited, "published").macs == 3365621760
    difference = fitness_of(paper, says_full, None, "published") - fitness_of(paper, edited, None, "published")
    assert difference == pytest.approx(1.31262, abs=1e-5)


def test_the_published_accounting_charges_a_projection_that_the_network_does_not_have(paper: SearchSpace) -> None:
    # Stem and stage 1 both 24 channels wide: the first block's shortcut is the identity (Q5).
    same_width = arch(paper, [0] * 4, 0.25, [2, 0, 0, 0, 0])
    network, published = cost_of(paper, same_width), cost_of(paper, same_width, "published")
    assert published.macs - network.macs == 24 * 24 * 32**2
    assert published.params - network.params == 24 * 24 + 2 * 24


def test_costs_by_hand_on_the_smallest_embedded_network() -> None:
    space = load_space(embedded_space_path())
    # Widths 8; 24, 32, 48, 48; middles 8, 8, 16, 16; sides 8, 8, 4, 4, 2. Each first block has a projection.
    first = 9 * 8 * (8 + 24) + 8 * 24
    second = 9 * 8 * (24 + 32) + 24 * 32
    third = 9 * 16 * (32 + 48) + 32 * 48
    fourth = 9 * 16 * (48 + 48) + 48 * 48
    stem, head = 9 * 8, 48 * 10
    macs = 64 * (stem + first) + 16 * (second + third) + 4 * fourth + head
    found = cost_of(space, smallest_architecture(space))
    assert found.macs == macs == 515040
    assert found.params == stem + first + second + third + fourth + head + 10 + SMALLEST_NORMS


@pytest.mark.parametrize("name", ["paper-4-stage", "deep-8-stage", "small"])
def test_network_macs_are_the_sum_over_the_blocks_that_are_built(shared_data: Path, name: str) -> None:
    space = load_space(shared_data / "reference" / f"space-{name}.json")
    population = Population.random(space, 200, seed=1)
    macs, _ = population_cost(space, population)
    by_blocks = [sum(b.macs for b in blocks_of(space, found)) for found in population.architectures(space)]
    assert macs.tolist() == by_blocks


def test_without_normalization_there_are_no_affine_parameters() -> None:
    import msgspec

    space = load_space(embedded_space_path())
    plain = msgspec.structs.replace(space, normalization="none")
    smallest = smallest_architecture(space)
    assert cost_of(space, smallest).params - cost_of(plain, smallest).params == SMALLEST_NORMS
    # The published cost model counts them whatever the network has.
    assert cost_of(plain, smallest, "published").params == cost_of(space, smallest, "published").params


def test_settings_come_from_the_space_file() -> None:
    import msgspec

    space = load_space(embedded_space_path())
    assert FitnessSettings.of_space(space) == FitnessSettings(alpha=(1, 1, 1, 1))
    changed = msgspec.structs.replace(
        space,
        alpha_weights=(1, 2, 3, 4),
        beta_depth_penalty=0.5,
        non_decreasing_channels=False,
        supernet_rho0_constraint=0.2,
        supernet_effectiveness_fitness_weight=100.0,
    )
    expected = FitnessSettings(alpha=(1, 2, 3, 4), beta=0.5, gamma=100.0, channel_penalty_weight=0.0, rho0=0.2)
    assert FitnessSettings.of_space(changed) == expected


def test_settings_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(FednasError, match="fitness settings must be finite numbers"):
        FitnessSettings(alpha=(float("nan"),))
    with pytest.raises(FednasError, match="must not be negative"):
        FitnessSettings(alpha=(1.0,), gamma=-1.0)


def test_a_million_architectures_are_scored_in_one_call() -> None:
    space = load_space(embedded_space_path())
    population = Population.random(space, 1_000_000, seed=0)
    macs, params = population_cost(space, population)
    fitness = population_fitness(space, population).fitness
    assert macs.shape == params.shape == fitness.shape == (1_000_000,)
    assert np.isfinite(fitness).all()
    assert macs.min() >= 515040
