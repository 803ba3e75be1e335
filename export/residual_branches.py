"""Residual additions of which the quantiser quantised both branches: one of them stays float."""

from typing import TYPE_CHECKING

from fednas.common import ContractError
from fednas.export.float_layers import drop_unread

if TYPE_CHECKING:
    import onnx


def keep_one_branch_quantized(model: "onnx.ModelProto") -> None:
    """Undo the quantisation of one input of each ``Add``, in place.

    The branch that comes straight from a convolution stays float: TensorRT then computes convolution, addition
    and ReLU in one kernel, and only the skipped branch is quantised, as NVIDIA's own quantiser does it.
    """
    producer = {name: node for node in model.graph.node for name in node.output}
    for add in model.graph.node:
        if add.op_type == "Add":
            origins = [_before_quantization(producer, name) for name in add.input]
            branch = min((0, 1), key=lambda i: _distance_to_convolution(producer, origins[i]))
            add.input[branch] = origins[branch]
    for kind in ("DequantizeLinear", "QuantizeLinear"):
        drop_unread(model.graph, kind)


def _before_quantization(producer: "dict[str, onnx.NodeProto]", name: str) -> str:
    dequantize = producer.get(name)
    quantize = None if dequantize is None else producer.get(dequantize.input[0])
    if quantize is None or quantize.op_type != "QuantizeLinear":
        raise ContractError(f"an addition reads {name!r}, which the quantiser should have quantised")
    return str(quantize.input[0])


def _distance_to_convolution(producer: "dict[str, onnx.NodeProto]", name: str) -> int:
    """0 if a convolution made the tensor, 1 if a ReLU stands between, 2 otherwise."""
    node = producer.get(name)
    if node is not None and node.op_type == "Conv":
        return 0
    if node is not None and node.op_type == "Relu" and _distance_to_convolution(producer, node.input[0]) == 0:
        return 1
    return 2
