"""Estimates: arithmetic by hand, honesty about what is lacking, and the public measurements."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from table_examples import NETWORK

from fednas.common import FednasError
from fednas.latency_tables import estimate_for
from fednas.latency_tables.estimate import CPU, GPU, Cost, EstimatorConstants, Workload, interval, price
from fednas.profiles import DeviceProfile, Figure, find_profile

HALF = EstimatorConstants(kernel_ms=0.01, utilisation=0.5, falloff=0.0, bandwidth_share=0.5, coverage=0.8, factor=2.0)


def work(macs: int, numbers: int, kernels: int = 2) -> Cost:
    return price(
        Workload(macs=macs, numbers_moved=numbers, kernels=kernels),
        tera_macs_per_s=2.0,
        gb_per_s=100.0,
        bytes_per_number=4,
        constants=HALF,
    )


def test_compute_bound_work_by_hand() -> None:
    # 10^9 MACs at half of 2 tera-MACs/s are 1 ms; 4 kB at 50 GB/s are nothing beside it.
    assert work(10**9, 1000) == Cost(launch_ms=0.02, work_ms=1.0)


def test_memory_bound_work_by_hand() -> None:
    # 25 million numbers of 4 bytes at 50 GB/s are 2 ms.
    assert work(10**6, 25 * 10**6) == Cost(launch_ms=0.02, work_ms=2.0)


def test_the_reached_share_falls_with_the_peak_and_never_exceeds_it() -> None:
    def reached(tera_macs: float) -> float:
        cost = price(
            Workload(macs=10**12, numbers_moved=0, kernels=0),
            tera_macs_per_s=tera_macs,
            gb_per_s=100.0,
            bytes_per_number=2,
            constants=GPU,
        )
        return 1e3 / (cost.work_ms * tera_macs)

    assert reached(0.25) > reached(1.0) > reached(40.0)
    assert reached(1.0) == pytest.approx(GPU.utilisation)
    assert reached(1e-4) == 1.0


def test_the_interval_doubts_launches_more_than_work() -> None:
    assert interval([Cost(3.0, 0.0)], HALF) == (0.5, 18.0)
    assert interval([Cost(0.0, 3.0)], HALF) == (1.5, 6.0)


@pytest.mark.parametrize("name", ["jetson", "jetson-nano", "jetson-thor", "raspberry-pi-4", "intel-n100"])
def test_an_estimate_is_labelled_additive_and_wide(name: str) -> None:
    model = estimate_for(find_profile(name), "fp32")
    prediction, terms = model.predict(NETWORK), model.additive_terms(NETWORK)
    assert model.identity.kind == prediction.kind == "estimate"
    assert model.identity.name.startswith("estimate")
    assert model.missing(NETWORK) == ()
    assert terms.total_ms == pytest.approx(prediction.latency_ms)
    assert min(terms.contributions_ms) > 0
    assert prediction.high_ms / prediction.low_ms > 7


def test_lower_precision_is_never_estimated_slower() -> None:
    device = find_profile("jetson-agx-orin")
    latencies = [estimate_for(device, p).predict(NETWORK).latency_ms for p in ("fp32", "fp16", "int8")]
    assert latencies == sorted(latencies, reverse=True)


def test_lacking_figures_are_named(tmp_path: Path) -> None:
    device = find_profile("raspberry-pi-5")
    with pytest.raises(FednasError, match="raspberry-pi-5 does not run fp16; choose one of fp32, int8"):
        estimate_for(device, "fp16")
    with pytest.raises(FednasError, match="no peak in int8 of raspberry-pi-4 is on record"):
        estimate_for(find_profile("raspberry-pi-4"), "int8")
    with pytest.raises(FednasError, match="no memory bandwidth of raspberry-pi-5 is on record"):
        estimate_for(replace(device, dram_gb_per_s=None), "fp32")


def test_a_faster_memory_never_costs(tmp_path: Path) -> None:
    slow = find_profile("jetson-nano")
    fast = replace(slow, dram_gb_per_s=Figure(value=1e4, evidence="assumed", source="test"))

    def latency(device: DeviceProfile) -> float:
        return estimate_for(device, "fp16").predict(NETWORK).latency_ms

    assert latency(fast) <= latency(slow)


@pytest.fixture(scope="module")
def check() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "estimator_check.py"
    spec = importlib.util.spec_from_file_location("estimator_check", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_networks_of_the_check_have_the_published_cost(check: ModuleType) -> None:
    # torchvision's documentation: 1.81, 3.66 and 4.09 GMACs with 11.7, 21.8 and 25.6 million weights; 0.35 and 1.24.
    macs = {name: sum(w.macs for w in net) / 1e9 for name, net in check.NETWORKS.items()}
    assert macs == {
        "resnet18": pytest.approx(1.81, abs=0.01),
        "resnet34": pytest.approx(3.66, abs=0.01),
        "resnet50": pytest.approx(4.09, abs=0.01),
        "squeezenet1_1": pytest.approx(0.35, abs=0.005),
    }


@pytest.mark.parametrize("constants", [GPU, CPU], ids=["gpu", "cpu"])
def test_public_measurements_lie_inside_without_their_device(check: ModuleType, constants: EstimatorConstants) -> None:
    rows = list(check.leave_one_device_out(constants))
    assert len(rows) >= 11
    assert sum(row.inside for row in rows) >= constants.coverage * len(rows)
    assert max(row.error_factor for row in rows) <= constants.factor


@pytest.mark.parametrize("constants", [GPU, CPU], ids=["gpu", "cpu"])
def test_the_constants_are_those_that_the_check_fits(check: ModuleType, constants: EstimatorConstants) -> None:
    kind = "gpu" if constants is GPU else "cpu"
    fitted = check.fit([m for m in check.PUBLIC if check.device_of(m).processor == kind], constants)
    assert constants.utilisation == pytest.approx(fitted.utilisation, rel=0.05)
    assert constants.falloff == pytest.approx(fitted.falloff, abs=0.01)
