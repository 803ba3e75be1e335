"""What the exporter leaves in the graph and no board should pay for or misread."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def clean_graph(model: "onnx.ModelProto") -> None:
    """Simplify ``model`` in place without changing what it computes.

    Torch's exporter writes an ``Identity`` for each pair of equal weights and keeps 1x1 average pools of
    stride 1; both are bypassed, shared weights become one tensor. Pools without padding lose
    ``count_include_pad``: runtimes disagree on what it means together with ``ceil_mode``.
    """
    outputs = {value.name for value in model.graph.output}
    bypassed: dict[str, str] = {}
    kept = []
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = bypassed.get(name, name)
        if _computes_nothing(node) and node.output[0] not in outputs:
            bypassed[node.output[0]] = node.input[0]
        else:
            _plain_pool(node)
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    drop_unused_weights(model)


def _computes_nothing(node: "onnx.NodeProto") -> bool:
    if node.op_type == "Identity":
        return True
    if node.op_type != "AveragePool":
        return False
    values = _integers(node)
    all_ones = set(values.get("kernel_shape", (0,))) == {1} and set(values.get("strides", (1,))) == {1}
    return all_ones and not any(values.get("pads", ()))


def _plain_pool(node: "onnx.NodeProto") -> None:
    if node.op_type == "AveragePool" and not any(_integers(node).get("pads", ())):
        kept = [attribute for attribute in node.attribute if attribute.name != "count_include_pad"]
        del node.attribute[:]
        node.attribute.extend(kept)


def _integers(node: "onnx.NodeProto") -> Mapping[str, tuple[int, ...]]:
    return {attribute.name: tuple(attribute.ints) for attribute in node.attribute}


def drop_unused_weights(model: "onnx.ModelProto") -> None:
    """Remove, in place, the weights that nothing reads."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
