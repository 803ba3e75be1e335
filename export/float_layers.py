"""Single layers of a quantised graph that go back to float."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from fednas.common import ContractError

if TYPE_CHECKING:
    import onnx

WEIGHTED_OPS = ("Conv", "Gemm", "MatMul")


def leave_in_float(
    model: "onnx.ModelProto", source: "onnx.ModelProto", names: Collection[str], *, own_inputs: bool
) -> None:
    """Take the quantisation off the layers ``names`` of ``model``, in place.

    Args:
        model: the quantised graph.
        source: the float graph that it was made from, for weights that are stored as int8.
        names: of convolutions and matrix products.
        own_inputs: whether each reader of a tensor quantises it for itself, as in TensorRT's form; then the layers
            read unrounded numbers. In ONNX Runtime's form whoever makes a tensor is computed in int8 only if its
            output is quantised; there a tensor stays unrounded only between two layers that are both in float.
    """
    if not names:
        return
    graph = _Graph(model, source)
    unknown = set(names) - set(graph.nodes)
    if unknown:
        raise ContractError(f"no layers {sorted(unknown)} in the quantised graph")
    for name in sorted(names):
        graph.take_float_weights(name)
    for name in sorted(names):
        if own_inputs:
            graph.nodes[name].input[0] = graph.before_rounding(graph.nodes[name].input[0])
        else:
            graph.join_to_maker(name, names)
    graph.insert_relus()
    for kind in ("DequantizeLinear", "QuantizeLinear"):
        drop_unread(model.graph, kind)


def drop_unread(graph: "onnx.GraphProto", kind: str) -> None:
    """Remove the operators ``kind`` whose output nobody reads, in place."""
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [node for node in graph.node if node.op_type != kind or node.output[0] in used]
    del graph.node[:]
    graph.node.extend(kept)


class _Graph:
    """The quantised graph with its tensors looked up by name, beside its source."""

    def __init__(self, model: "onnx.ModelProto", source: "onnx.ModelProto") -> None:
        self._graph = model.graph
        self.nodes = {node.name: node for node in model.graph.node if node.op_type in WEIGHTED_OPS}
        self._producer = {name: node for node in model.graph.node for name in node.output}
        self._source_producer = {name: node for node in source.graph.node for name in node.output}
        self._source_inputs = {node.name: tuple(node.input) for node in source.graph.node}
        self._weights = {tensor.name: tensor for tensor in source.graph.initializer}
        self._relus: dict[str, onnx.NodeProto] = {}
        """By the layer that reads each."""
        self._present = {tensor.name for tensor in model.graph.initializer}

    def take_float_weights(self, name: str) -> None:
        """Let the layer read weights and bias as the source has them."""
        node = self.nodes[name]
        for i, weight in enumerate(self._source_inputs[name][1:], start=1):
            # Where weights are stored as int8, what dequantises them may have taken their name.
            stored = f"{weight}_fp32" if weight in self._producer else weight
            node.input[i] = stored
            if stored not in self._present:
                tensor = self._graph.initializer.add()
                tensor.CopyFrom(self._weights[weight])
                tensor.name = stored
                self._present.add(stored)

    def before_rounding(self, name: str) -> str:
        """The tensor before its quantisation; ``name`` itself if it has none."""
        dequantize = self._producer.get(name)
        quantize = None if dequantize is None else self._producer.get(dequantize.input[0])
        return name if quantize is None or quantize.op_type != "QuantizeLinear" else str(quantize.input[0])

    def join_to_maker(self, name: str, in_float: Collection[str]) -> None:
        """Let the layer read what its maker gives, if both are in float and nobody else reads it."""
        node = self.nodes[name]
        rounded = node.input[0]
        exact = self.before_rounding(rounded)
        maker = self._producer.get(exact)
        readers = sum(rounded in other.input for other in self._graph.node)
        if exact == rounded or maker is None or maker.name not in in_float or readers != 1:
            return
        before = self._source_producer.get(self._source_inputs[name][0])
        # The quantiser let the unsigned numbers take the ReLU in, which must come back with them gone.
        if before is not None and before.op_type == "Relu" and maker.op_type != "Relu":
            relu = type(before)()
            relu.CopyFrom(before)
            del relu.input[:], relu.output[:]
            relu.input.append(exact)
            relu.output.append(f"{exact}_relu")
            exact = relu.output[0]
            self._relus[name] = relu
        node.input[0] = exact

    def insert_relus(self) -> None:
        """Put the ReLUs that came back before their readers; no other method may follow."""
        nodes: list[onnx.NodeProto] = []
        for node in self._graph.node:
            nodes += [self._relus[node.name]] if node.name in self._relus else []
            nodes.append(node)
        copies = [node.__class__.FromString(node.SerializeToString()) for node in nodes]
        del self._graph.node[:]
        self._graph.node.extend(copies)
