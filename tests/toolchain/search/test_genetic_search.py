"""The published genetic search, number by number (method 4.1)."""

import math
from pathlib import Path

import pytest

from fednas.common import FednasError
from fednas.toolchain.search import Limit, find_best, macs_quantity
from fednas.toolchain.search.genetic import GeneticSettings, find_genetically
from fednas.toolchain.space import SearchSpace, load_space
from fednas.toolchain.space.cost import cost_of
from fednas.toolchain.space.fitness import FitnessSettings


@pytest.fixture(scope="module")
def paper(shared_data: Path) -> SearchSpace:
    return load_space(shared_data / "reference" / "space-paper-4-stage.json")


PUBLISHED = FitnessSettings(alpha=(1.0,) * 4, gamma=1000.0, beta=10.0, channel_penalty_weight=1.0, rho0=2.0)


@pytest.mark.parametrize(
    ("budget", "population", "generations", "seed", "fitness", "macs"),
    [
        (500e6, 32, 25, 0, 1996.458855067, 497289216),
        (1445e6, 31, 25, 7, 2228.621905493, 1442916352),
        (3000e6, 40, 30, 42, 2398.683043091, 2991468512),
        (120e6, 24, 20, 3, 1628.924549181, 118770672),
    ],
)
def test_the_published_anchors(
    paper: SearchSpace, budget: float, population: int, generations: int, seed: int, fitness: float, macs: int
) -> None:
    chosen = GeneticSettings(population=population, generations=generations, seed=seed)
    limit = Limit(macs_quantity(paper, "published"), budget)
    found = find_genetically(paper, PUBLISHED, [limit], chosen, accounting="published")
    assert found.fitness == pytest.approx(fitness, abs=5e-10)
    assert found.objective == pytest.approx(found.fitness, rel=1e-14)
    assert found.architecture is not None
    assert cost_of(paper, found.architecture, "published").macs == macs
    assert found.status == "feasible"
    optimum = find_best(paper, PUBLISHED, [limit], accounting="published")
    assert found.fitness < optimum.fitness <= found.upper_bound


def test_the_defaults_are_the_published_ones() -> None:
    published = GeneticSettings()
    assert (published.population, published.generations, published.mutation) == (256, 512, 0.3)


def test_one_generation_returns_the_best_of_the_first_population(paper: SearchSpace) -> None:
    # The last generation's children are scored but never considered, as published (Q11).
    found = find_genetically(paper, PUBLISHED, [], GeneticSettings(population=16, generations=1, seed=4))
    two = find_genetically(paper, PUBLISHED, [], GeneticSettings(population=16, generations=2, seed=4))
    assert found.fitness <= two.fitness


def test_nothing_drawn_is_no_proof_that_there_is_nothing(paper: SearchSpace) -> None:
    limit = Limit(macs_quantity(paper, "network"), 1000.0)
    found = find_genetically(paper, PUBLISHED, [limit], GeneticSettings(population=3, generations=1))
    assert (found.status, found.architecture) == ("feasible", None)
    assert found.objective == -math.inf


def test_a_first_population_of_two_is_one_clear_line(paper: SearchSpace) -> None:
    # So few networks are this small that the draws of seed 2 meet one (method Q15: the published code crashes).
    limit = Limit(macs_quantity(paper, "network"), 12e6)
    with pytest.raises(FednasError, match="drew only 1 networks within the limits, and needs 3"):
        find_genetically(paper, PUBLISHED, [limit], GeneticSettings(population=3, generations=1, seed=2))


@pytest.mark.parametrize(
    "wrong", [{"population": 2}, {"generations": 0}, {"mutation": 1.5}, {"mutation": math.nan}, {"seed": -1}]
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(FednasError, match=r"genetic settings .* cannot work"):
        GeneticSettings(**wrong)  # type: ignore[arg-type]
