"""The frontier against the frontier of every network, and on the spaces of the paper's kind."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_spaces import fitness_settings, latencies, small_problems

from fednas.toolchain.search import ExactSearch, Limit, macs_quantity, params_quantity
from fednas.toolchain.search.frontier import FrontierPoint, find_frontier
from fednas.toolchain.space import SearchSpace, load_space
from fednas.toolchain.space.cost import population_totals
from fednas.toolchain.space.fitness import FitnessSettings, population_fitness
from fednas.toolchain.space.population import Floats, Population


def best_within(points: list[FrontierPoint], cost: Floats) -> Floats:
    """The fitness that the points offer at each cost; minus infinity below the first."""
    values = np.array([point.value for point in points]) * (1 - 1e-11)
    fitness = np.r_[-np.inf, [point.fitness for point in points]]
    offered: Floats = fitness[np.searchsorted(values, cost, side="right")]
    return offered


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_the_frontier_is_that_of_every_network(data: st.DataObject) -> None:
    space, networks = data.draw(small_problems())
    weights = data.draw(fitness_settings(space.num_stages))
    terms = population_fitness(space, networks, weights)
    assume(not np.isclose(terms.effectiveness, weights.rho0, rtol=1e-9).any())
    within = terms.effectiveness <= weights.rho0
    axis = data.draw(st.one_of(st.just(macs_quantity(space, "network")), latencies(space, "a")))
    cost = axis.constant + population_totals(axis.table, networks)
    limits = []
    if data.draw(st.booleans()):
        params = params_quantity(space, "network")
        total = population_totals(params.table, networks)
        limits = [Limit(params, float(total[data.draw(st.integers(0, len(total) - 1))]))]
        within &= total <= limits[0].at_most
    low = data.draw(st.one_of(st.none(), st.sampled_from(cost.tolist()[:50])))

    points = find_frontier(space, weights, axis, limits, low=low)

    if not within.any():
        assert points == []
        return
    fitness = [point.fitness for point in points]
    assert fitness == sorted(set(fitness))
    assert [point.value for point in points] == sorted({point.value for point in points})
    order = np.argsort(cost[within], kind="stable")
    costs = cost[within][order]
    reachable = np.maximum.accumulate(terms.fitness[within][order])
    # Among equal costs the last one says what is reachable.
    reachable = reachable[np.searchsorted(costs, costs * (1 + 1e-11), side="right") - 1]
    asked = costs >= max(low or 0.0, costs[0])
    assert best_within(points, costs[asked]) == pytest.approx(reachable[asked], rel=1e-9, abs=1e-9)


@pytest.fixture(scope="module")
def small(shared_data: Path) -> SearchSpace:
    return load_space(shared_data / "reference" / "space-small.json")


def test_every_point_is_what_a_search_at_its_budget_finds(small: SearchSpace) -> None:
    weights, macs = FitnessSettings.of_space(small), macs_quantity(small, "network")
    points = find_frontier(small, weights, macs)
    search = ExactSearch(small, weights, [macs])
    for point in points[::10]:
        best = search.best([point.value])
        assert best.status == "optimal"
        assert best.fitness == pytest.approx(point.fitness, rel=1e-12)


def test_a_part_of_the_range_gives_a_part_of_the_frontier(small: SearchSpace) -> None:
    weights, macs = FitnessSettings.of_space(small), macs_quantity(small, "network")
    whole = find_frontier(small, weights, macs)
    low, high = whole[20].value, whole[60].value
    assert find_frontier(small, weights, macs, low=low, high=high) == whole[20:61]
    # Between two points the first is the fittest network within ``low``.
    assert find_frontier(small, weights, macs, low=low + 1, high=high)[0] == whole[20]


def test_nothing_below_the_smallest_network(small: SearchSpace) -> None:
    weights, macs = FitnessSettings.of_space(small), macs_quantity(small, "network")
    assert find_frontier(small, weights, macs, high=1000.0) == []


def test_no_random_network_is_above_the_frontier_of_the_deep_space(shared_data: Path) -> None:
    space = load_space(shared_data / "reference" / "space-deep-8-stage.json")
    weights, macs = FitnessSettings.of_space(space), macs_quantity(space, "network")
    points = find_frontier(space, weights, macs, low=6e8, high=9e8)
    networks = Population.random(space, 100_000, seed=2)
    cost = population_totals(macs.table, networks)
    inside = (cost >= 6e8) & (cost <= 9e8)
    assert inside.sum() > 100
    assert (best_within(points, cost[inside]) >= population_fitness(space, networks).fitness[inside] - 1e-9).all()
