"""What an ONNX model takes, for runtimes that would not say so themselves."""

from pathlib import Path
from typing import TYPE_CHECKING

from fednas.common import FednasError, read_bytes
from fednas.toolchain.measure.runtimes.base import model_name

if TYPE_CHECKING:
    import onnx


def onnx_model_for(model: bytes | Path, input_shape: tuple[int, ...]) -> "onnx.ModelProto":
    """The model, if it has one input, which takes ``input_shape``, and one output; raises `FednasError` if not."""
    import onnx
    from google.protobuf.message import DecodeError

    content = model if isinstance(model, bytes) else read_bytes(model, "model")
    try:
        proto = onnx.load_model_from_string(content)
    except DecodeError as err:
        raise FednasError(f"{model_name(model)} is no ONNX file", hint="check the file") from err
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in weights]
    if len(inputs) != 1 or len(proto.graph.output) != 1:
        raise FednasError(
            f"the model has {len(inputs)} inputs and {len(proto.graph.output)} outputs; one of each can be timed",
            hint="time a model with one image input and one output",
        )
    dims = inputs[0].type.tensor_type.shape.dim
    taken = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
    fits = len(taken) == len(input_shape) and all(
        size in (None, asked) for size, asked in zip(taken, input_shape, strict=True)
    )
    if not fits:
        shown = ", ".join("?" if size is None else str(size) for size in taken)
        raise FednasError(
            f"the model does not run on an input of shape {list(input_shape)}; it takes [{shown}]",
            hint="give the shape that it was exported for",
        )
    return proto
