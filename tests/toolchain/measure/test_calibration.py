"""The fit finds coefficients that made the data; intervals and errors by hand."""

import math

import msgspec
import numpy as np
import pytest

from fednas.latency_tables import Calibration, conformal_factor, contribution_ms
from fednas.toolchain.measure.calibration import (
    MeasuredNetwork,
    fit_calibration,
    interval_of,
    left_out_errors,
    log_error,
    predicted_ms,
    report_of,
)
from fednas.toolchain.measure.plan import Plan, exhaustive_plan
from fednas.toolchain.space import SearchSpace

TRUE = Calibration(
    intercept_ms=0.02,
    scale=1.1,
    overhead_ms=0.004,
    reorder_ms_per_number=2e-6,
    cold_ms_per_weight=1e-7,
    networks=20,
)


@pytest.fixture(scope="module")
def plan(tiny_space: SearchSpace) -> Plan:
    return exhaustive_plan(tiny_space)


@pytest.fixture(scope="module")
def medians_ms(plan: Plan) -> dict:
    rng = np.random.default_rng(0)
    return {spec: 0.02 + spec.macs * 1e-6 * rng.uniform(0.8, 1.2) for spec in plan.blocks}


def measured(plan_networks: tuple, medians_ms: dict, noise: float = 0.0) -> list[MeasuredNetwork]:
    rng = np.random.default_rng(1)
    return [
        MeasuredNetwork(specs, predicted_ms(specs, medians_ms, TRUE) * math.exp(noise * rng.standard_normal()))
        for specs in plan_networks
    ]


def test_predicted_is_intercept_plus_contributions(plan: Plan, medians_ms: dict) -> None:
    network = plan.held_out[0]
    total = 0.02 + sum(contribution_ms(spec, medians_ms[spec], TRUE) for spec in network)
    assert predicted_ms(network, medians_ms, TRUE) == pytest.approx(total)


def test_the_fit_finds_what_made_the_data(plan: Plan, medians_ms: dict) -> None:
    fitted = fit_calibration(medians_ms, measured(plan.calibration, medians_ms))
    assert fitted.networks == len(plan.calibration) == 40
    assert fitted.scale == pytest.approx(1.1, rel=1e-3)
    for network in measured(plan.held_out, medians_ms):
        assert predicted_ms(network.specs, medians_ms, fitted) == pytest.approx(network.latency_ms, rel=1e-6)


def test_networks_that_crowd_their_caches_are_recognised(plan: Plan, medians_ms: dict) -> None:
    crowded = msgspec.structs.replace(TRUE, crowding_per_ms=0.3)
    latencies = {s: predicted_ms(s, medians_ms, crowded) for s in (*plan.calibration, *plan.held_out)}
    fitted = fit_calibration(medians_ms, [MeasuredNetwork(s, latencies[s]) for s in plan.calibration])
    assert fitted.crowding_per_ms > 0
    for specs in plan.held_out:
        assert predicted_ms(specs, medians_ms, fitted) == pytest.approx(latencies[specs], rel=0.01)


def test_noise_is_not_taken_for_crowding(plan: Plan, medians_ms: dict) -> None:
    networks = measured(plan.calibration, medians_ms, noise=0.02)
    share = fit_calibration(medians_ms, networks).crowding_per_ms * np.median([n.latency_ms for n in networks])
    assert share < 0.05


def test_no_coefficient_goes_against_its_sign(plan: Plan, medians_ms: dict) -> None:
    # Networks far below the sum of their blocks: only overheads may explain that, never a negative intercept.
    networks = [MeasuredNetwork(s, 0.3 * sum(medians_ms[b] for b in s)) for s in plan.calibration]
    fitted = fit_calibration(medians_ms, networks)
    assert min(fitted.intercept_ms, fitted.overhead_ms, fitted.reorder_ms_per_number, fitted.cold_ms_per_weight) >= 0
    assert fitted.scale > 0


@pytest.mark.parametrize("count", [1, 2])
def test_hardly_any_network_is_enough(count: int, plan: Plan, medians_ms: dict) -> None:
    networks = measured(plan.calibration[:count], medians_ms)
    fitted = fit_calibration(medians_ms, networks)
    for network in networks:
        assert predicted_ms(network.specs, medians_ms, fitted) == pytest.approx(network.latency_ms, rel=1e-6)


@pytest.mark.parametrize(
    ("errors", "coverage", "expected"),
    [
        # (9 + 1) * 0.9 = 9: the ninth of nine.
        ([0.01 * i for i in range(1, 10)], 0.9, 0.09),
        # (19 + 1) * 0.9 = 18: the eighteenth of nineteen.
        ([0.01 * i for i in range(1, 20)], 0.9, 0.18),
        # Too few errors for 90 %: the largest.
        ([-0.3, 0.1], 0.9, 0.3),
        ([0.1, -0.2, 0.3], 0.5, 0.2),
    ],
)
def test_conformal_factor_by_hand(errors: list[float], coverage: float, expected: float) -> None:
    assert conformal_factor(errors, coverage) == pytest.approx(math.exp(expected))


def test_report_and_interval_of_noisy_networks(plan: Plan, medians_ms: dict) -> None:
    fitted_on = measured(plan.calibration, medians_ms, noise=0.02)
    held_out = measured(plan.held_out, medians_ms, noise=0.02)
    calibration = fit_calibration(medians_ms, fitted_on)
    left_out = left_out_errors(medians_ms, fitted_on)
    errors = [log_error(network, medians_ms, calibration) for network in held_out]
    assert len(left_out) == len(plan.calibration)
    predicted = [predicted_ms(network.specs, medians_ms, calibration) for network in held_out]
    report = report_of([network.latency_ms for network in held_out], predicted, left_out, 0.01)
    interval = interval_of(left_out, errors, 1.0)
    assert report.subnets == 21
    assert 0.002 < report.mape < 0.05
    assert report.within_10 == 1.0
    assert report.kendall_tau > 0.8
    assert report.interval_coverage >= 0.8
    assert report.repeatability_mape == 0.01
    assert interval.coverage == 0.9
    assert 1.01 < interval.factor < 1.1
    assert interval_of([0.3], [0.1], math.exp(0.4)).factor == pytest.approx(math.exp(0.7))
    # The last held-out network's error belongs to the pool that the interval was made from.
    assert interval.factor <= math.exp(max(abs(error) for error in [*left_out, *errors]))
