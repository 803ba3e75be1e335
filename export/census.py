"""Which precision each layer of a finished file has, read from its graph, and whether that is what was asked."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fednas.export.evidence import Precision
from fednas.export.float_layers import WEIGHTED_OPS
from fednas.export.onnx_file import load_checked_model
from fednas.export.records import Record
from fednas.export.uint8_input import NODE_PREFIX

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_NO_LAYERS = frozenset({QUANTIZE, DEQUANTIZE, "Cast"})
"""They change types; the work is done elsewhere."""
_NORMALISING = frozenset({"Sub", "Mul"})


class KeptLayer(Record, frozen=True, kw_only=True):
    """A layer left in fp32 because half precision could overflow there."""

    name: str
    operator: str
    largest_value: float
    """Largest absolute value among its inputs, weights and outputs on the calibration images."""


class LayerCount(Record, frozen=True, kw_only=True):
    """How many layers of one kind have one precision."""

    operator: str
    precision: Precision
    count: int


class Census(Record, frozen=True, kw_only=True):
    """All layers of a file by operator and precision, and how they differ from what was asked."""

    layers: tuple[LayerCount, ...]
    reasons: tuple[str, ...]
    """Why the file is not what was asked; empty if it is."""

    def __str__(self) -> str:
        totals: Counter[str] = Counter()
        for layer in self.layers:
            totals[layer.precision] += layer.count
        return ", ".join(f"{totals[p]} {p}" for p in ("int8", "fp16", "fp32") if totals[p])


def take_census(
    model: "onnx.ModelProto", asked: Precision, kept_fp32: Collection[str] = (), runtime: str = "tensorrt"
) -> Census:
    """Count the layers of ``model`` and compare them with the precision asked for.

    Args:
        model: the finished file.
        asked: ``fp32`` and ``fp16`` ask for every layer; ``int8`` for all convolutions and matrix products, in
            the form that the runtime fuses.
        kept_fp32: names of layers that were left in fp32 on purpose.
        runtime: ``tensorrt`` or ``onnxruntime``.
    """
    graph = GraphView.of(model)
    found = [(node, layer_precision(graph, node)) for node in graph.layers()]
    counts = Counter((node.op_type, precision) for node, precision in found)
    reasons: list[str] = []
    for node, precision in found:
        wanted = "fp32" if node.name in kept_fp32 else asked
        if precision != wanted and not (asked == "int8" and node.op_type not in WEIGHTED_OPS):
            reasons.append(f"layer {node.name} ({node.op_type}) is {precision}, not {wanted}")
    if asked == "int8":
        reasons += _tensorrt_faults(graph) if runtime == "tensorrt" else _processor_faults(graph, kept_fp32)
    layers = tuple(LayerCount(operator=op, precision=p, count=n) for (op, p), n in sorted(counts.items()))
    return Census(layers=layers, reasons=tuple(reasons))


def census_of(path: Path, asked: Precision, kept_fp32: Collection[str], runtime: str) -> Census:
    """As `take_census`, of a file."""
    return take_census(load_checked_model(path), asked, kept_fp32, runtime)


@dataclass(frozen=True, slots=True, eq=False)
class GraphView:
    """A graph with its tensors looked up by name."""

    nodes: "tuple[onnx.NodeProto, ...]"
    producer: "Mapping[str, onnx.NodeProto]"
    """By tensor; weights and inputs have none."""
    consumers: "Mapping[str, tuple[onnx.NodeProto, ...]]"
    types: Mapping[str, int]
    constants: "Mapping[str, NDArray[np.generic]]"

    @classmethod
    def of(cls, model: "onnx.ModelProto") -> Self:
        """The view of ``model``, with the types that ONNX infers."""
        import onnx
        from onnx import numpy_helper

        graph = onnx.shape_inference.infer_shapes(model).graph
        consumers: dict[str, tuple[onnx.NodeProto, ...]] = {}
        for node in graph.node:
            for name in node.input:
                consumers[name] = (*consumers.get(name, ()), node)
        values = (*graph.input, *graph.output, *graph.value_info)
        return cls(
            nodes=tuple(graph.node),
            producer={name: node for node in graph.node for name in node.output},
            consumers=consumers,
            types={value.name: value.type.tensor_type.elem_type for value in values},
            constants={tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer},
        )

    def layers(self) -> "Iterator[onnx.NodeProto]":
        """The nodes that compute, without the normalisation of pixels, which is float32 in every file."""
        return (
            node
            for node in self.nodes
            if node.op_type not in _NO_LAYERS
            and not (node.op_type in _NORMALISING and node.name.startswith(NODE_PREFIX))
        )

    def producer_kind(self, name: str) -> str:
        """Operator that makes a tensor; empty for weights and inputs."""
        node = self.producer.get(name)
        return "" if node is None else node.op_type


def layer_precision(graph: GraphView, node: "onnx.NodeProto") -> Precision:
    """``int8`` if it reads dequantised numbers (a product: and weights), else the type of its output."""
    from onnx import TensorProto

    dequantized = [graph.producer_kind(name) == DEQUANTIZE for name in node.input]
    if all(dequantized[:2]) if node.op_type in WEIGHTED_OPS else any(dequantized):
        return "int8"
    return "fp16" if graph.types.get(node.output[0]) == TensorProto.FLOAT16 else "fp32"


def _processor_faults(graph: GraphView, kept: Collection[str]) -> Iterator[str]:
    for node in graph.nodes:
        if node.op_type in (QUANTIZE, DEQUANTIZE):
            yield from _scale_faults(graph, node, symmetric=False)
        elif node.op_type in (*WEIGHTED_OPS, "Add") and node.name not in kept:
            readers = graph.consumers.get(node.output[0], ())
            if not readers or any(reader.op_type != QUANTIZE for reader in readers):
                yield f"the output of {node.name} is not quantised, so it is computed in float"


def _tensorrt_faults(graph: GraphView) -> Iterator[str]:
    for node in graph.nodes:
        dequantized = [graph.producer_kind(name) == DEQUANTIZE for name in node.input]
        if node.op_type in (QUANTIZE, DEQUANTIZE):
            yield from _scale_faults(graph, node, symmetric=True)
        elif node.op_type == "Relu" and any(dequantized):
            yield f"numbers are quantised just before {node.name}, which keeps it from being fused"
        elif node.op_type == "Add" and sum(dequantized) != 1:
            yield f"{node.name} adds {sum(dequantized)} quantised branches, not one"
        elif node.op_type in WEIGHTED_OPS:
            yield from _weight_faults(graph, node)


def _scale_faults(graph: GraphView, node: "onnx.NodeProto", *, symmetric: bool) -> Iterator[str]:
    import numpy as np

    scale = graph.constants.get(node.input[1])
    zero = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
    if scale is None or not (np.isfinite(scale).all() and (scale > 0).all()):  # type: ignore[operator]
        yield f"{node.name} has no scale above zero"
    if symmetric and (zero is None or zero.dtype != np.int8 or zero.any()):
        yield f"{node.name} is not symmetric int8"


def _weight_faults(graph: GraphView, node: "onnx.NodeProto") -> Iterator[str]:
    weight = graph.producer.get(node.input[1])
    if weight is None or weight.op_type != DEQUANTIZE:
        return  # counted as a layer of another precision already
    scale = graph.constants.get(weight.input[1])
    if scale is None or scale.ndim != 1:
        yield f"the weights of {node.name} have one scale for all channels"
    if len(node.input) > 2 and node.input[2] not in graph.constants:
        yield f"the bias of {node.name} is quantised"
