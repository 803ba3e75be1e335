"""Single layers of a quantised graph that go back to float."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from fednas.common import ContractError

if TYPE_CHECKING:
    import onnx

WEIGHTED_OPS = ("Conv", "Gemm", "MatMul")


def leave_in_float(
    model: "onnx.ModelProto", source: "onnx.ModelProto", names: Collection[str], *, activations: bool
) -> None:
    """Take the quantisation off the layers ``names`` of ``model``, in place.

    Args:
        model: the quantised graph.
        source: the float graph that it was made from, for weights that are stored as int8.
        names: of convolutions and matrix products.
        activations: whether their inputs are unrounded too. TensorRT's form quantises for each reader apart, so they
            can be. In ONNX Runtime's form whoever makes the input would no longer be computed in int8 either, so they
            are not: there only weights and sums become float.
    """
    if not names:
        return
    unknown = set(names) - {node.name for node in model.graph.node if node.op_type in WEIGHTED_OPS}
    if unknown:
        raise ContractError(f"no layers {sorted(unknown)} in the quantised graph")
    producer = {name: node for node in model.graph.node for name in node.output}
    inputs = {node.name: tuple(node.input) for node in source.graph.node}
    weights = {tensor.name: tensor for tensor in source.graph.initializer}
    present = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.name not in names:
            continue
        if activations:
            node.input[0] = _unquantized(producer, node.input[0])
        for i, weight in enumerate(inputs[node.name][1:], start=1):
            node.input[i] = weight
            if weight not in present:
                model.graph.initializer.append(weights[weight])
                present.add(weight)
    for kind in ("DequantizeLinear", "QuantizeLinear"):
        drop_unread(model.graph, kind)


def drop_unread(graph: "onnx.GraphProto", kind: str) -> None:
    """Remove the operators ``kind`` whose output nobody reads, in place."""
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [node for node in graph.node if node.op_type != kind or node.output[0] in used]
    del graph.node[:]
    graph.node.extend(kept)


def _unquantized(producer: "dict[str, onnx.NodeProto]", name: str) -> str:
    """The tensor before its quantisation; ``name`` itself if it has none."""
    dequantize = producer.get(name)
    quantize = None if dequantize is None else producer.get(dequantize.input[0])
    return name if quantize is None or quantize.op_type != "QuantizeLinear" else str(quantize.input[0])
