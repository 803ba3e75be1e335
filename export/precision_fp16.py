"""A half-precision ONNX graph from a verified float32 one; what could overflow stays in float32.

Our own pass: onnxconverter-common 1.16.0 casts to half precision and back between kept operators where a tensor has
several readers, as in every residual block, so the overflow that it should prevent happens in between.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fednas.common import FednasError, write_atomic
from fednas.export.calibration import CalibrationImages, tensor_maxima
from fednas.export.census import KeptLayer
from fednas.export.onnx_file import OnnxFile, load_checked_model, read_onnx_file

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

LARGEST_FP16 = 65504.0
HEADROOM = 8.0
"""Unseen images and partial sums may exceed what the calibration images show by this factor."""
FP16_METHOD = f"largest absolute values; above {LARGEST_FP16 / HEADROOM:g} an operator stays in fp32"
CONVERTED_OPS = frozenset({"Add", "AveragePool", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "Relu"})
"""Operators whose inputs and outputs all have one type, which may be half precision."""


def fp16_from_onnx(
    source: Path, target: Path, calibration: CalibrationImages, *, keep_io_types: bool = True
) -> tuple[OnnxFile, tuple[KeptLayer, ...]]:
    """Write ``source`` in half precision as ``target``.

    Args:
        source: a float32 file of `onnx_from_module`.
        target: the file to write; the same source and images give the same bytes.
        calibration: images that show how large activations become.
        keep_io_types: whether input and output stay float32.

    Returns:
        The file, read back, and the layers that stayed in float32 with their largest value.

    Raises:
        FednasError: an operator is unknown here, or a value is not finite.
    """
    model = load_checked_model(source)
    unknown = sorted({node.op_type for node in model.graph.node} - CONVERTED_OPS)
    if unknown:
        raise FednasError(f"{source.name} holds {', '.join(unknown)}, which cannot be converted to fp16")
    kept = _overflow_prone(model, tensor_maxima(model, calibration.inputs))
    _Conversion(model, {layer.name for layer in kept}, keep_io_types).run()
    write_atomic(target, model.SerializeToString(deterministic=True))
    return read_onnx_file(target), kept


def _overflow_prone(model: "onnx.ModelProto", activations: Mapping[str, float]) -> tuple[KeptLayer, ...]:
    import numpy as np

    weights = {name: float(np.abs(values).max(initial=0)) for name, values in _weights(model).items()}
    largest = {**activations, **weights}
    kept = []
    for node in model.graph.node:
        most = max(largest[name] for name in (*node.input, *node.output))
        if most > LARGEST_FP16 / HEADROOM:
            kept.append(KeptLayer(name=node.name, operator=node.op_type, largest_value=most))
    return tuple(kept)


def _weights(model: "onnx.ModelProto") -> "dict[str, NDArray[np.float32]]":
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


class _Conversion:
    """Rewrites the graph of ``model`` in place, node by node in their order."""

    def __init__(self, model: "onnx.ModelProto", kept: Collection[str], keep_io_types: bool) -> None:
        from onnx import TensorProto

        self._single, self._half = TensorProto.FLOAT, TensorProto.FLOAT16
        self._graph = model.graph
        self._kept = kept
        self._io_type = self._single if keep_io_types else self._half
        self._weights = _weights(model)
        self._type_of: dict[str, int] = {}
        """Of every tensor that flows, as far as the walk has come."""
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def run(self) -> None:
        for value in (*self._graph.input, *self._graph.output):
            value.type.tensor_type.elem_type = self._io_type
        self._type_of = {value.name: self._io_type for value in self._graph.input}
        nodes = list(self._graph.node)
        for node in nodes:
            wanted = self._single if node.name in self._kept else self._half
            for i, name in enumerate(node.input):
                node.input[i] = self._weight(name, wanted) if name in self._weights else self._cast(name, wanted)
            self._nodes.append(node)
            self._type_of.update(dict.fromkeys(node.output, wanted))
        self._restore_output()
        for field, content in (
            (self._graph.node, self._nodes),
            (self._graph.initializer, self._initializers.values()),
            (self._graph.value_info, ()),
        ):
            copies = [item.__class__.FromString(item.SerializeToString()) for item in content]
            del field[:]
            field.extend(copies)

    def _weight(self, name: str, wanted: int) -> str:
        import numpy as np
        from onnx import numpy_helper

        # Kept and converted operators may share a weight; then it is there twice.
        stored = name if wanted == self._half else f"{name}_fp32"
        if stored not in self._initializers:
            values = self._weights[name].astype(np.float16 if wanted == self._half else np.float32)
            self._initializers[stored] = numpy_helper.from_array(values, stored)
        return stored

    def _cast(self, name: str, wanted: int) -> str:
        from onnx import helper

        if self._type_of[name] == wanted:
            return name
        result = f"{name}_fp{16 if wanted == self._half else 32}"
        if result not in self._type_of:
            self._nodes.append(helper.make_node("Cast", [name], [result], name=f"cast_{result}", to=wanted))
            self._type_of[result] = wanted
        return result

    def _restore_output(self) -> None:
        output = self._graph.output[0].name
        if self._type_of[output] == self._io_type:
            return
        from onnx import helper

        inner = f"{output}_inner"
        for node in self._nodes:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    names[i] = inner if name == output else name
        self._nodes.append(helper.make_node("Cast", [inner], [output], name=f"cast_{output}", to=self._io_type))
