"""How much memory the numbers between the layers need at once."""

import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

VIEWS = frozenset({"DequantizeLinear", "Flatten", "Identity"})
"""Operators whose result is the tensor that they read, seen differently."""
IN_PLACE = frozenset({"Cast", "QuantizeLinear", "Relu"})
"""Operators that runtimes fuse into what made their input, or do in place, unless something else reads it too."""


def peak_activation_bytes(model: "onnx.ModelProto") -> int:
    """Largest sum of tensors that must exist at the same time for one image, weights not counted.

    Operators run in the file's order; a tensor lives from the operator that makes it to the last that reads it;
    `VIEWS` and `IN_PLACE` operators make none, and the smaller of both types counts. A runtime may need more
    (workspace, alignment) or less (fused branches).
    """
    tensors = _Tensors(model)
    last_use: dict[str, int] = {}
    for number, node in enumerate(model.graph.node):
        for name in (*node.input, *node.output):
            if tensors.flows(name):
                last_use[tensors.root(name)] = number
    for value in model.graph.output:
        last_use[tensors.root(value.name)] = len(model.graph.node)
    live = {tensors.root(value.name) for value in model.graph.input if tensors.flows(value.name)}
    peak = sum(tensors.bytes_of(name) for name in live)
    for number, node in enumerate(model.graph.node):
        live |= {tensors.root(name) for name in node.output if tensors.flows(name)}
        peak = max(peak, sum(tensors.bytes_of(name) for name in live))
        live = {name for name in live if last_use[name] > number}
    return peak


class _Tensors:
    """The tensors that depend on the image, with what shares their memory."""

    def __init__(self, model: "onnx.ModelProto") -> None:
        import onnx
        from onnx import helper

        graph = onnx.shape_inference.infer_shapes(model).graph
        weights = {tensor.name for tensor in graph.initializer}
        self._bytes: dict[str, int] = {}
        for value in (*graph.input, *graph.value_info, *graph.output):
            kind = value.type.tensor_type
            # An unnamed or named dimension is the batch.
            size = math.prod(max(dim.dim_value, 1) for dim in kind.shape.dim)
            self._bytes[value.name] = size * helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        self._root: dict[str, str] = {value.name: value.name for value in graph.input if value.name not in weights}
        readers = Counter(name for node in graph.node for name in node.input)
        for node in graph.node:
            sources = [name for name in node.input if name in self._root]
            if sources:
                alone = node.op_type in IN_PLACE and readers[sources[0]] == 1
                shared = self._root[sources[0]] if alone or node.op_type in VIEWS else None
                self._root.update({name: shared or name for name in node.output})
        self._smallest: dict[str, int] = {}
        for name, root in self._root.items():
            self._smallest[root] = min(self._smallest.get(root, self._bytes[name]), self._bytes[name])

    def flows(self, name: str) -> bool:
        """Whether it depends on the image; weights do not."""
        return name in self._root

    def root(self, name: str) -> str:
        """The tensor whose memory it shares."""
        return self._root[name]

    def bytes_of(self, root: str) -> int:
        """Of the smallest type in which the tensor exists."""
        return self._smallest[root]
