"""What is measured."""

import dataclasses

import msgspec
import pytest

from fednas.common import FednasError
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.plan import (
    CALIBRATION_NETWORKS,
    HELD_OUT_NETWORKS,
    TELLING_NETWORKS,
    exhaustive_plan,
    plan_for,
)
from fednas.toolchain.measure.rounds import groups_of
from fednas.toolchain.space import (
    SearchSpace,
    blocks_of,
    distinct_blocks,
    largest_architecture,
    smallest_architecture,
)


def test_an_exhaustive_plan_has_every_block_and_networks_that_are_all_different(tiny_space: SearchSpace) -> None:
    plan = exhaustive_plan(tiny_space)
    assert plan.blocks == distinct_blocks(tiny_space)
    networks = [*plan.calibration, *plan.held_out]
    assert len(set(networks)) == len(networks) == CALIBRATION_NETWORKS + TELLING_NETWORKS + HELD_OUT_NETWORKS + 1
    assert len(plan.calibration) == CALIBRATION_NETWORKS + TELLING_NETWORKS
    assert plan.reference == plan.calibration[0] == blocks_of(tiny_space, largest_architecture(tiny_space))
    assert blocks_of(tiny_space, smallest_architecture(tiny_space)) in plan.calibration
    assert all(set(network) <= set(plan.blocks) for network in networks)
    assert plan.candidates[0] == plan.reference


def test_the_plan_depends_on_its_seed_alone(tiny_space: SearchSpace) -> None:
    assert exhaustive_plan(tiny_space, seed=1) == exhaustive_plan(tiny_space, seed=1)
    assert exhaustive_plan(tiny_space, seed=1) != exhaustive_plan(tiny_space, seed=2)


def test_a_space_with_too_few_networks_is_refused(tiny_space: SearchSpace) -> None:
    few = msgspec.structs.replace(
        tiny_space, max_extra_blocks_per_stage=0, width_multiplier_choices=(1.0,), expansion_ratio_choices=(0.5,)
    )
    with pytest.raises(FednasError, match="only 1 networks; a table needs 9"):
        exhaustive_plan(few)


def test_groups_stay_within_memory_and_share_the_reference(tiny_space: SearchSpace) -> None:
    candidates = exhaustive_plan(tiny_space).candidates
    assert groups_of(candidates) == [list(range(len(candidates)))]
    groups = groups_of(candidates, most_weights=20_000)
    assert len(groups) > 1
    assert all(group[0] == 0 for group in groups)
    assert sorted(index for group in groups for index in group[1:]) == list(range(1, len(candidates)))
    for group in groups:
        assert sum(spec.weights for index in group[1:] for spec in candidates[index]) <= 20_000 or len(group) == 2


def test_each_pass_has_all_candidates_in_other_company(tiny_space: SearchSpace) -> None:
    candidates = exhaustive_plan(tiny_space).candidates
    groups = groups_of(candidates, passes=2, most_weights=200_000)
    assert 4 < len(groups) < 40
    assert groups == groups_of(candidates, passes=2, most_weights=200_000)
    assert all(group[0] == 0 for group in groups)
    members = [index for group in groups for index in group[1:]]
    assert sorted(members) == sorted([*range(1, len(candidates))] * 2)
    assert len({frozenset(group) for group in groups}) == len(groups)


def test_longer_sessions_load_everything_more_often(tiny_space: SearchSpace) -> None:
    assert [plan_for("sparse", tiny_space, seconds=seconds).passes for seconds in (3, 60, 300, 3000)] == [3, 3, 5, 5]
    assert plan_for("exhaustive", tiny_space, seconds=300).passes == 3


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 0.0, -1.0])
@pytest.mark.parametrize("name", ["exhaustive", "sparse", "network"])
def test_seconds_that_are_none_are_refused(name: str, seconds: float, tiny_space: SearchSpace) -> None:
    with pytest.raises(FednasError, match=f"--seconds is {seconds}; it must be a number above zero"):
        plan_for(name, tiny_space, seconds=seconds)


def test_a_batch_that_no_board_holds_is_refused(tiny_space: SearchSpace) -> None:
    assert plan_for("exhaustive", tiny_space, batch=1000)
    with pytest.raises(FednasError, match=r"--batch is 100000000: one tensor .* take [\d,.]+ GiB; give \d+ or fewer"):
        plan_for("exhaustive", tiny_space, batch=100_000_000)


def test_readings_of_other_groups_passes_or_visits_are_of_another_job(tiny_space: SearchSpace) -> None:
    job = MeasuringJob(
        device="cpu",
        plan=exhaustive_plan(tiny_space),
        runtime="onnxruntime",
        precision="fp32",
        threads=1,
        batch=1,
        seconds=1.0,
        seed=0,
    )
    more = dataclasses.replace(job, plan=dataclasses.replace(job.plan, passes=5))
    oftener = dataclasses.replace(job, plan=dataclasses.replace(job.plan, visits=2))
    assert len({job.digest(1 << 24), job.digest(1 << 25), more.digest(1 << 24), oftener.digest(1 << 24)}) == 4
