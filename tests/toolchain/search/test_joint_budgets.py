"""Joint budgets on random latency tables, weighted latency, and certificates, against every network."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_spaces import fitness_settings, latencies, small_problems

from fednas.toolchain.search import ExactSearch, Limit, Quantity, cheapest, find_best, macs_quantity, params_quantity
from fednas.toolchain.search.explain import next_steps
from fednas.toolchain.search.genetic import GeneticSettings, find_genetically
from fednas.toolchain.space import SearchSpace
from fednas.toolchain.space.cost import population_totals
from fednas.toolchain.space.fitness import FitnessSettings, population_fitness
from fednas.toolchain.space.population import Floats, Population


class Everything:
    """Every network of a space with its fitness, and which of them keep limits."""

    def __init__(self, space: SearchSpace, networks: Population, weights: FitnessSettings) -> None:
        terms = population_fitness(space, networks, weights)
        # Exactly at rho0 the last bit of a sum decides; keep away from it.
        assume(not np.isclose(terms.effectiveness, weights.rho0, rtol=1e-9).any())
        self.networks, self.fitness = networks, terms.fitness
        self.allowed = terms.effectiveness <= weights.rho0

    def total(self, quantity: Quantity) -> Floats:
        sums = quantity.constant + population_totals(quantity.table, self.networks)
        return sums + quantity.crowding * sums**2

    def within(self, limits: list[Limit]) -> np.ndarray:
        kept = self.allowed.copy()
        for limit in limits:
            kept &= self.total(limit.quantity) <= limit.at_most * (1 + 1e-11)
        return kept


def drawn_limits(data: st.DataObject, every: Everything, quantities: list[Quantity]) -> list[Limit]:
    """Budgets at exactly the value of some network: equality passes."""
    rows = [data.draw(st.integers(0, len(every.fitness) - 1)) for _ in quantities]
    return [Limit(q, float(every.total(q)[row])) for q, row in zip(quantities, rows, strict=True)]


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_two_devices_and_parameters_jointly(data: st.DataObject) -> None:
    space, networks = data.draw(small_problems())
    weights = data.draw(fitness_settings(space.num_stages))
    every = Everything(space, networks, weights)
    quantities = [data.draw(latencies(space, name)) for name in "ab"]
    if data.draw(st.booleans()):
        quantities.append(params_quantity(space, "network"))
    limits = drawn_limits(data, every, quantities)
    weight = data.draw(st.sampled_from((0.0, 0.5, 20.0)))
    price = [weight, *[0.0] * (len(limits) - 1)]
    objective = every.fitness - weight * every.total(quantities[0])
    within = every.within(limits)

    best = find_best(space, weights, limits, price=price)

    if not within.any():
        assert best.status == "infeasible"
        return
    top = objective[within].max()
    assert best.status == "optimal"
    assert best.objective == pytest.approx(top, rel=1e-9, abs=1e-9)
    assert best.upper_bound == best.objective
    assert best.architecture is not None
    chosen = Population.from_architectures(space, [best.architecture])
    for limit in limits:
        value = limit.quantity.constant + population_totals(limit.quantity.table, chosen)[0]
        assert value <= limit.at_most * (1 + 1e-11)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_upper_bound_is_never_below_any_network_that_keeps_the_limits(data: st.DataObject) -> None:
    space, networks = data.draw(small_problems())
    weights = data.draw(fitness_settings(space.num_stages))
    every = Everything(space, networks, weights)
    quantities = [data.draw(latencies(space, "a")), macs_quantity(space, "network")]
    limits = drawn_limits(data, every, quantities)
    weight = data.draw(st.sampled_from((0.0, 2.0)))
    price = [weight, 0.0]
    within = every.within(limits)
    assume(within.any())
    top = (every.fitness - weight * every.total(quantities[0]))[within].max()
    rounding = 1e-9 * max(1.0, abs(top))

    search = ExactSearch(space, weights, quantities, price=price)
    budgets = [limit.at_most for limit in limits]
    assert search.bound(budgets) >= top - rounding
    hurried = search.best(budgets, time_limit_s=0.0)
    assert hurried.upper_bound >= top - rounding
    assert hurried.objective <= top + rounding


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_genetic_search_stays_between_nothing_and_the_optimum(data: st.DataObject) -> None:
    space, networks = data.draw(small_problems())
    weights = data.draw(fitness_settings(space.num_stages))
    every = Everything(space, networks, weights)
    limits = drawn_limits(data, every, [data.draw(latencies(space, "a"))])
    # Enough networks within the limit that a few draws find three.
    assume(every.within(limits).mean() > 0.2)
    found = find_genetically(space, weights, limits, GeneticSettings(population=8, generations=4, seed=1), price=[1.0])
    best = find_best(space, weights, limits, price=[1.0])
    assert found.status == "feasible"
    assert found.objective <= best.objective + 1e-9 * max(1.0, abs(best.objective))
    assert found.upper_bound >= best.objective - 1e-9 * max(1.0, abs(best.objective))
    assert found.gap >= 0


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_next_better_subnet_is_the_cheapest_that_is_better(data: st.DataObject) -> None:
    space, networks = data.draw(small_problems())
    weights = data.draw(fitness_settings(space.num_stages))
    every = Everything(space, networks, weights)
    quantities = [data.draw(latencies(space, "a")), params_quantity(space, "network")]
    limits = drawn_limits(data, every, quantities)
    weight = data.draw(st.sampled_from((0.0, 2.0)))
    objective = every.fitness - weight * every.total(quantities[0])
    assume(every.within(limits).any())
    best = find_best(space, weights, limits, price=[weight, 0.0])

    steps = next_steps(space, weights, limits, best, price=[weight, 0.0])

    for k, step in enumerate(steps):
        others = every.within([limits[1 - k]])
        better = others & (objective > best.objective + 1e-8 * max(1.0, abs(best.objective)))
        if not better.any():
            assert step is None
            continue
        assert step is not None
        assert step.value == pytest.approx(every.total(quantities[k])[better].min(), rel=1e-9)
        assert step.value > limits[k].at_most


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_smallest_reachable_value_keeps_rho0(data: st.DataObject) -> None:
    space, networks = data.draw(small_problems())
    weights = data.draw(fitness_settings(space.num_stages))
    every = Everything(space, networks, weights)
    latency = data.draw(latencies(space, "a"))
    found = cheapest(space, [Limit(latency, math.inf)], 0, weights)
    if not every.allowed.any():
        assert found is None
        return
    assert found is not None
    assert found[0] == pytest.approx(every.total(latency)[every.allowed].min(), rel=1e-9)
