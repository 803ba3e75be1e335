"""ONNX graphs of blocks and of whole networks, with the operators that an exported subnet runs after folding.

The paper's space has four thousand million weights in its blocks: weights are cut from one pool of random numbers
and written straight into the model. Nothing here checks a model; the tests check one of every kind.
"""

import functools
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fednas.common import ContractError
from fednas.latency_tables import BlockKind, BlockSpec, Shortcut

if TYPE_CHECKING:
    import numpy as np

OPSET = 13
"""Old enough for every runtime that we know."""
IR_VERSION = 8
INPUT, OUTPUT = "input", "output"
POOL_NUMBERS = 4_000_037
"""Random numbers that all weights of a seed are cut from; prime, so that no two weights of a model begin alike."""
POOL_STEP = 1_299_709


def input_shape(specs: Sequence[BlockSpec], batch: int) -> tuple[int, ...]:
    """Shape of what the first block takes: (batch, channels, height, width)."""
    return (batch, specs[0].in_channels, specs[0].in_hw, specs[0].in_hw)


def output_shape(specs: Sequence[BlockSpec], batch: int) -> tuple[int, ...]:
    """Shape of what the last block gives."""
    last = specs[-1]
    if last.kind is BlockKind.HEAD:
        return (batch, last.out_channels)
    return (batch, last.out_channels, last.out_hw, last.out_hw)


def network_onnx(specs: Sequence[BlockSpec], *, batch: int = 1, seed: int = 0) -> bytes:
    """The serialised model of these blocks in a row, with random weights of the usual scale (He et al. 2015).

    Random rather than zero: runtimes and processors are faster on zeros and slower on denormals.
    Raises `ContractError` when one block does not fit the next.
    """
    for before, after in itertools.pairwise(specs):
        if before.kind is BlockKind.HEAD or (before.out_channels, before.out_hw) != (after.in_channels, after.in_hw):
            raise ContractError(f"block {after.key} cannot follow {before.key}")
    graph = _Graph(_pool(seed))
    value = INPUT
    for graph.block, spec in enumerate(specs):
        value = _BUILDERS[spec.kind](graph, spec, value)
    graph.nodes[-1].output[0] = OUTPUT
    return graph.serialised(input_shape(specs, batch), output_shape(specs, batch))


def blocks_named(layer: str, count: int) -> frozenset[int]:
    """Places, among ``count`` blocks, of those whose nodes a runtime's layer is made of, by the layer's name.

    Runtimes that fuse nodes keep their names, joined or with an ending; layers that they add, such as changes of
    layout, may name none. The last node may be called after the output of the network.
    """
    if layer == OUTPUT:
        return frozenset({count - 1})
    return frozenset(place for place in map(int, _BLOCK.findall(layer)) if place < count)


_BLOCK = re.compile(r"(?<![a-zA-Z0-9])block(\d+)_")


@dataclass(slots=True)
class _Graph:
    """Nodes and weights collected so far; every value is named by its block and a running number."""

    pool: "np.ndarray[Any, Any]"
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    block: int = 0
    """Place of the block that the next nodes belong to."""

    def node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        from onnx import helper

        name = f"block{self.block}_{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, shape: tuple[int, ...], fan_in: int) -> str:
        """Append a weight drawn from N(0, 2 / fan_in) and return its name."""
        import numpy as np
        from onnx import TensorProto

        name = f"weight{len(self.weights)}"
        start = len(self.weights) * POOL_STEP % POOL_NUMBERS
        count = math.prod(shape)
        values = self.pool[start : start + count]
        if len(values) < count:
            values = np.resize(self.pool, count)
        raw = (values * np.float32(math.sqrt(2 / fan_in))).tobytes()
        self.weights.append(TensorProto(dims=shape, data_type=TensorProto.FLOAT, name=name, raw_data=raw))
        return name

    def conv(self, value: str, channels: tuple[int, int], side: int, stride: int = 1) -> str:
        """A square convolution with bias, padded so that stride 1 keeps the size."""
        entering, leaving = channels
        fan_in = entering * side**2
        weight, bias = self.weight((leaving, entering, side, side), fan_in), self.weight((leaving,), 200)
        return self.node(
            "Conv",
            (value, weight, bias),
            kernel_shape=[side, side],
            pads=[side // 2] * 4,
            strides=[stride, stride],
        )

    def serialised(self, entering: tuple[int, ...], leaving: tuple[int, ...]) -> bytes:
        """The model."""
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, entering)],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, leaving)],
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="fednas-export")
        model.graph.initializer.extend(self.weights)
        self.weights.clear()  # the largest networks have hundreds of megabytes of them
        return bytes(model.SerializeToString())


@functools.lru_cache(maxsize=1)
def _pool(seed: int) -> "np.ndarray[Any, Any]":
    """Standard normal numbers, none of them zero; 16 MB, kept for the next model."""
    import numpy as np

    pool = np.random.default_rng(seed).standard_normal(POOL_NUMBERS, dtype=np.float32)
    pool[pool == 0] = 1
    return pool


def _stem(graph: _Graph, spec: BlockSpec, value: str) -> str:
    return graph.node("Relu", (graph.conv(value, (spec.in_channels, spec.out_channels), 3, spec.stride),))


def _residual(graph: _Graph, spec: BlockSpec, value: str) -> str:
    main = graph.node("Relu", (graph.conv(value, (spec.in_channels, spec.mid_channels), 3, spec.stride),))
    main = graph.node("Relu", (graph.conv(main, (spec.mid_channels, spec.out_channels), 3),))
    shortcut = value
    if spec.shortcut is Shortcut.PROJECTION:
        if spec.stride > 1:
            window = [spec.stride, spec.stride]
            shortcut = graph.node("AveragePool", (value,), kernel_shape=window, strides=window, ceil_mode=1)
        shortcut = graph.conv(shortcut, (spec.in_channels, spec.out_channels), 1)
    return graph.node("Relu", (graph.node("Add", (main, shortcut)),))


def _head(graph: _Graph, spec: BlockSpec, value: str) -> str:
    flat = graph.node("Flatten", (graph.node("GlobalAveragePool", (value,)),), axis=1)
    weight = graph.weight((spec.out_channels, spec.in_channels), spec.in_channels)
    return graph.node("Gemm", (flat, weight, graph.weight((spec.out_channels,), 200)), transB=1)


_BUILDERS = {BlockKind.STEM: _stem, BlockKind.RESIDUAL: _residual, BlockKind.HEAD: _head}
