"""A torch module that computes what one of our ONNX models computes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fednas.common import FednasError

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import fx, nn


def module_from_onnx(model: "onnx.ModelProto") -> "fx.GraphModule":
    """The module, in evaluation mode and without gradients, as straight-line code (`torch.fx`).

    It takes the operators of exported subnets in float32 and of the graphs of single blocks, with one input and
    one output. Raises `FednasError` for any other operator.
    """
    from onnx import numpy_helper
    from torch import fx

    graph = model.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (entering,) = (value.name for value in graph.input if value.name not in weights)
    built, modules = fx.Graph(), {}
    values = {entering: built.placeholder("images")}
    for position, node in enumerate(graph.node):
        builder = _BUILDERS.get(node.op_type)
        if builder is None or any(name not in values and name not in weights for name in node.input):
            raise FednasError(
                f"torch: operator {node.op_type} is not known", hint=f"known are {', '.join(sorted(_BUILDERS))}"
            )
        name = f"{node.op_type.lower()}_{position}"
        modules[name] = builder(_attributes(node), [weights[n] for n in node.input if n in weights])
        values[node.output[0]] = built.call_module(name, tuple(values[n] for n in node.input if n in values))
    built.output(values[graph.output[0].name])
    return fx.GraphModule(modules, built).eval().requires_grad_(False)


def _attributes(node: "onnx.NodeProto") -> dict[str, Any]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _parameter(array: Any) -> "nn.Parameter":
    import torch
    from torch import nn

    # A copy: arrays read from a model cannot be written to, which torch warns of.
    return nn.Parameter(torch.from_numpy(array.copy()))


def _conv(attributes: dict[str, Any], weights: list[Any]) -> "nn.Module":
    from torch import nn

    weight = weights[0]
    pads = attributes.get("pads", [0, 0, 0, 0])
    if pads[:2] != pads[2:]:
        raise FednasError(f"torch: uneven padding {pads} is not known")
    module = nn.Conv2d(
        weight.shape[1] * attributes.get("group", 1),
        weight.shape[0],
        weight.shape[2:],
        stride=tuple(attributes.get("strides", [1, 1])),
        padding=tuple(pads[:2]),
        dilation=tuple(attributes.get("dilations", [1, 1])),
        groups=attributes.get("group", 1),
        bias=len(weights) > 1,
    )
    module.weight = _parameter(weight)
    if len(weights) > 1:
        module.bias = _parameter(weights[1])
    return module


def _gemm(attributes: dict[str, Any], weights: list[Any]) -> "nn.Module":
    from torch import nn

    if not attributes.get("transB") or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        raise FednasError("torch: a Gemm of another form than x W' + b is not known")
    module = nn.Linear(weights[0].shape[1], weights[0].shape[0], bias=len(weights) > 1)
    module.weight = _parameter(weights[0])
    if len(weights) > 1:
        module.bias = _parameter(weights[1])
    return module


def _average_pool(attributes: dict[str, Any], _weights: list[Any]) -> "nn.Module":
    from torch import nn

    if any(attributes.get("pads", [0])):
        raise FednasError("torch: padded average pooling is not known")
    return nn.AvgPool2d(
        tuple(attributes["kernel_shape"]),
        stride=tuple(attributes.get("strides", [1, 1])),
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
    )


def _relu(_attributes: dict[str, Any], _weights: list[Any]) -> "nn.Module":
    from torch import nn

    return nn.ReLU()


def _global_pool(_attributes: dict[str, Any], _weights: list[Any]) -> "nn.Module":
    from torch import nn

    return nn.AdaptiveAvgPool2d(1)


def _flatten(attributes: dict[str, Any], _weights: list[Any]) -> "nn.Module":
    from torch import nn

    return nn.Flatten(attributes.get("axis", 1))


def _add(_attributes: dict[str, Any], weights: list[Any]) -> "nn.Module":
    from torch import nn

    if weights:
        raise FednasError("torch: adding a constant is not known")

    class Sum(nn.Module):
        """Of a main path and its shortcut."""

        def forward(self, main: "torch.Tensor", shortcut: "torch.Tensor") -> "torch.Tensor":
            """Their sum."""
            return main + shortcut

    return Sum()


_BUILDERS: dict[str, Callable[[dict[str, Any], list[Any]], "nn.Module"]] = {
    "Add": _add,
    "AveragePool": _average_pool,
    "Conv": _conv,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "Relu": _relu,
}
