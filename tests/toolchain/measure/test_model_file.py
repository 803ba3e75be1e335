"""Timing one file."""

import math
from pathlib import Path

import pytest

from fednas.common import FednasError
from fednas.toolchain.measure import measure_onnx_file, neighbours_in
from fednas.toolchain.measure.graphs import input_shape, network_onnx
from fednas.toolchain.measure.model_file import LOADS, loads_interval, lowest_rank, median_interval
from fednas.toolchain.measure.runtimes import TimedModel, find_runtime, runtime_status
from fednas.toolchain.measure.runtimes.base import LoadOrder
from fednas.toolchain.measure.runtimes.onnxruntime_session import OnnxRuntimeCpu
from fednas.toolchain.space import SearchSpace, blocks_of, largest_architecture


@pytest.fixture
def model(tiny_space: SearchSpace, tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(network_onnx(blocks_of(tiny_space, largest_architecture(tiny_space)), batch=2))
    return path


def test_a_model_is_timed_with_an_interval(model: Path, tiny_space: SearchSpace) -> None:
    shape = input_shape(blocks_of(tiny_space, largest_architecture(tiny_space)), 2)
    found = measure_onnx_file(model, input_shape=shape, seconds=0.1)
    assert 0 < found.low_ms <= found.median_ms <= found.high_ms
    assert found.p10_ms <= found.median_ms <= found.p90_ms
    assert found.samples >= 60
    assert found.calls_per_reading > 1
    assert (found.batch, found.threads) == (2, 1)
    assert found.fit == (found.reason == "")


def test_a_wrong_shape_and_a_broken_file_are_named(model: Path) -> None:
    with pytest.raises(FednasError, match=r"does not run on an input of shape \[1, 3, 9, 9\]; it takes \[2, 1, 8, 8\]"):
        measure_onnx_file(model, input_shape=(1, 3, 9, 9))
    model.write_bytes(model.read_bytes()[:100])
    with pytest.raises(FednasError, match=r"ONNX Runtime cannot load model .*model\.onnx"):
        measure_onnx_file(model, input_shape=(2, 1, 8, 8))


@pytest.mark.parametrize(("count", "rank"), [(6, 0), (10, 1), (20, 5)])
def test_ranks_of_the_sign_test(count: int, rank: int) -> None:
    # Tables of the 95 % interval of a median: 1st and 6th of 6, 2nd and 9th of 10, 6th and 15th of 20.
    assert lowest_rank(count) == rank


def test_a_slow_spell_widens_the_interval_but_not_the_median() -> None:
    steady = [1.0, 1.01] * 100
    assert median_interval(steady) == pytest.approx((1.005, 1.005), abs=0.006)
    # A spell of 30 % of the session: six of twenty stretches, one more than the rank lets go.
    low, high = median_interval(steady[:140] + [2.0] * 60)
    assert low == pytest.approx(1.005, abs=0.006)
    assert high == 2.0


def test_loads_that_differ_widen_the_interval() -> None:
    # Logs 0 and 0.1 have a standard deviation of 0.0707; over the root of 2, times 12.706: 0.635.
    low, high = loads_interval([1.0, math.exp(0.1)] * 30, 2)
    middle = (1 + math.exp(0.1)) / 2
    assert (low, high) == pytest.approx((middle / math.exp(0.6353), middle * math.exp(0.6353)), rel=1e-3)
    assert loads_interval([1.0, 1.2, 1.1], 1) == (1.1, 1.1)


def test_a_file_is_loaded_anew_and_its_loads_are_read_alike(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[TimedModel] = []
    load = OnnxRuntimeCpu._load

    def recorded(runtime: OnnxRuntimeCpu, order: LoadOrder) -> TimedModel:
        loaded.append(load(runtime, order))
        return loaded[-1]

    monkeypatch.setattr(OnnxRuntimeCpu, "_load", recorded)
    measure_onnx_file(model, input_shape=(2, 1, 8, 8), seconds=0.05)
    assert len(loaded) == LOADS
    monkeypatch.setattr("fednas.toolchain.measure.model_file.memory_bytes", lambda: 16 * 2 * model.stat().st_size)
    loaded.clear()
    measure_onnx_file(model, input_shape=(2, 1, 8, 8), seconds=0.05)
    assert len(loaded) == 1


def test_a_file_is_read_alone_or_in_turn_with_others_and_says_which(model: Path, tiny_space: SearchSpace) -> None:
    alone = measure_onnx_file(model, input_shape=(2, 1, 8, 8), seconds=0.05)
    assert (alone.state, alone.alone_ms) == ("alone", alone.median_ms)
    neighbours = neighbours_in(tiny_space)
    assert len(set(neighbours)) > 20
    in_turn = measure_onnx_file(model, input_shape=(2, 1, 8, 8), seconds=0.05, neighbours=neighbours)
    assert in_turn.state == "in turn"
    assert in_turn.alone_ms > 0
    assert in_turn.samples >= 60


@pytest.mark.parametrize("name", [status.name for status in runtime_status() if status.can_run])
def test_another_runtime_times_it_too(name: str, tiny_space: SearchSpace, tmp_path: Path) -> None:
    specs = list(blocks_of(tiny_space, largest_architecture(tiny_space)))
    path = tmp_path / "model.onnx"
    path.write_bytes(network_onnx(specs))
    found = measure_onnx_file(path, input_shape=input_shape(specs, 1), seconds=0.05, runtime=find_runtime(name))
    assert found.median_ms > 0
    assert found.state == "alone"
