"""The exact search against brute force: every network of hundreds of small random spaces."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_spaces import every_network, fitness_settings, spaces

from fednas.common import FednasError
from fednas.toolchain.search import (
    ExactSearch,
    Limit,
    cheapest,
    find_best,
    macs_quantity,
    params_quantity,
    weight_bytes_quantity,
)
from fednas.toolchain.space import Accounting, SearchSpace, largest_architecture, load_space, smallest_architecture
from fednas.toolchain.space.cost import cost_of, population_totals
from fednas.toolchain.space.fitness import FitnessSettings, fitness_of, population_fitness
from fednas.toolchain.space.population import Population


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_the_exact_search_finds_what_brute_force_finds(data: st.DataObject) -> None:
    space = data.draw(spaces())
    weights = data.draw(fitness_settings(space.num_stages))
    accounting: Accounting = data.draw(st.sampled_from(("network", "published")))
    everything = every_network(space)
    assume(len(everything) <= 60_000)
    terms = population_fitness(space, everything, weights, accounting)
    # Exactly at rho0 the last bit of a sum decides; keep away from it.
    assume(not np.isclose(terms.effectiveness, weights.rho0, rtol=1e-9).any())
    quantities = [
        macs_quantity(space, accounting),
        params_quantity(space, accounting),
        weight_bytes_quantity(space, "fp32"),
    ]
    chosen = data.draw(st.sets(st.sampled_from(range(3)), max_size=3).map(sorted))
    totals = [population_totals(quantities[k].table, everything) for k in chosen]
    # A budget at exactly the cost of some network: equality passes.
    rows = [data.draw(st.integers(0, len(everything) - 1)) for _ in chosen]
    limits = [Limit(quantities[k], float(t[row])) for k, t, row in zip(chosen, totals, rows, strict=True)]
    within = terms.effectiveness <= weights.rho0
    for total, limit in zip(totals, limits, strict=True):
        within &= total <= limit.at_most

    best = find_best(space, weights, limits, accounting=accounting)

    if not within.any():
        assert best.status == "infeasible"
        assert best.architecture is None
        return
    assert best.status == "optimal"
    assert best.gap == 0
    assert best.fitness == pytest.approx(terms.fitness[within].max(), rel=1e-9, abs=1e-9)
    assert best.architecture is not None
    assert fitness_of(space, best.architecture, weights, accounting) == best.fitness
    chosen_one = Population.from_architectures(space, [best.architecture])
    for limit in limits:
        assert population_totals(limit.quantity.table, chosen_one)[0] <= limit.at_most


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_smallest_reachable_value_is_the_smallest(data: st.DataObject) -> None:
    space = data.draw(spaces())
    everything = every_network(space)
    assume(len(everything) <= 60_000)
    macs, params = macs_quantity(space, "network"), params_quantity(space, "network")
    total_macs = population_totals(macs.table, everything)
    total_params = population_totals(params.table, everything)
    ceiling = float(total_params[data.draw(st.integers(0, len(everything) - 1))])
    found = cheapest(space, [Limit(macs, 1.0), Limit(params, ceiling)], 0)
    assert found is not None
    value, architecture = found
    assert value == total_macs[total_params <= ceiling].min()
    assert cost_of(space, architecture).macs == value


@pytest.fixture(scope="module")
def paper(shared_data: Path) -> SearchSpace:
    return load_space(shared_data / "reference" / "space-paper-4-stage.json")


def test_the_paper_space_beats_the_published_cache_at_its_own_budgets(paper: SearchSpace) -> None:
    # Fitness of published rows 0, 10 and 50 and what a greedy search reached (method 3.6): the optimum is above.
    budgets = np.linspace(458_970_000, 3_403_370_000, 60)
    search = ExactSearch(
        paper, FitnessSettings.of_space(paper), [macs_quantity(paper, "published")], accounting="published"
    )
    for row, published, greedy in (
        (0, 2027.0, 2046.1),
        (10, 2191.7, 2213.1),
        (30, 2351.6, 2356.2),
        (50, 2412.43, 2412.43),
    ):
        best = search.best([budgets[row]])
        assert best.status == "optimal"
        assert best.fitness > published - 0.005
        assert best.fitness > greedy - 0.05


def test_no_random_network_beats_the_optimum(paper: SearchSpace) -> None:
    population = Population.random(paper, 200_000, seed=5)
    macs = population_totals(macs_quantity(paper, "network").table, population)
    fitness = population_fitness(paper, population).fitness
    for budget in (5e7, 3e8, 1e9, 2.5e9):
        best = find_best(paper, FitnessSettings.of_space(paper), [Limit(macs_quantity(paper, "network"), budget)])
        assert best.fitness >= fitness[macs <= budget].max()


def test_without_limits_the_largest_network_of_the_paper_space_is_best(paper: SearchSpace) -> None:
    best = find_best(paper, FitnessSettings.of_space(paper), [])
    assert best.architecture == largest_architecture(paper)


def test_a_budget_at_exactly_the_smallest_network_is_met_by_it(paper: SearchSpace) -> None:
    smallest = smallest_architecture(paper)
    quantity = macs_quantity(paper, "network")
    macs = cost_of(paper, smallest).macs
    settings_ = FitnessSettings.of_space(paper)
    assert find_best(paper, settings_, [Limit(quantity, macs)]).architecture == smallest
    assert find_best(paper, settings_, [Limit(quantity, macs - 1)]).status == "infeasible"


def test_limits_must_be_above_zero(paper: SearchSpace) -> None:
    for value in (0.0, -1.0, math.nan):
        with pytest.raises(FednasError, match=r"the limit on macs is .*; it must be above zero"):
            Limit(macs_quantity(paper, "network"), value)


def test_when_the_time_is_up_the_answer_is_feasible_with_a_true_bound(paper: SearchSpace) -> None:
    weights = FitnessSettings.of_space(paper)
    limit = Limit(macs_quantity(paper, "network"), 5e8)
    optimal = find_best(paper, weights, [limit])
    hurried = find_best(paper, weights, [limit], time_limit_s=0.0)
    assert hurried.status == "feasible"
    assert hurried.fitness <= optimal.fitness <= hurried.upper_bound
    assert hurried.gap > 0
