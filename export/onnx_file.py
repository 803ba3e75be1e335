"""An ONNX file on disk, read back and described: the facts that every later step relies on."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fednas.common import FednasError, decode_json, read_bytes, sha256_of
from fednas.export.preprocessing import ModelInput
from fednas.export.records import Record

if TYPE_CHECKING:
    import onnx

INPUT_NAME = "input"
OUTPUT_NAME = "logits"
BATCH_DIMENSION = "batch"
METADATA_PREFIX = "fednas."
"""Of the keys in the file's ``metadata_props``; each value is JSON."""


class ModelMetadata(Record, frozen=True, kw_only=True):
    """What the model file itself says about its input, its classes and its origin."""

    preprocessing: ModelInput
    class_names: tuple[str, ...]
    architecture: dict[str, Any]
    tool_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """Facts read from a file, never assumed."""

    path: Path
    opset: int
    ir_version: int
    input_name: str
    output_name: str
    input_type: str
    """numpy's name of the type of the input, such as ``float32``; but for ``uint8``, of the output too."""
    input_shape: tuple[int | str, ...]
    """A name for a dynamic dimension."""
    output_shape: tuple[int | str, ...]
    op_counts: Mapping[str, int]
    metadata: ModelMetadata | None
    """None: the file was not written by this tool."""
    size_bytes: int
    sha256: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one input; raises `FednasError` if the input is no batch of images."""
        match self.input_shape:
            case (_, int(channels), int(height), int(width)):
                return channels, height, width
        raise FednasError(f"model {self.path} takes {self.input_shape}, not (batch, channels, height, width)")

    @property
    def classes(self) -> int:
        """Width of the logits; raises `FednasError` if the output is no batch of them."""
        match self.output_shape:
            case (_, int(classes)):
                return classes
        raise FednasError(f"model {self.path} gives {self.output_shape}, not (batch, classes)")


def read_onnx_file(path: Path) -> OnnxFile:
    """Read, check and describe an ONNX file.

    Raises `FednasError` if it is not ONNX, fails onnx's full check, or keeps weights in other files (those
    are never opened).
    """
    model = load_checked_model(path)
    graph = model.graph
    initializers = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initializers]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise FednasError(f"model {path} has {len(inputs)} inputs and {len(graph.output)} outputs, not one of each")
    return OnnxFile(
        path=path,
        opset=next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0),
        ir_version=model.ir_version,
        input_name=inputs[0].name,
        output_name=graph.output[0].name,
        input_type=_type(inputs[0]),
        input_shape=_shape(inputs[0]),
        output_shape=_shape(graph.output[0]),
        op_counts=dict(sorted(Counter(_qualified(node) for node in graph.node).items())),
        metadata=_metadata(model, path),
        size_bytes=path.stat().st_size,
        sha256=sha256_of(path),
    )


def load_checked_model(path: Path) -> "onnx.ModelProto":
    """The model of a file that passed onnx's full check and holds all its weights; raises `FednasError`."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(read_bytes(path, "model"))
        refuse_external_data(model, path)
        onnx.checker.check_model(model, full_check=True)
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as err:
        reason = str(err).strip().partition("\n")[0]
        raise FednasError(f"model {path} is not a valid ONNX file: {reason}", hint="export it again") from err
    return model


def refuse_external_data(model: "onnx.ModelProto", path: Path) -> None:
    """Raise `FednasError` if any tensor of the model lives in another file, which could be any file at all."""
    import onnx

    inside = [tensor for function in model.functions for tensor in _tensors_of(function.node)]
    external = [
        tensor.name
        for tensor in (*_all_tensors(model.graph), *inside)
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data
    ]
    if external:
        raise FednasError(
            f"model {path} keeps {len(external)} tensors in other files (first: {external[0]!r})",
            hint="only single-file models are accepted: save it with all weights inside",
        )


def _all_tensors(graph: "onnx.GraphProto") -> "list[onnx.TensorProto]":
    tensors = list(graph.initializer)
    for sparse in graph.sparse_initializer:
        tensors += [sparse.values, sparse.indices]
    return tensors + _tensors_of(graph.node)


def _tensors_of(nodes: "Iterable[onnx.NodeProto]") -> "list[onnx.TensorProto]":
    tensors: list[onnx.TensorProto] = []
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        tensors += [attribute.t, *attribute.tensors]
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            tensors += [sparse.values, sparse.indices]
        for inner in (attribute.g, *attribute.graphs):
            tensors += _all_tensors(inner)
    return tensors


def _shape(value: "onnx.ValueInfoProto") -> tuple[int | str, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims)


def _type(value: "onnx.ValueInfoProto") -> str:
    from onnx import helper

    return str(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _qualified(node: "onnx.NodeProto") -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _metadata(model: "onnx.ModelProto", path: Path) -> ModelMetadata | None:
    ours = {
        prop.key.removeprefix(METADATA_PREFIX): prop.value
        for prop in model.metadata_props
        if prop.key.startswith(METADATA_PREFIX)
    }
    if not ours:
        return None
    body = ",".join(f'"{key}":{value}' for key, value in ours.items())
    return decode_json("{" + body + "}", ModelMetadata, f"metadata of model {path}")
