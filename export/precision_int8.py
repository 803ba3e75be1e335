"""An explicitly quantised (Q/DQ) ONNX graph from a verified float32 one, in the form that its runtime fuses."""

import logging
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fednas.common import FednasError, file_errors, write_atomic
from fednas.export.calibration import CalibrationImages, tensor_maxima
from fednas.export.float_layers import WEIGHTED_OPS, leave_in_float
from fednas.export.graph_cleanup import drop_unused_weights
from fednas.export.onnx_file import OnnxFile, load_checked_model, read_onnx_file
from fednas.export.residual_branches import keep_one_branch_quantized

if TYPE_CHECKING:
    import onnx

INT8_METHOD = "smallest and largest values; weights for each channel"
LOWEST_OPSET = 13
"""The first whose quantisation knows a scale for each channel."""
QUANTIZED_OPS = ("Conv", "Gemm", "MatMul", "Add", "GlobalAveragePool")
PROCESSOR_OPS = (*QUANTIZED_OPS, "AveragePool", "Flatten", "Relu")
TENSORRT_OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": True,
    "OpTypesToExcludeOutputQuantization": [*QUANTIZED_OPS, "Relu"],
}
_BATCH = 64


class Int8Graph:
    """A quantised network in memory, of which any layers can be left in float; quantising takes long, this does not.

    Args:
        source: a float32 file of `onnx_from_module`.
        calibration: training images.
        runtime: of the device, ``tensorrt`` or ``onnxruntime``.
        scratch: folder that takes what the quantiser writes meanwhile.

    Raises:
        FednasError: no real images, an opset below 13, or values that are not finite.
    """

    def __init__(self, source: Path, calibration: CalibrationImages, runtime: str, scratch: Path) -> None:
        if not calibration.real:
            raise FednasError("int8 must be calibrated on training images", hint="give --data")
        self.source = load_checked_model(source)
        opset = next(entry.version for entry in self.source.opset_import if entry.domain in ("", "ai.onnx"))
        if opset < LOWEST_OPSET:
            hint = "change onnx_opset in the device profile, or ask for --precision fp32"
            raise FednasError(f"{source.name} has opset {opset}; int8 needs at least {LOWEST_OPSET}", hint=hint)
        tensor_maxima(self.source, calibration.inputs)  # refuses values that are not finite
        self._for_tensorrt = runtime == "tensorrt"
        self._quantized = _quantized(self.source, scratch, calibration, self._for_tensorrt)
        if self._for_tensorrt:
            keep_one_branch_quantized(self._quantized)

    @property
    def layers(self) -> tuple[tuple[str, str], ...]:
        """(name, operator) of every convolution and matrix product, in their order."""
        return tuple((node.name, node.op_type) for node in self.source.graph.node if node.op_type in WEIGHTED_OPS)

    def model(self, kept: Collection[str] = ()) -> "onnx.ModelProto":
        """The quantised network with the layers named ``kept`` in float."""
        model, quantized = self._copy(self.source), self._copy(self._quantized)
        leave_in_float(quantized, self.source, kept, own_inputs=self._for_tensorrt)
        drop_unused_weights(quantized)
        for field in ("node", "initializer"):
            content = getattr(model.graph, field)
            del content[:]
            content.extend(getattr(quantized.graph, field))
        del model.graph.value_info[:]
        return model

    def write(self, target: Path, kept: Collection[str] = ()) -> OnnxFile:
        """Write `model` as ``target``; the same source, images and layers give the same bytes."""
        write_atomic(target, self.model(kept).SerializeToString(deterministic=True))
        return read_onnx_file(target)

    @staticmethod
    def _copy(model: "onnx.ModelProto") -> "onnx.ModelProto":
        copy: onnx.ModelProto = type(model)()
        copy.CopyFrom(model)
        return copy


def int8_from_onnx(
    source: Path, target: Path, calibration: CalibrationImages, *, runtime: str = "tensorrt"
) -> OnnxFile:
    """Quantise ``source`` and write it as ``target``; input and output stay float32.

    For TensorRT: symmetric throughout, weights float and then quantised with a scale for each output channel, biases
    in float, nothing quantised between a convolution and its ReLU, one quantised branch at each residual addition.
    For ONNX Runtime, which fuses another form: unsigned activations with a zero point, which take the ReLU in, every
    operator's output quantised, weights stored as int8. Arguments and errors are those of `Int8Graph`.
    """
    return Int8Graph(source, calibration, runtime, target.parent).write(target)


def _quantized(
    model: "onnx.ModelProto", folder: Path, calibration: CalibrationImages, for_tensorrt: bool
) -> "onnx.ModelProto":
    """As the quantiser's own ``quantize_static``, which would write into the system's temporary folder."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType, create_calibrator
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

    operators = list(QUANTIZED_OPS if for_tensorrt else PROCESSOR_OPS)
    with _scratch_folder(folder) as scratch, _quiet():
        plain, result = scratch / "plain.onnx", scratch / "quantized.onnx"
        plain.write_bytes(model.SerializeToString(deterministic=True))
        calibrator = create_calibrator(
            plain,
            operators,
            augmented_model_path=str(scratch / "augmented.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(_reader(calibration, model.graph.input[0].name))
        quantizer = QDQQuantizer(
            load_model_with_shape_infer(plain),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if for_tensorrt else QuantType.QUInt8,
            tensors_range=calibrator.compute_data(),
            nodes_to_quantize=[],
            nodes_to_exclude=[],
            op_types_to_quantize=operators,
            extra_options=dict(TENSORRT_OPTIONS) if for_tensorrt else {"WeightSymmetric": True},
        )
        quantizer.quantize_model()
        quantizer.model.save_model_to_file(str(result), use_external_data_format=False)
        return onnx.load_model_from_string(result.read_bytes())


@contextmanager
def _scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder inside ``folder`` that is gone afterwards."""
    with file_errors(folder, "output folder"):
        scratch = Path(tempfile.mkdtemp(prefix=".int8.", dir=folder))
    try:
        with file_errors(folder, "output folder"):
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _quiet() -> Iterator[None]:
    # The quantiser advises the root logger to preprocess the graph, which the exporter already did.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _reader(calibration: CalibrationImages, input_name: str) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands the images out in batches."""

        def __init__(self) -> None:
            starts = range(0, len(calibration.inputs), _BATCH)
            self._batches = iter([calibration.inputs[start : start + _BATCH] for start in starts])

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {input_name: batch}

    return Reader()
