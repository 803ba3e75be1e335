"""Folding the normalisation of images into a model file, so that it reads the pixels themselves.

The layout stays NCHW. A camera gives (height, width, channels), but taking that would put a transpose in front of the
first convolution on every board, give the files of one folder two shapes, and move the one step that costs nothing
on the side of the user: an index order.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fednas.common import ContractError, write_atomic
from fednas.export.onnx_file import METADATA_PREFIX, OnnxFile, load_checked_model, read_onnx_file
from fednas.export.preprocessing import ModelInput

if TYPE_CHECKING:
    import onnx

NODE_PREFIX = "preprocess_"
"""Names of the operators that normalise; they stay in float32 in files of every precision."""


def fold_preprocessing(path: Path, preprocessing: ModelInput) -> OnnxFile:
    """Put ``preprocessing`` in front of the network in ``path``, which then reads uint8 pixels, NCHW.

    Works on fp32, fp16 and int8 files: the pixels become float32, lose mean x range and are multiplied by
    1 / (std x range); what follows is untouched. The file's metadata say what it reads now.

    Raises:
        FednasError: the pixels do not fit uint8.
        ContractError: the file reads uint8 already.
    """
    from onnx import TensorProto

    described = ModelInput.of(preprocessing, "uint8")
    model = load_checked_model(path)
    value = model.graph.input[0]
    if value.type.tensor_type.elem_type == TensorProto.UINT8:
        raise ContractError(f"{path} reads uint8 already")
    _prepend(model, preprocessing, value.type.tensor_type.elem_type)
    value.type.tensor_type.elem_type = TensorProto.UINT8
    for prop in model.metadata_props:
        if prop.key == METADATA_PREFIX + "preprocessing":
            prop.value = msgspec.json.encode(described).decode()
    write_atomic(path, model.SerializeToString(deterministic=True))
    return read_onnx_file(path)


def _prepend(model: "onnx.ModelProto", preprocessing: ModelInput, wanted_type: int) -> None:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    name = graph.input[0].name
    ready = f"{name}_normalised"
    for node in graph.node:
        for i, read in enumerate(node.input):
            node.input[i] = ready if read == name else read
    mean, std = (np.reshape(values, (1, -1, 1, 1)) for values in (preprocessing.mean, preprocessing.std))
    centre = (mean * preprocessing.value_range_max).astype(np.float32)
    factor = (1 / (std * preprocessing.value_range_max)).astype(np.float32)
    graph.initializer.extend(
        numpy_helper.from_array(values, f"{NODE_PREFIX}{what}")
        for what, values in (("centre", centre), ("factor", factor))
    )
    steps: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
        ("Cast", (), {"to": TensorProto.FLOAT}),
        ("Sub", (f"{NODE_PREFIX}centre",), {}),
        ("Mul", (f"{NODE_PREFIX}factor",), {}),
    ]
    if wanted_type != TensorProto.FLOAT:
        steps.append(("Cast", (), {"to": wanted_type}))
    nodes = []
    for number, (operator, constants, attributes) in enumerate(steps, start=1):
        result = ready if number == len(steps) else f"{NODE_PREFIX}{number}"
        title = f"{NODE_PREFIX}{operator.lower()}_{number}"
        nodes.append(helper.make_node(operator, [name, *constants], [result], name=title, **attributes))
        name = result
    nodes += list(graph.node)
    copies = [node.__class__.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
