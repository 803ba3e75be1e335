"""Own readings are believed as far as whole networks bear them out."""

import math
import random

import pytest

from fednas.latency_tables import BlockSpec, LatencyTable, MeasuredLatencyModel
from fednas.profiles import find_profile
from fednas.toolchain.measure import profile_space
from fednas.toolchain.measure.calibration import MeasuredNetwork, log_error
from fednas.toolchain.measure.plan import Plan, exhaustive_plan
from fednas.toolchain.measure.smoothing import FOLDS, smooth
from fednas.toolchain.space import SearchSpace


@pytest.fixture(scope="module")
def plan(tiny_space: SearchSpace) -> Plan:
    return exhaustive_plan(tiny_space)


def law_ms(spec: BlockSpec) -> float:
    """What the block model can say exactly: kernels and multiplications."""
    return 0.002 * spec.kernels + spec.macs / 20e6


def networks(plan: Plan, prices: dict[BlockSpec, float]) -> list[MeasuredNetwork]:
    return [MeasuredNetwork(specs, sum(prices[spec] for spec in specs)) for specs in plan.calibration]


def scattered(prices: dict[BlockSpec, float], deviation: float, seed: int) -> dict[BlockSpec, float]:
    rng = random.Random(seed)  # noqa: S311 - a sample, not a secret
    return {spec: ms * math.exp(rng.gauss(0, deviation)) for spec, ms in prices.items()}


def test_readings_that_explain_the_networks_are_left_alone(plan: Plan) -> None:
    quirky = scattered({spec: law_ms(spec) for spec in plan.blocks}, 0.3, seed=1)
    found = smooth(quirky, networks(plan, quirky))
    assert found.share == 1.0
    assert found.alone_ms == pytest.approx(quirky)
    assert max(map(abs, found.left_out)) < 1e-3


def test_noise_of_the_readings_is_smoothed_away(plan: Plan) -> None:
    true = {spec: law_ms(spec) for spec in plan.blocks}
    noisy = scattered(true, 0.2, seed=2)
    found = smooth(noisy, networks(plan, true))
    assert found.share < 1.0
    held_out = [MeasuredNetwork(specs, sum(true[spec] for spec in specs)) for specs in plan.held_out]
    errors = [abs(log_error(network, found.alone_ms, found.calibration)) for network in held_out]
    assert sum(errors) / len(errors) < 0.05


def test_every_network_is_left_out_once(plan: Plan) -> None:
    true = {spec: law_ms(spec) for spec in plan.blocks}
    assert len(smooth(true, networks(plan, true)).left_out) == len(plan.calibration) >= FOLDS


def test_a_table_predicts_from_what_was_smoothed_and_keeps_the_reading(tiny_space: SearchSpace) -> None:
    table = profile_space(tiny_space, find_profile("cpu"), seconds=0.3, accept_unfit=True)
    drawn = [entry.smoothed_ms is not None for entry in table.entries]
    assert all(drawn) or not any(drawn)
    halved = _with_smoothed(table, 0.5)
    blocks = [table.entries[place].spec for place in table.networks[0].blocks]
    cheap, plain = (MeasuredLatencyModel(each).additive_terms(blocks).total_ms for each in (halved, table))
    assert cheap < plain
    assert [entry.median_ms for entry in halved.entries] == [entry.median_ms for entry in table.entries]


def _with_smoothed(table: LatencyTable, factor: float) -> LatencyTable:
    import msgspec

    entries = tuple(msgspec.structs.replace(e, smoothed_ms=e.alone_ms * factor) for e in table.entries)
    return msgspec.structs.replace(table, entries=entries)
