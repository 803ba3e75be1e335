"""The exact search on every kind of space: deep, small, embedded, 224 pixels, weighted, penalised, degenerate."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fednas.common import FednasError
from fednas.latency_tables import AdditiveTerms, BlockSpec
from fednas.toolchain.embedded import embedded_space_path
from fednas.toolchain.search import Limit, cheapest, find_best, latency_quantity, macs_quantity, params_quantity
from fednas.toolchain.search.frontier import find_frontier
from fednas.toolchain.search.request import Budgets, answer_search, infeasible_message
from fednas.toolchain.space import Accounting, SearchSpace, distinct_blocks, load_space, smallest_architecture
from fednas.toolchain.space.cost import cost_of, population_totals
from fednas.toolchain.space.fitness import FitnessSettings, population_fitness
from fednas.toolchain.space.population import Population


def at_224_pixels() -> SearchSpace:
    return SearchSpace(
        num_stages=4,
        max_extra_blocks_per_stage=2,
        original_stem_out_channels=32,
        original_stage_base_channels=(64, 128, 256, 512),
        initial_input_hw=224,
        initial_input_channels=3,
        stem_stride=2,
        stage_downsample_factors=(2, 2, 2, 2),
        channel_divisible_by=8,
        n_classes=1000,
        width_multiplier_choices=(0.25, 0.5, 0.75, 1.0),
        expansion_ratio_choices=(0.1, 0.2, 0.3),
    )


def small_variant(shared_data: Path, **changes: object) -> SearchSpace:
    small = load_space(shared_data / "reference" / "space-small.json")
    return msgspec.structs.replace(small, **changes)


def spaces_of(name: str, shared_data: Path) -> SearchSpace:
    if name in ("paper-4-stage", "deep-8-stage", "small"):
        return load_space(shared_data / "reference" / f"space-{name}.json")
    makers = {
        "embedded": lambda: load_space(embedded_space_path()),
        "224 pixels": at_224_pixels,
        "alpha": lambda: small_variant(shared_data, alpha_weights=_weights(shared_data)),
        "penalised": lambda: small_variant(shared_data, non_decreasing_penalty_coeff=2.0),
        "rho0": lambda: small_variant(shared_data, supernet_rho0_constraint=0.12),
    }
    return makers[name]()


def _weights(shared_data: Path) -> tuple[float, ...]:
    return tuple(0.3 + 0.5 * stage for stage in range(small_variant(shared_data).num_stages))


NAMES = ["paper-4-stage", "deep-8-stage", "small", "embedded", "224 pixels", "alpha", "penalised", "rho0"]


SHARES = {"deep-8-stage": (0.1,), "rho0": (0.6,)}
"""Budgets as quantiles of random networks; small random networks of the rho0 space are not allowed."""


@pytest.mark.parametrize("accounting", ["network", "published"])
@pytest.mark.parametrize("name", NAMES)
def test_no_random_network_beats_the_optimum(name: str, accounting: Accounting, shared_data: Path) -> None:
    space = spaces_of(name, shared_data)
    weights = FitnessSettings.of_space(space)
    networks = Population.random(space, 40_000, seed=11)
    terms = population_fitness(space, networks, weights, accounting)
    quantities = [macs_quantity(space, accounting), params_quantity(space, accounting)]
    totals = [population_totals(quantity.table, networks) for quantity in quantities]
    for share in SHARES.get(name, (0.1, 0.6)):
        limits = [Limit(q, float(np.quantile(t, share))) for q, t in zip(quantities, totals, strict=True)]
        within = terms.effectiveness <= weights.rho0
        for limit, total in zip(limits, totals, strict=True):
            within &= total <= limit.at_most
        best = find_best(space, weights, limits, accounting=accounting)
        assert best.status == "optimal"
        assert within.any()
        assert best.fitness >= terms.fitness[within].max()


def test_rho0_binds(shared_data: Path) -> None:
    space = spaces_of("rho0", shared_data)
    weights = FitnessSettings.of_space(space)
    free = msgspec.structs.replace(space, supernet_rho0_constraint=None)
    least = cheapest(space, [Limit(macs_quantity(space, "network"), math.inf)], 0, weights)
    assert least is not None
    assert least[0] > cost_of(space, smallest_architecture(space)).macs
    limit = Limit(macs_quantity(space, "network"), 1.5 * least[0])
    bound = find_best(space, weights, [limit])
    assert bound.architecture is not None
    assert bound.fitness < find_best(free, FitnessSettings.of_space(free), [limit]).fitness
    chosen = Population.from_architectures(space, [bound.architecture])
    assert population_fitness(space, chosen, weights).effectiveness[0] <= 0.12


def test_the_channel_penalty_is_paid_only_where_it_is_worth_it(shared_data: Path) -> None:
    plain, penalised = (spaces_of(name, shared_data) for name in ("small", "penalised"))
    for space, coefficient in ((plain, 1.0), (penalised, 2.0)):
        assert FitnessSettings.of_space(space).channel_penalty_weight == coefficient


def test_a_space_with_one_choice_everywhere_has_one_answer(shared_data: Path) -> None:
    space = small_variant(
        shared_data, max_extra_blocks_per_stage=0, width_multiplier_choices=(0.5,), expansion_ratio_choices=(0.25,)
    )
    weights, macs = FitnessSettings.of_space(space), macs_quantity(space, "network")
    only = smallest_architecture(space)
    value = cost_of(space, only).macs
    assert find_best(space, weights, []).architecture == only
    assert find_best(space, weights, [Limit(macs, value)]).architecture == only
    assert find_best(space, weights, [Limit(macs, value - 1)]).status == "infeasible"
    assert [point.architecture for point in find_frontier(space, weights, macs)] == [only]


class PricedBlocks:
    """A latency model that knows some blocks only."""

    def __init__(self, known: set[BlockSpec]) -> None:
        self._known = known
        self.identity = type("Identity", (), {"device": "board"})()

    def additive_terms(self, specs: list[BlockSpec]) -> AdditiveTerms:
        if lacking := [spec for spec in specs if spec not in self._known]:
            raise FednasError(f"lacks {lacking[0].key}")
        return AdditiveTerms(1.0, tuple(1.0 for _ in specs))


def test_a_table_needs_the_blocks_of_the_space_and_no_others(shared_data: Path) -> None:
    space = small_variant(shared_data, max_extra_blocks_per_stage=0)
    blocks = set(distinct_blocks(space))
    quantity = latency_quantity(space, PricedBlocks(blocks))  # type: ignore[arg-type]
    # Stem, one block a stage, head: a millisecond each, and one for the network.
    only = Limit(quantity, 3.0 + space.num_stages)
    assert find_best(space, FitnessSettings.of_space(space), [only]).status == "optimal"
    missing = min(blocks)
    with pytest.raises(FednasError, match=f"lacks {missing.key}"):
        latency_quantity(space, PricedBlocks(blocks - {missing}))  # type: ignore[arg-type]


def test_limits_that_only_clash_are_named_together(shared_data: Path) -> None:
    # With rho0 the network of fewest MACs is not the one of fewest parameters.
    space = spaces_of("rho0", shared_data)
    weights = FitnessSettings.of_space(space)
    quantities = [macs_quantity(space, "network"), params_quantity(space, "network")]
    least = []
    for quantity in quantities:
        found = cheapest(space, [Limit(quantity, math.inf)], 0, weights)
        assert found is not None
        least.append(int(found[0]))
    answer = answer_search(space, Budgets(macs=least[0], params=least[1], weight_bytes=10**9))
    assert answer.status == "infeasible"
    assert [use.quantity for use in answer.limits] == ["macs", "params"]
    assert all(use.clashes and use.value > use.limit for use in answer.limits)
    assert infeasible_message(answer).count("within the other limits") == 2
    reachable = int(answer.limits[0].value)
    assert answer_search(space, Budgets(macs=reachable, params=least[1])).status == "optimal"
    assert answer_search(space, Budgets(macs=reachable - 1, params=least[1])).status == "infeasible"


def test_a_rho0_that_no_network_keeps_is_one_line(shared_data: Path) -> None:
    space = small_variant(shared_data, supernet_rho0_constraint=0.001)
    with pytest.raises(FednasError, match=r"no network of the space has an effectiveness of at most 0\.001"):
        answer_search(space, Budgets(macs=10**9))
    with pytest.raises(FednasError, match=r"no network of the space has an effectiveness of at most 0\.001"):
        answer_search(space, Budgets())


def test_the_cheapest_network_of_the_paper_space_that_keeps_a_low_rho0(shared_data: Path) -> None:
    # The same value came out of an enumeration without the multiplier of rho0.
    space = msgspec.structs.replace(spaces_of("paper-4-stage", shared_data), supernet_rho0_constraint=0.03)
    found = cheapest(space, [Limit(macs_quantity(space, "network"), math.inf)], 0, FitnessSettings.of_space(space))
    assert found is not None
    assert found[0] == 156081168
    frontier = find_frontier(space, FitnessSettings.of_space(space), macs_quantity(space, "network"), high=1.7e8)
    assert frontier[0].value == 156081168
