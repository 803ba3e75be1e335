"""Times of layers: what runtimes give, which block they belong to, and when the fit takes them."""

import dataclasses
import json
import math
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from test_modelled_plans import NOISE, fresh_networks, measured, price_ms, space, true_ms

from fednas.common import ContractError, FednasError
from fednas.latency_tables import LatencyTable, MeasuredLatencyModel, table_from_json
from fednas.profiles import find_profile
from fednas.toolchain.measure import profile_space
from fednas.toolchain.measure.analysis import Analysis
from fednas.toolchain.measure.calibration import MeasuredNetwork
from fednas.toolchain.measure.graphs import blocks_named, input_shape, network_onnx
from fednas.toolchain.measure.inside import sorted_by_block
from fednas.toolchain.measure.job import Collected
from fednas.toolchain.measure.journal import Journal, LayerReading
from fednas.toolchain.measure.plan import plan_for
from fednas.toolchain.measure.runtimes import find_runtime, runtime_names
from fednas.toolchain.measure.runtimes.base import LayerTime, LoadOrder
from fednas.toolchain.measure.runtimes.onnxruntime_session import _layers_of
from fednas.toolchain.space import SearchSpace, blocks_of, largest_architecture
from fednas.toolchain.tables.facts import layers_text

__all__ = ["space"]  # a fixture
HERE = ("onnxruntime", "openvino")
WITH_LAYERS = (*HERE, "tensorrt", "trtexec")


@pytest.fixture(autouse=True)
def few_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits take time; the networks made up here have no odd ones among them."""
    monkeypatch.setattr("fednas.toolchain.measure.inside.FOLDS", 4)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("block0_conv0", {0}),
        ("block3_relu14_nchwc", {3}),  # ONNX Runtime's own layout
        ("block2_conv9/WithoutBiases", {2}),  # OpenVINO
        ("block1_conv2 + block1_relu3", {1}),  # TensorRT
        ("PWN(PWN(block1_relu3), block1_add7)", {1}),
        ("block1_add7 + block1_relu8 || block2_conv9", {1, 2}),
        ("Reformatting CopyNode for Input Tensor 0 to block2_conv9", {2}),
        ("ReorderInput_token_90", set()),
        ("block9_conv99", set()),  # not in this network
        ("myblock1_conv2", set()),
        ("output", {3}),  # OpenVINO calls the last node so
    ],
)
def test_layers_belong_to_the_blocks_that_they_name(name: str, places: set[int]) -> None:
    assert blocks_named(name, 4) == places


def test_runtimes_that_give_layers() -> None:
    assert tuple(name for name in runtime_names() if find_runtime(name).gives_layers) == WITH_LAYERS
    with pytest.raises(ContractError, match="ncnn was asked for the layers"):
        find_runtime("ncnn").layers(LoadOrder(model=b"", input_shape=(1, 1, 8, 8)), 4)


@pytest.mark.parametrize("name", HERE)
def test_real_layers_are_nearly_all_of_single_blocks(name: str, tiny_space: SearchSpace) -> None:
    runtime = find_runtime(name)
    try:
        runtime.require()
    except FednasError as err:
        pytest.skip(str(err))
    specs = tuple(blocks_of(tiny_space, largest_architecture(tiny_space)))
    order = LoadOrder(model=network_onnx(specs, batch=8), input_shape=input_shape(specs, 8))
    layers = runtime.layers(order, 10)
    found = sorted_by_block(MeasuredNetwork(specs, 1.0), layers)
    assert sum(found.blocks_ms) > 0.5 * found.all_ms > 0
    assert sum(ms > 0 for ms in found.blocks_ms) > len(specs) / 2
    assert found.strangers < len(layers) / 2


def test_a_profile_leaves_no_file_behind(
    tiny_space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    specs = tuple(blocks_of(tiny_space, largest_architecture(tiny_space)))
    find_runtime("onnxruntime").layers(LoadOrder(model=network_onnx(specs), input_shape=input_shape(specs, 1)), 2)
    assert list(tmp_path.iterdir()) == []


def test_blocks_share_what_the_network_takes_unprofiled(tiny_space: SearchSpace) -> None:
    specs = tuple(blocks_of(tiny_space, largest_architecture(tiny_space)))
    layers = [LayerTime(f"block{place}_conv", 1.0 + place) for place in range(len(specs))]
    layers += [LayerTime("ReorderInput", 2.0), LayerTime("block0_conv + block1_conv", 1.0)]
    found = sorted_by_block(MeasuredNetwork(specs, 0.5), layers)
    assert found.strangers == 2
    assert found.all_ms == sum(found.blocks_ms) + 3.0
    assert sum(ms for _, ms in found.inside(0.0)) == pytest.approx(0.5)
    assert found.inside(0.0)[2][1] == pytest.approx(3 * found.inside(0.0)[0][1])


def profiled(collected: Collected, *, slower: float = 1.6, share: float = 1.0, spoilt: float = 0.0) -> Collected:
    """The made-up device's own profile of its calibration networks.

    Args:
        slower: how much profiling slows it down.
        share: of each block's time that is of layers named after it.
        spoilt: standard deviation of the logarithm of what profiling does to a block, always the same for a block.
    """
    rng, plan = np.random.default_rng(5), collected.job.plan
    skew = {spec: math.exp(spoilt * rng.standard_normal()) for spec in plan.priced}
    readings = []
    for candidate, specs in enumerate(plan.calibration, start=1 + len(plan.blocks)):
        layers = []
        for place, spec in enumerate(specs):
            ms = slower * price_ms(spec) * skew[spec] * math.exp(NOISE * rng.standard_normal())
            layers += [LayerTime(f"block{place}_conv", share * ms), LayerTime("Reorder", (1 - share) * ms)]
        readings.append(LayerReading(candidate=candidate, layers=tuple(layers)))
    return dataclasses.replace(collected, layers=readings)


@pytest.fixture(scope="module")
def plain(space: SearchSpace) -> Collected:
    """Readings of few networks by a noisy machine: there is something to gain."""
    return measured(plan_for("network", space, seconds=0.1), space, noise=0.1)


@pytest.fixture(scope="module")
def without(plain: Collected) -> LatencyTable:
    """The table of whole networks only."""
    return Analysis(plain).table()


def error(table: LatencyTable, space: SearchSpace) -> float:
    """Mean, on networks that no plan has seen."""
    model, networks = MeasuredLatencyModel(table), fresh_networks(space)
    return float(np.mean([abs(model.predict(specs).latency_ms / true_ms(specs) - 1) for specs in networks]))


def test_good_layers_are_used_and_make_the_table_better(
    plain: Collected, without: LatencyTable, space: SearchSpace
) -> None:
    table = Analysis(profiled(plain)).table()
    assert without.layers is None
    assert table.layers is not None
    assert table.layers.used
    assert (table.layers.networks, table.layers.attributed) == (len(plain.job.plan.calibration), 1.0)
    assert table.layers.error_with < table.layers.error_without
    assert error(table, space) < error(without, space)
    assert table_from_json(table.to_json(), "table") == table
    assert layers_text(table.layers).startswith("used: ")


def test_layers_that_mislead_are_not_used(plain: Collected, without: LatencyTable) -> None:
    table = Analysis(profiled(plain, spoilt=1.5)).table()
    assert table.layers is not None
    assert not table.layers.used
    assert table.layers.error_with > table.layers.error_without
    assert msgspec.structs.replace(table, layers=None) == without
    assert layers_text(table.layers).startswith("not used: ")


def test_layers_that_cannot_be_attributed_are_not_used(plain: Collected) -> None:
    table = Analysis(profiled(plain, share=0.7)).table()
    assert table.layers is not None
    assert (table.layers.used, table.layers.attributed, table.layers.error_with) == (False, 0.7, None)
    assert table.layers.strangers > 1
    text = layers_text(table.layers)
    assert re.search(r"70% of their time is of single blocks \(\d layers a network are of none\): too little, so", text)


def test_an_empty_profile_is_not_used(plain: Collected, without: LatencyTable) -> None:
    empty = [LayerReading(candidate=1 + i, layers=()) for i in range(len(plain.job.plan.calibration))]
    table = Analysis(dataclasses.replace(plain, layers=empty)).table()
    assert table.layers is not None
    assert not table.layers.used
    assert table.entries == without.entries


def test_nodes_of_one_name_count_together(tmp_path: Path) -> None:
    # Six runs of two nodes of one name, 2 and 4 us, and of one of 10 us; the first five runs are left out.
    path = tmp_path / "profile.json"
    run = [("Reorder", 2), ("block0_conv0", 10), ("Reorder", 4)]
    events = [{"cat": "Session", "name": "model_run", "dur": 99}]
    events += [{"cat": "Node", "name": f"{name}_kernel_time", "dur": us} for _ in range(6) for name, us in run]
    path.write_text(json.dumps(events))
    assert _layers_of(path, 6) == (LayerTime("Reorder", pytest.approx(0.006)), LayerTime("block0_conv0", 0.01))


def test_held_out_networks_are_never_looked_into(plain: Collected) -> None:
    plan = plain.job.plan
    every = {plan.candidates[each.candidate] for each in profiled(plain).layers}
    assert every == set(plan.calibration)


def test_the_network_plan_asks_for_layers_once(
    tiny_space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, asked = find_runtime("onnxruntime"), []
    layers = runtime.layers

    def counted(order: LoadOrder, runs: int) -> tuple[LayerTime, ...]:
        if len(asked) == 5:
            raise KeyboardInterrupt
        asked.append(order)
        return layers(order, 2)

    monkeypatch.setattr(type(runtime), "layers", lambda _self, order, runs: counted(order, runs))
    monkeypatch.setattr("fednas.toolchain.measure.rounds.WARM_LIMIT_S", 0.05)
    options = {"plan": "network", "seconds": 0.1, "partial": tmp_path / "partial", "accept_unfit": True}
    with pytest.raises(KeyboardInterrupt):
        profile_space(tiny_space, find_profile("cpu"), **options)
    monkeypatch.setattr(type(runtime), "layers", lambda *given: layers(given[1], 2))
    table = profile_space(tiny_space, find_profile("cpu"), resume=True, **options)
    assert table.layers is not None
    assert table.layers.networks == table.calibration.networks
    lines = (tmp_path / "partial").read_bytes().splitlines()
    kept = [msgspec.json.decode(line, type=LayerReading) for line in lines if b'"layers"' in line[:40]]
    candidates = [each.candidate for each in kept]
    assert candidates == list(range(1, 1 + table.layers.networks))
    assert table_from_json(table.to_json(), "table") == table


def test_no_other_plan_asks_for_layers(tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(type(find_runtime("onnxruntime")), "layers", never)
    assert profile_space(tiny_space, find_profile("cpu"), seconds=0.1, accept_unfit=True).layers is None


@pytest.mark.parametrize("layer", ['["a",-1.0]', '["a",1e999]', '["a",null]', '["a"]'])
def test_layers_that_are_no_times_are_damage(tmp_path: Path, layer: str) -> None:
    path = tmp_path / "partial"
    with Journal(path, job="a", resume=False):
        pass
    path.write_text(path.read_text() + f'{{"record":"layers","candidate":1,"layers":[{layer}]}}\n')
    with pytest.raises(FednasError, match="are damaged"):
        Journal(path, job="a", resume=True)


def test_a_profile_that_fails_costs_nothing_but_itself(
    tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: object, _order: LoadOrder, _runs: int) -> tuple[LayerTime, ...]:
        raise FednasError("the profiler\x1b[31m is out of order", hint="mend it")

    monkeypatch.setattr(type(find_runtime("onnxruntime")), "layers", fail)
    table = profile_space(tiny_space, find_profile("cpu"), plan="network", seconds=0.3, accept_unfit=True)
    assert table.layers is not None
    assert not table.layers.used
    assert layers_text(table.layers) == "not used, the profile failed: the profiler[31m is out of order; mend it"
    assert table.report is not None
