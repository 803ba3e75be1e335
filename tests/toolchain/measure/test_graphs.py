"""The graphs that are timed: the operators of an exported subnet, computing what its blocks say."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fednas.common import ContractError
from fednas.latency_tables import BlockKind, BlockSpec, Shortcut
from fednas.toolchain.measure import graphs
from fednas.toolchain.measure.graphs import OPSET, input_shape, network_onnx, output_shape
from fednas.toolchain.measure.runtimes.onnxruntime_session import OnnxRuntimeModel
from fednas.toolchain.space import SearchSpace, blocks_of, distinct_blocks, largest_architecture


def residual(shortcut: Shortcut, stride: int = 1, out_channels: int = 8, in_hw: int = 5) -> BlockSpec:
    return BlockSpec(
        kind=BlockKind.RESIDUAL,
        in_channels=8,
        mid_channels=16,
        out_channels=out_channels,
        in_hw=in_hw,
        stride=stride,
        shortcut=shortcut,
    )


STEM = BlockSpec(kind=BlockKind.STEM, in_channels=3, mid_channels=0, out_channels=8, in_hw=5)
HEAD = BlockSpec(kind=BlockKind.HEAD, in_channels=8, mid_channels=0, out_channels=4, in_hw=5)
MAIN = {"Conv": 2, "Relu": 3, "Add": 1}


@pytest.mark.parametrize(
    ("spec", "operators"),
    [
        (STEM, {"Conv": 1, "Relu": 1}),
        (residual(Shortcut.IDENTITY), MAIN),
        (residual(Shortcut.PROJECTION, out_channels=16), MAIN | {"Conv": 3}),
        (residual(Shortcut.PROJECTION, stride=2), MAIN | {"Conv": 3, "AveragePool": 1}),
        (HEAD, {"GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}),
    ],
    ids=lambda value: value.key if isinstance(value, BlockSpec) else "",
)
def test_a_block_has_the_operators_of_a_folded_subnet(spec: BlockSpec, operators: dict[str, int]) -> None:
    model = onnx.load_from_string(network_onnx([spec]))
    onnx.checker.check_model(model, full_check=True)
    assert Counter(node.op_type for node in model.graph.node) == operators
    assert model.opset_import[0].version == OPSET


def test_every_block_of_a_space_runs_and_gives_its_shape(tiny_space: SearchSpace) -> None:
    for spec in distinct_blocks(tiny_space):
        model = OnnxRuntimeModel(network_onnx([spec], batch=2), input_shape=input_shape([spec], 2), threads=1)
        model.call()
        assert model.output().shape == output_shape([spec], 2), spec.key


def test_weights_are_as_many_as_the_block_says_and_random(tiny_space: SearchSpace) -> None:
    network = blocks_of(tiny_space, largest_architecture(tiny_space))
    model = onnx.load_from_string(network_onnx(network))
    arrays = [numpy_helper.to_array(weight) for weight in model.graph.initializer]
    assert sum(array.size for array in arrays) == sum(spec.weights for spec in network)
    assert all(np.count_nonzero(array) == array.size for array in arrays)


def test_a_weight_larger_than_the_pool_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "POOL_NUMBERS", 101)
    graphs._pool.cache_clear()
    spec = residual(Shortcut.PROJECTION, stride=2)
    model = onnx.load_from_string(network_onnx([spec], seed=5))
    graphs._pool.cache_clear()
    onnx.checker.check_model(model, full_check=True)
    first = numpy_helper.to_array(model.graph.initializer[0]).ravel()
    assert first[:101] == pytest.approx(first[101:202])


def test_weights_have_the_usual_scale(tiny_space: SearchSpace) -> None:
    network = blocks_of(tiny_space, largest_architecture(tiny_space))
    model = onnx.load_from_string(network_onnx(network))
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.size > 1000:
            assert array.std() == pytest.approx((2 / np.prod(array.shape[1:])) ** 0.5, rel=0.1)


def test_a_residual_block_computes_relu_of_relu_plus_shortcut() -> None:
    spec = residual(Shortcut.IDENTITY)
    model = OnnxRuntimeModel(network_onnx([spec]), input_shape=input_shape([spec], 1), threads=1, seed=7)
    model.call()
    entering = np.random.default_rng(7).standard_normal((1, 8, 5, 5), dtype=np.float32)
    # The main path ends in a ReLU, so what comes out is nowhere below the shortcut nor below zero.
    assert (model.output() >= np.maximum(entering, 0) - 1e-5).all()


def test_same_seed_same_model_other_seed_other_model() -> None:
    assert network_onnx([STEM], seed=1) == network_onnx([STEM], seed=1)
    assert network_onnx([STEM], seed=1) != network_onnx([STEM], seed=2)


def test_blocks_that_do_not_fit_each_other_are_our_bug() -> None:
    with pytest.raises(ContractError, match=r"block head-in8-out4-hw5-s1 cannot follow residual-.*-s2"):
        network_onnx([STEM, residual(Shortcut.PROJECTION, stride=2), HEAD])
