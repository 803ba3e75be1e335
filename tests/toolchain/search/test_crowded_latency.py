"""Latencies that grow faster than the sum of their blocks, against every network of small spaces."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_spaces import fitness_settings, latencies, small_problems
from test_joint_budgets import Everything, drawn_limits

from fednas.toolchain.search import GeneticSettings, Limit, Quantity, cheapest, find_best, find_frontier, macs_quantity
from fednas.toolchain.search.genetic import find_genetically
from fednas.toolchain.search.weighted import find_best_weighted
from fednas.toolchain.space import Architecture, SearchSpace
from fednas.toolchain.space.population import Population


def crowded(data: st.DataObject, space: SearchSpace) -> Quantity:
    return replace(data.draw(latencies(space, "a")), crowding=data.draw(st.sampled_from((0.01, 0.3, 5.0))))


def value_of(quantity: Quantity, space: SearchSpace, architecture: Architecture) -> float:
    return float(quantity.values(Population.from_architectures(space, [architecture]))[0])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_best_within_a_budget(data: st.DataObject) -> None:
    space, networks = data.draw(small_problems())
    weights = data.draw(fitness_settings(space.num_stages))
    every = Everything(space, networks, weights)
    limits = drawn_limits(data, every, [crowded(data, space), macs_quantity(space, "network")])
    within = every.within(limits)
    best = find_best(space, weights, limits)
    if not within.any():
        assert best.status == "infeasible"
        return
    assert best.objective == pytest.approx(every.fitness[within].max(), rel=1e-9, abs=1e-9)
    assert best.architecture is not None
    for limit in limits:
        assert value_of(limit.quantity, space, best.architecture) <= limit.at_most * (1 + 1e-11)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_smallest_reachable_value_is_a_latency_and_no_sum(data: st.DataObject) -> None:
    space, networks = data.draw(small_problems())
    weights = data.draw(fitness_settings(space.num_stages))
    every = Everything(space, networks, weights)
    quantity = crowded(data, space)
    found = cheapest(space, [Limit(quantity, math.inf)], 0, weights)
    if not every.allowed.any():
        assert found is None
        return
    assert found is not None
    assert found[0] == pytest.approx(every.total(quantity)[every.allowed].min(), rel=1e-9)
    assert value_of(quantity, space, found[1]) == pytest.approx(found[0], rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_frontier_has_latencies_on_its_axis(data: st.DataObject) -> None:
    space, networks = data.draw(small_problems())
    weights = data.draw(fitness_settings(space.num_stages))
    every = Everything(space, networks, weights)
    quantity = crowded(data, space)
    totals = every.total(quantity)
    high = float(totals[data.draw(st.integers(0, len(totals) - 1))])
    for point in find_frontier(space, weights, quantity, high=high):
        assert point.value == pytest.approx(value_of(quantity, space, point.architecture), rel=1e-9)
        assert point.value <= high * (1 + 1e-9)
        cheaper = every.allowed & (totals <= point.value * (1 + 1e-11))
        assert point.fitness == pytest.approx(every.fitness[cheaper].max(), rel=1e-9, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_weighted_latency_finds_the_best_compromise(data: st.DataObject) -> None:
    space, networks = data.draw(small_problems())
    weights = data.draw(fitness_settings(space.num_stages))
    every = Everything(space, networks, weights)
    limits = drawn_limits(data, every, [crowded(data, space), macs_quantity(space, "network")])
    if data.draw(st.booleans()):
        limits[0] = Limit(limits[0].quantity, math.inf)
    weight = data.draw(st.sampled_from((0.1, 1.0, 20.0)))
    within = every.within(limits)
    best = find_best_weighted(space, weights, limits, weight)
    if not within.any():
        assert best.status == "infeasible"
        return
    objective = every.fitness - weight * every.total(limits[0].quantity)
    top = objective[within].max()
    assert best.status == "optimal"
    assert best.objective == pytest.approx(top, rel=1e-9, abs=1e-9)
    late = find_best_weighted(space, weights, limits, weight, time_limit_s=0.0)
    assert late.status == "feasible"
    assert late.objective <= top + 1e-9 * (1 + abs(top)) <= late.upper_bound + 2e-9 * (1 + abs(top))


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_genetic_search_keeps_its_certificate(data: st.DataObject) -> None:
    space, networks = data.draw(small_problems())
    weights = data.draw(fitness_settings(space.num_stages))
    every = Everything(space, networks, weights)
    limits = drawn_limits(data, every, [crowded(data, space)])
    found = find_genetically(space, weights, limits, GeneticSettings(population=20, generations=3, seed=0), price=[0.5])
    objective = every.fitness - 0.5 * every.total(limits[0].quantity)
    within = every.within(limits)
    if found.architecture is not None and within.any():
        top = float(np.max(objective[within]))
        assert found.objective <= top + 1e-9 * (1 + abs(top))
        assert found.upper_bound >= top - 1e-9 * (1 + abs(top))
