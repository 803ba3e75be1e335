"""The plans sparse and network, on a made-up device whose law is known: no clock is read here."""

import math

import msgspec
import numpy as np
import pytest

from fednas.common import FednasError
from fednas.latency_tables import BlockKind, BlockSpec, LatencyTable, MeasuredLatencyModel, lint
from fednas.toolchain.measure import read_machine
from fednas.toolchain.measure.analysis import Analysis
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.journal import Reading
from fednas.toolchain.measure.plan import HELD_OUT_NETWORKS, MOST_CHOSEN, Plan, Specs, plan_for
from fednas.toolchain.space import SearchSpace, blocks_of, distinct_blocks, largest_architecture, smallest_architecture

ROUNDS = 9
NOISE = 0.01


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    """Three stages on 16x16 images; 1,122 blocks."""
    return SearchSpace(
        num_stages=3,
        max_extra_blocks_per_stage=1,
        original_stem_out_channels=32,
        original_stage_base_channels=(64, 128, 256),
        initial_input_hw=16,
        initial_input_channels=3,
        stem_stride=1,
        stage_downsample_factors=(1, 2, 2),
        channel_divisible_by=8,
        n_classes=10,
        width_multiplier_choices=(0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0),
        expansion_ratio_choices=(0.125, 0.25, 0.375, 0.5),
    )


def price_ms(spec: BlockSpec) -> float:
    """A device that multiplies more slowly where few pixels share a weight, and waits for weights and numbers."""
    return 0.002 * spec.kernels + spec.macs / 20e6 * (1 + 2 / spec.out_hw) + spec.weights / 8e6 + spec.activations / 5e6


def true_ms(specs: Specs) -> float:
    """A block alone has its weights at hand and pays for a call, and for bringing its numbers into another layout."""
    if len(specs) > 1:
        return 0.02 + sum(map(price_ms, specs))
    [spec] = specs
    borders = 0 if spec.kind is not BlockKind.RESIDUAL else spec.in_channels * spec.in_hw**2
    return 0.02 + price_ms(spec) - spec.weights / 8e6 + borders / 20e6


def measured(plan: Plan, space: SearchSpace, noise: float = NOISE) -> Collected:
    """Readings of the made-up device, in interleaved rounds."""
    rng = np.random.default_rng(2)
    candidates = plan.candidates
    order = np.concatenate([rng.permutation(len(candidates)) for _ in range(ROUNDS)])
    readings = [
        Reading(0, int(index), true_ms(candidates[index]) * math.exp(noise * rng.standard_normal()), 0.01 * i, False)
        for i, index in enumerate(order)
    ]
    job = MeasuringJob(
        device="board",
        plan=plan,
        runtime="onnxruntime",
        precision="fp32",
        threads=1,
        batch=1,
        seconds=1.0,
        seed=0,
        space=space,
    )
    machine = read_machine()
    return Collected(
        job=job,
        readings=readings,
        runtime_version="1",
        date="2026-01-01T00:00:00+00:00",
        before=machine,
        after=machine,
        load_before=0.0,
        load_after=0.0,
    )


@pytest.fixture(scope="module", params=["sparse", "network"])
def table(request: pytest.FixtureRequest, space: SearchSpace) -> LatencyTable:
    return Analysis(measured(plan_for(request.param, space, seconds=60), space)).table()


def fresh_networks(space: SearchSpace) -> list[Specs]:
    """Networks that no plan of seed 0 has drawn, but by chance."""
    return list(plan_for("exhaustive", space, seed=99).held_out)


def test_every_block_has_a_price_near_the_truth(table: LatencyTable, space: SearchSpace) -> None:
    model = MeasuredLatencyModel(table)
    blocks = distinct_blocks(space)
    assert model.missing(blocks) == ()
    paid = model.additive_terms(blocks).contributions_ms
    errors = [abs(price / price_ms(spec) - 1) for spec, price in zip(blocks, paid, strict=True)]
    assert np.median(errors) < 0.05
    networks = fresh_networks(space)
    errors = [abs(model.predict(specs).latency_ms / true_ms(specs) - 1) for specs in networks]
    assert np.mean(errors) < 0.015
    assert max(errors) < 0.05


def test_the_stated_error_and_interval_are_those_of_fresh_networks(table: LatencyTable, space: SearchSpace) -> None:
    assert table.report is not None
    assert table.interval is not None
    assert table.report.subnets == HELD_OUT_NETWORKS
    assert table.report.mape < 0.02
    assert table.interval.factor < 1.05
    predictions = [(MeasuredLatencyModel(table).predict(specs), true_ms(specs)) for specs in fresh_networks(space)]
    inside = [prediction.low_ms <= truth <= prediction.high_ms for prediction, truth in predictions]
    assert sum(inside) >= 0.8 * len(inside)


def test_entries_say_whether_they_were_measured(table: LatencyTable) -> None:
    measured_alone = [entry for entry in table.entries if entry.origin == "measured"]
    assert len(measured_alone) == (60 if table.session.plan == "sparse" else 0)
    assert all(entry.samples == ROUNDS for entry in measured_alone)
    modelled = [entry for entry in table.entries if entry.origin == "modelled"]
    assert len(modelled) == len(table.entries) - len(measured_alone)
    assert all(entry.samples == 0 and 0 < entry.spread < 1 for entry in modelled)
    assert [finding for finding in lint(table) if finding.level == "error"] == []


@pytest.mark.parametrize("name", ["sparse", "network"])
def test_a_longer_plan_measures_more_and_none_measures_what_it_is_judged_on(space: SearchSpace, name: str) -> None:
    short, long = (plan_for(name, space, seconds=seconds) for seconds in (0.1, 600))
    assert len(short.candidates) < len(long.candidates)
    assert len(long.calibration) == MOST_CHOSEN + 2
    for plan in (short, long):
        assert not set(plan.held_out) & set(plan.calibration)
        assert plan.reference == plan.calibration[0] == blocks_of(space, largest_architecture(space))
        assert plan.calibration[1] == blocks_of(space, smallest_architecture(space))
        assert len(set(plan.candidates)) == len(plan.candidates) - 1  # the reference is also in the calibration
        assert plan.priced == distinct_blocks(space)
    assert short.held_out == plan_for("network", space, seconds=30).held_out


def test_a_modelled_plan_depends_on_its_seed_alone(space: SearchSpace) -> None:
    assert plan_for("sparse", space, seed=1) == plan_for("sparse", space, seed=1)
    assert plan_for("sparse", space, seed=1) != plan_for("sparse", space, seed=2)


@pytest.mark.parametrize("name", ["sparse", "network"])
def test_a_space_with_too_few_networks_is_refused(tiny_space: SearchSpace, name: str) -> None:
    few = msgspec.structs.replace(
        tiny_space, max_extra_blocks_per_stage=0, width_multiplier_choices=(1.0,), expansion_ratio_choices=(0.5,)
    )
    with pytest.raises(FednasError, match="only 1 networks; a table needs 9"):
        plan_for(name, few)
